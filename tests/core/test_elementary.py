"""Functions made of IEEE 754's own operations are near the C library's, and of known bits."""

import hashlib
import math

import numpy as np
import pytest

from edgeinfer.arithmetic import elementary

RNG = np.random.default_rng(0)


def uniform(low: float, high: float) -> np.ndarray:
    return RNG.uniform(low, high, 20_000)


def decades(low: float, high: float) -> np.ndarray:
    return 10 ** RNG.uniform(math.log10(low), math.log10(high), 20_000)


SMALL = np.concatenate([uniform(-1, 1), decades(1e-20, 1)])
TURNS = [uniform(-100, 100), decades(1e5, 1e8)[:2000], decades(1e9, 1e300)[:500]]
PLACES = {
    "arccos": (math.acos, [uniform(-1, 1), [-1.0, 0.0, 1.0]]),
    "arccosh": (math.acosh, [uniform(1, 5), decades(1, 1e100)]),
    "arcsin": (math.asin, [SMALL, [-1.0, 1.0]]),
    "arcsinh": (math.asinh, [SMALL, -decades(1, 1e100)]),
    "arctan": (math.atan, [SMALL, uniform(-5, 5), decades(1, 1e100)]),
    "arctanh": (math.atanh, [uniform(-1, 1), decades(1e-20, 0.5)]),
    "cos": (math.cos, [SMALL, *TURNS, np.arange(-99, 99) * math.pi / 2]),
    "cosh": (math.cosh, [uniform(-700, 700)]),
    "erf": (math.erf, [SMALL, uniform(-7, 7)]),
    "exp": (math.exp, [SMALL, uniform(-740, 709)]),
    "expm1": (math.expm1, [SMALL, uniform(-40, 700)]),
    "log": (math.log, [uniform(0.5, 2), decades(1e-300, 1e300)]),
    "log1p": (math.log1p, [uniform(-0.999, 2), decades(1e-20, 1e10)]),
    "sin": (math.sin, [SMALL, *TURNS, np.arange(-99, 99) * math.pi / 2]),
    "sinh": (math.sinh, [SMALL, uniform(-700, 700)]),
    "tan": (math.tan, [SMALL, *TURNS]),
    "tanh": (math.tanh, [SMALL, uniform(-25, 25)]),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_function_is_within_four_ulps_of_the_c_library(name):
    known, places = PLACES[name]
    x = np.concatenate(places)
    expected = np.array([known(v) for v in x.tolist()])
    off = np.abs(getattr(elementary, name)(x) - expected) / np.spacing(np.abs(expected))
    assert off.max() <= 4


@pytest.mark.parametrize("name", sorted(PLACES.keys() - {"erf"}))
def test_where_a_function_has_no_value_or_an_exact_one_it_is_numpys(name):
    places = [0.0, -0.0, 1.0, -1.0, 800.0, -800.0, np.inf, -np.inf, np.nan]
    x = np.array(places)
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(x)
    found = getattr(elementary, name)(x)
    exact = ~np.isfinite(expected) | (expected == np.rint(expected))
    assert np.array_equal(found[exact], expected[exact], equal_nan=True)
    zero = expected == 0
    assert np.array_equal(np.signbit(found[zero]), np.signbit(expected[zero]))


def test_the_error_function_settles():
    found = elementary.erf(np.array([0.0, 7.0, -np.inf, np.inf, np.nan]))
    assert np.array_equal(found, [0.0, 1.0, -1.0, 1.0, np.nan], equal_nan=True)


def test_powers_are_near_the_c_librarys():
    a, b = decades(1e-3, 1e3), uniform(-20, 20)
    expected = np.array([math.pow(*both) for both in zip(a, b, strict=True)])
    assert np.abs(elementary.power(a, b) / expected - 1).max() < 1e-13


def test_whole_powers_of_whole_numbers_are_exact():
    a = np.arange(-9.0, 10.0)
    for exponent in range(8):
        assert np.array_equal(elementary.power(a, float(exponent)), a**exponent)
    assert np.array_equal(elementary.power(np.square(np.arange(9.0)), 0.5), np.arange(9.0))


def test_powers_have_no_value_where_c_has_none():
    numbers = np.array([0.0, 1.0, -1.0, 0.5, 3.0, -3.0, np.inf, np.nan])
    a, b = (x.ravel() for x in np.meshgrid(numbers, numbers))
    with np.errstate(all="ignore"):
        expected = np.power(a, b)
    assert np.allclose(elementary.power(a, b), expected, rtol=1e-15, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", PLACES)
def test_a_narrower_float_is_rounded_once(name):
    function = getattr(elementary, name)
    with np.errstate(over="ignore"):
        x = np.concatenate(PLACES[name][1]).astype(np.float32)
        expected = function(x.astype(np.float64)).astype(np.float32)
    found = function(x)
    assert found.dtype == np.float32
    assert np.array_equal(found, expected, equal_nan=True)


def test_the_bits_are_those_of_every_processor():
    x = np.arange(1, 4001) * 0.00731
    share = np.arange(4000) / 4001
    digest = hashlib.sha256()
    for name in sorted(PLACES):
        within = {"arccos": share, "arcsin": share, "arctanh": share, "arccosh": 1 + x}
        digest.update(getattr(elementary, name)(within.get(name, x)).astype("<f8").tobytes())
    digest.update(elementary.power(x, x - 10).astype("<f8").tobytes())
    assert digest.hexdigest()[:16] == "4b88c9b7b119fbaf"
