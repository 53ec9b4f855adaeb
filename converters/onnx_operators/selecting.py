"""Turns ONNX's TopK and NonMaxSuppression into places of what is largest, and what is there."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgeinfer.arithmetic.fixedpoint import WHOLE
from edgeinfer.converters.onnx_operators.call import Call
from edgeinfer.converters.onnx_operators.registry import Refusal, importer
from edgeinfer.converters.onnx_operators.values import Operand, Static
from edgeinfer.errors import ModelError
from edgeinfer.graph import operators as ops

__all__: list[str] = []

# more are no detections, and each is held against all before it
_MOST_KEPT = 65536


@importer(
    "TopK",
    makes=(ops.TopIndices, ops.GatherElements, ops.Gather, ops.IndexArithmetic),
    integers=True,
    ignores=("sorted",),
)
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
    if x.shape[axis] == 1:
        # as PyTorch sorts the lengths of a batch of one
        return x, call.constant(np.zeros(x.shape, np.int64), "indices")
    x = call.floats_of(x)
    indices = call.emit(op, x)
    return call.emit(ops.GatherElements(axis), x, indices), indices


@importer("NonMaxSuppression", makes=(ops.NonMaxSuppression,))
def _non_max_suppression(call: Call) -> Operand:
    boxes, scores = call.operand(0), call.operand(1)
    if len(boxes.shape) != 3 or len(scores.shape) != 3:
        raise ModelError(
            f"its boxes {list(boxes.shape)} and scores {list(scores.shape)} must have 3 axes each"
        )
    most = _number(call, 2, "max_output_boxes_per_class", 0)
    if most < 1:
        raise ModelError(f"its max_output_boxes_per_class is {most:g}: no box is left")
    count = int(min(most, boxes.shape[1]))
    rows = math.prod(scores.shape[:2]) * count
    if rows > _MOST_KEPT:
        raise Refusal(
            f"it may keep {rows} boxes, and {_MOST_KEPT} are supported: give it a smaller "
            "max_output_boxes_per_class"
        )
    overlap = _number(call, 3, "iou_threshold", 0)
    if not 0 <= overlap <= 1:
        raise ModelError(f"its iou_threshold must be between 0 and 1, not {overlap:g}")
    above = _number(call, 4, "score_threshold", -math.inf)
    centered = call.integer("center_point_box", 0)
    if centered not in (0, 1):
        raise ModelError(f"its center_point_box must be 0 or 1, not {centered}")
    op = ops.NonMaxSuppression(count, math.floor(overlap * WHOLE), above, bool(centered))
    kept = call.emit(op, boxes, scores)
    if isinstance(kept, Static):
        return call.static_like(kept, kept.array[kept.array[:, 0] >= 0])
    kept.bounds = (-1, max(scores.shape) - 1)
    kept.leaves_over = True
    return kept


def _number(call: Call, index: int, what: str, default: float) -> float:
    array = call.static(index, what)
    if array is None:
        return float(default)
    if array.size != 1 or np.isnan(array).any():
        raise ModelError(f"its {what} must be one number")
    return float(array.reshape(()))
