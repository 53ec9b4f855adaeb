"""Turns preparation of an input, then a Transpose, into the Transpose, then the preparation."""

from __future__ import annotations

from edgeinfer.converters.passes.axes import invert, reindexed
from edgeinfer.converters.passes.draft import Draft
from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops

__all__ = ["hoist_transposes"]


def hoist_transposes(graph: Graph) -> Graph:
    """Transpose(f(x)) = f'(Transpose(x)), where x is computed from an input by such f alone.

    f is a Pointwise, Pad, Slice, or Mul or Add by a constant, and nothing else takes its value. So
    the scales, shifts and pads before a first convolution can become a part of it.
    """
    draft = Draft(graph)
    for node in graph.nodes:
        value = draft.name(node.inputs[0])
        if not isinstance(node.op, ops.Transpose) or not _from_input(draft, value):
            draft.keep(node)
            continue
        before = draft.producer(value)
        assert before is not None
        p = invert(node.op.permutation)
        moved = reindexed(before.op, p)
        assert moved is not None
        x = draft.replace(value, node.op, before.inputs[:1], draft.fresh(before.inputs[0], "@nhwc"))
        constants = []
        for name in before.inputs[1:]:
            array = draft.constants[name]
            array = array.reshape((1,) * (len(p) - array.ndim) + array.shape)
            constants.append(draft.constant(array.transpose(node.op.permutation), name))
        draft.add(before, moved[0], (x, *constants), node.outputs[0])
    return draft.finish()


def _from_input(draft: Draft, value: str) -> bool:
    """Whether ``value`` comes from an input through functions that a Transpose passes."""
    steps = 0
    while (node := draft.producer(value)) is not None:
        if not _is_preparation(draft, node) or not draft.only_use(value):
            return False
        value = node.inputs[0]
        steps += 1
    return steps > 0 and value in draft.graph.inputs


def _is_preparation(draft: Draft, node: Node) -> bool:
    if isinstance(node.op, ops.Pointwise | ops.Pad | ops.Slice):
        return True
    return (
        isinstance(node.op, ops.Add | ops.Mul)
        and node.inputs[1] in draft.constants
        and draft.shape(node.inputs[0]) == draft.shape(node.outputs[0])
    )
