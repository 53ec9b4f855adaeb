"""How long each value of a Graph is needed."""

from __future__ import annotations

from edgeinfer.graph.graph import Graph

__all__ = ["last_uses"]


def last_uses(graph: Graph) -> dict[str, int]:
    """The index of the last node that takes each value; one past the end for the results.

    A value that nothing takes has no entry.
    """
    last = {name: index for index, node in enumerate(graph.nodes) for name in node.operands}
    last.update(dict.fromkeys(graph.results, len(graph.nodes)))
    return last
