"""Turns ONNX's reductions, indices of extremes and softmaxes into operators of the same meaning."""

from __future__ import annotations

import math
from functools import reduce
from itertools import accumulate

import numpy as np

from edgeinfer.converters.onnx_operators import indices
from edgeinfer.converters.onnx_operators.call import Call
from edgeinfer.converters.onnx_operators.elementwise import combine
from edgeinfer.converters.onnx_operators.registry import Refusal, importer
from edgeinfer.converters.onnx_operators.values import Dynamic, Kind, Operand
from edgeinfer.errors import ModelError
from edgeinfer.graph import operators as ops

__all__: list[str] = []

_REDUCTIONS: dict[str, type[ops.ReduceMean | ops.ReduceSum | ops.ReduceMax | ops.ReduceMin]] = {
    "ReduceMean": ops.ReduceMean,
    "ReduceSum": ops.ReduceSum,
    "ReduceMax": ops.ReduceMax,
    "ReduceMin": ops.ReduceMin,
}

# what these do with two numbers of int64, and what that may become
_FOLDED = {"ReduceSum": "Add", "ReduceMax": "Max", "ReduceMin": "Min"}
_OF_INDICES = (ops.Gather, ops.IndexArithmetic, ops.Slice, ops.Concat)

# what is done to each element before they are summed, and to the sum afterwards
_SUMS = {
    "ReduceL1": (("abs", "x"), "x"),
    "ReduceL2": (("mul", "x", "x"), ("sqrt", "x")),
    "ReduceLogSum": ("x", ("log", "x")),
    "ReduceSumSquare": (("mul", "x", "x"), "x"),
}

# beyond, the range of a product says nothing any more
_MOST_FACTORS = 16

# a triangle of weights has as many elements as this squared
_MOST_ALONG = 4096

# below this norm, a value is 0 and stays 0
_LEAST_NORM = 1e-12


def _axes(call: Call, x: Operand) -> tuple[int, ...]:
    """The axes that are reduced; none where the node gives back its input."""
    given = call.static_integers(1, "axes", "axes")
    noop = call.integer("noop_with_empty_axes", 0)
    if not given and noop:
        return ()
    rank = len(x.shape)
    return tuple(sorted({call.axis(a, rank) for a in given or range(rank)}))


@importer("ReduceMean", makes=(ops.ReduceMean,))
@importer("ReduceSum", makes=(ops.ReduceSum, *_OF_INDICES), integers=True)
@importer("ReduceMax", makes=(ops.ReduceMax, *_OF_INDICES), integers=True)
@importer("ReduceMin", makes=(ops.ReduceMin, *_OF_INDICES), integers=True)
def _reduce(call: Call) -> Operand:
    x = call.operand(0)
    axes, keepdims = _axes(call, x), call.integer("keepdims", 1) == 1
    if indices.is_held(x) and x.kind != "floats":
        return indices.folded(call, _FOLDED[call.operator], x, axes, keepdims)
    x = call.floats_of(x)
    return call.emit(_REDUCTIONS[call.operator](axes, keepdims), x, kind=x.kind) if axes else x


@importer("ReduceL1", makes=(ops.Pointwise, ops.ReduceSum), integers=True)
@importer("ReduceL2", makes=(ops.Pointwise, ops.ReduceSum))
@importer("ReduceLogSum", makes=(ops.ReduceSum, ops.Pointwise))
@importer("ReduceSumSquare", makes=(ops.Pointwise, ops.ReduceSum), integers=True)
def _reduce_by_sum(call: Call) -> Operand:
    x = call.operand(0)
    axes, keepdims = _axes(call, x), call.integer("keepdims", 1) == 1
    before, after = _SUMS[call.operator]
    y = _unless_same(call, before, x, x.kind)
    y = call.emit(ops.ReduceSum(axes, keepdims), y, kind=x.kind) if axes else y
    return _unless_same(call, after, y, x.kind)


def _unless_same(call: Call, expression: object, x: Operand, kind: Kind) -> Operand:
    return x if expression == "x" else call.pointwise(expression, x, kind)


@importer("ReduceLogSumExp", makes=(ops.ReduceMax, ops.Sub, ops.Pointwise, ops.ReduceSum, ops.Add))
def _reduce_log_sum_exp(call: Call) -> Operand:
    """max + log(sum(exp(x - max))): no exponential is above 1."""
    x = call.operand(0)
    axes, keepdims = _axes(call, x), call.integer("keepdims", 1) == 1
    if not axes:
        return x
    largest = call.emit(ops.ReduceMax(axes, True), x)
    shares = call.pointwise(("exp", "x"), call.emit(ops.Sub(), x, largest))
    total = call.pointwise(("log", "x"), call.emit(ops.ReduceSum(axes, True), shares))
    y = call.emit(ops.Add(), total, largest)
    return y if keepdims else call.reshape(y, [n for a, n in enumerate(x.shape) if a not in axes])


