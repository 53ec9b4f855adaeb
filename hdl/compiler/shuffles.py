"""Reshape, Transpose, Reshape that only exchange channels become one Gather of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from edgeinfer.graph import Graph, Node, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.graph.names import distinct

__all__ = ["with_gathers"]

_MOST = 1 << 22
"""Elements of a value that is looked at."""


def with_gathers(graph: Graph) -> Graph:
    """``graph`` with channel shuffles as Gathers; what lies between their nodes is gone."""
    uses = Counter(name for node in graph.nodes for name in node.operands)
    uses.update(graph.results)
    readers = {node.inputs[0]: node for node in graph.nodes if isinstance(node.op, ops.Reshape)}
    turns = {node.inputs[0]: node for node in graph.nodes if isinstance(node.op, ops.Transpose)}
    nodes: dict[str, Node] = {node.outputs[0]: node for node in graph.nodes}
    types, constants = dict(graph.types), dict(graph.constants)
    for first in graph.nodes:
        second = turns.get(first.outputs[0])
        last = readers.get(second.output) if second is not None else None
        if not isinstance(first.op, ops.Reshape) or second is None or last is None:
            continue
        if uses[first.output] != 1 or uses[second.output] != 1:
            continue
        order = _channels(graph, first, second, last)
        if order is None:
            continue
        indices = distinct(f"channels of {last.output}", types)
        constants[indices], types[indices] = order, TensorType(order.shape, "int64")
        gather = ops.Gather(len(graph.types[last.output].shape) - 1)
        nodes[last.output] = Node(last.name, gather, (first.inputs[0], indices), last.outputs)
        for gone in (first, second):
            del nodes[gone.output], types[gone.output]
    return replace(graph, nodes=tuple(nodes.values()), types=types, constants=constants)


def _channels(graph: Graph, first: Node, second: Node, last: Node) -> np.ndarray | None:
    """Which channel comes to each place; None where more than channels move."""
    kind = graph.types[first.inputs[0]]
    assert isinstance(second.op, ops.Transpose)
    if graph.types[last.output].shape != kind.shape or kind.elements > _MOST:
        return None
    count = kind.shape[-1]
    between = np.arange(kind.elements).reshape(graph.types[first.output].shape)
    moved = between.transpose(second.op.permutation).reshape(-1, count)
    order = moved[0]
    pixels = np.arange(len(moved))[:, None] * count
    if order.max() >= count or not np.array_equal(moved, pixels + order):
        return None
    return order.astype(np.int64)
