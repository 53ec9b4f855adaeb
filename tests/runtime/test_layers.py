"""Layers on packed weights give the reference's bits on every instruction set, around each tile."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeinfer.arithmetic import fixedpoint
from edgeinfer.cython_kernels.runtime import SUPPORTED
from edgeinfer.graph import GraphBuilder, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.meaning import reference
from edgeinfer.runtime import planner
from edgeinfer.runtime.catalogue.proofs import linear_sum, short_stage
from edgeinfer.runtime.planner import plan
from edgeinfer.runtime.session import Session
from tests.runtime.runtime_graphs import UNIT, chain, layer
from tests.strategies import random_inputs

COMMON = settings(deadline=None, max_examples=70, suppress_health_check=[HealthCheck.too_slow])

# on both sides of every number of lanes, of pixels of a tile and of channels of a block
CHANNELS = st.sampled_from(
    [1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 48, 49, 63, 64, 65, 96]
)
EXTENTS = st.integers(1, 34)
KERNELS = st.sampled_from([(1, 1), (3, 3), (2, 2), (1, 5), (5, 1), (5, 5), (1, 9), (9, 1), (7, 3)])


@st.composite
def stages(draw, outputs):
    """Biases, multipliers and shifts: of common ratios, or any that the contract takes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    bias = rng.integers(-30000, 30000, outputs).astype(np.int32)
    multiplier = rng.integers(2**30, 2**31, outputs).astype(np.int32)
    least, most = draw(st.sampled_from([(36, 44), (33, 62), (2, 62), (31, 33)]))
    return bias, multiplier, rng.integers(least, most + 1, outputs).astype(np.int8)


@st.composite
def attributes(draw):
    lo, hi = sorted(draw(st.tuples(st.integers(-128, 127), st.integers(-128, 127))))
    clamp = draw(st.sampled_from([(-128, 127), (lo, hi)]))
    return {
        "input_zero_point": draw(st.integers(-128, 127)),
        "output_zero_point": draw(st.integers(-128, 127)),
        "lo": clamp[0],
        "hi": clamp[1],
        "rounding": draw(st.sampled_from(["single", "single", "double"])),
    }


@st.composite
def convolutions(draw):
    kernel, dilations = (
        draw(KERNELS),
        draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (1, 2), (3, 3)])),
    )
    strides = draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (1, 2), (3, 1)]))
    pads = tuple(draw(st.integers(0, 3)) for _ in range(4))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    height, width = (max(draw(EXTENTS), r) for r in reach)
    kind = draw(st.sampled_from(["whole", "whole", "grouped", "depthwise"]))
    if kind == "depthwise":
        channels = draw(CHANNELS)
        group, depth, outputs = channels, 1, channels
    else:
        group = draw(st.integers(2, 4)) if kind == "grouped" else 1
        depth, outputs = draw(CHANNELS), draw(CHANNELS) * group
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = rng.integers(-127, 128, (outputs, *kernel, depth)).astype(np.int8)
    op = ops.QConv(
        **draw(attributes()), strides=strides, pads=pads, dilations=dilations, group=group
    )
    samples = draw(st.integers(1, 2))
    return chain((samples, height, width, group * depth), (op, weights, *draw(stages(outputs))))


@st.composite
def square_convolutions(draw):
    """Of 3x3 without strides, which AVX2 takes in squares of 2x2 outputs."""
    pads = tuple(draw(st.integers(0, 3)) for _ in range(4))
    height, width = (draw(st.integers(max(1, 4 - p - q), 19)) for p, q in (pads[::2], pads[1::2]))
    depth, outputs = draw(st.sampled_from([16, 32, 48, 80])), draw(CHANNELS)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    least = draw(st.sampled_from([-128, -127]))
    weights = rng.integers(least, 128, (outputs, 3, 3, depth)).astype(np.int8)
    if draw(st.booleans()):
        weights[:] = least
    op = ops.QConv(**draw(attributes()), pads=pads)
    shape = draw(st.integers(1, 2)), height, width, depth
    return chain(shape, (op, weights, *draw(stages(outputs))))


