"""Turns quotients of sums with the same weights into those of weights that are normalized first."""

from __future__ import annotations

from collections.abc import Set

import numpy as np

from edgeinfer.converters.passes.rewriter import Rewriter, looks_for
from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops

__all__ = ["normalize_quotients"]

# what is added to a denominator so that it is not 0, and nothing beyond
_MOST_EPSILON = 1e-4


@looks_for(ops.MatMul, ops.Div)
def normalize_quotients(graph: Graph) -> Graph:
    """q A / (q b) is the same whatever a row of q is multiplied by: so its magnitudes average 1.

    As attention without a Softmax has it. Rows of q may differ by orders of magnitude, and what
    they give by as much, of which no 16 bits hold both ends; the quotients are alike. What is added
    to the denominators, 0.0001 at most, then weighs as a share of q.
    """
    rewriter = Rewriter(graph)
    # wherever it was moved since
    normalized_before: set[str] = set()
    for node in graph.nodes:
        is_moved = isinstance(node.op, ops.Moving) and node.inputs[0] in normalized_before
        if is_moved or isinstance(node.op, ops.Normalization):
            normalized_before.update(node.outputs)
        found = _quotient(rewriter, node, normalized_before)
        if found is None:
            rewriter.copy(node)
            continue
        q, *paths = found
        output = node.output
        shape = rewriter.shape(q)
        op = ops.Normalization(axes=(len(shape) - 1,), measure="magnitudes")
        ones = rewriter.constant(f"{output}@ones", np.ones(1, np.float32))
        value = rewriter.distinct(f"{q}@normalized")
        normalized = rewriter.write(node, op, (q, ones), value)
        written: dict[str, str] = {}
        operands = []
        for path in paths:
            # the same product may be both
            x = normalized
            for step in path:
                if step.output not in written:
                    name = rewriter.distinct(f"{step.output}@normalized")
                    rest = tuple(map(rewriter.current, step.inputs[1:]))
                    written[step.output] = rewriter.write(step, step.op, (x, *rest), name)
                x = written[step.output]
            operands.append(x)
        rewriter.write(node, node.op, operands, output)
    return rewriter.finish()


def _quotient(
    rewriter: Rewriter, node: Node, normalized: Set[str]
) -> tuple[str, list[Node], list[Node]] | None:
    """q, and how the dividend and the divisor are made from it, the product with it first."""
    if not isinstance(node.op, ops.Div):
        return None
    dividend, divisor = (_from_product(rewriter, name) for name in node.inputs)
    if dividend is None or divisor is None or isinstance(dividend[-1].op, ops.Pointwise):
        return None
    q, same = (rewriter.current(path[0].inputs[0]) for path in (dividend, divisor))
    if q != same or q in normalized:
        return None
    return q, dividend, divisor


def _from_product(rewriter: Rewriter, value: str) -> list[Node] | None:
    """The nodes from a MatMul to ``value``, which select columns, and may add an epsilon."""
    path: list[Node] = []
    while (node := rewriter.producer(rewriter.current(value))) is not None:
        path.insert(0, node)
        match node.op:
            case ops.MatMul():
                return path
            case ops.Pointwise(("add", "x", float(epsilon))):
                if len(path) > 1 or not 0 < epsilon <= _MOST_EPSILON:
                    return None
            case _:
                return None
        value = node.inputs[0]
    return None
