"""Cheaper forms of the arithmetic, each with the proof that no result changes, or None."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from edgeinfer.arithmetic import fixedpoint
from edgeinfer.arithmetic.accumulators import largest_sums
from edgeinfer.graph import operators as ops
from edgeinfer.meaning import reference

__all__ = [
    "FloatStage",
    "LinearSum",
    "ShortProduct",
    "ShortStage",
    "ShortSum",
    "constant_channels",
    "float_stage",
    "linear_sum",
    "short_product",
    "short_quotient",
    "short_stage",
    "short_sum",
]


def constant_channels(
    op: ops.QConv | ops.QDense, weights: np.ndarray, stage: tuple[np.ndarray, ...], reach: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which channels give one integer whatever x is, and what each gives for its least sum.

    A result grows with its sum, so a channel is constant where both ends of its sums give the same.

    Parameters
    ----------
    weights : numpy.ndarray
        [O, ...].
    stage : tuple of numpy.ndarray
        Bias, multiplier and shift, [O].
    reach : int
        The largest ``|q - zero_point|`` of an input.
    """
    bias, multiplier, shift = stage
    spread = largest_sums(weights, np.zeros_like(bias), reach)
    least, most = (
        fixedpoint.requantize(
            bias + sign * spread, multiplier, shift, op.output_zero_point, op.lo, op.hi, op.rounding
        )
        for sign in (-1, 1)
    )
    return least == most, least


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
class FloatStage:
    """Requantization in floats: ``floor(a * multiplier + (a * remainder + offset))``, each sum
    with one rounding and the second of them down, for ``a = acc + bias``.

    Parameters
    ----------
    bias : numpy.ndarray
        int64 [channels].
    multiplier, offset, remainder : numpy.ndarray
        float32 [channels].
    """

    bias: np.ndarray
    multiplier: np.ndarray
    offset: np.ndarray
    remainder: np.ndarray


# floats hold integers of so many bits
_FLOAT_BITS = 24
# floats beside the ratio that are tried as multipliers, and offsets beside 1/2, in units of 2^-16
_NEIGHBOURS = (0, 1, -1, 2, -2, 3, -3)
_OFFSETS = np.arange(-2048, 2048, dtype=np.int64)
# so many channels of a layer are searched; each takes a millisecond
_MOST_SEARCHED = 64


def float_stage(
    op: ops.QConv | ops.QDense,
    multiplier: np.ndarray,
    shift: np.ndarray,
    largest: np.ndarray,
    constant: tuple[np.ndarray, np.ndarray],
) -> FloatStage | None:
    """The float form of ``R(acc, M, S) + z``, R1 or R2 (docs/arithmetic.md, "Shorter forms").

    Parameters
    ----------
    multiplier, shift : numpy.ndarray
        M >= 0 and S of each channel.
    largest : numpy.ndarray
        A bound of each channel's ``|acc|``.
    constant : tuple of numpy.ndarray
        What ``constant_channels`` gives.
    """
    is_constant, value = constant
    bias, factor, offset = np.zeros(len(value), np.int64), np.zeros(len(value)), value / 1.0
    moving = np.flatnonzero(~is_constant)
    if op.hi - op.lo > 255:
        return None
    if moving.size:
        m, s, most = (array[moving].astype(np.int64) for array in (multiplier, shift, largest))
        steps = np.arange(op.lo + 1, op.hi + 1) - op.output_zero_point
        factor[moving] = np.ldexp(m.astype(np.float64), -s)
        bias[moving], offset[moving], proven = _float_sums(op, steps, m, s, most)
        rest = np.flatnonzero(~proven)
        if rest.size > _MOST_SEARCHED:
            return None
        for i in rest:
            found = _searched_float_sum(op, steps, int(m[i]), int(s[i]), int(most[i]))
            if found is None:
                return None
            bias[moving[i]], factor[moving[i]], offset[moving[i]] = found
    rounded = factor.astype(np.float32)
    remainder = (factor - rounded).astype(np.float32)
    return FloatStage(bias, rounded, offset.astype(np.float32), remainder)


