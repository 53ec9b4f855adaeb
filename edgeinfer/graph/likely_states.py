"""Finds the inputs and outputs of a Graph that look as if they handed on what a run leaves."""

from __future__ import annotations

import re

from edgeinfer.graph.graph import Graph

__all__ = ["likely_states"]

# words by which a state's input and its output differ
_ROLES = frozenset(
    (
        "0",
        "in",
        "input",
        "prev",
        "previous",
        "past",
        "old",
        "init",
        "initial",
        "n",
        "out",
        "output",
        "next",
        "present",
        "new",
        "cur",
        "current",
        "final",
        "last",
        "updated",
    )
)


def likely_states(graph: Graph) -> dict[str, str]:
    """The inputs and outputs that are of one type, and whose names differ by their role alone.

    As ``h0`` and ``hn``, ``state`` and ``stateN``, ``cache_in`` and ``cache_out``.
    """
    found: dict[str, list[str]] = {}
    for source in graph.inputs:
        for result in graph.outputs:
            if graph.types[source] == graph.types[result] and _stem(source) == _stem(result):
                found.setdefault(source, []).append(result)
    single = {source: results[0] for source, results in found.items() if len(results) == 1}
    given = list(single.values())
    return {source: result for source, result in single.items() if given.count(result) == 1}


def _stem(name: str) -> tuple[str, ...] | None:
    """The words of a name without those that tell a state's side; None where none is left."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z0-9])", " ", name)
    words = re.findall(r"[a-z]+|\d+", apart.lower())
    # h0 and hn of torch.nn.GRU
    words = [word[0] if word in ("hn", "cn") else word for word in words]
    kept = tuple(word for word in words if word not in _ROLES)
    return kept or None
