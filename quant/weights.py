"""A layer's weights and bias, float or given, into integers with one scale a channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeinfer.arithmetic import accumulators
from edgeinfer.arithmetic.fixedpoint import (
    MAX_ACCUMULATOR_16,
    multiplier_and_shift,
    round_half_away,
)
from edgeinfer.errors import QuantizationError
from edgeinfer.graph import TensorType
from edgeinfer.quant.schemes import Width

__all__ = [
    "GivenWeights",
    "QuantizedWeights",
    "accumulator_limit",
    "quantize_weights",
    "reach_of",
    "take_weights",
]


# how many times what a layer and its result can hold a bias may be; a mask may be 3e38
_FAR_BIAS = 2.0**16


@dataclass(frozen=True)
class QuantizedWeights:
    """What QConv and QDense take beside x.

    Parameters
    ----------
    weights : numpy.ndarray
        int8 or int16, channel first; symmetric, so the lowest integer is not used.
    bias : numpy.ndarray
        int32, or int64 with 16-bit activations, at scale ``s_in * scale[c]``.
    scale : numpy.ndarray
        float32, one a channel.
    multiplier, shift : numpy.ndarray
        int32 and int8, one a channel.
    """

    weights: np.ndarray
    bias: np.ndarray
    scale: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray


def quantize_weights(
    weights: np.ndarray,
    bias: np.ndarray | None,
    x: TensorType,
    y: TensorType,
    dtype: Width,
) -> QuantizedWeights:
    """Integers for weights ``[channels, ...]`` and bias ``[channels]`` of a layer from x to y.

    The scale of a channel is the least that keeps four bounds (docs/arithmetic.md, "Weight
    scales"): the weights fit ``dtype``, the bias fits a half of the accumulator, the accumulator
    is proven, and the ratio of scales is no less than 2^-31.

    Raises
    ------
    QuantizationError
        So many products make a sum that rounding alone could leave the accumulator.
    """
    assert x.quantization is not None and y.quantization is not None
    s_in, s_out = x.quantization.step, y.quantization.step
    flat = weights.reshape(len(weights), -1).astype(np.float64)
    b = np.zeros(len(weights)) if bias is None else bias.astype(np.float64)
    top = np.iinfo(dtype).max
    limit, reach = accumulator_limit(x), reach_of(x)
    # farther out, a bias holds its channel at an end of y anyway
    farthest = _FAR_BIAS * (np.abs(flat).sum(1) * reach * s_in + reach_of(y) * s_out)
    b = np.clip(b, -farthest, farthest)
    # each weight and the bias may round up by a half, and the scale to float32 by 2^-24 of itself
    room = (limit - 1) * (1 - 2.0**-20) - reach * flat.shape[1] / 2
    if room <= limit / 2:
        raise QuantizationError(
            f"{flat.shape[1]} products a sum leave the accumulator no room; split the layer"
        )
    scale = np.maximum.reduce(
        [
            np.abs(flat).max(1) / top,
            np.abs(b) / (s_in * limit / 2),
            (np.abs(flat).sum(1) * reach + np.abs(b) / s_in) / room,
            np.full(len(flat), s_out * 2.0**-31 / s_in),
        ]
    ).astype(np.float32)
    scale = np.maximum(scale, np.finfo(np.float32).tiny)
    q = np.clip(round_half_away(flat / scale[:, None].astype(np.float64)), -top, top)
    q_bias = round_half_away(b / (s_in * scale.astype(np.float64)))
    return _with_multipliers(q.astype(dtype).reshape(weights.shape), q_bias, scale, x, y)


def _with_multipliers(
    weights: np.ndarray, bias: np.ndarray, scale: np.ndarray, x: TensorType, y: TensorType
) -> QuantizedWeights:
    """Integers with the multipliers that their accumulator, once proven, allows."""
    assert x.quantization is not None and y.quantization is not None
    narrow = x.dtype == "int8"
    worst = accumulators.largest_sums(weights, bias, reach_of(x))
    limit = accumulator_limit(x)
    if not (worst < limit).all():
        raise QuantizationError(
            f"an accumulator of up to {worst.max():.6g} is not below 2^{limit.bit_length() - 1}"
        )
    bits = 31 if (worst < 2.0**31).all() else 24
    ratios = x.quantization.step * scale.astype(np.float64) / y.quantization.step
    pairs = [multiplier_and_shift(ratio, bits) for ratio in ratios.tolist()]
    return QuantizedWeights(
        weights,
        bias.astype(np.int32 if narrow else np.int64),
        scale,
        np.array([m for m, _ in pairs], np.int32),
        np.array([s for _, s in pairs], np.int8),
    )


def reach_of(x: TensorType) -> int:
    """The largest ``|q - zero_point|`` of an activation."""
    assert x.quantization is not None
    return accumulators.reach(x.dtype, x.quantization.zero_point)


def accumulator_limit(x: TensorType) -> int:
    """What the magnitude of a sum of products of an activation stays below."""
    return 2**31 if x.dtype == "int8" else MAX_ACCUMULATOR_16


@dataclass(frozen=True)
class GivenWeights:
    """A layer's integers from a model that is quantized already.

    Parameters
    ----------
    weights : numpy.ndarray
        int8, uint8, int16 or uint16, channel first.
    scale : float or numpy.ndarray
        One, or one a channel.
    zero_point : int or numpy.ndarray
        One, or one a channel; taken away from ``weights``.
    bias : numpy.ndarray or None
        Integers at scale ``s_in * scale[c]``; None rounds the float Graph's bias to them.
    """

    weights: np.ndarray
    scale: np.ndarray | float
    zero_point: np.ndarray | int = 0
    bias: np.ndarray | None = None


def take_weights(
    given: GivenWeights, bias: np.ndarray | None, x: TensorType, y: TensorType
) -> QuantizedWeights:
    """The same numbers in the form of QConv and QDense, whose weights have no zero point.

    ``bias`` [channels] is the float one, for a ``given`` without.

    Raises
    ------
    QuantizationError
        Without their zero point the weights do not fit, or the accumulator is not proven.
    """
    assert x.quantization is not None and y.quantization is not None
    channels = len(given.weights)
    column = (channels,) + (1,) * (given.weights.ndim - 1)
    zero_point = np.broadcast_to(given.zero_point, channels).reshape(column)
    q = given.weights.astype(np.int64) - zero_point.astype(np.int64)
    # 16-bit weights go with 16-bit activations only
    dtype = "int16" if given.weights.dtype.itemsize == 2 and x.dtype == "int16" else "int8"
    info = np.iinfo(dtype)
    if q.min() < info.min or q.max() > info.max:
        raise QuantizationError(
            f"the given weights are {q.min()} to {q.max()} from their zero point, which {dtype} "
            "cannot hold; give weights with zero point 0, or 128 of uint8, or the float model"
        )
    scale = np.broadcast_to(np.asarray(given.scale, np.float32), channels)
    s_in = x.quantization.step
    integers = given.bias
    if integers is None:
        b = np.zeros(channels) if bias is None else bias.astype(np.float64)
        integers = round_half_away(b / (s_in * scale.astype(np.float64)))
    return _with_multipliers(q.astype(dtype), integers, scale, x, y)
