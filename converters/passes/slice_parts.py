"""Turns a Slice of what was joined into one of the part that it takes from."""

from __future__ import annotations

from dataclasses import replace

from edgeinfer.converters.passes.rewriter import Rewriter, looks_for
from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops

__all__ = ["slice_parts"]


@looks_for(ops.Concat, ops.Slice)
def slice_parts(graph: Graph) -> Graph:
    """Slice of a Concat: of one of its parts, where nothing of the others is taken.

    What is joined has one scale. Scores that a detector joins with boxes and takes apart again
    would have theirs.
    """
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        found = _part(rewriter, node)
        if found is None:
            rewriter.copy(node)
        else:
            part, op = found
            rewriter.write(node, op, (part,), node.output)
    return rewriter.finish()


def _part(rewriter: Rewriter, node: Node) -> tuple[str, ops.Slice] | None:
    """The part that the Slice ``node`` takes from, and what it takes of that."""
    if not isinstance(node.op, ops.Slice):
        return None
    joined = rewriter.producer(rewriter.current(node.inputs[0]))
    if joined is None or not isinstance(joined.op, ops.Concat):
        return None
    axis, op = joined.op.axis, node.op
    ends = op.starts[axis], op.starts[axis] + (op.sizes[axis] - 1) * op.steps[axis]
    start = 0
    for part in map(rewriter.current, joined.inputs):
        end = start + rewriter.shape(part)[axis]
        if start <= min(ends) and max(ends) < end:
            starts = tuple(s - start if a == axis else s for a, s in enumerate(op.starts))
            return None if part in rewriter.constants else (part, replace(op, starts=starts))
        start = end
    return None
