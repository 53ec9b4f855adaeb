"""Cheaper forms of the arithmetic, each with the proof that no result changes, or None."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from edgeinfer.graph import operators as ops
from edgeinfer.meaning import reference

__all__ = ["LinearSum", "ShortStage", "linear_sum", "short_stage"]


@dataclass(frozen=True)
class ShortStage:
    """Requantization in 32 bits: ``(hi32(acc * multiplier) + rounding) >> shift``.

    Parameters
    ----------
    multiplier, rounding, shift : numpy.ndarray
        int32 [channels]; the zero point of the output is in ``rounding``.
    """

    multiplier: np.ndarray
    rounding: np.ndarray
    shift: np.ndarray


def short_stage(
    multiplier: np.ndarray, shift: np.ndarray, zero_point: int, largest: np.ndarray
) -> ShortStage | None:
    """The short form of ``R1(acc, M, S) + zero_point`` (docs/arithmetic.md, "Shorter forms").

    Parameters
    ----------
    multiplier, shift : numpy.ndarray
        M >= 0 and S of each channel.
    zero_point : int
        The output's.
    largest : numpy.ndarray
        A bound of each channel's ``|acc|``.
    """
    m, s, most = (array.astype(np.int64) for array in (multiplier, shift, largest))
    # below half a step every result is 0, whatever the shift: |acc| M < 2^62
    dead = most * m < np.int64(1) << (s - 1)
    m, s = np.where(dead, 0, m), np.where(dead, 33, s)
    if s.min(initial=33) < 33:
        return None
    rounding = (np.int64(1) << (s - 33)) + (np.int64(zero_point) << (s - 32))
    if (((most * m) >> 32) + 1 + np.abs(rounding)).max(initial=0) >= 2**31:
        return None
    return ShortStage(*(array.astype(np.int32) for array in (m, rounding, s - 32)))


@dataclass(frozen=True)
class LinearSum:
    """A sum of int8 in 32 bits: ``clamp((a a_factor + b b_factor + offset) >> shift)``."""

    a_factor: int
    b_factor: int
    offset: int
    shift: int


# factors of 22 bits: with 8 bits of each operand their products and sum stay below 2^31
_FACTOR_BITS = 22


@cache
def linear_sum(op: ops.QAdd) -> LinearSum | None:
    """The linear form of a sum, or difference, of int8: equal for all 65,536 pairs of operands.

    Every pair bounds the offset from both sides, so the offset is found rather than tried.
    """
    sign = -1 if isinstance(op, ops.QSub) else 1
    q = np.arange(-128, 128, dtype=np.int64)
    (y,) = reference.evaluate(op, q[:, None], q)
    last = op.multiplier * 2.0**-op.shift * 2.0**op.left_shift
    ratios = (
        op.a_multiplier * 2.0**-op.a_shift * last,
        sign * op.b_multiplier * 2.0**-op.b_shift * last,
    )
    largest = max(map(abs, ratios))
    if not 0 < largest < 2**_FACTOR_BITS:
        return None
    most = min(_FACTOR_BITS - 1 - math.floor(math.log2(largest)), 24)
    inner, below, above = (y > op.lo) & (y < op.hi), y <= op.lo, y >= op.hi
    for shift in range(most, 4, -1):
        a_factor, b_factor = (round(ratio * 2.0**shift) for ratio in ratios)
        t = a_factor * q[:, None] + b_factor * q
        least, beyond = (y << shift) - t, ((y + 1) << shift) - t
        low = max(least[inner | above].max(initial=-(2**62)), -(2**62))
        high = min(beyond[inner | below].min(initial=2**62), 2**62)
        offset = int(np.clip(0, low, high - 1))
        if low < high and np.abs(t).max() + abs(offset) < 2**31:
            return LinearSum(a_factor, b_factor, offset, shift)
    return None
