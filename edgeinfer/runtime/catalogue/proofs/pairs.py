"""Sums and products of two operands in 32 bits (docs/arithmetic.md, "Shorter forms")."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from edgeinfer.graph import operators as ops
from edgeinfer.meaning import reference
from edgeinfer.runtime.catalogue.proofs.stages import short_stage

__all__ = [
    "LinearSum",
    "ShortProduct",
    "ShortSum",
    "linear_sum",
    "short_product",
    "short_products",
    "short_sum",
]


@dataclass(frozen=True)
class ShortProduct:
    """A product, or a sum of products, in 32 bits: ``acc << lead``, then a short stage."""

    lead: int
    multiplier: int
    rounding: int
    shift: int


def short_product(op: ops.QMul, bits: int) -> ShortProduct | None:
    """The short form of products of integers of ``bits``."""
    end = 1 << (bits - 1)
    zero_points = op.a_zero_point, op.b_zero_point
    return short_products(op, math.prod(max(end - 1 - z, z + end) for z in zero_points))


def short_products(op: ops.QMul | ops.QMatMul, largest: int) -> ShortProduct | None:
    """The short form of products, or of sums of them, that are at most ``largest`` either way.

    ``R1(acc, M, S) = R1(acc << k, M, S + k)``, so a shift that is too small for the short stage
    becomes one that serves, where accumulators have bits to spare.
    """
    if op.rounding != "single":
        return None
    lead = max(33 - op.shift, 0)
    if largest << lead >= 2**31:
        return None
    stage = short_stage(
        np.array([op.multiplier]),
        np.array([op.shift + lead]),
        op.output_zero_point,
        np.array([largest << lead]),
    )
    if stage is None:
        return None
    return ShortProduct(lead, *(int(a[0]) for a in (stage.multiplier, stage.rounding, stage.shift)))


@dataclass(frozen=True)
class LinearSum:
    """A sum of int8 in 32 bits: ``clamp((a a_factor + b b_factor + offset) >> shift)``.

    The factors have 24 bits, which kernels multiply in two parts.
    """

    a_factor: int
    b_factor: int
    offset: int
    shift: int


# shifts that are tried: from the most bits that fit down, as finer factors err less
_SHIFTS = 12

# what factors may be beside the rounded ratios, where these themselves do not serve
_NUDGES = [(0, 0), *((a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b)]


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
    if not 0 < largest < 2**16:
        return None
    # the sum of both products below 2^30, and a shift that 32 bits have
    most = min(30, 30 - math.ceil(math.log2(128 * sum(map(abs, ratios)))))
    shifts = range(most, max(most - _SHIFTS, 1), -1)
    for nudge in _NUDGES:
        for shift in shifts if nudge == (0, 0) else shifts[:2]:
            a_factor, b_factor = (
                round(ratio * 2.0**shift) + n for ratio, n in zip(ratios, nudge, strict=True)
            )
            found = _with_offset(op, y, a_factor, b_factor, shift)
            if found is not None:
                return found
    return None


def _with_offset(
    op: ops.QAdd, y: np.ndarray, a_factor: int, b_factor: int, shift: int
) -> LinearSum | None:
    """The form with these factors, where one offset serves every pair and all fits 32 bits."""
    if max(abs(a_factor), abs(b_factor)) >= 2**23:
        return None
    q = np.arange(-128, 128, dtype=np.int64)
    t = a_factor * q[:, None] + b_factor * q
    # a clamped result asks for one side alone
    least = ((y << shift) - t)[y > op.lo].max(initial=-(2**62))
    beyond = (((y + 1) << shift) - t)[y < op.hi].min(initial=2**62)
    offset = int(np.clip(0, least, max(beyond - 1, least)))
    fits = max(abs(int(t.min()) + offset), abs(int(t.max()) + offset)) < 2**31
    return LinearSum(a_factor, b_factor, offset, shift) if least < beyond and fits else None


@dataclass(frozen=True)
class ShortSum:
    """A sum of int16 in 32 bits: each of its three roundings ``(hi32(x M) + rounding) >> shift``,
    with ``x`` an operand times 2^16, or the sum of both."""

    a_multiplier: int
    a_rounding: int
    a_shift: int
    b_multiplier: int
    b_rounding: int
    b_shift: int
    multiplier: int
    rounding: int
    shift: int


def short_sum(op: ops.QAdd) -> ShortSum | None:
    """The form of a sum, or difference, of int16 in 32 bits (docs/arithmetic.md)."""
    operands = [
        _short_operand(*pair)
        for pair in ((op.a_multiplier, op.a_shift), (op.b_multiplier, op.b_shift))
    ]
    zero_points = op.a_zero_point, op.b_zero_point, op.output_zero_point
    if op.left_shift != 15 or op.rounding != "single" or any(zero_points) or op.shift < 33:
        return None
    a, b = operands
    if a is None or b is None:
        return None
    return ShortSum(*a, *b, op.multiplier, 1 << (op.shift - 33), op.shift - 32)


def _short_operand(multiplier: int, shift: int) -> tuple[int, int, int] | None:
    """``R1(q 2^15, M, S)`` from ``hi32(q 2^16 M)``, which is below 2^30."""
    if (multiplier, shift) == (2**30, 31):
        return 2**30, 0, 0
    return (multiplier, 1 << (shift - 32), shift - 31) if shift >= 32 else None