@importer("ReduceProd", makes=(ops.Slice, ops.Mul), integers=True)
def _reduce_prod(call: Call) -> Operand:
    x = call.operand(0)
    axes, keepdims = _axes(call, x), call.integer("keepdims", 1) == 1
    count = math.prod(x.shape[a] for a in axes)
    if count > _MOST_FACTORS:
        raise Refusal(f"a product of {count} elements is not supported, of {_MOST_FACTORS} it is")
    kept = [n for a, n in enumerate(x.shape) if a not in axes]
    whole = [1 if a in axes else n for a, n in enumerate(x.shape)]
    factors = []
    for place in np.ndindex(*(x.shape[a] for a in axes)):
        starts = [0] * len(whole)
        for axis, start in zip(axes, place, strict=True):
            starts[axis] = start
        window = ops.Slice(tuple(starts), tuple(whole), (1,) * len(whole))
        factors.append(x if tuple(whole) == x.shape else call.emit(window, x))
    y = reduce(lambda a, b: combine(call, "Mul", a, b, x.kind), factors)
    return y if keepdims else call.reshape(y, kept)


def normalized(call: Call, x: Operand, axis: int, norm: str) -> Operand:
    """``x`` over its norm along ``axis``: ReduceL1, ReduceL2, or ReduceMax of its magnitudes."""
    if norm == "ReduceMax":
        magnitudes = call.pointwise(("abs", "x"), x)
        return _over(call, x, call.emit(ops.ReduceMax((axis,), True), magnitudes))
    before, after = _SUMS[norm]
    total = call.emit(ops.ReduceSum((axis,), True), call.pointwise(before, x))
    return _over(call, x, _unless_same(call, after, total, "floats"))


def _over(call: Call, x: Operand, norm: Operand) -> Operand:
    return call.emit(ops.Div(), x, call.pointwise(("max", "x", _LEAST_NORM), norm))


# ---- sums on the way -------------------------------------------------------------------------


@importer("CumSum", makes=(ops.Dense, ops.Slice, ops.Concat, ops.IndexArithmetic), integers=True)
def _cum_sum(call: Call) -> Operand:
    """A product with a triangle of ones."""
    x = call.operand(0)
    axis = call.axis(call.whole_number(1, "axis"), len(x.shape))
    count = x.shape[axis]
    if count > _MOST_ALONG:
        raise Refusal(f"sums along an axis of {count} are not supported, of {_MOST_ALONG} they are")
    if indices.is_held(x):
        if call.integer("reverse", 0):
            return call.flipped(_cum_sum_of_indices(call, call.flipped(x, axis), axis), axis)
        return _cum_sum_of_indices(call, x, axis)
    call.spend(count**2)
    weights = np.tri(count, k=-1 if call.integer("exclusive", 0) else 0, dtype=np.float32)
    if call.integer("reverse", 0):
        weights = weights[::-1, ::-1]
    order = [a for a in range(len(x.shape)) if a != axis] + [axis]
    turned = call.transpose(x, order)
    summed = call.emit(ops.Dense(), turned, call.constant(weights, "triangle"), kind=x.kind)
    return call.transpose(summed, np.argsort(order).tolist())


def _cum_sum_of_indices(call: Call, x: Operand, axis: int) -> Operand:
    """Sums of twice as many neighbours at each step."""
    reach, own = 1, x
    while reach < x.shape[axis]:
        zeros = tuple(reach if a == axis else n for a, n in enumerate(x.shape))
        call.spend(math.prod(zeros))
        kept = call.stretch(x, axis, 0, x.shape[axis] - reach)
        nothing = call.constant(np.zeros(zeros, np.int64), "zeros")
        x = indices.arithmetic(call, "Add", x, call.emit(ops.Concat(axis), nothing, kept))
        reach *= 2
    return indices.arithmetic(call, "Sub", x, own) if call.integer("exclusive", 0) else x


@importer(
    "CumProd",
    makes=(ops.Slice, ops.Concat, ops.Mul, ops.Pointwise, ops.IndexArithmetic, ops.Gather),
    integers=True,
)
def _cum_prod(call: Call) -> Operand:
    """One product after another, each with a scale of its own."""
    x = call.operand(0)
    axis = call.axis(call.whole_number(1, "axis"), len(x.shape))
    count = x.shape[axis]
    if count > _MOST_FACTORS:
        raise Refusal(f"a product of {count} elements is not supported, of {_MOST_FACTORS} it is")
    factors = [call.stretch(x, axis, place, 1) for place in range(count)]
    backwards = bool(call.integer("reverse", 0))
    if backwards:
        factors.reverse()
    if call.integer("exclusive", 0):
        sizes = factors[0].shape
        call.spend(math.prod(sizes))
        ones = np.ones(sizes, np.int64 if indices.is_held(x) else np.float32)
        factors = [call.constant(ones, "ones"), *factors[:-1]]
    products = list(accumulate(factors, lambda a, b: combine(call, "Mul", a, b, x.kind)))
    if backwards:
        products.reverse()
    return call.emit(ops.Concat(axis), *products, kind=x.kind) if count > 1 else products[0]


