"""EI-1's arithmetic is what exact fractions, gemmlowp's code and float64 say it is."""

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.arithmetic import fixedpoint
from edgeinfer.arithmetic.accumulators import normalized_reach
from edgeinfer.errors import QuantizationError
from tests.refusals import refused

accumulators = st.integers(-(2**31) + 1, 2**31 - 1)
shifts = st.integers(2, 62)
HALF = Fraction(1, 2)


def half_up(x: Fraction) -> int:
    return math.floor(x + Fraction(1, 2))


def half_away(x: Fraction) -> int:
    return int(math.copysign(1, x)) * half_up(abs(x))


# ---- multipliers -----------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [24, 31])
@given(fraction=st.floats(0.5, 1, exclude_max=True), exponent=st.integers(-30, 21))
def test_a_multiplier_is_the_nearest_of_its_width(bits, fraction, exponent):
    real = math.ldexp(fraction, exponent)
    multiplier, shift = fixedpoint.multiplier_and_shift(real, bits)
    assert 2 ** (bits - 1) <= multiplier < 2**bits
    assert 2 <= shift <= 62
    # just below a power of two the next one up is nearer than any multiplier of its own shift
    spacing = Fraction(1, 2**shift)
    assert abs(multiplier * spacing - Fraction(real)) <= spacing / 2


@pytest.mark.parametrize("bits", [24, 31])
@given(excess=st.integers(1, 900), fraction=st.floats(0.5, 1, exclude_max=True))
def test_a_tiny_ratio_keeps_shift_62_and_loses_bits(bits, excess, fraction):
    real = math.ldexp(fraction, bits - 62 - excess)
    multiplier, shift = fixedpoint.multiplier_and_shift(real, bits)
    assert shift == 62 and 0 <= multiplier <= 2**bits
    assert abs(multiplier - Fraction(real) * 2**62) <= Fraction(3, 4)


def test_a_multiplier_that_rounds_up_to_a_power_of_two_takes_the_next_shift():
    assert fixedpoint.multiplier_and_shift(1 - 2**-40) == (2**30, 30)
    assert fixedpoint.multiplier_and_shift(1 - 2**-30, 24) == (2**23, 23)


@pytest.mark.parametrize("real", [0.0, -1.0, math.inf, math.nan])
def test_a_ratio_that_is_not_positive_and_finite_is_refused(real):
    message = f"a scale ratio must be positive and finite, not {real!r}"
    with refused(message, QuantizationError):
        fixedpoint.multiplier_and_shift(real)


@pytest.mark.parametrize(("real", "bits"), [(2.0**29, 31), (2.0**22, 24)])
def test_a_ratio_too_large_for_the_least_shift_is_refused(real, bits):
    assert fixedpoint.multiplier_and_shift(real * (1 - 2**-bits), bits)[1] == 2
    message = f"a scale ratio of {real:.6g} needs a shift of 1, but shifts start at 2"
    with refused(message, QuantizationError):
        fixedpoint.multiplier_and_shift(real, bits)


# ---- rounding --------------------------------------------------------------------------------


@given(acc=accumulators, multiplier=accumulators, shift=shifts)
def test_r1_is_the_product_rounded_once_halves_up(acc, multiplier, shift):
    expected = half_up(Fraction(acc * multiplier, 2**shift))
    assert fixedpoint.single_round(acc, multiplier, shift) == expected


@given(acc=st.integers(1 - 2**38, 2**38 - 1), multiplier=st.integers(0, 2**24 - 1), shift=shifts)
def test_r1_is_exact_for_16_bit_accumulators(acc, multiplier, shift):
    assert abs(acc) < fixedpoint.MAX_ACCUMULATOR_16
    expected = half_up(Fraction(acc * multiplier, 2**shift))
    assert fixedpoint.single_round(acc, multiplier, shift) == expected


def gemmlowp_high_multiply(a: int, b: int) -> int:
    """SaturatingRoundingDoublingHighMul of int32, from gemmlowp/fixedpoint/fixedpoint.h."""
    product = a * b
    nudge = 1 << 30 if product >= 0 else 1 - (1 << 30)
    total = product + nudge
    return total // 2**31 if total >= 0 else -(-total // 2**31)  # C divides toward 0


