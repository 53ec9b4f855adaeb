"""Turns the ONNX operators that move elements into the Graph's, their shapes static."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from edgeinfer.converters.onnx_operators.call import Call
from edgeinfer.converters.onnx_operators.elementwise import combine
from edgeinfer.converters.onnx_operators.indexing import taken
from edgeinfer.converters.onnx_operators.registry import Refusal, importer
from edgeinfer.converters.onnx_operators.spatial import apply_nhwc
from edgeinfer.converters.onnx_operators.values import Dynamic, Operand
from edgeinfer.errors import ModelError
from edgeinfer.graph import operators as ops
from edgeinfer.graph.shapes import broadcast

__all__: list[str] = []

_LOWEST = float(np.finfo(np.float32).min)


@importer("Reshape", makes=(ops.Reshape,), integers=True)
def _reshape(call: Call) -> Operand:
    x = call.operand(0)
    wanted = call.static_integers(1, "shape", "shape")
    if wanted is None:
        raise ModelError("its shape is missing")
    shape = list(wanted)
    copies_zeros = not call.integer("allowzero", 0)
    for axis, extent in enumerate(shape):
        if extent == 0 and copies_zeros:
            if axis >= len(x.shape):
                raise ModelError(f"shape {list(wanted)} copies an axis that is not there")
            shape[axis] = x.shape[axis]
    if shape.count(-1) == 1:
        rest = math.prod(n for n in shape if n != -1)
        shape[shape.index(-1)] = math.prod(x.shape) // rest if rest > 0 else 0
    if math.prod(shape) != math.prod(x.shape) or min(shape, default=1) < 1:
        raise ModelError(f"a value of shape {list(x.shape)} does not fill shape {list(wanted)}")
    return call.reshape(x, shape)


@importer("Flatten", makes=(ops.Reshape,), integers=True)
def _flatten(call: Call) -> Operand:
    x = call.operand(0)
    axis = call.integer("axis", 1)
    axis = axis if axis == len(x.shape) else call.axis(axis, len(x.shape))
    return call.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


@importer("Squeeze", makes=(ops.Reshape,), integers=True)
def _squeeze(call: Call) -> Operand:
    x = call.operand(0)
    given = call.static_integers(1, "axes", "axes")
    if given is None:
        return call.reshape(x, [n for n in x.shape if n != 1])
    axes = {call.axis(a, len(x.shape)) for a in given}
    if any(x.shape[a] != 1 for a in axes):
        raise ModelError(f"axes {list(given)} of shape {list(x.shape)} are not all 1")
    return call.reshape(x, [n for a, n in enumerate(x.shape) if a not in axes])


@importer("Unsqueeze", makes=(ops.Reshape,), integers=True)
def _unsqueeze(call: Call) -> Operand:
    x = call.operand(0)
    given = call.static_integers(1, "axes", "axes") or ()
    rank = len(x.shape) + len(given)
    axes = {call.axis(a, rank) for a in given}
    if len(axes) != len(given):
        raise ModelError(f"axes {list(given)} are not distinct")
    extents = iter(x.shape)
    return call.reshape(x, [1 if a in axes else next(extents) for a in range(rank)])


@importer("Transpose", makes=(ops.Transpose,), integers=True)
def _transpose(call: Call) -> Operand:
    x = call.operand(0)
    order = call.integers("perm")
    return call.transpose(x, tuple(reversed(range(len(x.shape)))) if order is None else order)


@importer("Concat", makes=(ops.Concat,), integers=True)
def _concat(call: Call) -> Operand:
    operands = call.operands()
    axis = call.axis(call.integer("axis", 1), len(operands[0].shape))
    # an exporter begins a list that grows with one that is empty
    operands = [v for v in operands if isinstance(v, Dynamic) or v.array.size] or operands
    if len(operands) == 1:
        return operands[0]
    return call.emit(ops.Concat(axis), *call.alike(operands))


@importer("Split", makes=(ops.Slice,), integers=True, ignores=("num_outputs",))
def _split(call: Call) -> Sequence[Operand]:
    x = call.operand(0)
    axis = call.axis(call.integer("axis", 0), len(x.shape))
    extent, count = x.shape[axis], call.output_count
    sizes = call.static_integers(1, "split", "split")
    if sizes is None:
        size = -(-extent // count)
        sizes = (*(size,) * (count - 1), extent - size * (count - 1))
    if len(sizes) != count or sum(sizes) != extent or min(sizes) < 0:
        raise ModelError(f"an axis of {extent} does not split into {list(sizes)}")
    starts = np.cumsum((0, *sizes[:-1])).tolist()
    return [
        _window(call, x, {axis: (start, size, 1)})
        for start, size in zip(starts, sizes, strict=True)
    ]


@importer("Slice", makes=(ops.Slice,), integers=True)
def _slice(call: Call) -> Operand:
    x = call.operand(0)
    starts = call.static_integers(1, "starts", "starts") or ()
    ends = call.static_integers(2, "ends", "ends") or ()
    axes = call.static_integers(3, "axes", "axes")
    steps = call.static_integers(4, "steps", "steps") or (1,) * len(starts)
    axes = tuple(range(len(starts))) if axes is None else axes
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise ModelError("starts, ends, axes and steps differ in length, or a step is 0")
    windows = {}
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        a = call.axis(axis, len(x.shape))
        taken = range(*slice(start, end, step).indices(x.shape[a]))
        if not taken:
            raise ModelError(f"the slice {start}:{end}:{step} of an axis of {x.shape[a]} is empty")
        windows[a] = (taken[0], len(taken), step if len(taken) > 1 else 1)
    return _window(call, x, windows)


def _window(call: Call, x: Operand, windows: dict[int, tuple[int, int, int]]) -> Operand:
    """``x`` with (start, size, step) on some axes and whole on the others."""
    whole = [windows.get(a, (0, n, 1)) for a, n in enumerate(x.shape)]
    if all(window == (0, n, 1) for window, n in zip(whole, x.shape, strict=True)):
        return x
    starts, sizes, steps = zip(*whole, strict=True)
    if 0 in sizes:  # as what a rotation of all channels leaves; joined with others, it goes
        return call.constant(np.zeros(sizes, call.dtype(x)), "empty")
    return call.emit(ops.Slice(starts, sizes, steps), x)


@importer("Pad", makes=(ops.Pad, ops.Slice, ops.Gather), integers=True)
def _pad(call: Call) -> Operand:
    x = call.operand(0)
    mode = _pad_mode(call)
    pads = call.static_integers(1, "pads", "pads") or ()
    axes = call.static_integers(3, "axes", "axes")
    axes = tuple(range(len(x.shape))) if axes is None else axes
    if len(pads) != 2 * len(axes):
        raise ModelError(f"{len(axes)} axes need {2 * len(axes)} pads, not {len(pads)}")
    before, after = [0] * len(x.shape), [0] * len(x.shape)
    for i, axis in enumerate(axes):
        a = call.axis(axis, len(x.shape))
        before[a], after[a] = pads[i], pads[len(axes) + i]
    crop = {
        a: (max(0, -b), x.shape[a] + min(0, b) + min(0, e), 1)
        for a, (b, e) in enumerate(zip(before, after, strict=True))
        if min(b, e) < 0
    }
    x = _window(call, x, crop)
    grown = tuple(max(0, b) for b in before), tuple(max(0, e) for e in after)
    if mode == "wrap":
        for axis, (b, e) in enumerate(zip(*grown, strict=True)):
            if b or e:
                n = x.shape[axis]
                call.spend(b + n + e)
                x = taken(call, x, np.arange(-b, n + e) % n, axis)
        return x
    value = _pad_value(call)
    if mode == "constant" and not value.is_integer():
        x = call.floats_of(x)
    if call.dtype(x) != "int64":
        return call.emit(ops.Pad(*grown, mode, value), x)
    low, high = call.bounds(x)
    made = call.emit(ops.Pad(*grown, mode, int(value)), x)
    if isinstance(made, Dynamic) and mode == "constant":
        made.bounds = min(low, int(value)), max(high, int(value))
    return made


def _pad_mode(call: Call) -> Literal["constant", "reflect", "edge", "wrap"]:
    match mode := call.text("mode", "constant"):
        case "constant" | "reflect" | "edge" | "wrap":
            return mode
    raise Refusal(f"mode {mode!r} is not supported")


def _pad_value(call: Call) -> float:
    value = call.static(2, "constant_value")
    number = float(value.reshape(())) if value is not None and value.size else 0.0
    number = call.bound("value", number)
    if math.isnan(number):
        raise ModelError("its constant_value is NaN")
    # minus infinity before a MaxPool: no float32 loses to the lowest one
    return min(max(number, _LOWEST), -_LOWEST)


@importer("Expand", makes=(ops.Expand,), integers=True)
def _expand(call: Call) -> Operand:
    x = call.operand(0)
    wanted = call.static_integers(1, "shape", "shape") or ()
    shape = broadcast(x.shape, wanted)
    if shape == x.shape:
        return x
    return call.emit(ops.Expand(shape), x)


@importer("Tile", makes=(ops.Tile,), integers=True)
def _tile(call: Call) -> Operand:
    x = call.operand(0)
    repeats = call.static_integers(1, "repeats", "repeats") or ()
    return call.emit(ops.Tile(repeats), x)


@importer("Trilu", makes=(ops.Mul, ops.IndexArithmetic, ops.Gather), integers=True)
def _trilu(call: Call) -> Operand:
    x, k = call.operand(0), call.whole_number(1, "k", 0)
    if len(x.shape) < 2:
        raise ModelError(f"takes matrices, not shape {list(x.shape)}")
    call.spend(math.prod(x.shape[-2:]))
    # of a diagonal beyond the matrix all or nothing is kept
    k = max(-x.shape[-2], min(k, x.shape[-1]))
    ones = np.ones(x.shape[-2:], np.float32 if call.dtype(x) == "float32" else np.int64)
    kept = np.triu(ones, k) if call.integer("upper", 1) else np.tril(ones, k)
    return combine(call, "Mul", x, call.constant(kept, "triangle"), x.kind)


@importer("EyeLike", integers=True, ignores=("dtype",))
def _eye_like(call: Call) -> Operand:
    x = call.operand(0)
    if len(x.shape) != 2:
        raise ModelError(f"takes a matrix, not shape {list(x.shape)}")
    call.spend(math.prod(x.shape))
    return call.constant(np.eye(*x.shape, k=call.integer("k", 0), dtype=np.float32), "ones")


@importer("DepthToSpace", makes=(ops.DepthToSpace,), integers=True)
def _depth_to_space(call: Call) -> Operand:
    mode = call.text("mode", "DCR")
    op = ops.DepthToSpace(call.integer("blocksize", 0), mode)  # type: ignore[arg-type]
    return _blocks(call, op)


@importer("SpaceToDepth", makes=(ops.SpaceToDepth,), integers=True)
def _space_to_depth(call: Call) -> Operand:
    if call.text("mode", "DCR") != "DCR":
        raise Refusal(f"mode {call.text('mode', 'DCR')!r} is not supported")
    return _blocks(call, ops.SpaceToDepth(call.integer("blocksize", 0)))


def _blocks(call: Call, op: ops.Operator) -> Operand:
    x = call.operand(0)
    if len(x.shape) != 4:
        raise ModelError(f"takes a value of 4 axes, not shape {list(x.shape)}")
    return apply_nhwc(call, op, x)
