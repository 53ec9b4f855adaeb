"""A transposed convolution is one ordinary convolution of its phases, moved into place."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeinfer.errors import QuantizationError
from edgeinfer.graph import Graph, Node, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.graph.shapes import output_shapes
from edgeinfer.meaning import reference
from edgeinfer.meaning.float_executor import evaluate
from edgeinfer.quant import quantize
from edgeinfer.quant.phases import phases_of
from edgeinfer.runtime.session import Session


@st.composite
def transposed(draw):
    """An operator, the shapes of x and its weights."""
    sides = []
    for _ in range(2):
        kernel, stride, dilation = (draw(st.integers(1, n)) for n in (5, 4, 3))
        extent = draw(st.integers(1, 6))
        full = (extent - 1) * stride + (kernel - 1) * dilation + 1
        before = draw(st.integers(0, full - 1))
        after = draw(st.integers(0, full - 1 - before))
        sides.append((kernel, stride, dilation, extent, before, after, draw(st.integers(0, 3))))
    kernel, strides, dilations, extents, before, after, output_padding = zip(*sides, strict=True)
    group, inputs, outputs = (draw(st.integers(1, 3)) for _ in range(3))
    op = ops.ConvTranspose(
        strides=strides,
        pads=(*before, *after),
        dilations=dilations,
        group=group,
        output_padding=output_padding,
    )
    return op, (2, *extents, group * inputs), (group * inputs, *kernel, outputs)


@settings(deadline=None, max_examples=300)
@given(drawn=transposed(), seed=st.integers(0, 99))
def test_the_phases_are_the_transposed_convolution_exactly(drawn, seed):
    op, x_shape, w_shape = drawn
    rng = np.random.default_rng(seed)
    # small integers, so that no sum of floats is rounded
    x, weights = (rng.integers(-9, 10, s).astype(np.float32) for s in (x_shape, w_shape))
    bias = rng.integers(-9, 10, w_shape[3] * op.group).astype(np.float32)
    (expected,) = evaluate(op, x, weights, bias)
    phases = phases_of(op, weights, bias, x.shape, expected.shape)
    conv = ops.Conv(pads=phases.pads, dilations=phases.dilations, group=phases.group)
    (y,) = evaluate(conv, x, phases.weights, phases.bias)
    assert y.shape == phases.shape
    for move, shape in phases.moves:
        (y,) = evaluate(move, y)
        assert y.shape == shape
    np.testing.assert_array_equal(y, expected, strict=True)


def graph_of(op, x_shape, weights, bias):
    (shape,) = output_shapes(op, x_shape, weights.shape, bias.shape)
    constants = {"w": weights, "b": bias}
    types = {"x": TensorType(x_shape), "y": TensorType(shape)}
    types |= {name: TensorType(array.shape) for name, array in constants.items()}
    return Graph("g", (Node("n", op, ("x", "w", "b"), ("y",)),), types, ("x",), ("y",), constants)


@pytest.mark.parametrize("scheme", ["int8", "int16x8", "int16"])
@pytest.mark.parametrize(
    ("op", "kernel", "operators"),
    [
        (ops.ConvTranspose(strides=(2, 2)), (2, 2), [ops.QConv, ops.DepthToSpace]),
        (
            ops.ConvTranspose(strides=(2, 2), pads=(1, 1, 1, 1), lo=0.0),
            (4, 4),
            [ops.QConv, ops.DepthToSpace, ops.Slice],
        ),
        (ops.ConvTranspose(strides=(1, 3)), (1, 3), [ops.QConv, ops.Reshape]),
        (
            ops.ConvTranspose(strides=(2, 1), group=4),
            (2, 3),
            [ops.QConv, ops.Reshape, ops.Transpose, ops.Reshape],
        ),
        (ops.ConvTranspose(pads=(1, 1, 1, 1)), (3, 3), [ops.QConv]),
    ],
)
def test_a_quantized_one_is_rounded_once(op, kernel, operators, scheme):
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(8, *kernel, 8 // op.group)).astype(np.float32)
    bias = rng.normal(size=8).astype(np.float32)
    graph = graph_of(op, (1, 5, 6, 8), weights, bias)
    x = rng.normal(size=(32, 5, 6, 8)).astype(np.float32)
    integer = quantize(graph, x, scheme=scheme)
    assert [type(node.op) for node in integer.nodes] == operators
    assert integer.nodes[-1].name == "n"
    assert len({integer.types[node.output].quantization for node in integer.nodes}) == 1
    x = x[:1]
    (expected,) = evaluate(op, x, weights, bias)
    found = Session(integer).run(x)
    error = np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2))
    assert error < {"int8": 0.02, "int16x8": 0.01, "int16": 1.5e-4}[scheme]
    q = integer.types["x"].quantization.quantize(x, integer.types["x"].dtype)
    raw = Session(integer).run(q)
    np.testing.assert_array_equal(raw, reference.execute(integer, {"x": q})["y"], strict=True)


def test_taps_that_dilations_spread_too_far_are_refused():
    weights, bias = np.ones((2, 2, 2, 2), np.float32), np.zeros(2, np.float32)
    graph = graph_of(
        ops.ConvTranspose(strides=(2, 2), dilations=(99, 99)), (1, 2, 2, 2), weights, bias
    )
    with pytest.raises(QuantizationError) as caught:
        quantize(graph, np.ones((8, 2, 2, 2), np.float32))
    assert str(caught.value) == (
        "ConvTranspose 'n': dilations [99, 99] beside strides [2, 2] spread its taps too far to be "
        "taken as one convolution; fill its weights with zeros instead"
    )


def test_weights_that_a_run_computes_are_refused_by_name():
    op = ops.ConvTranspose(strides=(2, 2))
    types = {
        "x": TensorType((1, 3, 3, 2)),
        "w": TensorType((2, 2, 2, 2)),
        "y": TensorType((1, 6, 6, 2)),
    }
    graph = Graph("g", (Node("n", op, ("x", "w"), ("y",)),), types, ("x", "w"), ("y",), {})
    data = {name: np.ones((4, *types[name].shape), np.float32) for name in ("x", "w")}
    with pytest.raises(QuantizationError) as caught:
        quantize(graph, data)
    assert str(caught.value) == (
        "ConvTranspose 'n': weights that a run computes cannot be quantized yet"
    )