def _first_sums(
    op: ops.QConv | ops.QDense, steps: np.ndarray, m: np.ndarray, s: np.ndarray
) -> np.ndarray:
    """[C, K]: the least accumulator whose R reaches each of K steps."""
    half = np.int64(1) << (s - 1)
    thresholds = (steps << s[:, None]) - half[:, None]
    if op.rounding == "double":
        thresholds -= np.where(s > 31, 1 << 30, 0)[:, None] * np.where(steps > 0, 1, -1)
    firsts: np.ndarray = -(-thresholds // m[:, None])
    return firsts


def _float_sums(
    op: ops.QConv | ops.QDense, steps: np.ndarray, m: np.ndarray, s: np.ndarray, most: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bias and offset of each channel, and whether ``M 2^-S`` is proven to give its results.

    ``acc M + D`` reaches ``step 2^S`` where R reaches the step for every D from ``least`` on and
    below ``beyond``; a bias and an offset stand for the one in the middle.
    """
    # below 2^9 steps, so that all fits 64 bits
    fits = s <= 53
    s = np.where(fits, s, 53)
    firsts = _first_sums(op, steps, m, s)
    room = (steps << s[:, None]) - firsts * m[:, None]
    least, beyond = room.max(axis=1), room.min(axis=1) + m
    middle = least + (beyond - least) // 2 + (np.int64(op.output_zero_point) << s)
    bias = middle // m
    # every sum that there is, or every one at which results change, is a float
    ends = np.abs(firsts[:, [0, -1]] + bias[:, None]) + 1
    sums = most + np.abs(bias)
    proven = fits & (np.minimum(sums, ends.max(axis=1)) <= 1 << _FLOAT_BITS)
    proven &= sums * np.ldexp(m.astype(np.float64), -s) < 2.0**30
    # a sum is one of 32 bits with its bias, too
    proven &= sums < 1 << 31
    # roundings are below 2^-21 of the factor
    proven &= beyond - least > (m >> 20) + 2
    return bias, np.ldexp((middle - bias * m).astype(np.float64), -s), proven


def _searched_float_sum(
    op: ops.QConv | ops.QDense, steps: np.ndarray, m: int, s: int, most: int
) -> tuple[int, float, float] | None:
    """Bias, factor and offset of one channel that need no remainder, so that nothing is rounded
    but once; found for the sums that there are."""
    if s > 53:
        # sums that floats hold do not reach further, and these fit 64 bits
        steps = steps[np.abs(steps) <= 4]
    ratio = np.float32(math.ldexp(m, -s))
    scale = _FLOAT_BITS - math.frexp(ratio)[1]
    # from 18 on, results of sums that floats hold are below 2^30
    if s > 60 or not 18 <= scale <= 48:
        return None
    (firsts,) = _first_sums(op, steps, np.array([m]), np.array([s]))
    reached, passed = firsts <= most, firsts > -most
    lower = steps[reached] << scale, np.maximum(firsts[reached], -most)
    upper = steps[passed] << scale, np.minimum(firsts[passed] - 1, most)
    # all in units of 2^-scale
    offsets = (_OFFSETS + (1 << 15)) << (scale - 16)
    for neighbour in _NEIGHBOURS:
        factor = int(math.ldexp(ratio, scale)) + neighbour
        least = (lower[0] - lower[1] * factor).max(initial=-(1 << 62))
        beyond = (upper[0] - upper[1] * factor).min(initial=1 << 62)
        biases = -((offsets - least) // factor)
        fitting = (offsets + biases * factor < beyond) & (
            np.abs(biases) <= (1 << _FLOAT_BITS) - most
        )
        if fitting.any() and np.float32(factor) == factor:
            at = int(fitting.argmax())
            offset = math.ldexp(int(offsets[at]), -scale) + op.output_zero_point
            return int(biases[at]), math.ldexp(factor, -scale), offset
    return None


# floats around the first that reaches an integer, which this many include
_AROUND = 4


@cache
def short_quotient(scale: float, zero_point: int) -> tuple[float, float] | None:
    """Two floats with ``rint(fma(x, high, x * low))`` equal to ``rint(x / scale)`` for every float
    x, as far as int8 tells them apart (docs/arithmetic.md, "Shorter forms").

    Both grow with x, so they are equal where they reach each integer at the same float.
    """
    if not 2.0**-100 <= scale <= 2.0**100:
        return None
    divisor = np.float32(scale)
    high = np.float32(1 / float(divisor))
    low = np.float32(1 / float(divisor) - float(high))
    k = np.arange(-127, 128) - zero_point
    x = [((k - 0.5) * float(divisor)).astype(np.float32)]
    for _ in range(_AROUND):
        x = [np.nextafter(x[0], -np.inf), *x, np.nextafter(x[-1], np.inf)]
    around = np.stack(x).astype(np.float32)
    expected = np.rint(around / divisor) >= k
    # exact but for the last sum, which must not lie where that decides
    quotient = around.astype(np.float64) * float(high) + around * low
    found = [
        np.rint((quotient * (1 + sign * 2.0**-52)).astype(np.float32)) >= k for sign in (-1, 1)
    ]
    equal = all(np.array_equal(reached, expected) for reached in found)
    if not equal or expected[0].any() or not expected[-1].all():
        return None
    return float(high), float(low)


@dataclass(frozen=True)
class ShortProduct:
    """A product of int8 in 32 bits: ``((a - z_a) (b - z_b) << lead)``, then a short stage."""

    lead: int
    multiplier: int
    rounding: int
    shift: int


def short_product(op: ops.QMul) -> ShortProduct | None:
    """The short form of a product of int8, whose accumulators have bits to spare.

    ``R1(acc, M, S) = R1(acc << k, M, S + k)``, so a shift that is too small for the short stage
    becomes one that serves.
    """
    if op.rounding != "single":
        return None
    largest = math.prod(max(127 - z, z + 128) for z in (op.a_zero_point, op.b_zero_point))
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
