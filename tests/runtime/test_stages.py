"""Accumulators on both sides of every change of a result end as the reference's, on every ISA."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeinfer.arithmetic.accumulators import largest_sums
from edgeinfer.cython_kernels.runtime import LAYOUTS, SUPPORTED
from edgeinfer.graph import Quantization
from edgeinfer.graph import operators as ops
from edgeinfer.graph.verification import verify
from edgeinfer.meaning import reference
from edgeinfer.runtime.catalogue.proofs import constant_channels, float_stage, short_quotient
from edgeinfer.runtime.catalogue.stages import StageForm
from edgeinfer.runtime.planner import plan
from edgeinfer.runtime.session import Session
from tests.runtime.runtime_graphs import chain

COMMON = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])

ZERO_POINTS = st.one_of(st.just(-128), st.integers(-128, 127))


def at_thresholds(
    multiplier, shift, rounding, zero_point, lo, hi, x_zero_point=0, *, step=1, dtype="int8"
):
    """A dense layer of one input and a channel for each result, or each ``step``-th, whose bias is
    where it begins, so that its accumulators are the 128 on each side."""
    k = np.arange(lo, hi + 1, step) - zero_point
    first = -(-((k.astype(object) * 2**shift) - 2 ** (shift - 1)) // multiplier)
    bias = np.clip(first.astype(object), -(2**31) + 2**15, 2**31 - 2**15).astype(np.int64)
    outputs = len(k)
    op = ops.QDense(
        input_zero_point=x_zero_point,
        output_zero_point=zero_point,
        lo=lo,
        hi=hi,
        rounding=rounding,
    )
    weights = np.ones((outputs, 1), np.int8)
    constants = np.full(outputs, multiplier, np.int32), np.full(outputs, shift, np.int8)
    return with_output(chain((256, 1), (op, weights, bias.astype(np.int32), *constants)), dtype)


def with_output(graph, dtype):
    kind = replace(graph.types["v0"], dtype=dtype)
    return replace(graph, types={**graph.types, "v0": kind})


def check(graph, isa):
    x = np.arange(-128, 128).astype(np.int8)[:, None]
    (expected,) = reference.execute(graph, {"x": x}).values()
    np.testing.assert_array_equal(Session(graph, isa=isa).run(x), expected, strict=True)


def form(graph, isa):
    (step,) = plan(graph, isa=isa).steps
    return step.parameters["form"]


@pytest.mark.parametrize("isa", SUPPORTED)
@COMMON
@given(
    multiplier=st.integers(2**30, 2**31 - 1),
    shift=st.one_of(st.integers(36, 44), st.integers(2, 62)),
    rounding=st.sampled_from(["single", "double"]),
    zero_point=ZERO_POINTS,
    clamp=st.sampled_from([(-128, 127), (-128, 127), (-7, 90), (5, 5)]),
    x_zero_point=st.integers(-128, 127),
)
def test_every_change_of_a_result_is_the_references(
    isa, multiplier, shift, rounding, zero_point, clamp, x_zero_point
):
    check(at_thresholds(multiplier, shift, rounding, zero_point, *clamp, x_zero_point), isa)


FLOAT_ISAS = [isa for isa in SUPPORTED if LAYOUTS.get(("conv_flat", isa), [0])[-1]]


@pytest.mark.parametrize("isa", FLOAT_ISAS)
@pytest.mark.parametrize("rounding", ["single", "double"])
def test_common_ratios_have_the_form_in_floats(isa, rounding):
    rng = np.random.default_rng(0)
    for _ in range(20):
        multiplier, shift = int(rng.integers(2**30, 2**31)), int(rng.integers(36, 44))
        graph = at_thresholds(multiplier, shift, rounding, -128, -128, 127)
        assert form(graph, isa) == StageForm.FLOAT


LAYER_ISAS = [isa for isa in SUPPORTED if ("conv_flat", isa) in LAYOUTS]


@pytest.mark.parametrize("isa", LAYER_ISAS)
@settings(COMMON, max_examples=20)
@given(
    multiplier=st.integers(2**30, 2**31 - 1),
    shift=st.integers(33, 44),
    step=st.integers(150, 250),
)
def test_results_of_16_bits_have_the_short_form_in_integers(isa, multiplier, shift, step):
    clamp = -32768, 32767
    graph = at_thresholds(multiplier, shift, "single", 0, *clamp, step=step, dtype="int16")
    assert form(graph, isa) == StageForm.SHORT
    check(graph, isa)


@pytest.mark.parametrize("isa", FLOAT_ISAS)
@pytest.mark.parametrize(
    ("multiplier", "shift"), [(1_830_587_258, 51), (1_394_580_233, 52), (1_899_877_634, 54)]
)
def test_results_that_hardly_change_have_it_too(isa, multiplier, shift):
    # trained channels of large biases and small weights, of which one such layer has a few
    op = ops.QDense(output_zero_point=-128)
    bias = np.array([-(2**shift) // (2 * multiplier) + 1000, 2**shift // (2 * multiplier) - 500])
    weights = np.full((2, 16), 127, np.int8)
    constants = np.full(2, multiplier, np.int32), np.full(2, shift, np.int8)
    graph = chain((256, 16), (op, weights, bias.astype(np.int32), *constants))
    assert form(graph, isa) == StageForm.FLOAT
    x = np.zeros((256, 16), np.int8)
    x[:, 0] = np.arange(-128, 128)
    (expected,) = reference.execute(graph, {"x": x}).values()
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(Session(graph, isa=isa).run(x), expected, strict=True)


@pytest.mark.parametrize("isa", SUPPORTED)
@pytest.mark.parametrize("rounding", ["single", "double"])
def test_sums_near_32_bits_do_not_wrap_with_the_bias_of_their_form(isa, rounding):
    # the form in floats would take away 2^23 from sums that reach beyond 2^23 - 2^31
    depth = 66_311
    op = ops.QDense(input_zero_point=-128, output_zero_point=-128, rounding=rounding)
    weights, bias = np.full((1, depth), -127, np.int8), np.zeros(1, np.int32)
    constants = np.full(1, 2**30, np.int32), np.full(1, 47, np.int8)
    graph = chain((2, depth), (op, weights, bias, *constants))
    verify(graph)
    x = np.repeat(np.array([[-128], [127]], np.int8), depth, axis=1)
    (expected,) = reference.execute(graph, {"x": x}).values()
    np.testing.assert_array_equal(Session(graph, isa=isa).run(x), expected, strict=True)


@pytest.mark.parametrize("isa", SUPPORTED)
@pytest.mark.parametrize("rounding", ["single", "double"])
def test_results_beyond_32_bits_are_clamped_at_their_own_side(isa, rounding):
    # a ratio of 243, so that 2^24 becomes more than integers of 32 bits hold
    op = ops.QDense(rounding=rounding)
    constants = np.full(1, 2_040_109_465, np.int32), np.full(1, 23, np.int8)
    graph = chain(
        (3, 1024), (op, np.full((1, 1024), 127, np.int8), np.zeros(1, np.int32), *constants)
    )
    verify(graph)
    x = np.repeat(np.array([[-128], [0], [127]], np.int8), 1024, axis=1)
    np.testing.assert_array_equal(Session(graph, isa=isa).run(x), [[-128], [0], [127]])


def test_a_result_of_16_bits_has_no_form_in_floats():
    op = ops.QDense(lo=-32768, hi=32767)
    stage = np.array([2**30], np.int32), np.array([38], np.int8)
    weights, bias = np.ones((1, 1), np.int8), np.zeros(1, np.int32)
    constant = constant_channels(op, largest_sums(weights, bias, 128), (bias, *stage))
    assert float_stage(op, *stage, np.array([128]), constant) is None


@pytest.mark.parametrize("isa", SUPPORTED)
@COMMON
@given(
    scale=st.one_of(
        st.sampled_from([1 / 255, 1 / 127, 1 / 128, 0.5, 1.0, 1e-38, 1e-30, 1e30]),
        st.floats(1e-6, 1e3),
    ),
    zero_point=ZERO_POINTS,
)
def test_every_float_becomes_the_integer_that_division_gives(isa, scale, zero_point):
    q = Quantization.per_tensor(float(np.float32(scale)), zero_point)
    with np.errstate(over="ignore", under="ignore"):
        middle = ((np.arange(-129, 130) - zero_point + 0.5) * q.step).astype(np.float32)
        around = [middle]
        for _ in range(4):
            around = [np.nextafter(around[0], -np.inf), *around, np.nextafter(around[-1], np.inf)]
    limits = np.array([0, -0.0, 1e-45, -1e-45, 3.4e38, -3.4e38, np.inf, -np.inf], np.float32)
    x = np.concatenate([*around, limits]).astype(np.float32)[None]
    table = np.arange(-128, 128).astype(np.int8)
    graph = chain(x.shape, (ops.Lookup(), table), q=q)
    found = np.empty(x.shape, np.int8)
    Session(graph, isa=isa).run(x, out=found)
    np.testing.assert_array_equal(found, q.quantize(x, "int8"))


def test_common_scales_need_no_division():
    rng = np.random.default_rng(0)
    scales = [1 / 255, 1 / 128, 0.5, *np.exp(rng.uniform(-9, 3, 200))]
    assert all(short_quotient(float(np.float32(scale)), -128) for scale in scales)
    assert short_quotient(1e-38, 0) is None
