"""Weights that are made ready once give what each run by itself does."""

import numpy as np
import pytest

from edgeinfer.graph import Graph, GraphBuilder, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.meaning.float_executor import Executor, evaluate, execute

RNG = np.random.default_rng(7)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype("f4")


def of_shared_weights() -> Graph:
    """One constant as the weights of two layers, another as a layer's and as numbers, and as an
    output."""
    b = GraphBuilder("shared")
    x = b.input("x", TensorType((2, 6)))
    square, both = b.constant("square", normal(6, 6)), b.constant("both", normal(6, 6))
    once = b.add(ops.Dense(), b.add(ops.Dense(), x, square), square)
    places = b.constant("places", np.array([3, 1]))
    table = b.add(ops.Gather(0), both, places)
    y = b.add(ops.Add(), b.add(ops.Dense(), once, both), table, output="y")
    return b.graph(y)


def of_windows() -> Graph:
    b = GraphBuilder("windows")
    x = b.input("x", TensorType((1, 6, 6, 4)))
    grouped = b.add(ops.Conv(group=2, pads=(1, 1, 1, 1)), x, b.constant("g", normal(6, 3, 3, 2)))
    depthwise = b.add(ops.Conv(group=6), grouped, b.constant("d", normal(12, 3, 3, 1)))
    wider = ops.ConvTranspose(strides=(2, 2), group=3)
    return b.graph(b.add(wider, depthwise, b.constant("t", normal(12, 2, 2, 5)), output="y"))


@pytest.mark.parametrize("make", [of_shared_weights, of_windows])
def test_weights_made_ready_give_what_arrays_give(make):
    graph = make()
    executor = Executor(graph)
    for _ in range(2):
        feed = {"x": normal(*graph.types["x"].shape)}
        values = {**graph.constants, **feed}
        for node in graph.nodes:
            found = evaluate(node.op, *(values[name] for name in node.inputs))
            values.update(zip(node.outputs, found, strict=True))
        assert np.array_equal(executor.run(feed)["y"], values["y"])
        assert np.array_equal(execute(graph, feed)["y"], values["y"])


def test_a_transposed_convolution_spreads_each_input():
    x, weights = normal(1, 2, 3, 4), normal(4, 2, 2, 5)
    (y,) = evaluate(ops.ConvTranspose(strides=(2, 2)), x, weights)
    expected = np.einsum("nhwi,iklo->nhkwlo", x, weights).reshape(1, 4, 6, 5)
    assert np.allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize(
    "op",
    [
        ops.Pointwise(("relu", "x")),
        ops.Pointwise(("clip", "x", 0.0, 6.0)),
        ops.Pointwise(("max", 0.0, "x")),
        ops.Pointwise(("min", "x", 0.0)),
        ops.Maximum(),
        ops.Minimum(),
        ops.ReduceMax((0,)),
        ops.ReduceMin((0,)),
    ],
)
def test_of_the_two_zeros_none_is_the_greater(op):
    # as many as vectors take, and some more
    zeros = np.array([0.0, -0.0, -0.0] * 13, np.float32)
    taken = [zeros, -zeros] if len(op.takes) == 2 else [np.stack([zeros, -zeros])]
    (y,) = evaluate(op, *taken)
    assert not np.signbit(y).any()
