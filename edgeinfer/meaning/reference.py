"""An integer Graph and its inputs into every value: the contract EI-1, said plainly.

Every operator is a few lines of int64 NumPy over ``fixedpoint.py``; the kernels, and every other
target, must give the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping
from functools import singledispatch

import numpy as np

from edgeinfer.arithmetic import fixedpoint
from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from edgeinfer.meaning import interpreter
from edgeinfer.meaning.either import move
from edgeinfer.meaning.windows import im2col, neighbour_sums, window_sums, windows

__all__ = ["common_scale", "evaluate", "execute"]


def execute(
    graph: Graph,
    inputs: Mapping[str, np.ndarray],
    *,
    state: MutableMapping[str, np.ndarray] | None = None,
    observe: interpreter.Observer | None = None,
) -> dict[str, np.ndarray]:
    """The outputs of an integer Graph by name; see ``interpreter.execute``."""
    return interpreter.execute(graph, inputs, evaluate, state=state, observe=observe)


@singledispatch
def evaluate(op: ops.Operator, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """The outputs of an integer operator, or one of either kind, on integer ``arrays``.

    Raises
    ------
    UnsupportedError
        The operator is a float one.
    """
    raise NotImplementedError(type(op).__name__)


evaluate.register(ops.Selecting, move)
evaluate.register(ops.ArgMax, move)
evaluate.register(ops.TopIndices, move)
evaluate.register(ops.NonMaxSuppression, move)
evaluate.register(ops.IndexArithmetic, move)


@evaluate.register
def _float_operator(op: ops.FloatOperator, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    raise UnsupportedError(f"{type(op).__name__} is a float operator; quantize the graph first")


def _requantized(
    op: ops.Requantizing,
    acc: np.ndarray,
    multiplier: np.ndarray | int,
    shift: np.ndarray | int,
) -> tuple[np.ndarray, ...]:
    y = fixedpoint.requantize(
        acc, multiplier, shift, op.output_zero_point, op.lo, op.hi, op.rounding
    )
    return (y,)


def _wide(x: np.ndarray, zero_point: int = 0) -> np.ndarray:
    return x.astype(np.int64) - zero_point


@evaluate.register
def _q_conv(
    op: ops.QConv,
    x: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray,
    multiplier: np.ndarray,
    shift: np.ndarray,
) -> tuple[np.ndarray, ...]:
    out, kh, kw, depth = weights.shape
    # padding stands for the real number 0, which is the integer 0 once the zero point is gone
    view = windows(_wide(x, op.input_zero_point), (kh, kw), op.strides, op.pads, op.dilations, 0)
    n, h, w = view.shape[:3]
    per_group = out // op.group
    acc = np.empty((n, h, w, out), np.int64)
    for g in range(op.group):
        channels = slice(g * per_group, (g + 1) * per_group)
        columns = _wide(weights[channels]).reshape(per_group, -1).T
        for part, rows in im2col(view, slice(g * depth, (g + 1) * depth)):
            acc[part][..., channels] = rows @ columns
    return _requantized(op, acc + bias, multiplier, shift)


@evaluate.register
def _q_dense(
    op: ops.QDense,
    x: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray,
    multiplier: np.ndarray,
    shift: np.ndarray,
) -> tuple[np.ndarray, ...]:
    acc = _wide(x, op.input_zero_point) @ _wide(weights).T + bias
    return _requantized(op, acc, multiplier, shift)


@evaluate.register
def _q_add(op: ops.QAdd, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
    left, right = common_scale(op, a, b)
    return _requantized(op, left + right, op.multiplier, op.shift)


@evaluate.register
def _q_sub(op: ops.QSub, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
    left, right = common_scale(op, a, b)
    return _requantized(op, left - right, op.multiplier, op.shift)


def common_scale(op: ops.QAdd, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both operands at twice the larger scale, in int64, as a sum or a difference takes them."""
    left = _wide(a, op.a_zero_point) << op.left_shift
    right = _wide(b, op.b_zero_point) << op.left_shift
    return (
        fixedpoint.round_shift(left, op.a_multiplier, op.a_shift, op.rounding),
        fixedpoint.round_shift(right, op.b_multiplier, op.b_shift, op.rounding),
    )


