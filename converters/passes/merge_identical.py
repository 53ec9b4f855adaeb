"""Turns equal nodes into one."""

from __future__ import annotations

from edgeinfer.converters.passes.draft import Draft
from edgeinfer.graph import Graph

__all__ = ["merge_identical"]


def merge_identical(graph: Graph) -> Graph:
    """Two nodes of the same operator and inputs are one, unless the second gives an output."""
    draft = Draft(graph)
    seen: dict[object, tuple[str, ...]] = {}
    for node in graph.nodes:
        key = (node.op, tuple(map(draft.name, node.inputs)))
        if key in seen and not any(map(draft.is_output, node.outputs)):
            for output, first in zip(node.outputs, seen[key], strict=True):
                draft.alias(output, first)
            continue
        seen[key] = draft.keep(node).outputs
    return draft.finish()
