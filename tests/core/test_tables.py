"""A table is made of its expression, its domain and two scales, and of nothing else."""

import math

import numpy as np
import pytest

from edgeinfer.arithmetic.fixedpoint import interpolate_16
from edgeinfer.arithmetic.tables import KNOTS, function_table
from edgeinfer.errors import QuantizationError
from tests.refusals import refused

NARROW = (0.05, -3, "int8")
WIDE = (4 / 32767, 0, "int16")
FAR = (16 / 32767, 0, "int16")
SHARE = (1 / 32767, 0, "int16")


def test_an_entry_is_the_function_of_what_its_integer_stands_for():
    table = function_table(("tanh", "x"), None, NARROW, (0.008, 2, "int8"), 256)
    for q in range(-128, 128):
        real = math.tanh(0.05 * (q + 3)) / 0.008
        assert table[q + 128] == max(-128, min(127, round(real) + 2))


def test_knots_leave_no_error_of_one_sign():
    full = function_table(("sigmoid", "x"), None, FAR, SHARE, 65536)
    knots = function_table(("sigmoid", "x"), None, FAR, SHARE, KNOTS)
    off = interpolate_16(knots, np.arange(-32768, 32768)) - full.astype(int)
    convex, concave = off[8192:32768], off[32768:57344]
    assert 1 <= np.abs(off).max() <= 4
    assert abs(convex.mean()) < 0.05
    assert abs(concave.mean()) < 0.05


def test_knots_lie_on_what_is_straight_and_beside_what_bends_at_them():
    for function in (("relu", "x"), ("leaky_relu", "x", 0.1), ("clip", "x", -2.0, 2.0)):
        step = 4 / 32768
        full = function_table(function, None, (step, 0, "int16"), WIDE, 65536)
        knots = function_table(function, None, (step, 0, "int16"), WIDE, KNOTS)
        np.testing.assert_array_equal(knots[:-1], full[::128])


def test_zero_stands_for_what_rounds_to_it_where_a_function_has_none():
    table = function_table(("log", ("abs", "x")), (0.0, 6.0), NARROW, (0.1, 0, "int8"), 256)
    assert table[-3 + 128] == round(math.log(0.05 / 4) / 0.1)


def test_the_end_of_the_domain_is_meant_where_its_integer_is_beside_it():
    steep = ("mul", ("sub", "x", 1.0), 1e9)
    known, unknown = (
        function_table(steep, domain, (1.00001 / 255, -128, "int8"), (1.0, 0, "int8"), 256)
        for domain in ((0.0, 1.0), None)
    )
    assert known[-1] == 0
    assert unknown[-1] == 127


def test_what_is_no_number_or_too_steep_has_no_table():
    with refused(
        "the function is not a number at -6.25, which the input's range includes; "
        "calibrate with data that keeps inside its domain",
        QuantizationError,
    ):
        function_table(("sqrt", "x"), None, NARROW, NARROW, 256)
    with refused("the function is too steep to be interpolated", QuantizationError):
        function_table(("sign", "x"), None, WIDE, (1e-5, 0, "int16"), KNOTS)


@pytest.mark.parametrize("entries", [KNOTS, 65536])
def test_a_table_that_is_remembered_is_the_one_that_would_be_made(entries):
    asked = (("gelu", "x"), (-1.0, 2.0), WIDE, WIDE, entries)
    kept = function_table(*asked)
    assert function_table(*asked) is kept
    np.testing.assert_array_equal(kept, function_table.__wrapped__(*asked))


def test_a_constant_of_the_other_zero_makes_another_table():
    above, below = (
        function_table(
            ("atan", ("reciprocal", ("mul", "x", zero))), (0.5, 1.0), NARROW, (0.1, 0, "int8"), 256
        )
        for zero in (0.0, -0.0)
    )
    assert (above[-1], below[-1]) == (16, -16)
