"""Layers of int16 give the reference's bits on every instruction set, whatever holds their sums."""

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeinfer.arithmetic import fixedpoint
from edgeinfer.arithmetic.accumulators import largest_sums
from edgeinfer.cython_kernels.runtime import SUPPORTED
from edgeinfer.graph import GraphBuilder, Quantization, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.meaning import reference
from edgeinfer.runtime.catalogue.proofs import short_product, short_sum
from edgeinfer.runtime.planner import plan
from edgeinfer.runtime.session import Session
from tests.runtime.runtime_graphs import chain

COMMON = settings(deadline=None, max_examples=70, suppress_health_check=[HealthCheck.too_slow])
WIDE = Quantization.per_tensor(0.001, 0)

# on both sides of every number of lanes, of channels of a block with one plane and with two
CHANNELS = st.sampled_from([1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 96])
KERNELS = st.sampled_from([(1, 1), (3, 3), (2, 2), (1, 5), (5, 1), (5, 5), (1, 9), (9, 1), (7, 3)])
EXTENTS = st.integers(1, 34)


@st.composite
def layers(draw, op, shape):
    """``op`` and its constants: sums far below 2^31, about it, or up to 2^38."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    outputs, taps = shape[0], int(np.prod(shape[1:]))
    dtype = draw(st.sampled_from(["int8", "int16"]))
    most = 2 ** draw(st.sampled_from([30, 31, 33, 37, 37])) // (taps << 15)
    most = max(1, min(most, {"int8": 127, "int16": 32767}[dtype]))
    weights = rng.integers(-most, most + 1, shape).astype(dtype)
    # some channels at their bound, some of nothing but a bias
    weights[rng.random(outputs) < 0.2] = most
    weights[rng.random(outputs) < 0.1] = 0
    bias = rng.integers(-1, 2, outputs) * rng.integers(
        0, 2 ** draw(st.sampled_from([20, 30, 37])), outputs
    )
    largest = largest_sums(weights, bias, 1 << 15)
    assert largest.max() < 2**38
    bits = np.where(largest < 2**31, draw(st.sampled_from([31, 31, 24])), 24)
    multiplier = rng.integers(2 ** (bits - 1), 2**bits)
    # of the size of int16, or whatever the contract takes
    fitting = np.ceil(np.log2(np.maximum(largest, 1))).astype(int) + bits - 15
    fitting -= rng.integers(0, 4, outputs)
    anything = rng.integers(2, 63, outputs)
    shift = np.clip(np.where(rng.random(outputs) < 0.8, fitting, anything), 2, 62)
    return op, weights, bias, multiplier.astype(np.int32), shift.astype(np.int8)


@st.composite
def attributes(draw):
    lo, hi = sorted(draw(st.tuples(st.integers(-32768, 32767), st.integers(-32768, 32767))))
    clamp = draw(st.sampled_from([(-32768, 32767), (-32768, 32767), (lo, hi)]))
    return {"input_zero_point": 0, "output_zero_point": 0, "lo": clamp[0], "hi": clamp[1]}


@st.composite
def convolutions(draw):
    kernel = draw(KERNELS)
    dilations = draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (1, 2), (3, 3)]))
    strides = draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (1, 2), (3, 1)]))
    pads = tuple(draw(st.integers(0, 3)) for _ in range(4))
    height, width = (
        max(draw(EXTENTS), (k - 1) * d + 1) for k, d in zip(kernel, dilations, strict=True)
    )
    kind = draw(st.sampled_from(["whole", "whole", "grouped", "depthwise", "depthwise"]))
    if kind == "depthwise":
        group = outputs = draw(CHANNELS)
        depth = 1
    else:
        group = draw(st.integers(2, 4)) if kind == "grouped" else 1
        depth, outputs = draw(CHANNELS), draw(CHANNELS) * group
    op = ops.QConv(
        **draw(attributes()), strides=strides, pads=pads, dilations=dilations, group=group
    )
    layer = draw(layers(op, (outputs, *kernel, depth)))
    shape = draw(st.integers(1, 2)), height, width, group * depth
    return chain(shape, layer, dtype="int16", q=WIDE)


@st.composite
def dense_layers(draw):
    # weights may be the largest int16 where their sum of products has few
    depth = draw(st.one_of(st.integers(1, 120), st.integers(1, 2000)))
    rows = draw(st.sampled_from([1, 1, 2, 5, 6, 7, 13, 40]))
    layer = draw(layers(ops.QDense(**draw(attributes())), (draw(CHANNELS), depth)))
    return chain((rows, depth), layer, dtype="int16", q=WIDE)


def check(graph, isa, seed):
    """For numbers all over, and for those whose sums are the largest."""
    rng = np.random.default_rng(seed)
    shape = graph.types["x"].shape
    session = Session(graph, isa=isa)
    everywhere = rng.integers(-32768, 32768, shape).astype(np.int16)
    ends = rng.choice(np.array([-32768, 32767], np.int16), shape)
    alike = (np.full(shape, q, np.int16) for q in (-32768, -1, 32767))
    for x in everywhere, ends, *alike:
        (expected,) = reference.execute(graph, {"x": x}).values()
        np.testing.assert_array_equal(session.run(x), expected, strict=True)


@pytest.mark.parametrize("isa", SUPPORTED)
@COMMON
@given(graph=convolutions(), seed=st.integers(0, 99))
def test_a_wide_convolution_is_the_references(isa, graph, seed):
    check(graph, isa, seed)


@pytest.mark.parametrize("isa", SUPPORTED)
@COMMON
@given(graph=dense_layers(), seed=st.integers(0, 99))
def test_a_wide_dense_layer_is_the_references(isa, graph, seed):
    check(graph, isa, seed)


# ---- sums of two operands --------------------------------------------------------------------

EVERYTHING = np.arange(-32768, 32768).astype(np.int16)


@pytest.mark.parametrize("isa", SUPPORTED)
@settings(deadline=None, max_examples=30)
@given(
    scales=st.tuples(*[st.sampled_from([0.001, 0.0013, 0.002, 0.004, 0.03, 7.0, 1e-6])] * 3),
    kind=st.sampled_from([ops.QAdd, ops.QSub]),
    clamp=st.sampled_from([(-32768, 32767), (0, 32767), (-7000, 9000)]),
    seed=st.integers(0, 99),
)
def test_a_sum_of_int16_is_the_references(isa, scales, kind, clamp, seed):
    op = kind(**fixedpoint.add_parameters(*scales, bits=16), lo=clamp[0], hi=clamp[1])
    assert (short_sum(op) is not None) == (op.shift >= 33)  # only a far finer output has none
    rng = np.random.default_rng(seed)
    extents = (2, 3, rng.integers(1, 70))
    for b_shape in (extents, extents[2:], (1, 3, 1)):
        builder = GraphBuilder()
        a = builder.input("a", TensorType(extents, "int16", WIDE))
        b = builder.input("b", TensorType(b_shape, "int16", WIDE))
        y = builder.add(op, a, b, dtype="int16", quantization=WIDE)
        session = Session(builder.graph(y), isa=isa)
        feeds = {
            "a": rng.choice(EVERYTHING, extents),
            "b": rng.choice(np.array([-32768, 32767, 0, -1, 5, 12345], np.int16), b_shape),
        }
        (expected,) = reference.execute(builder.graph(y), feeds).values()
        np.testing.assert_array_equal(session.run(feeds), expected, strict=True)


@pytest.mark.parametrize("isa", SUPPORTED)
@settings(deadline=None, max_examples=30)
@given(
    ratio=st.sampled_from([2**-16, 3e-5, 0.001, 0.3, 1e-9]),
    result=st.sampled_from([("int16", 0), ("int8", 0), ("int8", -128), ("int8", 77)]),
    seed=st.integers(0, 99),
)
def test_a_product_of_int16_is_the_references(isa, ratio, result, seed):
    dtype, zero_point = result
    ends = np.iinfo(dtype)
    multiplier, shift = fixedpoint.multiplier_and_shift(ratio)
    op = ops.QMul(
        multiplier=multiplier,
        shift=shift,
        output_zero_point=zero_point,
        lo=int(ends.min) + seed,
        hi=int(ends.max),
    )
    # beside products this small a zero point needs more than 32 bits
    has_short = shift >= 33 and (ratio > 1e-8 or zero_point == 0)
    assert (short_product(op, 16) is not None) == has_short
    rng = np.random.default_rng(seed)
    extents = (2, 3, rng.integers(1, 70))
    for b_shape in (extents, extents[2:], (1, 3, 1)):
        builder = GraphBuilder()
        a = builder.input("a", TensorType(extents, "int16", WIDE))
        b = builder.input("b", TensorType(b_shape, "int16", WIDE))
        y = builder.add(op, a, b, dtype=dtype, quantization=Quantization.per_tensor(1, zero_point))
        session = Session(builder.graph(y), isa=isa)
        feeds = {
            "a": rng.choice(EVERYTHING, extents),
            "b": rng.choice(np.array([-32768, 32767, 0, -1, 5, 12345], np.int16), b_shape),
        }
        (expected,) = reference.execute(builder.graph(y), feeds).values()
        np.testing.assert_array_equal(session.run(feeds), expected, strict=True)


@settings(deadline=None, max_examples=100)
@given(ratio=st.floats(2**-31, 0.5))
def test_an_operands_short_form_is_r1_for_every_int16(ratio):
    multiplier, shift = fixedpoint.multiplier_and_shift(ratio)
    op = ops.QAdd(**fixedpoint.add_parameters(1.0, 1.0, 1.0, bits=16))
    form = short_sum(dataclasses.replace(op, b_multiplier=multiplier, b_shift=shift))
    q = EVERYTHING.astype(np.int64)
    high = ((q << 16) * form.b_multiplier >> 32) + form.b_rounding
    assert np.abs(high).max() < 2**31 and 0 <= form.b_shift < 32
    expected = fixedpoint.single_round(q << 15, multiplier, shift)
    np.testing.assert_array_equal(high >> form.b_shift, expected)


# ---- forms of sums ---------------------------------------------------------------------------


def wide_step(weights, bias=0, isa="avx2", kernel_op=None, x=None, shift=38):
    outputs = len(weights)
    op = kernel_op or ops.QDense(input_zero_point=0, output_zero_point=0, lo=-32768, hi=32767)
    stage = (
        np.full(outputs, bias, np.int64),
        np.full(outputs, 2**23, np.int32),
        np.full(outputs, shift, np.int8),
    )
    shape = x or (2, weights.shape[1])
    graph = chain(shape, (op, weights, *stage), dtype="int16", q=WIDE)
    check(graph, isa, 0)
    (step,) = plan(graph, isa=isa).steps
    return step


@pytest.mark.parametrize(
    "isa", [isa for isa in ("avx512vnni", "avxvnni", "avx2") if isa in SUPPORTED]
)
class TestForms:
    def test_sums_that_fit_32_bits_are_whole_and_short(self, isa):
        step = wide_step(np.full((8, 500), 127, np.int8), isa=isa)
        assert step.kernel == "conv_flat_s16" and step.isa == isa
        assert [step.parameters[name] for name in ("form", "planes")] == [1, 1]

    def test_more_of_int8_come_in_parts(self, isa):
        step = wide_step(np.full((8, 2000), 127, np.int8), isa=isa)
        names = "form", "planes", "part_rows", "part_steps"
        assert [step.parameters[name] for name in names] == [0, 1, 1, 250]

    def test_large_weights_come_in_planes(self, isa):
        step = wide_step(np.full((8, 100), 32767, np.int16), isa=isa)
        names = "form", "planes", "part_steps"
        assert [step.parameters[name] for name in names] == [0, 2, 50]

    def test_and_many_of_them_in_parts_of_planes(self, isa):
        step = wide_step(np.full((8, 240), 32767, np.int16) // 2 + 50, isa=isa)
        assert step.parameters["planes"] == 2
        step = wide_step(np.full((8, 900), 8191 - 128, np.int16), isa=isa)
        assert step.parameters["planes"] == 2
        assert step.parameters["part_steps"] < 450

    def test_rows_of_a_kernel_are_parts_where_they_fit(self, isa):
        op = ops.QConv(input_zero_point=0, output_zero_point=0, pads=(1, 1, 1, 1))
        step = wide_step(np.full((8, 3, 3, 100), 127, np.int8), 0, isa, op, (1, 5, 5, 100))
        names = "form", "planes", "part_rows", "part_steps"
        assert [step.parameters[name] for name in names] == [0, 1, 1, 150]

    def test_a_constant_channel_is_no_reason_for_planes(self, isa):
        weights = np.ones((8, 40), np.int8)
        step = wide_step(weights, 2**36, isa=isa)
        assert [step.parameters[name] for name in ("form", "planes")] == [1, 1]

    @pytest.mark.parametrize("bias", [2**31 - 1, 2**31, -(2**31), 2**36])
    def test_a_bias_that_leaves_32_bits_no_room_brings_planes(self, isa, bias):
        weights = np.random.default_rng(0).integers(-127, 128, (8, 3000)).astype(np.int8)
        step = wide_step(weights, bias, isa=isa, shift=48)
        assert [step.parameters[name] for name in ("form", "planes")] == [0, 2]


@pytest.mark.skipif("amx" not in SUPPORTED, reason="needs AMX")
class TestBytes:
    @pytest.mark.parametrize(
        ("weights", "form"),
        [
            (np.full((40, 500), 100, np.int8), [1, 1]),
            (np.full((40, 2000), 127, np.int8), [0, 1]),
            (np.full((40, 250), 32767, np.int16), [0, 2]),
        ],
        ids=["short", "beyond 32 bits", "of 16 bits"],
    )
    def test_many_products_are_taken_as_bytes(self, weights, form):
        step = wide_step(weights, 12345, "amx", x=(21, weights.shape[1]), shift=44)
        assert step.isa == "amx"
        assert [step.parameters[name] for name in ("form", "planes")] == form

    @pytest.mark.parametrize("depth", [40, 16001])
    def test_few_products_or_too_many_are_not(self, depth):
        step = wide_step(np.full((17, depth), 3, np.int8), 0, "amx", x=(21, depth))
        assert step.isa == "avx512vnni"

    def test_the_largest_sums_of_bytes_fit_32_bits(self):
        weights = np.full((16, 16000), -127, np.int8)
        step = wide_step(weights, -(2**30), "amx", x=(5, 16000), shift=50)
        assert step.isa == "amx" and step.parameters["planes"] == 1
        # low bytes of 255 with high ones of 0 and -1
        weights = np.repeat([[255], [-1]], 16000, axis=1).astype(np.int16)
        step = wide_step(weights, 2**37 - 1, "amx", x=(5, 16000), shift=53)
        assert step.isa == "amx" and step.parameters["planes"] == 2
