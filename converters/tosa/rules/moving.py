"""What moves elements: TOSA's operators that do, and GATHER for whatever these do not."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.converters.tosa.flatbuffer import Tensor
from edgeinfer.converters.tosa.rules.registry import lower
from edgeinfer.converters.tosa.writer import TosaWriter
from edgeinfer.graph import Node
from edgeinfer.graph import operators as ops


@lower.register
def _concat(op: ops.Concat, node: Node, to: TosaWriter) -> Tensor:
    return to.concat([to.value(name) for name in node.inputs], op.axis)


@lower.register
def _split(op: ops.Split, node: Node, to: TosaWriter) -> list[Tensor]:
    x = to.value(node.input("x"))
    starts = [0, *np.cumsum(op.sizes[:-1]).tolist()]
    return [to.part(x, op.axis, *place) for place in zip(starts, op.sizes, strict=True)]


@lower.register
def _slice(op: ops.Slice, node: Node, to: TosaWriter) -> Tensor:
    x, starts = to.value(node.input("x")), list(op.starts)
    for axis, (start, size, step) in enumerate(zip(op.starts, op.sizes, op.steps, strict=True)):
        if step != 1:
            x, starts[axis] = to.take(x, axis, start + step * np.arange(size)), 0
    return to.slice(x, starts, op.sizes)


@lower.register
def _pad(op: ops.Pad, node: Node, to: TosaWriter) -> Tensor:
    x = to.value(node.input("x"))
    if op.mode == "constant" or not x.shape:
        return to.pad(x, op.before, op.after, int(op.value))
    for axis, pads in enumerate(zip(op.before, op.after, strict=True)):
        x = to.take(x, axis, np.pad(np.arange(x.shape[axis]), pads, op.mode))
    return x


@lower.register
def _reshape(op: ops.Reshape, node: Node, to: TosaWriter) -> Tensor:
    return to.reshape(to.value(node.input("x")), op.shape)


@lower.register
def _transpose(op: ops.Transpose, node: Node, to: TosaWriter) -> Tensor:
    return to.transpose(to.value(node.input("x")), op.permutation)


@lower.register
def _tile(op: ops.Tile, node: Node, to: TosaWriter) -> Tensor:
    return to.tile(to.value(node.input("x")), op.repeats)


@lower.register
def _expand(op: ops.Expand, node: Node, to: TosaWriter) -> Tensor:
    return to.expand(to.value(node.input("x")), op.shape)


@lower.register
def _depth_to_space(op: ops.DepthToSpace, node: Node, to: TosaWriter) -> Tensor:
    x = to.value(node.input("x"))
    (n, h, w, c), b = x.shape, op.block
    c //= b * b
    if op.mode == "DCR":
        blocks = to.transpose(to.reshape(x, (n, h, w, b, b, c)), (0, 1, 3, 2, 4, 5))
    else:
        blocks = to.transpose(to.reshape(x, (n, h, w, c, b, b)), (0, 1, 4, 2, 5, 3))
    return to.reshape(blocks, (n, h * b, w * b, c))


@lower.register
def _space_to_depth(op: ops.SpaceToDepth, node: Node, to: TosaWriter) -> Tensor:
    x = to.value(node.input("x"))
    (n, h, w, c), b = x.shape, op.block
    blocks = to.transpose(to.reshape(x, (n, h // b, b, w // b, b, c)), (0, 1, 3, 2, 4, 5))
    return to.reshape(blocks, (n, h // b, w // b, b * b * c))


@lower.register
def _nearest(op: ops.ResizeNearest, node: Node, to: TosaWriter) -> Tensor:
    rows = to.take(to.value(node.input("x")), 1, np.array(op.rows))
    return to.take(rows, 2, np.array(op.columns))


# ---- at places ---------------------------------------------------------------------------------


@lower.register
def _gather(op: ops.Gather, node: Node, to: TosaWriter) -> Tensor:
    data = to.value(node.input("data"))
    places = _from_start(to, node.input("indices"), data.shape[op.axis])
    return to.gather(data, op.axis, places)


@lower.register
def _gather_elements(op: ops.GatherElements, node: Node, to: TosaWriter) -> Tensor:
    """One GATHER among all elements, at places in the order of memory."""
    data = to.value(node.input("data"))
    places = _from_start(to, node.input("indices"), data.shape[op.axis])
    strides = [math.prod(data.shape[axis + 1 :]) for axis in range(len(data.shape))]
    along = to.product(places, to.scalar(strides[op.axis], places))
    grid = np.indices(places.shape, np.int32, sparse=True)
    others = sum(
        (grid[axis] * stride for axis, stride in enumerate(strides) if axis != op.axis),
        np.zeros((1,) * len(places.shape), np.int32),
    )
    flat = to.meet("ADD", along, to.constant(others.astype(np.int32)))
    return to.gather(to.reshape(data, (math.prod(data.shape),)), 0, flat)


def _from_start(to: TosaWriter, name: str, extent: int) -> Tensor:
    """The places that a value holds along an axis of ``extent``: negative ones count from its end.

    Those of a run are in the axis, or the Session has refused it.
    """
    known = to.graph.constants.get(name)
    if known is not None:
        return to.constant(np.where(known < 0, known + extent, known).astype(np.int32))
    places = to.places(name)
    from_end = to.meet("ADD", places, to.scalar(extent, places))
    is_negative = to.meet("GREATER", to.scalar(0, places), places, dtype="BOOL")
    return to.apply("SELECT", [is_negative, from_end, places], places.shape, "INT32")
