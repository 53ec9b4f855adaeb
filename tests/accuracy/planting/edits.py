"""Edits of float Graphs that plant a fault in a channel, and of types that plant one in a range."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from edgeinfer.graph import ABSENT, Graph, Node
from edgeinfer.graph import operators as ops
from edgeinfer.quant.integer_types import IntegerTypes
from edgeinfer.quant.schemes import activation_type
from edgeinfer.quant.sharing import shared_quantization

__all__ = [
    "Pair",
    "group_of",
    "pairs",
    "scaled_channel",
    "stretched",
    "with_channel",
    "with_column",
]


@dataclass(frozen=True)
class Pair:
    """A layer and the only one that reads what it gives.

    Parameters
    ----------
    value : str
        What is between them.
    first, second : Node
        The layers; of the second, channel i of ``value`` is column i, or channel i of a depthwise
        one.
    channels : int
        How many ``value`` has.
    """

    value: str
    first: Node
    second: Node
    channels: int

    def is_depthwise(self) -> bool:
        return isinstance(self.second.op, ops.Conv) and self.second.op.group == self.channels > 1


def pairs(graph: Graph) -> list[Pair]:
    """Those between which a channel may be scaled: by a Relu at most, and by no bound above."""
    consumers = graph.consumers()
    found = []
    for node in graph.nodes:
        if not isinstance(node.op, ops.Conv | ops.Dense) or not _is_homogeneous(node.op):
            continue
        taken = consumers[node.output]
        if node.output in graph.outputs or len(taken) != 1 or not _is_own(graph, node):
            continue
        (second,) = taken
        if not isinstance(second.op, ops.Conv | ops.Dense) or not _is_own(graph, second):
            continue
        channels = graph.types[node.output].shape[-1]
        if second.input("x") != node.output or channels < 4:
            continue
        if isinstance(second.op, ops.Conv) and second.op.group not in (1, channels):
            continue
        found.append(Pair(node.output, node, second, channels))
    return found


def _is_homogeneous(op: ops.Conv | ops.Dense) -> bool:
    return op.lo in (None, 0.0, -np.inf) and op.hi in (None, np.inf)


def _is_own(graph: Graph, node: Node) -> bool:
    """Its weights and its bias are constants that no other node takes."""
    consumers = graph.consumers()
    return all(
        name in graph.constants and len(consumers[name]) == 1
        for name in (node.input("weights"), node.input("bias"))
        if name != ABSENT
    )


def scaled_channel(graph: Graph, pair: Pair, channel: int, factor: float) -> Graph:
    """The same function, one channel between two layers ``factor`` times as large."""
    scaled = with_channel(graph, pair, channel, lambda w, b: (w * factor, b * factor))
    return with_column(scaled, pair, channel, lambda w: w / np.float32(factor))


def with_channel(
    graph: Graph,
    pair: Pair,
    channel: int,
    edit: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
) -> Graph:
    """Other weights and another bias for one output channel of a pair's first layer."""
    weights = graph.constants[pair.first.input("weights")].copy()
    bias_name = pair.first.input("bias")
    bias = graph.constants[bias_name].copy() if bias_name != ABSENT else np.zeros(1, np.float32)
    at = channel if bias_name != ABSENT else 0
    weights[channel], changed = edit(weights[channel], bias[at])
    constants = {**graph.constants, pair.first.input("weights"): weights}
    if bias_name != ABSENT:
        bias[at] = changed
        constants[bias_name] = bias
    return replace(graph, constants=constants)


def with_column(
    graph: Graph, pair: Pair, channel: int, edit: Callable[[np.ndarray], np.ndarray]
) -> Graph:
    """Other weights by which a pair's second layer takes one channel."""
    name = pair.second.input("weights")
    weights = graph.constants[name].copy()
    at = (channel,) if pair.is_depthwise() else (..., channel)
    weights[at] = edit(weights[at])
    return replace(graph, constants={**graph.constants, name: weights})


def group_of(graph: Graph, value: str) -> frozenset[str]:
    """The values that have the integers of ``value``, and the nodes that give them."""
    groups = shared_quantization(graph, average_pool=False)
    members = {name for name, root in groups.items() if root == groups[value]}
    nodes = {node.name for node in graph.nodes if members & set(node.outputs)}
    return frozenset(members | nodes)


def stretched(graph: Graph, value: str, factor: float) -> Callable[[IntegerTypes], IntegerTypes]:
    """Types in which ``value``, and what has its integers, covers ``factor`` times its range."""
    groups = shared_quantization(graph, average_pool=False)

    def spoil(types: IntegerTypes) -> IntegerTypes:
        values = dict(types.values)
        for name, root in groups.items():
            t = values[name]
            if root != groups[value] or t.quantization is None:
                continue
            low, high = (end * factor for end in t.range)
            low, high = min(low, 0.0), max(high, 0.0)
            values[name] = activation_type(t.shape, low, high, t.dtype, 1.0)
        return replace(types, values=values)

    return spoil