@st.composite
def dense_layers(draw):
    rows, depth = draw(st.sampled_from([1, 1, 2, 5, 6, 7, 13, 40])), draw(st.integers(1, 200))
    outputs = draw(CHANNELS)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = rng.integers(-127, 128, (outputs, depth)).astype(np.int8)
    return chain((rows, depth), (ops.QDense(**draw(attributes())), weights, *draw(stages(outputs))))


def check(graph, isa, seed):
    x = np.random.default_rng(seed).integers(-128, 128, graph.types["x"].shape).astype(np.int8)
    found = Session(graph, isa=isa).run(x)
    (expected,) = reference.execute(graph, {"x": x}).values()
    np.testing.assert_array_equal(found, expected, strict=True)


@pytest.mark.parametrize("isa", SUPPORTED)
@COMMON
@given(graph=convolutions(), seed=st.integers(0, 99))
def test_a_convolution_is_the_references(isa, graph, seed):
    check(graph, isa, seed)


@pytest.mark.parametrize("isa", SUPPORTED)
@COMMON
@given(graph=square_convolutions(), seed=st.integers(0, 99))
def test_a_convolution_in_squares_is_the_references(isa, graph, seed):
    check(graph, isa, seed)


@pytest.mark.parametrize("isa", SUPPORTED)
@pytest.mark.parametrize("value", [-128, 127])
@pytest.mark.parametrize("weight", [-128, 127])
def test_squares_are_exact_up_to_the_depth_at_which_rows_are_taken(isa, value, weight):
    kernels = []
    for depth in (3632, 3648):  # four times 9 * 3648 products of 2^14 do not fit 32 bits
        weights = np.full((1, 3, 3, depth), weight, np.int8)
        stage = np.zeros(1, np.int32), np.array([2**30], np.int32), np.array([53], np.int8)
        graph = chain((1, 4, 4, depth), (ops.QConv(), weights, *stage))
        kernels.append(plan(graph, isa=isa).steps[0].kernel)
        x = np.full((1, 4, 4, depth), value, np.int8)
        (expected,) = reference.execute(graph, {"x": x}).values()
        assert np.abs(expected).min() > 50
        found = Session(graph, isa=isa).run(x)
        np.testing.assert_array_equal(found, expected, strict=True)
    taken = {"avx2": ["conv_winograd", "conv_rows"], "scalar": ["conv_s8"] * 2}
    assert kernels == taken.get(isa, ["conv_rows"] * 2)


@pytest.mark.parametrize("isa", SUPPORTED)
@COMMON
@given(graph=dense_layers(), seed=st.integers(0, 99))
def test_a_dense_layer_is_the_references(isa, graph, seed):
    check(graph, isa, seed)


@pytest.mark.parametrize("isa", SUPPORTED)
def test_a_constant_channel_leaves_the_others_their_short_form(isa):
    weights = np.random.default_rng(0).integers(-127, 128, (5, 3, 3, 16)).astype(np.int8)
    weights[1:3] = 0
    bias = np.array([100, 2**30 + 38, -(2**30), 3, -7], np.int32)
    multiplier = np.full(5, 1_911_115_854, np.int32)
    shift = np.array([44, 57, 57, 44, 43], np.int8)
    op = ops.QConv(output_zero_point=-3, pads=(1, 1, 1, 1))
    graph = chain((1, 9, 17, 16), (op, weights, bias, multiplier, shift))
    check(graph, isa, 0)
    (step,) = plan(graph, isa=isa).steps
    assert isa == "scalar" or step.parameters["form"]


@pytest.mark.parametrize("isa", SUPPORTED)
@pytest.mark.parametrize("num_threads", [1, 3])
@pytest.mark.parametrize("outputs", [16, 65, 200, 256])
def test_layers_that_share_weights_read_them_from_alternate_ends(
    isa, num_threads, outputs, monkeypatch
):
    monkeypatch.setattr(planner, "GRAIN", 1)
    builder = GraphBuilder()
    op, *arrays = layer(outputs, 30)
    constants = [builder.constant(f"c{i}", array) for i, array in enumerate(arrays)]
    inputs = [builder.input(f"x{i}", TensorType((1, 30), "int8", UNIT)) for i in range(3)]
    graph = builder.graph(*(builder.add(op, x, *constants) for x in inputs))
    steps = plan(graph, isa=isa).steps
    assert isa == "scalar" or [step.parameters["backwards"] for step in steps] == [0, 1, 0]
    x = random_inputs(graph, 0)
    found = Session(graph, isa=isa, num_threads=num_threads).run(x)
    for name, expected in reference.execute(graph, x).items():
        np.testing.assert_array_equal(found[name], expected, strict=True)


