"""The named pairs of activation and weight widths, and the Quantization of a range or operator."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgeinfer.graph import Quantization, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.quant.observers import Levels

__all__ = [
    "SCHEMES",
    "Scheme",
    "Width",
    "activation_type",
    "fixed_output",
    "levels",
    "spare_of_16",
]

Width = Literal["int8", "int16"]

# 16 bits can afford what 8 bits cannot: half of the calibrated range again for unseen samples.
# Measured on the zoo, 1.0 clips evaluation samples (ad_autoencoder int16: 37.5 dB) and 2.0 costs
# 3 dB of resolution; 1.5 gives 61 dB there.
_HEADROOM_16 = 1.5

# the fewest runs that 1.5 was enough for; fewer show less of what there is
_ENOUGH_RUNS = 32

# what runs yet to come are likely to reach, beyond that, may take so many times the range at most
_MOST_LIKELY = 3.0

# the least positive float32 that every processor counts with
_LEAST_SCALE = float(np.finfo(np.float32).tiny)

# no integer of a scale stands for an infinite number
_MOST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Scheme:
    """The element types of activations and of weights."""

    activations: Width
    weights: Width


SCHEMES: dict[str, Scheme] = {
    "int8": Scheme("int8", "int8"),
    "int16x8": Scheme("int16", "int8"),
    "int16": Scheme("int16", "int16"),
}


def levels(dtype: Width) -> Levels:
    """How many steps a range is divided into."""
    return Levels(255, False) if dtype == "int8" else Levels(65534, True)


def spare_of_16(runs: int, likely: float = 0.0) -> float:
    """How many times the range that so many ``runs`` showed 16 bits cover.

    ``likely`` is how many times that range runs yet to come may reach.
    """
    few = _HEADROOM_16 * max(1.0, min(math.sqrt(_ENOUGH_RUNS / max(runs, 1)), 4.0))
    return max(few, min(likely, _MOST_LIKELY))


def activation_type(
    shape: tuple[int, ...],
    low: float,
    high: float,
    dtype: Width,
    headroom_16: float = _HEADROOM_16,
) -> TensorType:
    """The type of an activation that covers ``low <= 0 <= high``.

    int8 is asymmetric: 255 steps from low to high, the zero point rounded to an integer. int16 is
    symmetric about zero point 0, and covers ``headroom_16`` times the range.
    """
    if dtype == "int16":
        scale = min(headroom_16 * max(-low, high) / 32767, _MOST / 32769)
        return TensorType(shape, dtype, Quantization.per_tensor(max(scale, _LEAST_SCALE)))
    scale = float(np.float32(max((high - low) / 255, _LEAST_SCALE)))
    zero_point = int(np.clip(np.rint(-128 - low / scale), -128, 127))
    scale = min(scale, _MOST / (max(zero_point + 128, 127 - zero_point) + 1))
    return TensorType(shape, dtype, Quantization.per_tensor(scale, zero_point))


def fixed_output(op: ops.Operator, dtype: Width) -> Quantization | None:
    """The output quantization that the contract prescribes for ``op``, where it does."""
    if not isinstance(op, ops.Softmax):
        return None
    if dtype == "int8":
        return Quantization.per_tensor(1 / 256, -128)
    return Quantization.per_tensor(1 / 32768)
