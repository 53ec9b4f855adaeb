"""A normalization of real numbers into the numbers of the one of integers that stands for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TypedDict

import numpy as np

from edgeinfer.arithmetic.accumulators import normalized_reach
from edgeinfer.arithmetic.fixedpoint import (
    MAX_NORMALIZED,
    Measure,
    Normalizer,
    affine_parameters,
    epsilon_and_exponent,
)
from edgeinfer.arithmetic.tables import Integers
from edgeinfer.errors import QuantizationError
from edgeinfer.graph import operators as ops

__all__ = ["Attributes", "integer_normalization", "refuse_too_many"]


class Attributes(TypedDict):
    """Those of ``ops.QNormalization`` beside its output stage."""

    axes: tuple[int, ...]
    measure: Measure
    input_zero_point: int
    epsilon: int
    exponent: int
    is_least: bool
    fraction: int
    inner: int
    shift: int


def integer_normalization(
    op: ops.Normalization,
    shape: Sequence[int],
    x: Integers,
    step: float,
    scale: np.ndarray,
    bias: np.ndarray,
) -> tuple[Attributes, np.ndarray, np.ndarray]:
    """The attributes, multiplier and bias with which integers are normalized as ``op`` says.

    Parameters
    ----------
    op : ops.Normalization
        Of real numbers.
    shape : sequence of int
        Of x.
    x : Integers
        How x stands for real numbers.
    step : float
        The output's.
    scale, bias : numpy.ndarray
        Broadcast to x.

    Raises
    ------
    QuantizationError
        More elements than can be normalized together, or numbers that do not fit.
    """
    in_step, zero_point, dtype = x
    count = math.prod(shape[axis] for axis in op.axes)
    reach = normalized_reach(op.measure, dtype, zero_point)
    refuse_too_many(count)
    if op.measure == "magnitudes":
        refuse_too_many(count, (2**31 - 1) // reach)
    # the measure of real numbers is a mean, and that of integers a sum, or a sum times the count
    unit = in_step**2 / (count if op.measure == "squares" else count**2)
    epsilon, exponent = epsilon_and_exponent(op.epsilon / unit)
    n = Normalizer(op.measure, count, zero_point, epsilon, exponent, op.is_least)
    n = replace(n, fraction=n.largest_fraction(reach))
    root = {"variance": 1.0, "squares": math.sqrt(count), "magnitudes": float(count)}[op.measure]
    factors = scale.astype(np.float64) * root / step * 2.0**-n.fraction
    (factors, offsets), inner = _channels(shape, factors, bias.astype(np.float64) / step)
    multiplier, offset, shift = affine_parameters(factors, offsets)
    attributes: Attributes = {
        "axes": op.axes,
        "measure": op.measure,
        "input_zero_point": zero_point,
        "epsilon": epsilon,
        "exponent": exponent,
        "is_least": op.is_least,
        "fraction": n.fraction,
        "inner": inner,
        "shift": shift,
    }
    return attributes, multiplier, offset


def _channels(shape: Sequence[int], *arrays: np.ndarray) -> tuple[list[np.ndarray], int]:
    """``arrays``, broadcast to the axes along which one of them varies, and the elements of each.

    Those are all elements along the axes behind.
    """
    full = [array.reshape((1,) * (len(shape) - array.ndim) + array.shape) for array in arrays]
    varies = [axis for axis in range(len(shape)) if any(a.shape[axis] > 1 for a in full)]
    first, behind = (varies[0], varies[-1] + 1) if varies else (len(shape), len(shape))
    axes = slice(first, behind)
    return [
        np.broadcast_to(a.reshape(a.shape[axes]), shape[axes]).reshape(-1) for a in full
    ], math.prod(shape[behind:])


def refuse_too_many(count: int, most: int = MAX_NORMALIZED) -> None:
    """QuantizationError where more than ``most`` of ``count`` elements have one measure."""
    if count > most:
        raise QuantizationError(f"{count} elements are measured together; {most} is the most")
