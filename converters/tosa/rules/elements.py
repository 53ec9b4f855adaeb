"""What computes each element of its own, or of two values' at the same place."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.converters.tosa.flatbuffer import Tensor
from edgeinfer.converters.tosa.rounding import requantized, rescaled, rounded, wide
from edgeinfer.converters.tosa.rules.registry import constants, dtype, ends, largest, lower
from edgeinfer.converters.tosa.writer import TosaWriter
from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Node
from edgeinfer.graph import operators as ops

# knots between which TABLE interpolates, and M and S that take its 7 fractional bits away
_KNOTS = 513
_FINE = (2**30, 37)


@lower.register
def _sum(op: ops.QAdd, node: Node, to: TosaWriter) -> Tensor:
    zero_points = (op.a_zero_point, op.b_zero_point)
    ratios = ((op.a_multiplier, op.a_shift), (op.b_multiplier, op.b_shift))
    scaled, bound = [], 0
    for name, zero_point, ratio in zip(node.inputs, zero_points, ratios, strict=True):
        x = wide(to, to.value(name), zero_point)
        shifted = to.meet("LOGICAL_LEFT_SHIFT", x, to.scalar(op.left_shift, x))
        low, high = (end << op.left_shift for end in ends(name, zero_point, to))
        scaled.append(rescaled(to, shifted, *ratio, op.rounding, (low, high)))
        # no ratio exceeds 1/2
        bound += max(-low, high) // 2 + 1
    acc = to.meet("SUB" if isinstance(op, ops.QSub) else "ADD", *scaled)
    return requantized(to, op, acc, op.multiplier, op.shift, bound, dtype(node, to))


@lower.register
def _product(op: ops.QMul, node: Node, to: TosaWriter) -> Tensor:
    zero_points = (op.a_zero_point, op.b_zero_point)
    a, b = (wide(to, to.value(name), z) for name, z in zip(node.inputs, zero_points, strict=True))
    bound = math.prod(map(largest, node.inputs, zero_points, (to, to)))
    acc = to.product(a, b)
    return requantized(to, op, acc, op.multiplier, op.shift, bound, dtype(node, to))


@lower.register
def _rescale(op: ops.Rescale, node: Node, to: TosaWriter) -> Tensor:
    name = node.input("x")
    acc = wide(to, to.value(name), op.input_zero_point)
    bound = largest(name, op.input_zero_point, to)
    return requantized(to, op, acc, op.multiplier, op.shift, bound, dtype(node, to))


@lower.register
def _prelu(op: ops.QPRelu, node: Node, to: TosaWriter) -> Tensor:
    """R1 by a negative multiplier is R1 of the negated number by its magnitude."""
    name = node.input("x")
    x, (multiplier, shift) = to.value(name), constants(node, to)
    if op.rounding == "double" and (multiplier < 0).any():
        raise UnsupportedError("TOSA's multipliers are not negative")
    count = len(multiplier)
    acc = to.reshape(wide(to, x, op.input_zero_point), (math.prod(x.shape) // count, count))
    bound, kind = largest(name, op.input_zero_point, to), dtype(node, to)
    signs = to.constant(np.where(multiplier < 0, -1, 1).astype(np.int32).reshape(1, count))
    turned = to.product(acc, signs)
    below = requantized(to, op, turned, np.abs(multiplier), shift, bound, kind)
    above = requantized(to, op, acc, op.multiplier, op.shift, bound, kind)
    is_above = to.meet("GREATER_EQUAL", acc, to.scalar(0, acc), dtype="BOOL")
    y = to.apply("SELECT", [is_above, above, below], acc.shape, above.dtype)
    return to.reshape(y, x.shape)


@lower.register
def _lookup(op: ops.Lookup, node: Node, to: TosaWriter) -> Tensor:
    x, (entries,) = to.value(node.input("x")), constants(node, to)
    table = to.constant(entries)
    if len(entries) == _KNOTS:
        fine = to.apply("TABLE", [x, table], x.shape, "INT32")
        return rounded(to, fine, *_FINE, "INT16")
    if (x.dtype, table.dtype) == ("INT8", "INT8"):
        return to.apply("TABLE", [x, table], x.shape, "INT8")
    places = wide(to, x, 0)
    return to.gather(table, 0, to.meet("ADD", places, to.scalar(len(entries) // 2, places)))


@lower.register(ops.Maximum)
@lower.register(ops.Minimum)
def _extreme(op: ops.Maximum | ops.Minimum, node: Node, to: TosaWriter) -> Tensor:
    a, b = (to.value(name) for name in node.inputs)
    name = "MAXIMUM" if isinstance(op, ops.Maximum) else "MINIMUM"
    y = to.meet(name, to.cast(a, "INT32"), to.cast(b, "INT32"), nan_mode="PROPAGATE")
    return to.cast(y, a.dtype)
