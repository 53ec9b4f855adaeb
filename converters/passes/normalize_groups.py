"""Turns a normalization of channels in groups, which are rows of a Reshape, into one over axes."""

from __future__ import annotations

import math
from dataclasses import replace

from edgeinfer.converters.passes.rewriter import Rewriter, looks_for
from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops

__all__ = ["normalize_groups"]


@looks_for(ops.Reshape, ops.Normalization)
def normalize_groups(graph: Graph) -> Graph:
    """Reshape [N,C,H,W] to [N,G,X], normalized over X, and back: over axes of [N,G,C/G,H,W].

    As PyTorch exports GroupNorm. No axis is merged with another there, so that a Transpose of
    channels behind the places, as layers have them, passes through.
    """
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        normalized, first = _between(rewriter, node)
        if normalized is None or first is None:
            rewriter.copy(node)
            continue
        x = rewriter.current(first.inputs[0])
        n, channels, *places = rewriter.shape(x)
        groups = rewriter.shape(normalized.inputs[0])[1]
        grouped = (n, groups, channels // groups, *places)
        output = node.outputs[0]
        seen = rewriter.write(
            first, ops.Reshape(grouped), (x,), rewriter.distinct(f"{output}@groups")
        )
        constants = []
        for name in normalized.inputs[1:]:
            array = rewriter.constants[name]
            # one number a group, or one for all
            shape = (array.size, *(1,) * (len(grouped) - 2))
            constants.append(rewriter.constant(name, array.reshape(shape)))
        assert isinstance(normalized.op, ops.Normalization)
        op = replace(normalized.op, axes=tuple(range(2, len(grouped))))
        y = rewriter.write(
            normalized, op, (seen, *constants), rewriter.distinct(f"{output}@normalized")
        )
        rewriter.write(node, node.op, (y,), output)
    return rewriter.finish()


def _between(rewriter: Rewriter, node: Node) -> tuple[Node, Node] | tuple[None, None]:
    """The Normalization of groups before ``node``, which undoes the Reshape before that."""
    neither = None, None
    normalized = rewriter.producer(rewriter.current(node.inputs[0]))
    if not isinstance(node.op, ops.Reshape) or normalized is None:
        return neither
    first = rewriter.producer(rewriter.current(normalized.inputs[0]))
    if not isinstance(normalized.op, ops.Normalization) or first is None:
        return neither
    shape = rewriter.shape(normalized.inputs[0])
    rows = len(shape) - 2
    sizes = (rewriter.constants[name].size for name in normalized.inputs[1:])
    if (
        not isinstance(first.op, ops.Reshape)
        or rows < 1
        or normalized.op.axes != tuple(range(2, len(shape)))
        or not rewriter.only_use(normalized.outputs[0])
        or any(size not in (1, shape[1]) for size in sizes)
    ):
        return neither
    before = rewriter.shape(first.inputs[0])
    is_undone = before == node.op.shape and len(before) > 2 and before[0] == shape[0]
    if not is_undone or before[1] % shape[1] or before[1] == shape[1]:
        return neither
    # already as axes
    if shape[2:] == (before[1] // shape[1], *before[2:]):
        return neither
    assert math.prod(before) == math.prod(shape)
    return normalized, first