# ---- proofs ----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=300)
@given(
    multiplier=st.integers(2**30, 2**31 - 1),
    shift=st.integers(2, 62),
    zero_point=st.integers(-128, 127),
    largest=st.integers(1, 2**31 - 1),
    seed=st.integers(0, 99),
)
def test_the_short_form_is_r1_wherever_there_is_one(multiplier, shift, zero_point, largest, seed):
    pair = np.array([multiplier]), np.array([shift])
    form = short_stage(*pair, zero_point, np.array([largest]))
    if form is None:
        return
    acc = np.random.default_rng(seed).integers(-largest, largest + 1, 1000)
    acc[:5] = -largest, largest, 0, -1, 1
    high = (acc * form.multiplier.astype(np.int64)) >> 32
    total = high + form.rounding
    assert np.abs(total).max() < 2**31
    expected = fixedpoint.round_shift(acc, multiplier, shift, "single") + zero_point
    np.testing.assert_array_equal(total >> form.shift, expected)


def test_a_convolution_of_common_ratios_has_the_short_form():
    assert short_stage(np.array([2**30]), np.array([38]), -3, np.array([2**24])) is not None


@settings(deadline=None, max_examples=40)
@given(
    a=st.floats(0.001, 0.5),
    b=st.floats(0.001, 0.5),
    y=st.floats(0.002, 0.8),
    zero_points=st.tuples(*[st.integers(-128, 127)] * 3),
    kind=st.sampled_from([ops.QAdd, ops.QSub]),
    rounding=st.sampled_from(["single", "double"]),
)
def test_a_linear_sum_is_equal_for_every_pair(a, b, y, zero_points, kind, rounding):
    parameters = fixedpoint.add_parameters(a, b, y, bits=8)
    op = kind(
        **parameters,
        a_zero_point=zero_points[0],
        b_zero_point=zero_points[1],
        output_zero_point=zero_points[2],
        rounding=rounding,
    )
    form = linear_sum(op)
    if form is None:
        return
    q = np.arange(-128, 128, dtype=np.int64)
    assert max(abs(form.a_factor), abs(form.b_factor)) < 2**23
    total = q[:, None] * form.a_factor + q * form.b_factor + form.offset
    assert np.abs(total).max() < 2**31
    first, second = np.meshgrid(q.astype(np.int8), q.astype(np.int8), indexing="ij")
    (expected,) = reference.evaluate(op, first, second)
    np.testing.assert_array_equal(np.clip(total >> form.shift, op.lo, op.hi), expected)


@pytest.mark.parametrize("isa", SUPPORTED)
@pytest.mark.parametrize("y", [1.0, 1e3, 1e6])
def test_a_sum_that_nearly_vanishes_is_the_references(isa, y):
    op = ops.QAdd(**fixedpoint.add_parameters(1e-3, 2e-3, y, bits=8))
    form = linear_sum(op)
    assert form is None or form.shift < 32
    builder = GraphBuilder()
    a = builder.input("a", TensorType((1, 256), "int8", UNIT))
    b = builder.input("b", TensorType((1, 256), "int8", UNIT))
    graph = builder.graph(builder.add(op, a, b))
    q = np.arange(-128, 128).astype(np.int8)[None]
    feeds = {"a": q, "b": q[:, ::-1].copy()}
    (expected,) = reference.execute(graph, feeds).values()
    np.testing.assert_array_equal(Session(graph, isa=isa).run(feeds), expected, strict=True)


def test_common_sums_have_the_linear_form():
    found = 0
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b, y = np.exp(rng.uniform(math.log(0.01), math.log(0.1), 3))
        found += linear_sum(ops.QAdd(**fixedpoint.add_parameters(a, b, y, bits=8))) is not None
    assert found >= 18
