"""Turns a transposed and flattened input of Dense layers into permuted weights."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.converters.passes.rewriter import Rewriter, looks_for
from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops

__all__ = ["permute_dense"]


@looks_for(ops.Transpose, ops.Reshape, ops.Dense)
def permute_dense(graph: Graph) -> Graph:
    """Dense(Reshape(Transpose(u)), W) = Dense(Reshape(u), W with its columns in u's order).

    The Transpose must leave alone the axes that the Reshape does not merge into the last one, and
    all that takes the Reshape must be Dense.
    """
    rewriter = Rewriter(graph)
    consumers = graph.consumers()
    for node in graph.nodes:
        reshape = rewriter.producer(rewriter.current(node.inputs[0]))
        transpose = None if reshape is None else rewriter.producer(reshape.inputs[0])
        columns = None
        if (
            isinstance(node.op, ops.Dense)
            and reshape is not None
            and transpose is not None
            and not rewriter.is_result(reshape.outputs[0])
            and all(isinstance(n.op, ops.Dense) for n in consumers[node.inputs[0]])
        ):
            columns = _columns(rewriter, reshape, transpose)
        if columns is None or reshape is None or transpose is None:
            rewriter.copy(node)
            continue
        weights = rewriter.constants[node.inputs[1]]
        scales = rewriter.types[node.inputs[1]].quantization
        permuted = np.empty_like(weights)
        permuted[:, columns] = weights
        flat = rewriter.distinct(f"{reshape.outputs[0]}#flat")
        x = rewriter.write(reshape, reshape.op, transpose.inputs, flat)
        inputs = (x, rewriter.constant(node.inputs[1], permuted, scales), *node.inputs[2:])
        rewriter.write(node, node.op, inputs, node.outputs[0])
    return rewriter.finish()


def _columns(rewriter: Rewriter, reshape: Node, transpose: Node) -> np.ndarray | None:
    """The place in u's order of each column of the weights; None where the rule does not hold."""
    if not isinstance(reshape.op, ops.Reshape) or not isinstance(transpose.op, ops.Transpose):
        return None
    p = transpose.op.permutation
    shape = rewriter.shape(transpose.inputs[0])
    features = reshape.op.shape[-1]
    for kept in range(len(p)):
        if p[:kept] != tuple(range(kept)):
            return None
        if math.prod(shape[kept:]) == features:
            places = np.arange(features).reshape(shape[kept:])
            return places.transpose([axis - kept for axis in p[kept:]]).reshape(-1)
    return None
