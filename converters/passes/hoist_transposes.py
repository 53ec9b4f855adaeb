"""Turns preparation of an input, then a Transpose, into the Transpose, then the preparation."""

from __future__ import annotations

from edgeinfer.converters.passes.axes import invert, reindexed
from edgeinfer.converters.passes.rewriter import Rewriter, looks_for
from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops

__all__ = ["hoist_transposes"]


@looks_for(ops.Transpose)
def hoist_transposes(graph: Graph) -> Graph:
    """Transpose(f(x)) = f'(Transpose(x)), where x is computed from an input by such f alone.

    f is a Pointwise, FakeQuantize, Pad, Slice, or Mul or Add by a constant, and nothing else takes
    its value. So the scales, shifts and pads before a first convolution can become a part of it.
    """
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        value = rewriter.current(node.inputs[0])
        if not isinstance(node.op, ops.Transpose) or not _from_input(rewriter, value):
            rewriter.copy(node)
            continue
        before = rewriter.producer(value)
        assert before is not None
        p = invert(node.op.permutation)
        moved = reindexed(before.op, p)
        assert moved is not None
        x = rewriter.replace(
            value, node.op, before.inputs[:1], rewriter.distinct(f"{before.inputs[0]}@nhwc")
        )
        constants = []
        for name in before.inputs[1:]:
            array = rewriter.constants[name]
            array = array.reshape((1,) * (len(p) - array.ndim) + array.shape)
            constants.append(rewriter.constant(name, array.transpose(node.op.permutation)))
        rewriter.write(before, moved[0], (x, *constants), node.outputs[0])
    return rewriter.finish()


def _from_input(rewriter: Rewriter, value: str) -> bool:
    """Whether ``value`` comes from an input through functions that a Transpose passes."""
    steps = 0
    while (node := rewriter.producer(value)) is not None:
        if not _is_preparation(rewriter, node) or not rewriter.only_use(value):
            return False
        value = node.inputs[0]
        steps += 1
    return steps > 0 and value in rewriter.source.inputs


def _is_preparation(rewriter: Rewriter, node: Node) -> bool:
    if isinstance(node.op, ops.Pointwise | ops.FakeQuantize | ops.Pad | ops.Slice):
        return True
    return (
        isinstance(node.op, ops.Add | ops.Mul)
        and node.inputs[1] in rewriter.constants
        and rewriter.shape(node.inputs[0]) == rewriter.shape(node.outputs[0])
    )
