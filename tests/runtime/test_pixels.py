"""Layers of one pixel give the reference's bits where a kernel takes them by themselves."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeinfer.cython_kernels.runtime import KERNELS, SUPPORTED
from edgeinfer.graph import operators as ops
from edgeinfer.meaning import reference
from edgeinfer.runtime.catalogue.stages import StageForm
from edgeinfer.runtime.planner import plan
from edgeinfer.runtime.session import Session
from tests.example_counts import examples
from tests.runtime.runtime_graphs import chain
from tests.runtime.test_stages import with_output

COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
ISAS = [isa for isa in SUPPORTED if isa in KERNELS["conv_pixel"]]
# on both sides of the elements of a lane, and of what is summed at a time; of a block of channels
DEPTHS = [1, 2, 3, 4, 5, 15, 16, 17, 20, 33, 118]
OUTPUTS = [1, 7, 8, 9, 16, 17, 24, 31, 32, 33, 64, 80, 97]


def pixel(weights, dtype, shift, rounding="single", zero_points=(0, 0), bias=0):
    """A dense layer of one row; results are sums divided by ``2^(shift - 31)``, or nearly."""
    ends = np.iinfo(dtype)
    op = ops.QDense(
        input_zero_point=zero_points[0],
        output_zero_point=zero_points[1],
        lo=int(ends.min),
        hi=int(ends.max),
        rounding=rounding,
    )
    outputs, depth = weights.shape
    multiplier = np.linspace(2**30, 2**31 - 1, outputs).astype(np.int32)
    constants = np.full(outputs, bias, np.int32), multiplier, np.full(outputs, shift, np.int8)
    return with_output(chain((1, depth), (op, weights, *constants)), dtype)


def check(graph, isa, *xs):
    session = Session(graph, isa=isa)
    for x in xs:
        (expected,) = reference.execute(graph, {"x": x}).values()
        np.testing.assert_array_equal(session.run(x), expected, strict=True)


@pytest.mark.parametrize("isa", ISAS)
@settings(COMMON, max_examples=examples(150))
@given(
    depth=st.sampled_from(DEPTHS),
    outputs=st.sampled_from(OUTPUTS),
    result=st.sampled_from([("int8", 41), ("int8", 33), ("int16", 37), ("int16", 30)]),
    rounding=st.sampled_from(["single", "double"]),
    x_zero_point=st.integers(-128, 127),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_layer_of_one_pixel_is_the_references(
    isa, depth, outputs, result, rounding, x_zero_point, seed
):
    rng = np.random.default_rng(seed)
    weights = rng.integers(-128, 128, (outputs, depth)).astype(np.int8)
    y_zero_point = int(rng.integers(-128, 128)) if result[0] == "int8" else 0
    zero_points = x_zero_point, y_zero_point
    graph = pixel(weights, *result, rounding, zero_points, int(rng.integers(-5000, 5000)))
    (step,) = plan(graph, isa=isa).steps
    assert (step.kernel, step.isa) == ("conv_pixel", isa)
    xs = rng.integers(-128, 128, (3, 1, depth)).astype(np.int8)
    check(graph, isa, *xs, *(np.full((1, depth), q, np.int8) for q in (-128, -1, 127)))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("most", [-128, 127])
def test_the_largest_products_of_one_pixel_fit(isa, most):
    graph = pixel(np.full((17, 118), most, np.int8), "int16", 38)
    check(graph, isa, *(np.full((1, 118), q, np.int8) for q in (-128, -127, 127)))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    ("shift", "form", "lead"),
    [(34, StageForm.SHORT, 0), (33, StageForm.SHORT, 0), (31, StageForm.SHORT, 2)],
)
def test_sums_of_a_few_products_are_led_into_the_short_form(isa, shift, form, lead):
    rng = np.random.default_rng(0)
    graph = pixel(rng.integers(-127, 128, (80, 20)).astype(np.int8), "int16", shift)
    (step,) = plan(graph, isa=isa).steps
    assert (step.parameters["form"], step.parameters["lead"]) == (form, lead)
    check(graph, isa, *rng.integers(-128, 128, (9, 1, 20)).astype(np.int8))


@pytest.mark.parametrize("isa", ISAS)
def test_sums_that_have_no_room_for_a_lead_keep_the_long_form(isa):
    weights = np.full((3, 5000), 127, np.int8)
    graph = pixel(weights, "int16", 27)
    (step,) = plan(graph, isa=isa).steps
    assert (step.parameters["form"], step.parameters["lead"]) == (StageForm.LONG, 0)
    check(graph, isa, *np.random.default_rng(0).integers(-128, 128, (3, 1, 5000)).astype(np.int8))


@pytest.mark.parametrize("isa", ISAS)
def test_threads_share_the_channels_of_one_pixel(isa):
    rng = np.random.default_rng(0)
    graph = pixel(rng.integers(-127, 128, (3000, 999)).astype(np.int8), "int16", 38)
    (step,) = plan(graph, isa=isa).steps
    assert step.units > 1 and step.parts > 1
    x = rng.integers(-128, 128, (1, 999)).astype(np.int8)
    (expected,) = reference.execute(graph, {"x": x}).values()
    found = Session(graph, isa=isa, num_threads=2).run(x)
    np.testing.assert_array_equal(found, expected, strict=True)
