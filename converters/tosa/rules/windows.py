"""Pools, reductions, and sums of neighbours."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.arithmetic.accumulators import largest_resized
from edgeinfer.arithmetic.fixedpoint import average_multiplier
from edgeinfer.converters.tosa.convolving import convolved, whole_windows
from edgeinfer.converters.tosa.flatbuffer import Tensor
from edgeinfer.converters.tosa.rounding import clamped, narrow, requantized, wide
from edgeinfer.converters.tosa.rules.registry import constants, dtype, largest, lower
from edgeinfer.converters.tosa.writer import TosaWriter
from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Node
from edgeinfer.graph import operators as ops
from edgeinfer.meaning.windows import window_sums


@lower.register
def _max_pool(op: ops.MaxPool, node: Node, to: TosaWriter) -> Tensor:
    if op.dilations != (1, 1):
        raise UnsupportedError("TOSA's MAX_POOL2D has no dilations")
    return _pool("MAX_POOL2D", op, op.pads, [], node, to, nan_mode="PROPAGATE")


@lower.register
def _average_pool(op: ops.QAveragePool, node: Node, to: TosaWriter) -> Tensor:
    """AVG_POOL2D where the ratios are those of means, which it has too, and no pad counts."""
    pads = _ceiled(op, op.pads)
    ratios = zip(*constants(node, to), strict=True)
    is_mean = op.rounding == "single" and all(
        ratio == average_multiplier(count) for count, ratio in enumerate(ratios, 1)
    )
    is_inside = max(pads[::2]) < op.kernel[0] and max(pads[1::2]) < op.kernel[1]
    if not (is_mean and is_inside) or (op.count_include_pad and any(op.pads)):
        return _average_of_sums(op, node, to)
    kind = to.value(node.input("x")).dtype
    zeros = [to.number(z, kind) for z in (op.input_zero_point, op.output_zero_point)]
    y = _pool("AVG_POOL2D", op, pads, zeros, node, to, acc_type="INT32")
    return clamped(to, y, op.lo, op.hi)


def _ceiled(op: ops.QAveragePool, pads: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """``pads`` with what ceil_mode adds."""
    top, left, bottom, right = pads
    return top, left, bottom + op.ceil_pads[0], right + op.ceil_pads[1]


def _pool(
    operator: str,
    op: ops.MaxPool | ops.QAveragePool,
    pads: tuple[int, int, int, int],
    operands: list[Tensor],
    node: Node,
    to: TosaWriter,
    **named: str,
) -> Tensor:
    x, pad = whole_windows(to, to.value(node.input("x")), op.kernel, op.strides, pads)
    shape = to.graph.types[node.output].shape
    window = {"kernel": list(op.kernel), "stride": list(op.strides), "pad": pad}
    return to.apply(operator, [x, *operands], shape, x.dtype, **window, **named)


def _average_of_sums(op: ops.QAveragePool, node: Node, to: TosaWriter) -> Tensor:
    """Sums by weights of 1, and at each place a RESCALE by its count's ratio."""
    name = node.input("x")
    x, (multiplier, shift) = to.value(name), constants(node, to)
    n, height, width, depth = x.shape
    _, counts = window_sums(op, np.zeros((1, height, width, 1), np.int64), 0)
    counts = counts.reshape(-1)
    pads = op.pads
    if op.count_include_pad:
        top, left, bottom, right = pads
        x = to.pad(x, (0, top, left, 0), (0, bottom, right, 0), op.pad_value)
        pads = (0, 0, 0, 0)
    ones = np.ones((depth, *op.kernel, 1), np.int8)
    bias = np.zeros(depth, np.int64 if x.dtype == "INT16" else np.int32)
    bounds = counts * largest(name, op.input_zero_point, to)
    acc = convolved(
        to,
        "DEPTHWISE_CONV2D",
        x,
        op.input_zero_point,
        ones,
        bias,
        int(bounds.max()),
        strides=op.strides,
        pads=_ceiled(op, pads),
    )
    # the ratios of RESCALE go along the last axis: places become that
    rows = to.reshape(to.transpose(acc, (0, 3, 1, 2)), (n * depth, counts.size))
    ratios = multiplier[counts - 1], shift[counts - 1]
    y = requantized(to, op, rows, *ratios, bounds, dtype(node, to))
    return to.transpose(to.reshape(y, (n, depth, *acc.shape[1:3])), (0, 2, 3, 1))


