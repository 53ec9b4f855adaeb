"""Turns ONNX's TopK into the places of the largest elements, and the elements that are there."""

from __future__ import annotations

from collections.abc import Sequence

from edgeinfer.converters.onnx_operators.call import Call, Operand, importer
from edgeinfer.errors import ModelError
from edgeinfer.graph import operators as ops

__all__: list[str] = []


@importer("TopK", makes=(ops.TopIndices, ops.GatherElements), ignores=("sorted",))
def _top_k(call: Call) -> Sequence[Operand]:
    x = call.operand(0)
    axis = call.axis(call.integer("axis", -1), len(x.shape))
    if call.has("k"):
        count = call.integer("k", 1)
    else:
        counts = call.static_integers(1, "k", "k") or ()
        if len(counts) != 1:
            raise ModelError(f"its k must be one number, not {len(counts)}")
        (count,) = counts
    if not 1 <= count <= x.shape[axis]:
        raise ModelError(f"an axis of {x.shape[axis]} has no {count} largest elements")
    op = ops.TopIndices(axis, count, call.integer("largest", 1) == 1)
    indices = call.emit(op, x)
    return call.emit(ops.GatherElements(axis), x, indices), indices
