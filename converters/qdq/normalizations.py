"""What a normalization of integers is in ONNX: LayerNormalization, or means, squares and roots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeinfer.converters.qdq.writer import ModelWriter
from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Node
from edgeinfer.graph import operators as ops

__all__ = ["write_normalization"]


@dataclass(frozen=True)
class _Reals:
    """The real numbers of a normalization.

    Parameters
    ----------
    epsilon : float
        What is added to the measure, or is its least.
    scale, bias : numpy.ndarray
        float32, broadcast to x.
    """

    epsilon: float
    scale: np.ndarray
    bias: np.ndarray


def write_normalization(op: ops.QNormalization, node: Node, to: ModelWriter) -> str:
    """The floats that ``node`` rounds, before any clamp.

    One of the variance over the last axes is a LayerNormalization; others are spelled out, as
    importers recognize them.
    """
    x = to.floats(node.input("x"))
    rank = len(to.type(node.input("x")).shape)
    reals = _reals(op, node, to)
    scale = to.constant(reals.scale, "scale")
    bias = [to.constant(reals.bias, "bias")] if reals.bias.any() else []
    first = min(op.axes)
    layer = op.axes == tuple(range(first, rank)) and op.inner == 1
    if layer and op.measure == "variance" and not op.is_least and reals.scale.ndim <= rank - first:
        return to.node("LayerNormalization", x, scale, *bias, axis=first, epsilon=reals.epsilon)
    y = to.node("Mul", _divided(op, x, reals.epsilon, to), scale)
    return to.node("Add", y, *bias) if bias else y


def _divided(op: ops.QNormalization, x: str, epsilon: float, to: ModelWriter) -> str:
    """x, or what it is beside its mean, by the root of the measure."""
    axes = to.constant(np.array(op.axes, np.int64), "axes")

    def mean(of: str) -> str:
        return to.node("ReduceMean", of, axes, keepdims=1)

    # zeros stay zeros where nothing is added to their measure
    is_least = op.is_least or epsilon == 0
    epsilon = max(epsilon, float(np.finfo(np.float32).tiny))
    if op.measure == "magnitudes":
        if not is_least:
            raise UnsupportedError("it adds to the square of a mean of magnitudes")
        least = to.constant(np.array(math.sqrt(epsilon), np.float32), "least")
        return to.node("Div", x, to.node("Max", mean(to.node("Abs", x)), least))
    if op.measure == "variance":
        x = to.node("Sub", x, mean(x))
    measure = mean(to.node("Mul", x, x))
    beside = to.constant(np.array(epsilon, np.float32), "epsilon")
    bounded = to.node("Max" if is_least else "Add", measure, beside)
    return to.node("Div", x, to.node("Sqrt", bounded))


def _reals(op: ops.QNormalization, node: Node, to: ModelWriter) -> _Reals:
    """What ``quant.normalization`` made integers of."""
    shape = to.type(node.input("x")).shape
    count = math.prod(shape[axis] for axis in op.axes)
    unit = to.step(node.input("x")) ** 2 / (count if op.measure == "squares" else count**2)
    epsilon = op.epsilon * 4.0**op.exponent / 2.0**31 * unit
    root = {"variance": 1.0, "squares": math.sqrt(count), "magnitudes": float(count)}[op.measure]
    multiplier, offset = (
        to.graph.constants[node.input(role)].astype(np.float64) for role in ("multiplier", "bias")
    )
    step = to.step(node.output)
    scale = multiplier * 2.0 ** (op.fraction - op.shift) * step / root
    seen_as = _broadcast(shape, scale.size, op.inner)
    return _Reals(
        float(np.float32(epsilon)),
        scale.astype(np.float32).reshape(seen_as),
        (offset * 2.0**-op.shift * step).astype(np.float32).reshape(seen_as),
    )


def _broadcast(shape: Sequence[int], size: int, inner: int) -> tuple[int, ...]:
    """The shape of ``size`` numbers, one for each ``inner`` neighbours of x's last axes."""
    behind = len(shape)
    while math.prod(shape[behind:]) < inner:
        behind -= 1
    first = behind
    while math.prod(shape[first:behind]) < size:
        first -= 1
    return (*shape[first:behind], *(1,) * (len(shape) - behind))
