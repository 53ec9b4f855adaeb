"""A LogSoftmax of integers keeps the distances of what is far below the largest element."""

import numpy as np
import pytest

from edgeinfer.graph import Graph, Node, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.meaning import reference
from edgeinfer.meaning.float_executor import evaluate
from edgeinfer.quant import quantize
from edgeinfer.runtime.session import Session

# steps of the output by which an element may err, as measured and half as much again
STEPS = {"int8": 2.5, "int16x8": 5.0, "int16": 5.0}


def graph_of(shape, axis):
    types = {name: TensorType(shape) for name in ("x", "y")}
    node = Node("n", ops.LogSoftmax(axis), ("x",), ("y",))
    return Graph("g", (node,), types, ("x",), ("y",), {})


@pytest.mark.parametrize("scheme", STEPS)
@pytest.mark.parametrize("spread", [0.1, 1.0, 4.0])
@pytest.mark.parametrize(
    ("shape", "axis"), [((1, 2), 1), ((1, 10), 1), ((1, 35), 1), ((1, 3, 4, 5), 3), ((1, 6, 7), 1)]
)
def test_a_log_softmax_is_within_steps_of_the_real_one(shape, axis, spread, scheme):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(64, *shape[1:])) * spread).astype(np.float32)
    integer = quantize(graph_of(shape, axis), x, scheme=scheme)
    (expected,) = evaluate(ops.LogSoftmax(axis), x)
    session = Session(integer)
    found = np.concatenate([session.run(x[i : i + 1]) for i in range(len(x))])
    step = integer.types["y"].quantization.step
    assert np.abs(found - expected).max() <= STEPS[scheme] * step
    kind = integer.types["x"]
    q = kind.quantization.quantize(x[:1], kind.dtype)
    expected = reference.execute(integer, {"x": q})["y"]
    np.testing.assert_array_equal(session.run(q), expected, strict=True)


def test_of_a_thousand_classes_the_least_likely_keep_theirs():
    x = np.zeros((32, 1000), np.float32)
    x[np.arange(32), np.arange(32)] = 20
    integer = quantize(graph_of((1, 1000), 1), x)
    found = Session(integer).run(x[:1])
    # a softmax of int8 says 0 of all others, whose logarithm is nothing
    assert abs(found[0, 1] + 20) < 0.2
    assert abs(found[0, 0]) < 0.1


def test_of_one_class_it_is_zero():
    x = np.random.default_rng(0).normal(size=(32, 1)).astype(np.float32)
    found = Session(quantize(graph_of((1, 1), 1), x)).run(x[:1])
    np.testing.assert_array_equal(found, np.zeros((1, 1), np.float32))


def test_what_rounds_twice_leaves_its_16_bits_to_round_once():
    x = np.random.default_rng(0).normal(size=(32, 10)).astype(np.float32)
    once, twice = (quantize(graph_of((1, 10), 1), x, rounding=how) for how in ("single", "double"))
    np.testing.assert_array_equal(Session(twice).run(x[:1]), Session(once).run(x[:1]))
