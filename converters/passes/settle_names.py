"""Turns the names that passes made up into the model's own, where those are free."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace

from edgeinfer.graph import ABSENT, Graph, Node
from edgeinfer.graph import operators as ops
from edgeinfer.graph.names import DistinctNames

__all__ = ["settle_names"]


def settle_names(graph: Graph, own: Set[str]) -> Graph:
    """``y@nhwc`` is called ``y`` where no other value is, the last of several; nodes get own names.

    So a layer's value has the name that it has in the ONNX model, whatever its order of axes.
    ``own`` holds the names of the ONNX model's values, which may have an ``@`` themselves.
    """
    names = {ABSENT: ABSENT, **{name: name for name in graph.types}}
    taken, given = set(names), frozenset(graph.outputs)
    for node in reversed(graph.nodes):
        for output in node.outputs:
            plain = _plain(output, own)
            if plain not in taken and output not in given:
                taken.add(plain)
                names[output] = plain
    for name in graph.constants:
        plain = _plain(name, own)
        if plain not in taken:
            taken.add(plain)
            names[name] = plain
    nodes = []
    for node, name in zip(graph.nodes, _node_names(graph.nodes), strict=True):
        takes, gives = (tuple(names[n] for n in side) for side in (node.inputs, node.outputs))
        nodes.append(replace(node, name=name, inputs=takes, outputs=gives))
    return replace(
        graph,
        nodes=tuple(nodes),
        types={names[n]: t for n, t in graph.types.items()},
        constants={names[n]: array for n, array in graph.constants.items()},
    )


def _plain(name: str, own: Set[str]) -> str:
    """The name that ``name`` was made of by appending ``@label``, once or more."""
    while name not in own and "@" in name:
        name = name.rpartition("@")[0]
    return name


def _node_names(nodes: Sequence[Node]) -> list[str]:
    """One name for each of ``nodes``; what only turns axes leaves the model's to what computes."""
    distinct = DistinctNames({node.name for node in nodes})
    names = [""] * len(nodes)
    for turning in (False, True):
        for i, node in enumerate(nodes):
            if isinstance(node.op, ops.Transpose | ops.Reshape) is turning:
                names[i] = distinct.claim(node.name)
    return names
