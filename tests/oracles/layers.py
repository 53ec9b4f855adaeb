"""Random layers, as edgeinfer's integer operators, for the oracles to judge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeinfer.arithmetic.fixedpoint import round_half_away
from edgeinfer.graph import Quantization, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.quant.weights import QuantizedWeights, quantize_weights

__all__ = [
    "ACTIVATIONS",
    "Layer",
    "activation_type",
    "clamp",
    "random_integers",
    "random_layer",
    "same_pads",
]

# fused activation of TensorFlow Lite's schema: its real bounds
ACTIVATIONS = {0: (None, None), 1: (0.0, None), 3: (0.0, 6.0)}


@dataclass(frozen=True)
class Layer:
    """An integer operator, its input and what the quantizer gave it."""

    op: ops.QConv | ops.QDense
    x: np.ndarray
    q: QuantizedWeights
    input_type: TensorType
    output_type: TensorType

    @property
    def operands(self) -> tuple[np.ndarray, ...]:
        """What the operator takes."""
        return (self.x, self.q.weights, self.q.bias, self.q.multiplier, self.q.shift)


def activation_type(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: str = "int8"
) -> TensorType:
    """A quantization with a random scale and, for int8, a random zero point.

    Half the scales are powers of two: their quotients make ties.
    """
    scale = 2.0 ** -rng.integers(0, 11) if rng.integers(2) else 10 ** rng.uniform(-3, 0)
    zero_point = int(rng.integers(-128, 128)) if dtype == "int8" else 0
    return TensorType(shape, dtype, Quantization.per_tensor(scale, zero_point))


def random_integers(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Integers over the whole range of ``dtype``."""
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max + 1, shape).astype(dtype)


def clamp(activation: int, t: TensorType) -> tuple[int, int]:
    """The integers that a fused activation's real bounds are in ``t``."""
    info, q = np.iinfo(t.dtype), t.quantization
    lo, hi = ACTIVATIONS[activation]
    low = info.min if lo is None else int(round_half_away(lo / q.step)) + q.zero_point
    high = info.max if hi is None else int(round_half_away(hi / q.step)) + q.zero_point
    return min(max(low, info.min), info.max), min(max(high, info.min), info.max)


def same_pads(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """The pads before and after that TensorFlow's SAME gives an axis."""
    places = -(-size // stride)
    total = max((places - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def random_layer(
    rng: np.random.Generator,
    x_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    *,
    dtype: str = "int8",
    activation: int = 0,
    rounding: str = "single",
    **attributes: object,
) -> Layer:
    """A convolution (weights of rank 4) or dense layer whose outputs use the range of ``dtype``."""
    x_type = activation_type(rng, x_shape, dtype)
    channels, *rest = weight_shape
    weights = rng.normal(size=weight_shape) * 10 ** rng.uniform(-1, 1, (channels, *[1] * len(rest)))
    # a channel's sums are about so large; the bias is, too
    s_in, top = x_type.quantization.step, np.iinfo(dtype).max
    spread = s_in * top * np.sqrt((weights.reshape(channels, -1) ** 2).sum(1))
    bias = rng.normal(size=channels) * spread
    y_scale = np.median(spread) * 4 / top
    zero_point = int(rng.integers(-128, 128)) if dtype == "int8" else 0
    y_type = TensorType((1,), dtype, Quantization.per_tensor(y_scale, zero_point))
    q = quantize_weights(
        weights.astype(np.float32),
        bias.astype(np.float32),
        x_type,
        y_type,
        "int8",
    )
    lo, hi = clamp(activation, y_type)
    op = (ops.QDense if len(weight_shape) == 2 else ops.QConv)(
        output_zero_point=zero_point,
        lo=lo,
        hi=hi,
        rounding=rounding,
        input_zero_point=x_type.quantization.zero_point,
        **attributes,
    )
    return Layer(op, random_integers(rng, x_shape, dtype), q, x_type, y_type)
