"""The end of a layer in floats (docs/arithmetic.md, "Requantization in floats")."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgeinfer.graph import operators as ops

__all__ = ["FloatStage", "float_stage"]


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
    # a constant channel is its offset
    bias, factor = np.zeros(len(value), np.int64), np.zeros(len(value))
    offset = value.astype(np.float64)
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
