"""Turns the names that passes made up into the model's own, where those are free."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from edgeinfer.graph import Graph

__all__ = ["settle_names"]


def settle_names(graph: Graph) -> Graph:
    """``y@nhwc`` is called ``y`` where no other value is, the last of several; nodes get own names.

    So a layer's value has the name that it has in the ONNX model, whatever its order of axes.
    """
    names = {name: name for name in graph.types}
    taken, given = set(names), frozenset(graph.outputs)
    for node in reversed(graph.nodes):
        for output in node.outputs:
            plain = output.split("@")[0]
            if plain not in taken and output not in given:
                taken.add(plain)
                names[output] = plain
    for name in graph.constants:
        plain = name.split("@")[0]
        if plain not in taken:
            taken.add(plain)
            names[name] = plain
    nodes = []
    seen: Counter[str] = Counter()
    for node in graph.nodes:
        seen[node.name] += 1
        own = node.name if seen[node.name] == 1 else f"{node.name}@{seen[node.name]}"
        takes, gives = (tuple(names[n] for n in side) for side in (node.inputs, node.outputs))
        nodes.append(replace(node, name=own, inputs=takes, outputs=gives))
    return replace(
        graph,
        nodes=tuple(nodes),
        types={names[n]: t for n, t in graph.types.items()},
        constants={names[n]: array for n, array in graph.constants.items()},
    )
