"""An average at its input's scale is the exact rounded mean, in either rounding mode."""

import numpy as np
import pytest

from edgeinfer.graph import Graph, Node, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.meaning.reference import execute
from edgeinfer.quant import quantize


@pytest.mark.parametrize("rounding", ["single", "double"])
@pytest.mark.parametrize("op", [ops.AveragePool(kernel=(2, 2)), ops.ReduceMean((1, 2))])
def test_an_average_of_four_is_their_rounded_mean(op, rounding):
    types = {"x": TensorType((1, 2, 2, 50)), "y": TensorType((1, 1, 1, 50))}
    graph = Graph("g", (Node("n", op, ("x",), ("y",)),), types, ("x",), ("y",), {})
    rng = np.random.default_rng(0)
    # every channel is constant over its window, so input and output have one range
    data = np.broadcast_to(rng.normal(size=(8, 1, 1, 50)), (8, 2, 2, 50)).astype(np.float32)
    integer = quantize(graph, data, observer="minmax", rounding=rounding)
    x, y = (integer.types[name] for name in ("x", "y"))
    assert x.quantization == y.quantization
    q = rng.integers(-128, 128, x.shape).astype(np.int8)
    mean = q.astype(np.float64).mean((1, 2), keepdims=True)
    expected = np.trunc(mean + np.copysign(0.5, mean))
    np.testing.assert_array_equal(execute(integer, {"x": q})["y"], expected)
