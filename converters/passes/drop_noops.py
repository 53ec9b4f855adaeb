"""Turns a Graph into one without operators that do nothing."""

from __future__ import annotations

from functools import singledispatch

from edgeinfer.converters.passes.rewriter import Rewriter
from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops
from edgeinfer.graph.shapes import output_shapes

__all__ = ["drop_noops"]

Shape = tuple[int, ...]


def drop_noops(graph: Graph) -> Graph:
    """What gives back its input goes, as a sum with zeros does; so do Reshapes of a Reshape.

    A reduction over axes of extent 1 is a Reshape. An Expand goes where what takes it broadcasts
    anyway. An output that is a copy of an input, or of another output, stays one.
    """
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        first = rewriter.current(node.inputs[0])
        output = node.outputs[0]
        if _gives_back(node.op, rewriter.shape(first), len(node.inputs)):
            if rewriter.alias(output, first):
                continue
            # a Reshape keeps its input's integers, as a function does not
            reshape = ops.Reshape(rewriter.shape(output))
            if first in rewriter.constants or node.op == reshape:
                rewriter.copy(node)
            else:
                rewriter.write(node, reshape, (first,), output)
            continue
        if (kept := _beside_neutral(rewriter, node)) is not None and rewriter.alias(output, kept):
            continue
        if _only_reshapes(node.op, rewriter.shape(first)):
            rewriter.write(node, ops.Reshape(rewriter.shape(output)), (first,), output)
            continue
        before = rewriter.producer(first)
        if isinstance(node.op, ops.Reshape) and before and isinstance(before.op, ops.Reshape):
            rewriter.write(node, node.op, before.inputs, output)
            continue
        if isinstance(node.op, ops.Broadcasting) and (inputs := _unexpanded(rewriter, node)):
            rewriter.write(node, node.op, inputs, output)
            continue
        rewriter.copy(node)
    return rewriter.finish()


def _unexpanded(rewriter: Rewriter, node: Node) -> list[str] | None:
    """The node's inputs, as they were before an Expand that its result does not need; None where
    there is none."""
    inputs = given = [rewriter.current(name) for name in node.inputs]
    for i, name in enumerate(inputs):
        before = rewriter.producer(name)
        if before is not None and isinstance(before.op, ops.Expand):
            tried = [*inputs[:i], before.inputs[0], *inputs[i + 1 :]]
            if output_shapes(node.op, *map(rewriter.shape, tried)) == (
                rewriter.shape(node.outputs[0]),
            ):
                inputs = tried
    return None if inputs is given else inputs


# what leaves the other operand as it is: on either side, or on the right
_NEUTRAL: dict[ops.Operator, tuple[float, bool]] = {
    ops.Add(): (0.0, True),
    ops.Sub(): (0.0, False),
    ops.Mul(): (1.0, True),
    ops.Div(): (1.0, False),
}


def _beside_neutral(rewriter: Rewriter, node: Node) -> str | None:
    """The operand that the node's value is, as the other holds nothing but 0 or 1."""
    if node.op not in _NEUTRAL:
        return None
    neutral, on_either_side = _NEUTRAL[node.op]
    a, b = map(rewriter.current, node.inputs)
    for x, other in ((a, b), (b, a))[: 2 if on_either_side else 1]:
        constant = rewriter.constants.get(other)
        if constant is not None and x not in rewriter.constants:
            same = rewriter.shape(x) == rewriter.shape(node.outputs[0])
            if same and (constant == neutral).all():
                return x
    return None


def _only_reshapes(op: ops.Operator, shape: Shape) -> bool:
    if not isinstance(op, ops.Reducing):
        return False
    return all(shape[axis] == 1 for axis in op.axes)


@singledispatch
def _gives_back(op: ops.Operator, shape: Shape, arity: int) -> bool:
    """Whether the operator's value is its first input, of ``shape``, unchanged."""
    return False


@_gives_back.register(ops.Reshape)
@_gives_back.register(ops.Expand)
def _reshape(op: ops.Reshape | ops.Expand, shape: Shape, arity: int) -> bool:
    return op.shape == shape


@_gives_back.register
def _transpose(op: ops.Transpose, shape: Shape, arity: int) -> bool:
    return op.permutation == tuple(range(len(shape)))


@_gives_back.register
def _slice(op: ops.Slice, shape: Shape, arity: int) -> bool:
    whole = op.sizes == shape and not any(op.starts)
    return whole and all(step == 1 or n == 1 for step, n in zip(op.steps, shape, strict=True))


@_gives_back.register
def _pad(op: ops.Pad, shape: Shape, arity: int) -> bool:
    return not any(op.before) and not any(op.after)


@_gives_back.register
def _tile(op: ops.Tile, shape: Shape, arity: int) -> bool:
    return all(n == 1 for n in op.repeats)


@_gives_back.register
def _pointwise(op: ops.Pointwise, shape: Shape, arity: int) -> bool:
    return bool(op.expression == "x")


@_gives_back.register
def _concat(op: ops.Concat, shape: Shape, arity: int) -> bool:
    return arity == 1
