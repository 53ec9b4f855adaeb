"""A layer's float weights and bias into integers with one scale a channel, and its multipliers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeinfer.arithmetic.fixedpoint import (
    MAX_ACCUMULATOR_16,
    multiplier_and_shift,
    round_half_away,
)
from edgeinfer.errors import QuantizationError
from edgeinfer.graph import TensorType
from edgeinfer.quant.schemes import Width

__all__ = ["QuantizedWeights", "quantize_weights"]


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
    s_in, z_in, s_out = x.quantization.step, x.quantization.zero_point, y.quantization.step
    narrow = x.dtype == "int8"
    flat = weights.reshape(len(weights), -1).astype(np.float64)
    b = np.zeros(len(weights)) if bias is None else bias.astype(np.float64)
    top = np.iinfo(dtype).max
    limit = 2.0**31 if narrow else float(MAX_ACCUMULATOR_16)
    info = np.iinfo(x.dtype)
    reach = max(info.max - z_in, z_in - info.min)
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
    proven = np.abs(q).sum(1) * reach + np.abs(q_bias)
    assert (proven < limit).all(), "the scale rule keeps the accumulator in its bounds"
    bits = 31 if (proven < 2.0**31).all() else 24
    ratios = s_in * scale.astype(np.float64) / s_out
    pairs = [multiplier_and_shift(ratio, bits) for ratio in ratios.tolist()]
    return QuantizedWeights(
        q.astype(dtype).reshape(weights.shape),
        q_bias.astype(np.int32 if narrow else np.int64),
        scale,
        np.array([m for m, _ in pairs], np.int32),
        np.array([s for _, s in pairs], np.int8),
    )
