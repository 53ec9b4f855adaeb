"""Turns columns of a product of two values into products of columns, which have scales apart."""

from __future__ import annotations

import numpy as np

from edgeinfer.converters.passes.rewriter import Rewriter, looks_for
from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops

__all__ = ["split_products"]


@looks_for(ops.MatMul, ops.Slice)
def split_products(graph: Graph) -> Graph:
    """Slices of the columns of a MatMul that nothing else takes: a MatMul each.

    As linear attention multiplies values and a column of ones at once, to divide the ones' sums.
    """
    rewriter = Rewriter(graph)
    consumers = graph.consumers()
    for node in graph.nodes:
        product = rewriter.producer(rewriter.current(node.inputs[0])) if node.inputs else None
        if (
            product is None
            or not isinstance(product.op, ops.MatMul)
            or rewriter.is_result(product.output)
            or not all(_takes_columns(graph, reader) for reader in consumers[node.inputs[0]])
        ):
            rewriter.copy(node)
            continue
        a, b = map(rewriter.current, product.inputs)
        rewriter.write(product, product.op, (a, _columns(rewriter, node, b)), node.output)
    return rewriter.finish()


def _takes_columns(graph: Graph, node: Node) -> bool:
    if not isinstance(node.op, ops.Slice):
        return False
    before, behind = (graph.types[name].shape for name in (node.inputs[0], node.output))
    return before[:-1] == behind[:-1] and all(step == 1 for step in node.op.steps[:-1])


def _columns(rewriter: Rewriter, node: Node, b: str) -> str:
    """What the Slice ``node`` takes of the product's columns, of those of ``b``."""
    assert isinstance(node.op, ops.Slice)
    start, size, step = node.op.starts[-1], node.op.sizes[-1], node.op.steps[-1]
    if b in rewriter.constants:
        places = start + step * np.arange(size)
        return rewriter.constant(f"{node.output}@columns", rewriter.constants[b][..., places])
    *lead, _ = rewriter.shape(b)
    columns = ops.Slice(
        starts=(*(0 for _ in lead), start),
        sizes=(*lead, size),
        steps=(*(1 for _ in lead), step),
    )
    return rewriter.write(node, columns, (b,), rewriter.distinct(f"{node.output}@columns"))
