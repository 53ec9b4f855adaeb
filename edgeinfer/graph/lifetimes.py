"""How long each value of a Graph, or whatever holds values, is needed."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TypeVar

from edgeinfer.graph.graph import Graph

__all__ = ["last_uses", "spans"]

K = TypeVar("K", bound=Hashable)


def last_uses(graph: Graph) -> dict[str, int]:
    """The index of the last node that takes each value; one past the end for the results.

    A value that nothing takes has no entry.
    """
    last = {name: index for index, node in enumerate(graph.nodes) for name in node.operands}
    last.update(dict.fromkeys(graph.results, len(graph.nodes)))
    return last


def spans(uses: Iterable[tuple[K, int]]) -> dict[K, tuple[int, int]]:
    """The first and the last step of each key's ``uses``, which come as pairs (key, step)."""
    found: dict[K, tuple[int, int]] = {}
    for key, step in uses:
        first, last = found.get(key, (step, step))
        found[key] = (min(first, step), max(last, step))
    return found
