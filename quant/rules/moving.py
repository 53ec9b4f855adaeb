"""Rules of what moves, joins, orders or selects elements: on the integers as they are."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from edgeinfer.graph import Node
from edgeinfer.graph import operators as ops
from edgeinfer.quant.fragment import Fragment
from edgeinfer.quant.rules.registry import rule

__all__: list[str] = []


@rule(ops.Joining, makes=(ops.Joining,))
def _join(op: ops.Joining, node: Node, to: Fragment) -> None:
    y = node.output
    if to.type(y).quantization is None:
        to.emit(op, *(to.unscaled(name) for name in node.inputs))
        return
    to.emit(op, *(to.at_type_of(i, y) for i in range(len(node.inputs))))


@rule(ops.Pad, makes=(ops.Pad,))
def _pad(op: ops.Pad, node: Node, to: Fragment) -> None:
    t = to.type(node.output)
    if t.quantization is None:
        to.emit(op, node.input("x"))
        return
    value = t.quantization.quantize(np.array([op.value], np.float32), t.dtype)
    to.emit(replace(op, value=int(value[0])), to.at_type_of(0, node.output))


@rule(ops.Gather, ops.GatherElements, makes=(ops.Gather, ops.GatherElements))
def _gather(op: ops.Gather | ops.GatherElements, node: Node, to: Fragment) -> None:
    y = node.output
    scaled = to.type(y).quantization is not None
    data = to.at_type_of(0, y) if scaled else to.unscaled(node.inputs[0])
    to.emit(op, data, to.unscaled(node.inputs[1]))


@rule(ops.NonMaxSuppression, makes=(ops.NonMaxSuppression,))
def _non_max_suppression(op: ops.NonMaxSuppression, node: Node, to: Fragment) -> None:
    """On the integers: which boxes overlap depends neither on a scale nor on a zero point."""
    boxes, scores = node.operands
    boxes = to.widened(0, "int16") if to.is_computed(boxes) else to.operand(boxes, "int16")
    scores = to.operand(scores, "int16")
    scale, zero_point, dtype = to.kind(scores)
    info = np.iinfo(dtype)
    below = np.clip(np.float64(op.above) / scale + zero_point, info.min - 1, info.max)
    to.emit(replace(op, above=math.floor(below)), boxes, scores)


@rule(
    ops.ArgMax,
    ops.IndexArithmetic,
    ops.TopIndices,
    ops.Selecting,
    makes=(ops.ArgMax, ops.IndexArithmetic, ops.TopIndices, ops.Selecting),
)
def _selecting(op: ops.Operator, node: Node, to: Fragment) -> None:
    to.emit(op, *map(to.unscaled, node.inputs))
