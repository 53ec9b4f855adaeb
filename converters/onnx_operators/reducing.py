"""Turns ONNX's reductions, ArgMax and softmaxes into the operators of the same meaning."""

from __future__ import annotations

import math

from edgeinfer.converters.onnx_operators.call import Call, Operand, importer
from edgeinfer.graph import operators as ops

__all__: list[str] = []

_REDUCTIONS: dict[str, type[ops.ReduceMean | ops.ReduceSum | ops.ReduceMax | ops.ReduceMin]] = {
    "ReduceMean": ops.ReduceMean,
    "ReduceSum": ops.ReduceSum,
    "ReduceMax": ops.ReduceMax,
    "ReduceMin": ops.ReduceMin,
}


@importer("ReduceMean", makes=(ops.ReduceMean,))
@importer("ReduceSum", makes=(ops.ReduceSum,))
@importer("ReduceMax", makes=(ops.ReduceMax,))
@importer("ReduceMin", makes=(ops.ReduceMin,))
def _reduce(call: Call) -> Operand:
    x = call.operand(0)
    rank = len(x.shape)
    given = call.static_integers(1, "axes", "axes")
    keepdims, noop = call.integer("keepdims", 1) == 1, call.integer("noop_with_empty_axes", 0)
    if not given and noop:
        return x
    axes = tuple(sorted({call.axis(a, rank) for a in given or range(rank)}))
    if not axes:
        return x
    return call.emit(_REDUCTIONS[call.operator](axes, keepdims), x)


@importer("ArgMax", makes=(ops.ArgMax,))
def _argmax(call: Call) -> Operand:
    x = call.operand(0)
    op = ops.ArgMax(
        call.axis(call.integer("axis", 0), len(x.shape)),
        call.integer("keepdims", 1) == 1,
        bool(call.integer("select_last_index", 0)),
    )
    return call.emit(op, x)


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
