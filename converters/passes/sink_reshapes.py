"""Turns Reshape then function into function then Reshape, so that it meets the layer before."""

from __future__ import annotations

from edgeinfer.converters.passes.draft import Draft
from edgeinfer.converters.passes.fold_scales import along_last_axis
from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops

__all__ = ["sink_reshapes"]


def sink_reshapes(graph: Graph) -> Graph:
    """f(Reshape(x)) = Reshape(f(x)), where nothing else takes the Reshape.

    f is a Pointwise, or an operator with a constant along the last axis, which the Reshape keeps.
    """
    draft = Draft(graph)
    for node in graph.nodes:
        reshape = draft.producer(draft.name(node.inputs[0]))
        if reshape is None or not _passes(draft, node, reshape):
            draft.keep(node)
            continue
        output = node.outputs[0]
        x = reshape.inputs[0]
        inputs = [x, *node.inputs[1:]]
        for i, name in enumerate(inputs[1:], start=1):
            array = draft.constants[name]
            inputs[i] = draft.constant(array.reshape(-1), name)
        moved = draft.add(node, node.op, inputs, draft.fresh(output, "@flat"))
        draft.add(reshape, reshape.op, (moved,), output)
    return draft.finish()


def _passes(draft: Draft, node: Node, reshape: Node) -> bool:
    if not isinstance(reshape.op, ops.Reshape) or not draft.only_use(node.inputs[0]):
        return False
    if isinstance(node.op, ops.Pointwise):
        return True
    if not isinstance(node.op, ops.Add | ops.Mul | ops.PRelu):
        return False
    before, after = draft.shape(reshape.inputs[0]), draft.shape(reshape.outputs[0])
    if not before or not after or before[-1] != after[-1]:
        return False
    return along_last_axis(draft, node.inputs[1], after) is not None
