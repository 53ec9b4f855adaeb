"""Turns a Slice of an axis that a Reshape split off the last one into a Slice of that one."""

from __future__ import annotations

import math

from edgeinfer.converters.passes.rewriter import Rewriter, looks_for
from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops

__all__ = ["slice_axes"]


@looks_for(ops.Reshape, ops.Slice)
def slice_axes(graph: Graph) -> Graph:
    """Slice(Reshape(x)) = Reshape(Slice(x)), where it takes a stretch of the last axis of x.

    As queries, keys and values are taken out of one product: ``[..., 3 C]`` to ``[..., 3, C]``, of
    which a third. So it is a stretch of channels, and no axis more.
    """
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        found = _stretch(rewriter, node)
        if found is None:
            rewriter.copy(node)
            continue
        x, op = found
        stretch = rewriter.write(node, op, (x,), rewriter.distinct(f"{node.output}@stretch"))
        shape = ops.Reshape(rewriter.shape(node.output))
        rewriter.write(node, shape, (stretch,), node.output)
    return rewriter.finish()


def _stretch(rewriter: Rewriter, node: Node) -> tuple[str, ops.Slice] | None:
    """What the Slice ``node`` takes of the value before a Reshape, and that value."""
    if not isinstance(node.op, ops.Slice):
        return None
    reshape = rewriter.producer(rewriter.current(node.inputs[0]))
    if reshape is None or not isinstance(reshape.op, ops.Reshape):
        return None
    x = reshape.inputs[0]
    *lead, last = rewriter.shape(x)
    shape, op = reshape.op.shape, node.op
    cut = [axis for axis, size in enumerate(op.sizes) if size != shape[axis]]
    if len(cut) != 1 or any(step != 1 for step in op.steps):
        return None
    (axis,) = cut
    inner = math.prod(shape[axis + 1 :])
    if math.prod(shape[axis:]) != last or axis == len(shape) - 1:
        return None
    return x, ops.Slice(
        starts=(*(0 for _ in lead), op.starts[axis] * inner),
        sizes=(*lead, op.sizes[axis] * inner),
        steps=(*(1 for _ in lead), 1),
    )
