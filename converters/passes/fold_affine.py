"""Turns products with constants, and sums, into the scale and bias of the Normalization before."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.converters.passes.rewriter import Rewriter, looks_for
from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops

__all__ = ["fold_affine"]

_ADD, _MUL = ops.Add(), ops.Mul()


@looks_for(ops.Normalization)
def fold_affine(graph: Graph) -> Graph:
    """(n * s + b) * c + d = n * (s c) + (b c + d), where nothing else takes what is in between.

    Constants are broadcast to the value. They pass a Reshape that splits the second axis in two, as
    that of a normalization of groups, where they vary along axes that it keeps or splits.
    """
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        if not _fold(rewriter, node):
            rewriter.copy(node)
    return rewriter.finish()


def _fold(rewriter: Rewriter, node: Node) -> bool:
    step = _step(rewriter, node)
    if step is None:
        return False
    x = step[0]
    constants: list[np.ndarray | None] = [*step[1:]]
    output, before = node.outputs[0], rewriter.producer(x)
    reshape = None
    if before is not None and isinstance(before.op, ops.Reshape) and rewriter.only_use(x):
        x, reshape = rewriter.current(before.inputs[0]), before
        before = rewriter.producer(x)
        shapes = rewriter.shape(output), rewriter.shape(x)
        constants = [_regrouped(array, *shapes) for array in constants if array is not None]
    factor, summand = constants
    if (
        before is None
        or factor is None
        or summand is None
        or not isinstance(before.op, ops.Normalization)
        or (before.op.lo, before.op.hi) != (-math.inf, math.inf)
        or not rewriter.only_use(x)
    ):
        return False
    scale, *biases = (rewriter.constants[name].astype(np.float64) for name in before.inputs[1:])
    bias = biases[0] if biases else np.zeros(1)
    with np.errstate(over="ignore", invalid="ignore"):
        arrays = [(scale * factor).astype(np.float32), (bias * factor + summand).astype(np.float32)]
    if not all(np.isfinite(array).all() for array in arrays):
        return False
    names = [
        rewriter.constant(f"{output}#{part}", array)
        for part, array in zip(("scale", "bias"), arrays, strict=True)
    ]
    if reshape is None:
        rewriter.replace(x, before.op, (before.inputs[0], *names), output)
    else:
        y = rewriter.replace(
            x, before.op, (before.inputs[0], *names), rewriter.distinct(f"{output}@normalized")
        )
        rewriter.replace(reshape.outputs[0], reshape.op, (y,), output)
    return True


def _step(rewriter: Rewriter, node: Node) -> tuple[str, np.ndarray, np.ndarray] | None:
    """The value that ``node`` multiplies by a constant, or adds one to, and these."""
    if node.op not in (_ADD, _MUL):
        return _of_one_number(rewriter, node)
    x, other = map(rewriter.current, node.inputs)
    constant = rewriter.constants.get(other)
    if constant is None or rewriter.shape(x) != rewriter.shape(node.outputs[0]):
        return None
    constant = constant.astype(np.float64)
    return (x, constant, np.zeros(1)) if node.op == _MUL else (x, np.ones(1), constant)


def _of_one_number(rewriter: Rewriter, node: Node) -> tuple[str, np.ndarray, np.ndarray] | None:
    if not isinstance(node.op, ops.Pointwise):
        return None
    x, one, zero = rewriter.current(node.inputs[0]), np.ones(1), np.zeros(1)
    match node.op.expression:
        case ("mul", "x", float(c)) | ("mul", float(c), "x"):
            return x, c * one, zero
        case ("div", "x", float(c)) if c:
            return x, one / c, zero
        case ("add", "x", float(c)) | ("add", float(c), "x"):
            return x, one, c * one
        case ("sub", "x", float(c)):
            return x, one, -c * one
    return None


def _regrouped(
    array: np.ndarray, shape: tuple[int, ...], grouped: tuple[int, ...]
) -> np.ndarray | None:
    """``array``, broadcast to ``shape`` [N,C,...], as what is broadcast to [N,G,C/G,...]."""
    if len(shape) < 2 or grouped != (shape[0], *grouped[1:3], *shape[2:]):
        return None
    full = array.reshape((1,) * (len(shape) - array.ndim) + array.shape)
    split = grouped[1:3] if full.shape[1] > 1 else (1, 1)
    return full.reshape(full.shape[0], *split, *full.shape[2:])
