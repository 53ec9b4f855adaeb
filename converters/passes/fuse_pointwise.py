"""Turns functions of one value, chained or joined, into one function."""

from __future__ import annotations

from edgeinfer.arithmetic import pointwise
from edgeinfer.arithmetic.pointwise import Expression
from edgeinfer.converters.passes.rewriter import Rewriter
from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops

__all__ = ["fuse_pointwise"]

# a clamp is fused after what it clamps
_JOINS: dict[ops.Operator, str] = {
    ops.Add(): "add",
    ops.Sub(): "sub",
    ops.Mul(): "mul",
    ops.Div(): "div",
    ops.Pow(): "pow",
    ops.Maximum(): "max",
    ops.Minimum(): "min",
}


def fuse_pointwise(graph: Graph) -> Graph:
    """g(f(x)) and g(x) * f(x) are each one function of x, where nothing else takes f(x) or g(x).

    So is a choice by f(x) between g(x) and h(x), or numbers.

    So SiLU, GELU and hard-swish become one Pointwise, however a model spells them.
    """
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        fused = _chained(rewriter, node) or _joined(rewriter, node) or _chosen(rewriter, node)
        if fused is None:
            rewriter.copy(node)
        else:
            x, expression = fused
            rewriter.write(node, ops.Pointwise(expression), (x,), node.outputs[0])
    return rewriter.finish()


Function = tuple[str, Expression]


def _chained(rewriter: Rewriter, node: Node) -> Function | None:
    if not isinstance(node.op, ops.Pointwise):
        return None
    readings = _readings(rewriter, node.inputs[0])
    if len(readings) < 2:
        return None
    x, inner = readings[-1]
    return _within_limits(x, pointwise.substitute(node.op.expression, inner))


def _joined(rewriter: Rewriter, node: Node) -> Function | None:
    function = _JOINS.get(node.op)
    if function is None:
        return None
    for x, a in reversed(_readings(rewriter, node.inputs[0])):
        for y, b in reversed(_readings(rewriter, node.inputs[1])):
            if x == y and x not in rewriter.constants:
                return _within_limits(x, (function, a, b))
    return None


def _chosen(rewriter: Rewriter, node: Node) -> Function | None:
    if not isinstance(node.op, ops.Where):
        return None
    shape = rewriter.shape(node.outputs[0])
    for x, condition in reversed(_readings(rewriter, node.inputs[0])):
        if x in rewriter.constants or rewriter.shape(x) != shape:
            continue
        branches = [_as_function_of(rewriter, x, name) for name in node.inputs[1:]]
        if None not in branches:
            return _within_limits(x, ("where", condition, *branches))
    return None


def _as_function_of(rewriter: Rewriter, x: str, name: str) -> Expression | None:
    array = rewriter.constants.get(name)
    if array is not None:
        return float(array.reshape(())) if array.size == 1 else None
    return next((e for y, e in _readings(rewriter, name) if x == y), None)


def _readings(rewriter: Rewriter, name: str) -> list[Function]:
    """The ways to see a value: as itself, and as a function of another one."""
    name = rewriter.current(name)
    readings: list[Function] = [(name, "x")]
    producer = rewriter.producer(name)
    if producer is not None and isinstance(producer.op, ops.Pointwise) and rewriter.only_use(name):
        readings.append((producer.inputs[0], producer.op.expression))
    return readings


def _within_limits(x: str, expression: Expression) -> Function | None:
    try:
        pointwise.check(expression)
    except ValueError:
        return None
    return x, expression