def gemmlowp_divide(x: int, exponent: int) -> int:
    """RoundingDivideByPOT, from the same file."""
    mask = (1 << exponent) - 1
    threshold = (mask >> 1) + (x < 0)
    return (x >> exponent) + ((x & mask) > threshold)


@given(acc=accumulators, multiplier=st.integers(2**30, 2**31 - 1), shift=st.integers(2, 62))
def test_r2_is_gemmlowps_two_roundings(acc, multiplier, shift):
    left, right = max(31 - shift, 0), max(shift - 31, 0)
    if abs(acc << left) >= 2**31:
        return  # undefined there
    expected = gemmlowp_divide(gemmlowp_high_multiply(acc << left, multiplier), right)
    assert fixedpoint.double_round(acc, multiplier, shift) == expected


@given(acc=accumulators, multiplier=st.integers(2**30, 2**31 - 1), shift=shifts)
def test_r1_and_r2_differ_by_at_most_1(acc, multiplier, shift):
    once = fixedpoint.single_round(acc, multiplier, shift)
    assert abs(once - fixedpoint.double_round(acc, multiplier, shift)) <= 1


@given(x=st.floats(-1e15, 1e15))
def test_round_half_away_is_exact(x):
    assert float(fixedpoint.round_half_away(x)) == half_away(Fraction(x))


def test_round_half_away_does_not_round_the_float_below_a_half():
    assert fixedpoint.round_half_away(0.49999999999999994) == 0
    assert fixedpoint.round_half_away([0.5, -0.5, 2.5, -2.5]).tolist() == [1, -1, 3, -3]


@given(
    acc=accumulators,
    multiplier=st.integers(0, 2**31 - 1),
    shift=shifts,
    zero_point=st.integers(-128, 127),
    rounding=st.sampled_from(["single", "double"]),
)
def test_requantize_rounds_then_adds_then_clamps(acc, multiplier, shift, zero_point, rounding):
    rounded = {"single": fixedpoint.single_round, "double": fixedpoint.double_round}[rounding]
    expected = min(max(int(rounded(acc, multiplier, shift)) + zero_point, -100), 90)
    y = fixedpoint.requantize(acc, multiplier, shift, zero_point, -100, 90, rounding)
    assert y == expected and y.dtype == np.int64


# ---- averages --------------------------------------------------------------------------------