# ---- the largest -----------------------------------------------------------------------------


@importer("ArgMax", makes=(ops.ArgMax, *_OF_INDICES), integers=True)
@importer("ArgMin", makes=(ops.Pointwise, ops.ArgMax, *_OF_INDICES), integers=True)
def _arg_extreme(call: Call) -> Operand:
    x = call.operand(0)
    axis, keepdims = call.axis(call.integer("axis", 0), len(x.shape)), call.integer("keepdims", 1)
    last = bool(call.integer("select_last_index", 0))
    if indices.is_held(x) and x.kind != "floats":
        extreme = {"ArgMax": "Max", "ArgMin": "Min"}[call.operator]
        return indices.place_of_extreme(call, extreme, x, axis, keepdims == 1, last=last)
    x = call.floats_of(x)
    op = ops.ArgMax(axis, keepdims == 1, last)
    places = call.emit(op, call.pointwise(("neg", "x"), x) if call.operator == "ArgMin" else x)
    if isinstance(places, Dynamic):
        places.bounds = (0, x.shape[op.axis] - 1)
    return places


@importer("Hardmax", makes=(ops.ArgMax, ops.Gather))
def _hardmax(call: Call) -> Operand:
    x = call.operand(0)
    shape = x.shape
    if call.version < 13:
        # all axes from ``axis`` on make the rows of a matrix, as of an old Softmax
        axis = call.integer("axis", 1)
        axis = axis if axis == len(shape) else call.axis(axis, len(shape))
        x = call.reshape(x, (math.prod(shape[:axis]), math.prod(shape[axis:])))
        axis = 1
    else:
        axis = call.axis(call.integer("axis", -1), len(shape))
    places = call.emit(ops.ArgMax(axis, keepdims=False), x)
    if x.shape[axis] > _MOST_ALONG:
        raise Refusal(f"an axis of {x.shape[axis]} is not supported, up to {_MOST_ALONG} is")
    call.spend(x.shape[axis] ** 2)
    marks = call.constant(np.eye(x.shape[axis], dtype=np.float32), "marks")
    return call.reshape(_along(call, call.emit(ops.Gather(0), marks, places), axis), shape)


def _along(call: Call, x: Operand, axis: int) -> Operand:
    """``x`` with its last axis at ``axis``."""
    rank = len(x.shape)
    order = [*range(axis), rank - 1, *range(axis, rank - 1)]
    return call.transpose(x, order)


@importer("OneHot", makes=(ops.Gather,), integers=True)
def _one_hot(call: Call) -> Operand:
    indices = call.operand(0)
    count, values = call.whole_number(1, "depth"), call.weights(2, "values")
    if values is None or values.shape != (2,):
        raise ModelError("its values must be two numbers")
    if call.dtype(indices) != "int64":
        raise Refusal(f"its input {indices.name!r} holds floats, not int64")
    if not 1 <= count <= _MOST_ALONG:
        raise Refusal(f"a depth of {count} is not supported, up to {_MOST_ALONG} is")
    call.spend(count**2)
    off, on = values.finite()
    marks = np.full((count, count), off, np.float32)
    np.fill_diagonal(marks, on)
    rank = len(indices.shape) + 1
    axis = call.axis(call.integer("axis", -1), rank)
    made = call.emit(ops.Gather(0), call.constant(marks, "marks"), indices)
    return _along(call, made, axis)


@importer("Softmax", makes=(ops.Softmax,))
@importer("LogSoftmax", makes=(ops.LogSoftmax,))
def _softmax(call: Call) -> Operand:
    x = call.operand(0)
    op = ops.Softmax if call.operator == "Softmax" else ops.LogSoftmax
    if call.version >= 13:
        return call.emit(op(call.axis(call.integer("axis", -1), len(x.shape))), x)
    # before opset 13 it is the softmax of a matrix: all axes from ``axis`` on make its rows
    rank = len(x.shape)
    axis = call.integer("axis", 1)
    axis = rank if axis == rank else call.axis(axis, rank)
    long = [a for a in range(axis, rank) if x.shape[a] > 1]
    if len(long) <= 1 and axis < rank:
        return call.emit(op((long or [axis])[0]), x)
    matrix = (math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))
    return call.reshape(call.emit(op(1), call.reshape(x, matrix)), x.shape)
