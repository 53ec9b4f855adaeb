"""The meaning of what only orders or moves elements: it serves floats and integers alike."""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch

import numpy as np

from edgeinfer.arithmetic import fixedpoint
from edgeinfer.errors import InputError
from edgeinfer.graph import operators as ops
from edgeinfer.meaning.windows import windows

__all__ = ["move"]


@singledispatch
def move(op: ops.Operator, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """The outputs of ``op`` on ``arrays``, whose shapes ``shapes.output_shapes`` accepts."""
    raise NotImplementedError(type(op).__name__)


def _of_one_zero(x: np.ndarray) -> np.ndarray:
    """``x`` with 0 for -0: which of the two is the greater one, processors do not agree on."""
    return x + 0 if x.dtype.kind == "f" else x


@move.register
def _max_pool(op: ops.MaxPool, x: np.ndarray) -> tuple[np.ndarray, ...]:
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    seen = windows(x, op.kernel, op.strides, op.pads, op.dilations, lowest)
    result = seen[..., 0, 0].copy()
    for i in range(op.kernel[0]):
        for j in range(op.kernel[1]):
            np.maximum(result, seen[..., i, j], out=result)
    return (_of_one_zero(result),)


@move.register
def _reduce_max(op: ops.ReduceMax, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (_of_one_zero(x.max(op.axes, keepdims=op.keepdims)),)


@move.register
def _reduce_min(op: ops.ReduceMin, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (_of_one_zero(x.min(op.axes, keepdims=op.keepdims)),)


@move.register
def _maximum(op: ops.Maximum, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
    return (_of_one_zero(np.maximum(a, b)),)


@move.register
def _minimum(op: ops.Minimum, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
    return (_of_one_zero(np.minimum(a, b)),)


@move.register
def _arg_max(op: ops.ArgMax, x: np.ndarray) -> tuple[np.ndarray, ...]:
    if op.select_last_index:
        last = x.shape[op.axis] - 1
        return (last - np.flip(x, op.axis).argmax(op.axis, keepdims=op.keepdims),)
    return (x.argmax(op.axis, keepdims=op.keepdims),)


@move.register
def _top_indices(op: ops.TopIndices, x: np.ndarray) -> tuple[np.ndarray, ...]:
    wide = x if x.dtype.kind == "f" else x.astype(np.int64)
    order = (-wide if op.largest else wide).argsort(op.axis, kind="stable")
    return (order.take(np.arange(op.count), op.axis),)


@move.register
def _non_max_suppression(
    op: ops.NonMaxSuppression, boxes: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, ...]:
    wide = np.float64 if boxes.dtype.kind == "f" else np.int64
    corners = fixedpoint.corners(boxes.astype(wide), op.centered)
    kept: list[tuple[int, int, int]] = []
    for sample, of_class in np.ndindex(scores.shape[:2]):
        seen = scores[sample, of_class].astype(wide)
        own: list[int] = []
        for place in np.argsort(-seen, kind="stable").tolist():
            if len(own) == op.count or not seen[place] > op.above:
                break
            one, others = corners[sample, place], corners[sample, own]
            if not fixedpoint.overlaps(one, others, op.overlap).any():
                own.append(place)
        kept += [(sample, of_class, place) for place in own]
    rows = np.full((scores.shape[0] * scores.shape[1] * op.count, 3), -1, np.int64)
    rows[: len(kept)] = np.reshape(kept, (-1, 3))
    return (rows,)


@move.register
def _index_arithmetic(
    op: ops.IndexArithmetic, a: np.ndarray, b: np.ndarray
) -> tuple[np.ndarray, ...]:
    return (np.asarray(_INDEX_FUNCTIONS[op.function](a, b)).astype(np.int64),)


def _quotient(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a // b + ((a < 0) & (a % b != 0))


_INDEX_FUNCTIONS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": _quotient,
    "mod": np.mod,
    "max": np.maximum,
    "min": np.minimum,
    "equal": np.equal,
    "greater": np.greater,
}


@move.register
def _concat(op: ops.Concat, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    return (np.concatenate(arrays, op.axis),)


@move.register
def _split(op: ops.Split, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(np.split(x, np.cumsum(op.sizes)[:-1], op.axis))


@move.register
def _slice(op: ops.Slice, x: np.ndarray) -> tuple[np.ndarray, ...]:
    for axis, (start, size, step) in enumerate(zip(op.starts, op.sizes, op.steps, strict=True)):
        x = x.take(start + step * np.arange(size), axis)
    return (x,)


@move.register
def _pad(op: ops.Pad, x: np.ndarray) -> tuple[np.ndarray, ...]:
    widths = tuple(zip(op.before, op.after, strict=True))
    if not widths:  # np.pad takes no array without axes
        return (x.copy(),)
    if op.mode == "constant":
        return (np.pad(x, widths, constant_values=op.value),)
    return (np.pad(x, widths, op.mode),)


@move.register
def _reshape(op: ops.Reshape, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (x.reshape(op.shape),)


@move.register
def _transpose(op: ops.Transpose, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (x.transpose(op.permutation).copy(),)


@move.register
def _gather(op: ops.Gather, x: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, ...]:
    extent = x.shape[op.axis]
    _check_indices(op.least(extent), extent, indices)
    return (x.take(indices, op.axis),)


@move.register
def _gather_elements(
    op: ops.GatherElements, x: np.ndarray, indices: np.ndarray
) -> tuple[np.ndarray, ...]:
    extent = x.shape[op.axis]
    _check_indices(-extent, extent, indices)
    window = (slice(None) if a == op.axis else slice(n) for a, n in enumerate(indices.shape))
    return (np.take_along_axis(x[tuple(window)], indices, op.axis),)


def _check_indices(least: int, extent: int, indices: np.ndarray) -> None:
    outside = indices[(indices < least) | (indices >= extent)]
    if outside.size:
        raise InputError(f"index {outside.flat[0]} is outside an axis of {extent}")


@move.register
def _tile(op: ops.Tile, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (np.tile(x, op.repeats),)


@move.register
def _expand(op: ops.Expand, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (np.broadcast_to(x, op.shape).copy(),)


@move.register
def _depth_to_space(op: ops.DepthToSpace, x: np.ndarray) -> tuple[np.ndarray, ...]:
    n, h, w, c = x.shape
    b = op.block
    if op.mode == "DCR":
        blocks = x.reshape(n, h, w, b, b, c // (b * b)).transpose(0, 1, 3, 2, 4, 5)
    else:
        blocks = x.reshape(n, h, w, c // (b * b), b, b).transpose(0, 1, 4, 2, 5, 3)
    return (blocks.reshape(n, h * b, w * b, c // (b * b)),)


@move.register
def _space_to_depth(op: ops.SpaceToDepth, x: np.ndarray) -> tuple[np.ndarray, ...]:
    n, h, w, c = x.shape
    b = op.block
    blocks = x.reshape(n, h // b, b, w // b, b, c).transpose(0, 1, 3, 2, 4, 5)
    return (blocks.reshape(n, h // b, w // b, b * b * c),)


@move.register
def _resize_nearest(op: ops.ResizeNearest, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (x[:, op.rows][:, :, op.columns],)
