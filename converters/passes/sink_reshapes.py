"""Turns Reshape then function into function then Reshape, so that it meets the layer before."""

from __future__ import annotations

from edgeinfer.converters.passes.fold_scales import along_last_axis
from edgeinfer.converters.passes.rewriter import Rewriter, looks_for
from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops

__all__ = ["sink_reshapes"]


@looks_for(ops.Reshape)
def sink_reshapes(graph: Graph) -> Graph:
    """f(Reshape(x)) = Reshape(f(x)), where nothing else takes the Reshape.

    f is a Pointwise or FakeQuantize, or an operator with a constant along the last axis, which the
    Reshape keeps.
    """
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        reshape = rewriter.producer(rewriter.current(node.inputs[0]))
        if reshape is None or not _passes(rewriter, node, reshape):
            rewriter.copy(node)
            continue
        output = node.outputs[0]
        x = reshape.inputs[0]
        inputs = [x, *node.inputs[1:]]
        for i, name in enumerate(inputs[1:], start=1):
            array = rewriter.constants[name]
            inputs[i] = rewriter.constant(name, array.reshape(-1))
        moved = rewriter.write(node, node.op, inputs, rewriter.distinct(f"{output}@flat"))
        rewriter.write(reshape, reshape.op, (moved,), output)
    return rewriter.finish()


def _passes(rewriter: Rewriter, node: Node, reshape: Node) -> bool:
    if not isinstance(reshape.op, ops.Reshape) or not rewriter.only_use(node.inputs[0]):
        return False
    if isinstance(node.op, ops.Pointwise | ops.FakeQuantize):
        return True
    if not isinstance(node.op, ops.Add | ops.Mul | ops.PRelu):
        return False
    before, after = rewriter.shape(reshape.inputs[0]), rewriter.shape(reshape.outputs[0])
    if not before or not after or before[-1] != after[-1]:
        return False
    return along_last_axis(rewriter, node.inputs[1], after) is not None
