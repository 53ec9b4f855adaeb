"""Turns equal nodes into one."""

from __future__ import annotations

from edgeinfer.converters.passes.rewriter import Rewriter
from edgeinfer.graph import Graph

__all__ = ["merge_identical"]


def merge_identical(graph: Graph) -> Graph:
    """Two nodes of the same operator and inputs are one, unless the second gives an output."""
    rewriter = Rewriter(graph)
    seen: dict[object, tuple[str, ...]] = {}
    for node in graph.nodes:
        key = (node.op, tuple(map(rewriter.current, node.inputs)))
        if key in seen and not any(map(rewriter.is_result, node.outputs)):
            for output, first in zip(node.outputs, seen[key], strict=True):
                rewriter.alias(output, first)
            continue
        seen[key] = rewriter.copy(node).outputs
    return rewriter.finish()
