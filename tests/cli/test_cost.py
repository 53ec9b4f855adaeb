"""The cost of a Graph is what can be counted by hand."""

import numpy as np
import pytest

from edgeinfer.graph import Graph, Node, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.graph.cost import cost, macs
from edgeinfer.graph.site import Site


@pytest.mark.parametrize(
    "op, inputs, output, expected",
    [
        (ops.Conv(), [(1, 5, 5, 3), (7, 3, 3, 3)], (1, 3, 3, 7), 3 * 3 * 7 * 27),
        (ops.Conv(group=6), [(1, 5, 5, 6), (6, 3, 3, 1)], (1, 3, 3, 6), 3 * 3 * 6 * 9),
        (ops.Dense(), [(2, 11), (13, 11)], (2, 13), 2 * 11 * 13),
        (ops.MatMul(), [(2, 3, 5), (2, 5, 7)], (2, 3, 7), 2 * 3 * 5 * 7),
        (ops.ConvTranspose(), [(1, 2, 2, 3), (3, 2, 2, 5)], (1, 3, 3, 5), 4 * 3 * 2 * 2 * 5),
        (ops.Add(), [(2, 3), (2, 3)], (2, 3), 0),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, ops.Operator) else "",
)
def test_multiply_accumulates(op, inputs, output, expected):
    names = tuple(role.name for role in op.takes)[: len(inputs)]
    shapes = dict(zip((*names, "y"), (*inputs, output), strict=True))
    types = {name: TensorType(shape) for name, shape in shapes.items()}
    node = Node("n", op, names, ("y",))
    graph = Graph("g", (node,), types, names, ("y",), {})
    assert macs(op, Site(node, graph)) == expected


def test_a_shared_constant_is_counted_once_and_the_peak_is_what_is_alive_at_once():
    types = {name: TensorType((1, 8)) for name in ("x", "a", "b", "y")} | {"w": TensorType((8, 8))}
    dense = ops.Dense()
    nodes = (
        Node("1", dense, ("x", "w"), ("a",)),
        Node("2", dense, ("a", "w"), ("b",)),
        Node("3", ops.Add(), ("a", "b"), ("y",)),
    )
    constants = {"w": np.ones((8, 8), "f4")}
    found = cost(Graph("g", nodes, types, ("x",), ("y",), constants))
    assert found.parameters == 64
    assert found.macs == 128
    assert found.flash == 64 + 2 * 9 * 8
    assert found.peak == 3 * 8
    assert found.estimated