def first_sum_that_rounds_to(y: np.ndarray, count: int) -> np.ndarray:
    """The least integer sum whose mean rounds, half away from 0, to ``y`` or more."""
    twice = (2 * y - 1) * count
    return np.where(y > 0, -(-twice // 2), twice // 2 + 1)


def assert_average_is_exact(count: int, bits: int) -> None:
    # R1 grows with the sum, so it is right everywhere if it is right on both sides of each step
    multiplier, shift = fixedpoint.average_multiplier(count)
    assert 2**30 <= multiplier <= 2**31 - 1 and 2 <= shift <= 62
    top = 2 ** (bits - 1)
    y = np.arange(1 - top, top)
    first = first_sum_that_rounds_to(y, count)
    assert (fixedpoint.single_round(first, multiplier, shift) == y).all()
    assert (fixedpoint.single_round(first - 1, multiplier, shift) == y - 1).all()
    extremes = np.array([-top, top - 1])
    averages = fixedpoint.single_round(extremes * count, multiplier, shift)
    assert averages.tolist() == extremes.tolist()


def test_every_sum_of_up_to_4096_8_bit_integers_is_divided_exactly():
    for count in range(1, 4097):
        assert_average_is_exact(count, 8)


def test_sums_of_up_to_16384_16_bit_integers_are_divided_exactly():
    near_powers = {2**k + d for k in range(15) for d in (-1, 0, 1) if 1 <= 2**k + d <= 16384}
    for count in sorted(near_powers | set(range(2, 16384, 331))):
        assert_average_is_exact(count, 16)


@given(count=st.integers(1, 64), data=st.data())
def test_an_average_rounds_halves_away_from_0(count, data):
    total = data.draw(st.integers(-128 * count, 127 * count))
    y = fixedpoint.single_round(total, *fixedpoint.average_multiplier(count))
    assert y == half_away(Fraction(total, count))


# ---- addition --------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "left_shift"), [(8, 20), (16, 15)])
@given(a=st.floats(2**-20, 2**10), ratio=st.floats(2**-12, 2**12))
def test_operands_of_an_addition_fit_32_bits_at_twice_the_larger_scale(bits, left_shift, a, ratio):
    b, out = a * ratio, max(a, a * ratio)
    p = fixedpoint.add_parameters(a, b, out, bits=bits)
    assert p["left_shift"] == left_shift
    farthest = 255 if bits == 8 else 32768
    pairs = [(p[f"{operand}multiplier"], p[f"{operand}shift"]) for operand in ("a_", "b_", "")]
    largest = [int(fixedpoint.single_round(farthest << left_shift, *m)) for m in pairs[:2]]
    assert max(largest) == farthest << (left_shift - 1)
    assert sum(largest) < 2**31
    y = fixedpoint.single_round(sum(largest), *pairs[2])
    assert abs(y - farthest * (a + b) / out) <= 0.51


# ---- quotients -------------------------------------------------------------------------------


@given(
    a=st.integers(-(2**16), 2**16),
    b=st.integers(-(2**16), 2**16),
    multiplier=st.integers(0, 2**31 - 1),
    shift=st.integers(2, 44),
)
def test_a_quotient_is_rounded_once_halves_up(a, b, multiplier, shift):
    found = fixedpoint.quotient(np.array([a]), np.array([b]), multiplier, shift)
    if b == 0:
        assert found == int(np.sign(a)) * 2**31
    else:
        assert found == half_up(Fraction(a * multiplier, b * 2**shift))


def test_a_ratio_too_small_for_a_quotients_shift_loses_bits():
    most = fixedpoint.MAX_QUOTIENT_SHIFT
    multiplier, shift = fixedpoint.multiplier_and_shift(3 * 2.0**-20, most=most)
    assert (multiplier, shift) == (3 * 2**24, 44)


# ---- tables ----------------------------------------------------------------------------------


@given(scale=st.floats(1e-3, 1), zero_in=st.integers(-128, 127), zero_out=st.integers(-128, 127))
def test_a_table_holds_the_rounded_function_of_every_integer(scale, zero_in, zero_out):
    entries = fixedpoint.table(np.tanh, scale, zero_in, 1 / 128, zero_out, "int8", "int8")
    for q in (-128, -127, zero_in, 0, 126, 127):
        y = half_away(Fraction(float(np.tanh(np.float64(scale * (q - zero_in))))) * 128)
        assert entries[q + 128] == min(max(y + zero_out, -128), 127)


def test_a_table_clamps_infinities_and_refuses_what_is_not_a_number():
    entries = fixedpoint.table(lambda x: 1 / x, 1.0, 0, 1.0, 0, "int8", "int8")
    assert entries[128] == 127 and entries[127] == -1 and entries[129] == 1
    message = (
        "the function is not a number at -128, which the input's range includes; "
        "calibrate with data that keeps inside its domain"
    )
    with refused(message, QuantizationError):
        fixedpoint.table(np.log, 1.0, 0, 1.0, 0, "int8", "int8")


def test_a_table_of_16_bit_inputs_has_an_entry_for_each():
    entries = fixedpoint.table(lambda x: x, 0.5, 0, 0.5, 0, "int16", "int16")
    assert entries.dtype == np.int16
    assert (entries == np.arange(-32768, 32768)).all()


@given(seed=st.integers(0, 2**32 - 1), q=st.integers(-32768, 32767))
def test_interpolation_is_the_line_between_two_knots_rounded_half_up(seed, q):
    knots = np.random.default_rng(seed).integers(-16384, 16384, 513).tolist()
    i, f = divmod(q + 32768, 128)
    line = knots[i] + Fraction((knots[i + 1] - knots[i]) * f, 128)
    y = fixedpoint.interpolate_16(np.array(knots, np.int16), np.array([q], np.int16))
    assert y.tolist() == [half_up(line)]


@pytest.mark.parametrize(
    ("function", "in_scale", "out_scale", "steps"),
    [(np.tanh, 2.0**-12, 2.0**-15, 4.0), (lambda x: x / 2, 2.0**-12, 2.0**-12, 1.0)],
)
def test_an_interpolated_table_stays_near_its_function(function, in_scale, out_scale, steps):
    knots = fixedpoint.interpolation_table_16(function, in_scale, out_scale)
    q = np.arange(-32768, 32768)
    ideal = function(in_scale * q) / out_scale
    assert np.abs(fixedpoint.interpolate_16(knots, q) - ideal).max() <= steps


def test_no_table_interpolates_a_slope_beyond_int16_or_a_function_that_is_not_a_number():
    assert fixedpoint.interpolation_table_16(lambda x: np.sign(x) * 40000, 1.0, 1.0) is None
    assert fixedpoint.interpolation_table_16(np.sqrt, 1.0, 1.0) is None


# ---- softmax ---------------------------------------------------------------------------------


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("length", [1, 2, 10, 1000])
@pytest.mark.parametrize("scale", [0.001, 0.05, 0.3, 2.0])
def test_softmax_of_int8_is_the_rounded_ideal(length, scale):
    rng = np.random.default_rng(length)
    q = rng.integers(-128, 128, (20000 // length, length)).astype(np.int8)
    ideal = np.minimum(np.floor(softmax(scale * q.astype(np.float64)) * 256 + 0.5) - 128, 127)
    y = fixedpoint.softmax_8(q, fixedpoint.exponential_table_8(scale), -1)
    assert y.dtype == np.int8
    assert (y == ideal).all()


@pytest.mark.parametrize("length", [1, 2, 10, 1000])
@pytest.mark.parametrize("scale", [0.00001, 0.0003, 0.01])
def test_softmax_of_int16_errs_by_no_more_than_half_a_step_and_a_thousandth(length, scale):
    rng = np.random.default_rng(length)
    q = rng.integers(-32768, 32768, (20000 // length, length)).astype(np.int16)
    ideal = softmax(scale * q.astype(np.float64)) * 32768
    y = fixedpoint.softmax_16(q, fixedpoint.exponential_table_16(scale), -1)
    assert y.dtype == np.int16
    assert np.abs(y - np.minimum(ideal, 32767)).max() <= 0.501


def test_softmax_runs_along_the_axis_that_it_is_given():
    q = np.random.default_rng(0).integers(-128, 128, (3, 5, 2)).astype(np.int8)
    table = fixedpoint.exponential_table_8(0.1)
    along = fixedpoint.softmax_8(np.moveaxis(q, 1, -1), table, -1)
    assert (fixedpoint.softmax_8(q, table, 1) == np.moveaxis(along, -1, 1)).all()


def test_exponentials_begin_with_one_and_never_grow():
    eight = fixedpoint.exponential_table_8(0.02)
    assert eight[0] == 2**23 and (np.diff(eight) <= 0).all() and eight.min() >= 0
    sixteen = fixedpoint.exponential_table_16(0.0002)
    assert sixteen.shape == (2, 256) and sixteen[:, 0].tolist() == [2**30, 2**30]
    assert (np.diff(sixteen) <= 0).all() and sixteen.min() >= 0


# ---- normalizations --------------------------------------------------------------------------


@given(st.integers(1, 2**62 - 1))
def test_an_integer_is_shifted_by_an_even_number_of_places(v):
    t, e = (int(a[0]) for a in fixedpoint.normalized_even(np.array([v])))
    assert 2**60 <= t < 2**62 and e % 2 == 0 and t == v << e


def assert_reciprocal_roots(t: np.ndarray) -> None:
    """(1 - 2^-29)^2 2^122 < root^2 t < (1 + 2^-29)^2 2^122, in whole numbers."""
    low, high = (2**29 - 1) ** 2 << 64, (2**29 + 1) ** 2 << 64
    for value, root in zip(t.tolist(), fixedpoint.reciprocal_sqrt(t).tolist(), strict=True):
        assert low < root * root * value < high
        assert 2**30 <= root <= 2**31


def test_a_reciprocal_root_is_within_a_2_29th_of_itself():
    # on both sides of each of the table's intervals, and of what x cuts off
    edges = np.arange(8, 33) << 57
    near = edges[:, None] + np.array([-(2**31), -(2**30), -1, 0, 1, 2**30, 2**31])
    inner = near[(near >= 2**60) & (near < 2**62)]
    assert_reciprocal_roots(inner)
    assert_reciprocal_roots(np.random.default_rng(0).integers(2**60, 2**62, 20000))


@given(st.integers(2**60, 2**62 - 1))
def test_every_reciprocal_root_is(t):
    assert_reciprocal_roots(np.array([t]))


@given(v=st.integers(0, 2**54), least=st.integers(0, 20))
def test_a_root_is_within_a_2_28th_and_half_a_unit(v, least):
    fraction = fixedpoint.root_fraction(1, max(math.isqrt(v) + 1, 1)) - least
    found = int(fixedpoint.square_root(np.array([v]), fraction)[0])
    assert 0 <= found <= 2**30
    exact, share = v * Fraction(4) ** fraction, Fraction(1, 2**28)
    assert (found - HALF) <= 0 or ((found - HALF) / (1 + share)) ** 2 <= exact
    assert exact <= ((found + HALF) / (1 - share)) ** 2


@given(count=st.integers(1, 2**24), reach=st.integers(127, 65535))
def test_a_root_has_the_most_fractional_bits_that_fit(count, reach):
    fraction = fixedpoint.root_fraction(count, reach)
    assert count * reach**2 * Fraction(4) ** fraction <= 2**59
    assert count * reach**2 * Fraction(4) ** (fraction + 1) > 2**59


@given(real=st.floats(1e-20, 1e200))
def test_an_epsilon_is_within_a_2_30th_of_itself(real):
    epsilon, exponent = fixedpoint.epsilon_and_exponent(real)
    assert 2**29 <= epsilon < 2**31
    held = Fraction(epsilon, 2**31) * Fraction(4) ** exponent
    assert abs(held - Fraction(real)) <= Fraction(real) / 2**30


def test_an_epsilon_that_no_measure_feels_is_0_and_one_below_it_is_refused():
    assert fixedpoint.epsilon_and_exponent(0.0) == (0, 0)
    assert fixedpoint.epsilon_and_exponent(1e-22) == (0, 0)
    assert fixedpoint.epsilon_and_exponent(1 - 2**-40) == (2**29, 1)
    with refused("an epsilon must be 0 or more and finite, not -1.0", QuantizationError):
        fixedpoint.epsilon_and_exponent(-1.0)


@given(steepest=st.floats(1e-30, 1e8), farthest=st.floats(0, 1e12), seed=st.integers(0, 2**32 - 1))
def test_factors_and_offsets_are_as_fine_as_fits(steepest, farthest, seed):
    rng = np.random.default_rng(seed)
    factors = np.append(rng.uniform(-1, 1, 5), 1.0) * steepest
    offsets = np.append(rng.uniform(-1, 1, 5), -1.0) * farthest
    multiplier, bias, shift = fixedpoint.affine_parameters(factors, offsets)
    assert multiplier.dtype == np.int32 and bias.dtype == np.int64 and 2 <= shift <= 62
    assert np.abs(multiplier - factors * 2.0**shift).max() <= 0.5
    assert np.abs(bias - offsets * 2.0**shift).max() <= np.maximum(
        0.5, farthest * 2.0**shift / 2**52
    )
    assert np.abs(bias).max() <= 2**61
    finer = 2.0 ** (shift + 1)
    assert shift == 62 or steepest * finer >= 2**31 - 0.5 or farthest * finer > 2**61


def test_factors_and_offsets_that_do_not_fit_are_refused():
    message = "factors of up to 1e+10 and offsets of up to 2 steps do not fit"
    with refused(message, QuantizationError):
        fixedpoint.affine_parameters(np.array([1e10]), np.array([2.0]))


def normalized_exactly(n: fixedpoint.Normalizer, q: list[int]) -> list[tuple[int, int]]:
    """Of each element the sign and the square, exact, of what it is normalized to."""
    d = [v - n.zero_point for v in q]
    if n.measure == "variance":
        d = [n.count * v - sum(q) for v in q]
        measure = Fraction(sum(v * v for v in d), n.count)
    elif n.measure == "squares":
        measure = Fraction(sum(v * v for v in d))
    else:
        measure = Fraction(sum(map(abs, d)) ** 2)
    added = Fraction(n.epsilon, 2**31) * Fraction(4) ** n.exponent
    total = max(measure, added) if n.is_least else measure + added
    return [((v > 0) - (v < 0), v * v / total if total else Fraction(0)) for v in d]


def assert_within(found: int, sign: int, square: Fraction, fraction: int) -> None:
    """``|found - v 2^fraction| <= |v 2^fraction| 2^-28 + 1`` where v^2 is ``square``."""
    scaled = square * Fraction(4) ** fraction
    share = Fraction(1, 2**28)
    outer = (abs(found) - 1) / (1 + share)
    inner = (abs(found) + 1) / (1 - share)
    assert outer <= 0 or outer**2 <= scaled
    assert scaled <= inner**2
    assert abs(found) <= 1 or (found > 0) == (sign > 0)


SPREADS = [0, 1, 3, 100, 32767]


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("measure", ["variance", "squares", "magnitudes"])
@given(
    count=st.sampled_from([1, 2, 3, 7, 64, 300]),
    spread=st.sampled_from(SPREADS),
    share=st.sampled_from([0.0, 1e-18, 1e-9, 1e-3, 1.0, 1e3, 1e30, 1e100]),
    is_least=st.booleans(),
    zero_point=st.integers(-128, 127),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_normalized_element_is_within_a_2_28th_and_a_unit(
    dtype, measure, count, spread, share, is_least, zero_point, seed
):
    info = np.iinfo(dtype)
    zero_point = zero_point if dtype == "int8" else 0
    rng = np.random.default_rng(seed)
    center = rng.integers(info.min, info.max + 1)
    q = np.clip(center + rng.integers(-spread, spread + 1, (1, count)), info.min, info.max)
    reach = normalized_reach(measure, dtype, zero_point)
    epsilon = fixedpoint.epsilon_and_exponent(share * reach)
    n = fixedpoint.Normalizer(measure, count, zero_point, *epsilon, is_least)
    n = dataclasses.replace(n, fraction=n.largest_fraction(reach))
    shares = n.shares(q)
    assert (shares.shift >= 1).all()
    found = shares.of(q)
    assert np.abs(found).max() <= 2**30
    expected = normalized_exactly(n, q[0].tolist())
    for y, (sign, square) in zip(found[0].tolist(), expected, strict=True):
        assert_within(y, sign, square, n.fraction)


@pytest.mark.parametrize("count", [2**16, 2**17 + 1, 2**20])
@pytest.mark.parametrize("spread", SPREADS)
def test_of_many_int16_elements_too(count, spread):
    rng = np.random.default_rng(count)
    q = np.clip(rng.integers(-spread, spread + 1, (1, count)) + 30000, -32768, 32767)
    q[0, 0] = -32768
    n = fixedpoint.Normalizer("variance", count, 0, 0, 0)
    n = dataclasses.replace(n, fraction=n.largest_fraction(65535))
    found = n.shares(q).of(q)[0]
    total = int(q.sum())
    squares = Fraction(int((q * q).sum()) * count - total * total)
    for i in [0, *range(1, count, count // 97)]:
        d = count * int(q[0, i]) - total
        assert_within(int(found[i]), (d > 0) - (d < 0), d * d / squares, n.fraction)


def test_equal_elements_are_normalized_to_0():
    for value in (-128, 0, 127):
        q = np.full((1, 9), value)
        n = fixedpoint.Normalizer("variance", 9, 0, 0, 0, fraction=20)
        assert (n.shares(q).of(q) == 0).all()
    for measure in ("squares", "magnitudes"):
        q = np.full((1, 9), 5)
        n = fixedpoint.Normalizer(measure, 9, 5, 0, 0, fraction=20)
        assert (n.shares(q).of(q) == 0).all()
