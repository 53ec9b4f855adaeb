"""Weights that are made ready once give what each run by itself does."""

import numpy as np
import pytest

from edgeinfer.graph import Graph, GraphBuilder, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.meaning import reference
from edgeinfer.meaning.float_executor import Executor, evaluate, execute
from edgeinfer.meaning.windows import im2col, windows

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


@pytest.mark.parametrize("scratch", [1, 100, 700])
def test_windows_laid_out_in_strips_give_what_all_together_give(monkeypatch, scratch):
    x, integers = normal(3, 7, 6, 4), RNG.integers(-128, 128, (3, 7, 6, 4)).astype(np.int8)
    conv = {"group": 2, "pads": (1, 0, 2, 1), "strides": (2, 1)}
    requantizing = {"output_zero_point": 3, "lo": -128, "hi": 127, "rounding": "single"}
    bias = RNG.integers(-99, 99, 6).astype("i4")
    parameters = bias, np.full(6, 2**30, "i4"), np.full(6, 37, "i1")
    calls = [
        lambda: evaluate(ops.Conv(**conv), x, weights),
        lambda: evaluate(ops.ConvTranspose(group=2, strides=(2, 1)), x, spread),
        lambda: reference.evaluate(
            ops.QConv(**requantizing, input_zero_point=2, dilations=(1, 1), **conv),
            integers,
            of_integers,
            *parameters,
        ),
    ]
    weights, spread = normal(6, 3, 2, 2), normal(4, 3, 2, 3)
    of_integers = RNG.integers(-128, 128, (6, 3, 2, 2)).astype(np.int8)
    together = [call()[0] for call in calls]
    monkeypatch.setattr("edgeinfer.meaning.windows._MOST_SCRATCH", scratch)
    for call, expected in zip(calls, together, strict=True):
        assert np.array_equal(call()[0], expected)
        assert np.abs(expected).max() > 0


def test_strips_cover_all_windows_within_their_room(monkeypatch):
    view = windows(np.zeros((5, 9, 4, 2)), (2, 3), (1, 1), (0, 0, 0, 0), (1, 1), 0)
    for scratch in (1, 12, 100, 200, 1000, 10**6):
        monkeypatch.setattr("edgeinfer.meaning.windows._MOST_SCRATCH", scratch)
        covered = np.zeros(view.shape[:2], int)
        for part, rows in im2col(view, slice(1, 2)):
            covered[part] += 1
            assert rows.shape == (*covered[part].shape, view.shape[2], 6)
            assert covered[part].size == 1 or rows.size <= scratch
        assert (covered == 1).all()
