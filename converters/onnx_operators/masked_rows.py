"""Finds the rows of which a mask of minus infinity leaves a Softmax nothing, which is NaN in ONNX.

PyTorch exports attention with a check for them, and a Where that makes 0 of them. In a Graph an
infinity is the largest number, and no share is NaN: the rows are told by the mask instead.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from edgeinfer.converters.onnx_operators.call import Call
from edgeinfer.converters.onnx_operators.values import Dynamic, Operand, Static
from edgeinfer.graph import operators as ops

__all__ = ["rows_of_nothing"]


def rows_of_nothing(call: Call) -> Operand | None:
    """Where the input of ``call`` is NaN; None where it is no Softmax that a run computes."""
    shares, value = call.operand(0), call.node.inputs[0]
    softmax = None if value is None else value.producer()
    if not isinstance(shares, Dynamic) or softmax is None or softmax.op_type != "Softmax":
        return None
    if int(softmax.version or call.version) < 13:
        return None
    axis = softmax.attributes["axis"].as_int() if "axis" in softmax.attributes else -1
    # counted from the end, as masks are broadcast
    axis = call.axis(axis, len(shares.shape)) - len(shares.shape)
    nothing = _of_scores(call, softmax.inputs[0], axis)
    if nothing is None or isinstance(nothing, Static):
        array = np.zeros(shares.shape, bool) if nothing is None else nothing.array
        call.spend(math.prod(shares.shape))
        return call.constant(np.broadcast_to(array, shares.shape), "nothing")
    return call.emit(ops.Expand(shares.shape), nothing, kind="truth values")


def _of_scores(call: Call, scores: ir.Value | None, axis: int) -> Operand | None:
    """The rows of which all is masked, with an extent of 1 along ``axis``; None for no mask."""
    masked = None if scores is None else scores.producer()
    if masked is None:
        return None
    if masked.op_type == "Where":
        return _of_choice(call, masked, axis)
    for mask in masked.inputs if masked.op_type == "Add" else ():
        operand = call.known(mask)
        if isinstance(operand, Static):
            return _along(call, np.isneginf(operand.array), axis)
        producer = None if mask is None else mask.producer()
        if producer is not None and producer.op_type == "Where":
            return _of_choice(call, producer, axis)
    return None


def _of_choice(call: Call, choice: ir.Node, axis: int) -> Operand | None:
    """As ``_of_scores``, of what a condition puts in the place of others."""
    condition, *ends = map(call.known, choice.inputs)
    excluded = [isinstance(end, Static) and bool(np.isneginf(end.array).all()) for end in ends]
    if condition is None or excluded not in ([True, False], [False, True]):
        return None
    if isinstance(condition, Static):
        return _along(call, condition.array == excluded[0], axis)
    condition = call.floats_of(condition)
    shape = condition.shape
    reduced: Operand = condition
    if len(shape) >= -axis and shape[axis] > 1:
        kind = ops.ReduceMin if excluded[0] else ops.ReduceMax
        reduced = call.emit(kind((len(shape) + axis,), True), condition, kind="truth values")
    return reduced if excluded[0] else call.pointwise(("sub", 1.0, "x"), reduced, "truth values")


def _along(call: Call, is_excluded: np.ndarray, axis: int) -> Static:
    """Whether all along an axis are, which is counted from the end and need not be there."""
    if is_excluded.ndim >= -axis:
        is_excluded = np.all(is_excluded, axis, keepdims=True)
    return call.constant(is_excluded, "excluded")
