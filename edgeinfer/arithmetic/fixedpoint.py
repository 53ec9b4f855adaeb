"""The arithmetic contract EI-1 on NumPy arrays: the definition that every target reproduces.

``docs/arithmetic.md`` derives each formula and proves its bounds. Multipliers, shifts and tables
are computed here from float64, once, when a model is compiled; the operations on integers use
integers only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypedDict

import numpy as np

from edgeinfer.arithmetic import elementary
from edgeinfer.errors import QuantizationError

__all__ = [
    "CONTRACT",
    "MAX_ACCUMULATOR_16",
    "MAX_NORMALIZED",
    "MAX_QUOTIENT_SHIFT",
    "ROOTS",
    "WHOLE",
    "AddParameters",
    "Measure",
    "Normalizer",
    "Shares",
    "add_parameters",
    "affine_parameters",
    "average_multiplier",
    "corners",
    "double_round",
    "epsilon_and_exponent",
    "exponential_table_8",
    "exponential_table_16",
    "interpolate_16",
    "interpolation_table_16",
    "multiplier_and_shift",
    "multiplier_bits",
    "normalized_even",
    "overlaps",
    "quotient",
    "reciprocal_sqrt",
    "requantize",
    "root_fraction",
    "round_half_away",
    "round_shift",
    "single_round",
    "softmax_8",
    "softmax_16",
    "square_root",
    "table",
]

CONTRACT = "EI-1"

# Accumulators of 16-bit activations stay below this magnitude: with a 24-bit multiplier the
# product stays below 2^62, and the rounding term of at most 2^61 keeps the sum inside int64.
MAX_ACCUMULATOR_16 = 2**38

WHOLE = 2**30
"""The overlap of a box with itself."""

# A divisor of at most 17 bits, shifted by this and doubled, stays below 2^62.
MAX_QUOTIENT_SHIFT = 44

_MIN_SHIFT, _MAX_SHIFT = 2, 62


def round_half_away(x: np.ndarray | float) -> np.ndarray:
    """The nearest integer, as float64; of two equally near, the one farther from 0."""
    x = np.asarray(x, np.float64)
    # floor(|x| + 0.5) would round 0.49999999999999994 up
    whole = np.trunc(x)
    return whole + np.where(np.abs(x - whole) >= 0.5, np.copysign(1.0, x), 0.0)


def multiplier_and_shift(real: float, bits: int = 31, most: int = _MAX_SHIFT) -> tuple[int, int]:
    """The multiplier M and shift S for which M * 2^-S is nearest to ``real``.

    Parameters
    ----------
    real : float
        Positive; a product and quotient of scales.
    bits : int
        31 where the accumulator is proven below 2^31, else 24: M is in [2^(bits-1), 2^bits).
        Only where S would exceed ``most`` is M smaller, or 0, rounded a second time.
    most : int
        62, but for a quotient ``MAX_QUOTIENT_SHIFT``.

    Raises
    ------
    QuantizationError
        ``real`` is not a positive finite number, or so large that S would fall below 2.
    """
    if not (math.isfinite(real) and real > 0):
        raise QuantizationError(f"a scale ratio must be positive and finite, not {real!r}")
    fraction, exponent = math.frexp(real)
    multiplier = int(round_half_away(fraction * 2.0**bits))
    if multiplier == 1 << bits:
        multiplier //= 2
        exponent += 1
    shift = bits - exponent
    if shift < _MIN_SHIFT:
        raise QuantizationError(
            f"a scale ratio of {real:.6g} needs a shift of {shift}, but shifts start at 2"
        )
    if shift > most:
        excess = shift - most
        multiplier = 0 if excess > 32 else int(single_round(multiplier, 1, excess))
        shift = most
    return multiplier, shift


def multiplier_bits(largest: int) -> int:
    """How many bits M may have beside accumulators of up to ``largest`` in magnitude.

    31 below 2^31, else 24 or as many fewer as keep ``acc * M`` below 2^62.
    """
    return 31 if largest < 2**31 else min(24, 62 - largest.bit_length())


def single_round(
    acc: np.ndarray | int, multiplier: np.ndarray | int, shift: np.ndarray | int
) -> np.ndarray:
    """R1: ``(acc * M + 2^(S-1)) >> S``, halves up; TOSA's RESCALE with SINGLE_ROUND.

    The caller has proven that ``acc * multiplier`` stays below 2^62 in magnitude.
    """
    acc, multiplier, shift = (np.asarray(v, np.int64) for v in (acc, multiplier, shift))
    return (acc * multiplier + (np.int64(1) << (shift - 1))) >> shift


def double_round(
    acc: np.ndarray | int, multiplier: np.ndarray | int, shift: np.ndarray | int
) -> np.ndarray:
    """R2: TOSA's RESCALE with DOUBLE_ROUND, which TFLM, CMSIS-NN and Ethos-U compute.

    Equal to gemmlowp's SaturatingRoundingDoublingHighMul followed by RoundingDivideByPOT.
    """
    acc, multiplier, shift = (np.asarray(v, np.int64) for v in (acc, multiplier, shift))
    rounding = np.int64(1) << (shift - 1)
    toward = np.where(acc >= 0, np.int64(1 << 30), np.int64(-(1 << 30)))
    return (acc * multiplier + rounding + np.where(shift > 31, toward, 0)) >> shift


def round_shift(
    acc: np.ndarray | int,
    multiplier: np.ndarray | int,
    shift: np.ndarray | int,
    rounding: str,
) -> np.ndarray:
    """R: ``double_round`` where ``rounding`` is ``double``, else ``single_round``."""
    return (double_round if rounding == "double" else single_round)(acc, multiplier, shift)


def requantize(
    acc: np.ndarray,
    multiplier: np.ndarray | int,
    shift: np.ndarray | int,
    zero_point: int,
    lo: int,
    hi: int,
    rounding: str = "single",
) -> np.ndarray:
    """``clamp(R(acc, M, S) + zero_point, lo, hi)`` as int64, R1 or R2 by ``rounding``."""
    return np.clip(round_shift(acc, multiplier, shift, rounding) + zero_point, lo, hi)


def quotient(a: np.ndarray, b: np.ndarray, multiplier: int, shift: int) -> np.ndarray:
    """``floor(a M / (b 2^S) + 1/2)``, exactly; by a zero, +-2^31, or 0 of 0.

    ``a`` and ``b`` are integers of at most 17 bits, and ``shift`` at most ``MAX_QUOTIENT_SHIFT``.
    """
    a, b = np.broadcast_arrays(a.astype(np.int64), b.astype(np.int64))
    dividend = np.where(b < 0, -a, a) * np.int64(multiplier)
    divisor = np.maximum(np.abs(b), 1) << np.int64(shift)
    rounded = (2 * dividend + divisor) // (2 * divisor)
    return np.where(b == 0, np.sign(a) << np.int64(31), rounded)


def average_multiplier(count: int) -> tuple[int, int]:
    """M and S that divide a sum of ``count`` integers, halves away from 0 (TOSA's reciprocal).

    Exact for every sum of 8-bit integers with ``count`` <= 4096, of 16-bit with <= 16384.
    """
    k = (count - 1).bit_length()
    return ((2**30 + 1) << k) // count, 30 + k


class AddParameters(TypedDict):
    """The attributes of QAdd and QSub that scales decide."""

    left_shift: Literal[15, 20]
    a_multiplier: int
    a_shift: int
    b_multiplier: int
    b_shift: int
    multiplier: int
    shift: int


def add_parameters(a_scale: float, b_scale: float, out_scale: float, *, bits: int) -> AddParameters:
    """QAdd's and QSub's attributes for an addition; ``bits`` (8 or 16) are the wider operand's.

    Both operands go to twice the larger scale with ``left_shift`` fractional bits, so that
    neither they nor their sum can overflow int32.
    """
    left_shift: Literal[15, 20] = 20 if bits == 8 else 15
    common = 2.0 * max(a_scale, b_scale)
    a_multiplier, a_shift = multiplier_and_shift(a_scale / common)
    b_multiplier, b_shift = multiplier_and_shift(b_scale / common)
    multiplier, shift = multiplier_and_shift(common / (2.0**left_shift * out_scale))
    return {
        "left_shift": left_shift,
        "a_multiplier": a_multiplier,
        "a_shift": a_shift,
        "b_multiplier": b_multiplier,
        "b_shift": b_shift,
        "multiplier": multiplier,
        "shift": shift,
    }


def table(
    function: Callable[[np.ndarray], np.ndarray],
    in_scale: float,
    in_zero_point: int,
    out_scale: float,
    out_zero_point: int,
    in_dtype: str,
    out_dtype: str,
) -> np.ndarray:
    """``clamp(round_half_away(f(s_i (q - z_i)) / s_o) + z_o)`` for every ``q`` of ``in_dtype``.

    Raises
    ------
    QuantizationError
        ``function`` is not a number somewhere; infinities clamp.
    """
    q_in, q_out = np.iinfo(in_dtype), np.iinfo(out_dtype)
    x = in_scale * (np.arange(q_in.min, q_in.max + 1, dtype=np.float64) - in_zero_point)
    with np.errstate(all="ignore"):
        y = np.asarray(function(x), np.float64)
        if np.isnan(y).any():
            raise QuantizationError(
                f"the function is not a number at {x[np.isnan(y)][0]:.6g}, which the input's range "
                "includes; calibrate with data that keeps inside its domain"
            )
        shifted = round_half_away(np.clip(y / out_scale, -1e9, 1e9)) + out_zero_point
    return np.clip(shifted, q_out.min, q_out.max).astype(out_dtype)


def interpolation_table_16(
    function: Callable[[np.ndarray], np.ndarray], in_scale: float, out_scale: float
) -> np.ndarray | None:
    """513 int16 entries, one for every 128th input; None where a slope does not fit int16.

    Each lies beside ``f`` by two thirds of what the chords to its neighbours err by at their
    middles, the lesser of the two: a chord of a curve then errs as often to one side as to the
    other. Where one of the two is straight, or they err to opposite sides, it is ``f`` itself.
    """
    x = in_scale * 128.0 * (np.arange(513, dtype=np.float64) - 256)
    with np.errstate(all="ignore"):
        y, middles = (
            np.clip(np.asarray(function(at), np.float64) / out_scale, -32768, 32767)
            for at in (x, (x[:-1] + x[1:]) / 2)
        )
    if np.isnan(y).any() or np.isnan(middles).any():
        return None
    errors = (y[:-1] + y[1:]) / 2 - middles
    before, behind = np.append(errors[:1], errors), np.append(errors, errors[-1:])
    lesser = np.where(np.abs(before) < np.abs(behind), before, behind)
    y -= np.where(before * behind > 0, lesser, 0.0) * 2 / 3
    knots = round_half_away(y).astype(np.int64)
    if np.abs(np.diff(knots)).max() > 32767:
        return None
    return knots.astype(np.int16)


def interpolate_16(knots: np.ndarray, q: np.ndarray) -> np.ndarray:
    """``t[i] + (((t[i+1] - t[i]) f + 64) >> 7)`` in the 513 ``knots``, i from the top bits of q."""
    q = q.astype(np.int64)
    t = knots.astype(np.int64)
    i, f = 256 + (q >> 7), q & 127
    return t[i] + (((t[i + 1] - t[i]) * f + 64) >> 7)


def exponential_table_8(in_scale: float) -> np.ndarray:
    """``floor(exp(-s d) 2^23 + 1/2)`` for d = 0 ... 255, int32."""
    d = np.arange(256, dtype=np.float64)
    return np.floor(elementary.exp(-in_scale * d) * 2.0**23 + 0.5).astype(np.int32)


def softmax_8(q: np.ndarray, exponentials: np.ndarray, axis: int) -> np.ndarray:
    """Softmax of int8 along ``axis``, at scale 1/256 and zero point -128."""
    q = q.astype(np.int64)
    t = exponentials.astype(np.int64)[q.max(axis, keepdims=True) - q]
    total = t.sum(axis, keepdims=True)
    return np.clip(((t << 9) + total) // (2 * total) - 128, -128, 127).astype(np.int8)


def exponential_table_16(in_scale: float) -> np.ndarray:
    """Row 0: ``exp(-256 s k)``, row 1: ``exp(-s k)``, k = 0 ... 255, times 2^30, int32."""
    k = np.arange(256, dtype=np.float64)
    rows = np.stack([elementary.exp(-256.0 * in_scale * k), elementary.exp(-in_scale * k)])
    return np.floor(rows * 2.0**30 + 0.5).astype(np.int32)


def softmax_16(q: np.ndarray, exponentials: np.ndarray, axis: int) -> np.ndarray:
    """Softmax of int16 along ``axis``, at scale 1/32768.

    exp of a difference d is the product of its high byte's and its low byte's entry, in Q30. The
    result is within 0.501 steps of the real softmax wherever it was measured (tests/core).
    """
    q = q.astype(np.int64)
    d = q.max(axis, keepdims=True) - q
    high, low = exponentials.astype(np.int64)
    t = (high[d >> 8] * low[d & 255] + (1 << 29)) >> 30
    total = t.sum(axis, keepdims=True)
    return np.minimum(((t << 16) + total) // (2 * total), 32767).astype(np.int16)


# ---- roots -----------------------------------------------------------------------------------

# 2^15 / sqrt(x) at the middles of 24 intervals of x, [8, 9) / 32 ... [31, 32) / 32, rounded
ROOTS = np.array([(math.isqrt(4 * 2**36 // (2 * i + 1)) + 1) // 2 for i in range(8, 32)], np.int64)


def normalized_even(v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``v << e`` in [2^60, 2^62), and the even ``e``, for v in [1, 2^62)."""
    v = v.astype(np.int64)
    e = np.zeros_like(v)
    for step in (32, 16, 8, 4, 2):
        small = v < np.int64(1) << (62 - step)
        v, e = np.where(small, v << np.where(small, step, 0), v), e + np.where(small, step, 0)
    return v, e


def reciprocal_sqrt(t: np.ndarray) -> np.ndarray:
    """``2^61 / sqrt(t)`` for t in [2^60, 2^62), within 2^-29 of itself.

    From a table of 24 roots by three of Newton's steps, y (3 - x y^2) / 2, with 30 fractional bits.
    """
    x = t.astype(np.int64) >> 30
    y = ROOTS[(x >> 27) - 8] << 15
    for _ in range(3):
        square = (((y * y) >> 30) * x) >> 32
        y = (y * ((np.int64(3) << 30) - square)) >> 31
    return y


def square_root(v: np.ndarray, fraction: int) -> np.ndarray:
    """``sqrt(v) 2^fraction``, within 2^-28 of itself and half a unit, for v in [0, 2^62).

    It must be below 2^30.
    """
    t, e = normalized_even(np.maximum(v, 1))
    root = ((t >> 31) * reciprocal_sqrt(t) + (1 << 29)) >> 30
    shift = e // 2 - fraction
    return np.where(v > 0, (root + (np.int64(1) << shift >> 1)) >> shift, 0)


def root_fraction(count: int, reach: int) -> int:
    """The most fractional bits with which the root of ``count`` squares stays below 2^30."""
    return _floor_log4(Fraction(2**59, count * reach**2))


# ---- normalizations --------------------------------------------------------------------------

# What elements are divided by the root of: their variance, or without their mean taken away the
# mean of their squares, or the square of the mean of their magnitudes.
Measure = Literal["variance", "squares", "magnitudes"]

MAX_NORMALIZED = 2**24
"""The most elements that are normalized together."""


def epsilon_and_exponent(real: float) -> tuple[int, int]:
    """What is nearest to ``real`` >= 0 as a ``Normalizer`` has it; 0 for what no measure feels."""
    if not (math.isfinite(real) and real >= 0):
        raise QuantizationError(f"an epsilon must be 0 or more and finite, not {real!r}")
    if real < 2.0**-70:
        return 0, 0
    exponent = math.frexp(real)[1]
    exponent += exponent % 2
    epsilon = int(round_half_away(math.ldexp(real, 31 - exponent)))
    if epsilon == 2**31:
        return epsilon // 4, exponent // 2 + 1
    return epsilon, exponent // 2


def affine_parameters(
    factors: np.ndarray, offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """M, int32, b, int64, and the largest S with ``M = factors 2^S`` and ``b = offsets 2^S``.

    Raises
    ------
    QuantizationError
        They are not finite, or so large that S would fall below 2.
    """
    steepest, farthest = (float(np.abs(v).max(initial=0.0)) for v in (factors, offsets))
    for shift in range(_MAX_SHIFT, _MIN_SHIFT - 1, -1):
        if round_half_away(steepest * 2.0**shift) < 2**31 and farthest * 2.0**shift <= 2**61:
            multiplier, bias = (round_half_away(v * 2.0**shift) for v in (factors, offsets))
            return multiplier.astype(np.int32), bias.astype(np.int64), shift
    raise QuantizationError(
        f"factors of up to {steepest:.6g} and offsets of up to {farthest:.6g} steps do not fit"
    )


@dataclass(frozen=True)
class Shares:
    """What each of the groups that are normalized together multiplies its elements by.

    ``((q - mean) * factor - rest + 2^(shift - 1)) >> shift``; arrays of one entry a group.
    """

    mean: np.ndarray
    factor: np.ndarray
    rest: np.ndarray
    shift: np.ndarray

    def of(self, q: np.ndarray) -> np.ndarray:
        """The normalized ``q`` [groups, elements]."""
        mean, factor, rest, shift = (
            v[:, None] for v in (self.mean, self.factor, self.rest, self.shift)
        )
        return ((q - mean) * factor - rest + (np.int64(1) << (shift - 1))) >> shift


@dataclass(frozen=True)
class Normalizer:
    """How ``count`` integers are divided by the root of their measure, with ``fraction`` bits.

    Parameters
    ----------
    measure : str
        See ``Measure``.
    count : int
        How many, 1 to ``MAX_NORMALIZED``.
    zero_point : int
        Of the integers; a variance does not need it.
    epsilon, exponent : int
        ``E = epsilon * 4^exponent / 2^31``, with epsilon 0 or in [2^29, 2^31): what is added to
        the measure, which has the unit of ``count`` times the squares of integers (variance,
        times ``count^2``; magnitudes, too).
    is_least : bool
        It is not added, but the least that the measure is taken for.
    fraction : int
        Fractional bits of the result; no more than ``largest_fraction``.
    """

    measure: Measure
    count: int
    zero_point: int
    epsilon: int
    exponent: int
    is_least: bool = False
    fraction: int = 0

    @property
    def weight(self) -> int:
        """By how much an element's distance from the mean is multiplied, to be an integer."""
        return self.count if self.measure == "variance" else 1

    def largest_fraction(self, reach: int) -> int:
        """The most fractional bits with which every result stays below 2^30.

        ``reach`` is the largest distance of an integer from the zero point, or from the mean.
        """
        least = self.count - 1 if self.measure == "variance" and self.count > 1 else 1
        divisor = max(Fraction(least), Fraction(self.epsilon, 2**31) * Fraction(4) ** self.exponent)
        slope = self.weight**2 / divisor
        most = self.count if self.measure == "variance" else 1
        return min(
            _floor_log4(2**56 / slope), _floor_log4(2**59 / min(Fraction(most), slope * reach**2))
        )

    def shares(self, q: np.ndarray) -> Shares:
        """What the groups of ``q`` [groups, count] are multiplied by."""
        q = q.astype(np.int64)
        n, weight = self.count, self.weight
        if self.measure == "variance":
            total = q.sum(1)
            mean = total // n
            left = total - mean * n
            squares = ((q - mean[:, None]) ** 2).sum(1)
            # twice the fewest places that leave their product with the count 62 bits
            lost = np.zeros_like(squares)
            while (over := squares >> lost >= np.int64(1) << (62 - n.bit_length())).any():
                lost += 2 * over
            v = (squares >> lost) * n - (left * left >> lost)
        else:
            mean = np.full(len(q), self.zero_point, np.int64)
            left = lost = np.zeros_like(mean)
            d = q - self.zero_point
            v = (d * d).sum(1) if self.measure == "squares" else np.abs(d).sum(1) ** 2
        t, e = self._divisor(v, lost)
        root = np.where(v > 0, reciprocal_sqrt(t), 0)
        bits = weight.bit_length()
        factor, rest = ((m * root + (1 << (bits - 1))) >> bits for m in (weight, left))
        shift = 61 - e // 2 - bits - self.fraction
        return Shares(mean, factor, rest, np.where(v > 0, np.minimum(shift, 62), 1))

    def _divisor(self, v: np.ndarray, lost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """t in [2^60, 2^62) and e: ``v << lost`` and epsilon, together, times 2^e."""
        t, e = normalized_even(np.maximum(v, 1))
        e = e - lost
        if self.epsilon:
            own = 62 - 2 * self.exponent
            common = np.minimum(e, own)
            t = t >> np.minimum(e - common, 62)
            added = np.int64(self.epsilon << 31) >> np.minimum(own - common, 62)
            t = np.maximum(t, added) if self.is_least else t + added
            e = common
        carried = t >= np.int64(1) << 62
        return np.where(carried, t >> 2, t), e - 2 * carried


def _floor_log4(x: Fraction) -> int:
    """The largest n with 4^n <= x."""
    n = (x.numerator.bit_length() - x.denominator.bit_length()) // 2 + 1
    while Fraction(4) ** n > x:
        n -= 1
    return n


# ---- boxes -------------------------------------------------------------------------------------


def corners(boxes: np.ndarray, centered: bool) -> np.ndarray:
    """The corners of ``boxes`` [..., 4], least first, as [..., 2, 2]: end, axis.

    Boxes are two opposite corners, or where ``centered`` the centre, the width and the height; of
    these, twice the corners are given.
    """
    first, second = boxes[..., :2], boxes[..., 2:]
    if centered:
        return np.stack([2 * first - second, 2 * first + second], -2)
    return np.stack([np.minimum(first, second), np.maximum(first, second)], -2)


def overlaps(one: np.ndarray, others: np.ndarray, overlap: int) -> np.ndarray:
    """Whether a box shares more than ``overlap`` 2**-30 of their union with each of others.

    ``one`` [2, 2] and ``others`` [M, 2, 2] are corners in int64, or in float64 where they are
    real; those of 16 bits have areas below 2**32.
    """
    least, most = np.maximum(one[0], others[:, 0]), np.minimum(one[1], others[:, 1])
    shared = (most - least).prod(-1)
    areas = (one[1] - one[0]).prod(), (others[:, 1] - others[:, 0]).prod(-1)
    beyond = shared * WHOLE > overlap * (areas[0] + areas[1] - shared)
    return (most > least).all(-1) & beyond
