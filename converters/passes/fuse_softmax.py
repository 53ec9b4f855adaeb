"""Turns a softmax that is spelled out into a Softmax."""

from __future__ import annotations

from edgeinfer.converters.passes.rewriter import Rewriter, looks_for
from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops

__all__ = ["fuse_softmax"]


@looks_for(ops.Pointwise, ops.ReduceSum, ops.Div)
def fuse_softmax(graph: Graph) -> Graph:
    """exp(x) / sum of exp(x) along an axis is Softmax(x), and so it is of x less its largest."""
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        found = _softmax(rewriter, node)
        if found is None:
            rewriter.copy(node)
        else:
            x, axis = found
            rewriter.write(node, ops.Softmax(axis), (x,), node.outputs[0])
    return rewriter.finish()


def _softmax(rewriter: Rewriter, node: Node) -> tuple[str, int] | None:
    """What ``node`` is a softmax of, and along which axis."""
    if not isinstance(node.op, ops.Div):
        return None
    dividend, divisor = map(rewriter.current, node.inputs)
    exponentials, total = rewriter.producer(dividend), rewriter.producer(divisor)
    if exponentials is None or exponentials.op != ops.Pointwise(("exp", "x")):
        return None
    axis = _reduced_axis(total, ops.ReduceSum, dividend)
    if axis is None:
        return None
    x = exponentials.inputs[0]
    distance = rewriter.producer(x)
    if distance is not None and distance.op == ops.Sub():
        whole, largest = distance.inputs
        if _reduced_axis(rewriter.producer(largest), ops.ReduceMax, whole) == axis:
            x = whole
    return x, axis


def _reduced_axis(node: Node | None, kind: type[ops.Reducing], x: str) -> int | None:
    """The one axis along which ``node`` reduces ``x`` and keeps; None where it does not."""
    if node is None or not isinstance(node.op, kind) or node.inputs[0] != x:
        return None
    return node.op.axes[0] if len(node.op.axes) == 1 and node.op.keepdims else None