# ---- reductions --------------------------------------------------------------------------------


@lower.register
def _reduce_sum(op: ops.QReduceSum, node: Node, to: TosaWriter) -> Tensor:
    name = node.input("x")
    x = to.value(name)
    bound = math.prod(x.shape[a] for a in op.axes) * largest(name, op.input_zero_point, to)
    parts = narrow(to, wide(to, x, op.input_zero_point), bound)
    acc = _reduced("REDUCE_SUM", op, parts, to)
    return requantized(to, op, acc, op.multiplier, op.shift, bound, dtype(node, to))


@lower.register(ops.ReduceMax)
@lower.register(ops.ReduceMin)
def _reduce_extreme(op: ops.ReduceMax | ops.ReduceMin, node: Node, to: TosaWriter) -> Tensor:
    name = "REDUCE_MAX" if isinstance(op, ops.ReduceMax) else "REDUCE_MIN"
    return _reduced(name, op, to.value(node.input("x")), to, nan_mode="PROPAGATE")


def _reduced(operator: str, op: ops.Reducing, x: Tensor, to: TosaWriter, **named: str) -> Tensor:
    y = x
    for axis in op.axes:
        shape = [1 if a == axis else extent for a, extent in enumerate(y.shape)]
        y = to.apply(operator, [y], shape, y.dtype, axis=axis, **named)
    kept = [a for a in range(len(x.shape)) if op.keepdims or a not in op.axes]
    return to.reshape(y, [y.shape[a] for a in kept])


@lower.register
def _arg_max(op: ops.ArgMax, node: Node, to: TosaWriter) -> Tensor:
    """ARGMAX gives the first of equals; the last is the first of what is turned round."""
    x = to.value(node.input("x"))
    if op.select_last_index:
        x = to.apply("REVERSE", [x], x.shape, x.dtype, axis=op.axis)
    shape = [extent for a, extent in enumerate(x.shape) if a != op.axis]
    y = to.apply("ARGMAX", [x], shape, "INT32", axis=op.axis, nan_mode="PROPAGATE")
    if op.select_last_index:
        y = to.meet("SUB", to.scalar(x.shape[op.axis] - 1, y), y)
    return to.reshape(y, to.graph.types[node.output].shape)


# ---- sums of neighbours ------------------------------------------------------------------------


@lower.register
def _resize(op: ops.QResize, node: Node, to: TosaWriter) -> Tensor:
    name = node.input("x")
    first_rows, row_weights, first_columns, column_weights = constants(node, to)
    reach = largest(name, op.input_zero_point, to)
    bound = max(largest_resized(row_weights, column_weights, reach))
    acc = narrow(to, wide(to, to.value(name), op.input_zero_point), bound)
    acc = _neighbours(to, acc, 1, first_rows, row_weights)
    acc = _neighbours(to, acc, 2, first_columns, column_weights)
    return requantized(to, op, acc, op.multiplier, op.shift, bound, dtype(node, to))


def _neighbours(
    to: TosaWriter, x: Tensor, axis: int, first: np.ndarray, weights: np.ndarray
) -> Tensor:
    """Along ``axis`` the sums ``weights[i, 0] x[first[i]] + weights[i, 1] x[first[i] + 1]``."""
    column = [-1 if a == axis else 1 for a in range(len(x.shape))]
    total = None
    for tap, factors in enumerate(weights.T):
        own = to.constant(factors.astype(np.int32).reshape(column))
        product = to.product(to.take(x, axis, first + tap), own)
        total = product if total is None else to.meet("ADD", total, product)
    assert total is not None
    return total