@evaluate.register
def _q_mul(op: ops.QMul, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
    acc = _wide(a, op.a_zero_point) * _wide(b, op.b_zero_point)
    return _requantized(op, acc, op.multiplier, op.shift)


@evaluate.register
def _q_div(op: ops.QDiv, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
    dividend, divisor = _wide(a, op.a_zero_point), _wide(b, op.b_zero_point)
    quotient = fixedpoint.quotient(dividend, divisor, op.multiplier, op.shift)
    return (np.clip(quotient + op.output_zero_point, op.lo, op.hi),)


@evaluate.register
def _q_mat_mul(op: ops.QMatMul, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
    acc = _wide(a, op.a_zero_point) @ _wide(b, op.b_zero_point)
    return _requantized(op, acc, op.multiplier, op.shift)


@evaluate.register
def _rescale(op: ops.Rescale, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return _requantized(op, _wide(x, op.input_zero_point), op.multiplier, op.shift)


@evaluate.register
def _q_prelu(
    op: ops.QPRelu, x: np.ndarray, multiplier: np.ndarray, shift: np.ndarray
) -> tuple[np.ndarray, ...]:
    acc = _wide(x, op.input_zero_point).reshape(-1, len(multiplier))
    (positive,) = _requantized(op, acc, op.multiplier, op.shift)
    (negative,) = _requantized(op, acc, multiplier, shift)
    return (np.where(acc >= 0, positive, negative).reshape(x.shape),)


@evaluate.register
def _lookup(op: ops.Lookup, x: np.ndarray, table: np.ndarray) -> tuple[np.ndarray, ...]:
    if len(table) == 513:
        return (fixedpoint.interpolate_16(table, x),)
    return (table[_wide(x) + len(table) // 2],)


@evaluate.register
def _q_average_pool(
    op: ops.QAveragePool, x: np.ndarray, multiplier: np.ndarray, shift: np.ndarray
) -> tuple[np.ndarray, ...]:
    z = op.input_zero_point
    acc, count = window_sums(op, _wide(x, z), op.pad_value - z)
    return _requantized(op, acc, multiplier[count - 1], shift[count - 1])


@evaluate.register
def _q_reduce_sum(op: ops.QReduceSum, x: np.ndarray) -> tuple[np.ndarray, ...]:
    acc = _wide(x, op.input_zero_point).sum(op.axes, keepdims=op.keepdims)
    return _requantized(op, acc, op.multiplier, op.shift)


@evaluate.register
def _q_resize(
    op: ops.QResize,
    x: np.ndarray,
    first_rows: np.ndarray,
    row_weights: np.ndarray,
    first_columns: np.ndarray,
    column_weights: np.ndarray,
) -> tuple[np.ndarray, ...]:
    acc = neighbour_sums(_wide(x, op.input_zero_point), first_rows, _wide(row_weights), 1)
    acc = neighbour_sums(acc, first_columns, _wide(column_weights), 2)
    return _requantized(op, acc, op.multiplier, op.shift)


@evaluate.register
def _q_reduce_l2(op: ops.QReduceL2, x: np.ndarray) -> tuple[np.ndarray, ...]:
    squares = (_wide(x, op.input_zero_point) ** 2).sum(op.axes, keepdims=op.keepdims)
    root = fixedpoint.square_root(squares, op.fraction)
    return _requantized(op, root, op.multiplier, op.shift)


@evaluate.register
def _q_normalization(
    op: ops.QNormalization, x: np.ndarray, multiplier: np.ndarray, bias: np.ndarray
) -> tuple[np.ndarray, ...]:
    others = [axis for axis in range(x.ndim) if axis not in op.axes]
    turned = x.transpose(*others, *op.axes)
    count = math.prod(x.shape[axis] for axis in op.axes)
    normalizer = fixedpoint.Normalizer(
        op.measure, count, op.input_zero_point, op.epsilon, op.exponent, op.is_least, op.fraction
    )
    groups = _wide(turned).reshape(-1, count)
    shares = normalizer.shares(groups).of(groups)
    shares = shares.reshape(turned.shape).transpose(np.argsort([*others, *op.axes]))
    factors, offsets = (_wide(array).repeat(op.inner) for array in (multiplier, bias))
    acc = shares.reshape(-1, len(factors)) * factors + offsets
    y = fixedpoint.requantize(acc, 1, op.shift, op.output_zero_point, op.lo, op.hi)
    return (y.reshape(x.shape),)


@evaluate.register
def _q_softmax(op: ops.QSoftmax, x: np.ndarray, exponentials: np.ndarray) -> tuple[np.ndarray, ...]:
    softmax = fixedpoint.softmax_8 if x.dtype == np.int8 else fixedpoint.softmax_16
    return (softmax(x, exponentials, op.axis),)
