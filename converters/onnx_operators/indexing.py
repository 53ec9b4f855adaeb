"""Turns ONNX's gathers and scatters by indices that are known into Gathers of rows or elements."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.converters.onnx_operators import indices as of_indices
from edgeinfer.converters.onnx_operators.call import Call
from edgeinfer.converters.onnx_operators.elementwise import combine
from edgeinfer.converters.onnx_operators.registry import Refusal, importer
from edgeinfer.converters.onnx_operators.values import Dynamic, Operand
from edgeinfer.errors import ModelError
from edgeinfer.graph import operators as ops

__all__ = ["taken"]

# what is done to what there is, as ONNX calls it
_REDUCTIONS = {"add": "Add", "mul": "Mul", "max": "Max", "min": "Min"}

# of one place, each of which takes operators of its own
_MOST_IN_TURN = 16

_SCATTERED = (
    ops.Concat,
    ops.Gather,
    ops.Slice,
    ops.Add,
    ops.Mul,
    ops.Maximum,
    ops.Minimum,
    ops.Pointwise,
    ops.IndexArithmetic,
)


@importer("Gather", makes=(ops.Gather, ops.Pad, ops.Slice), integers=True)
def _gather(call: Call) -> Operand:
    data, indices = call.operand(0), call.operand(1)
    axis = call.axis(call.integer("axis", 0), len(data.shape))
    if isinstance(indices, Dynamic):
        data, indices = _computed(call, data, indices, axis)
        return call.emit(ops.Gather(axis), data, indices)
    return taken(call, data, indices.array, axis)


def _computed(call: Call, data: Operand, indices: Dynamic, axis: int) -> tuple[Operand, Dynamic]:
    """What is taken by indices along an axis that a run computes: 0 where they are left over."""
    if indices.type.dtype != "int64":
        raise Refusal(f"its indices {indices.name!r} are computed as floats")
    if indices.leaves_over:
        before = (0,) * len(data.shape)
        after = tuple(int(a == axis) for a in range(len(data.shape)))
        fill = 0.0 if call.dtype(data) == "float32" else 0
        # the last is what -1 takes
        data = call.emit(ops.Pad(before, after, value=fill), data)
    return data, indices


def taken(call: Call, data: Operand, known: np.ndarray, axis: int) -> Operand:
    """The elements of ``data`` at indices along an axis that are known at import."""
    known = _from_zero(known, data.shape[axis])
    if known.size == 1:
        place = int(known.reshape(()))
        one = data if data.shape[axis] == 1 else call.stretch(data, axis, place, 1)
        return call.reshape(one, (*data.shape[:axis], *known.shape, *data.shape[axis + 1 :]))
    return call.emit(ops.Gather(axis), data, call.constant(known, "indices"))


def _from_zero(known: np.ndarray, extent: int) -> np.ndarray:
    if known.dtype.kind not in "iu" or (known < -extent).any() or (known >= extent).any():
        raise ModelError(f"indices must be integers from {-extent} to {extent - 1}")
    return np.where(known < 0, known + extent, known).astype(np.int64)


@importer(
    "GatherElements", makes=(ops.Gather, ops.GatherElements, ops.Pad, ops.Slice), integers=True
)
def _gather_elements(call: Call) -> Operand:
    data, places = call.operand(0), call.operand(1)
    if len(places.shape) != len(data.shape):
        raise ModelError("its indices do not have as many axes as its input")
    axis = call.axis(call.integer("axis", 0), len(data.shape))
    if isinstance(places, Dynamic):
        data, places = _computed(call, data, places, axis)
        return call.emit(ops.GatherElements(axis), data, places)
    indices = places.array
    others = [n for a, n in enumerate(data.shape) if a != axis]
    counts = [n for a, n in enumerate(indices.shape) if a != axis]
    if any(count > n for count, n in zip(counts, others, strict=True)):
        raise ModelError(f"indices {list(indices.shape)} do not fit shape {list(data.shape)}")
    indices = _from_zero(indices, data.shape[axis])
    alike = np.moveaxis(indices, axis, -1).reshape(-1, indices.shape[axis])
    if counts == others and (alike == alike[:1]).all():
        return taken(call, data, alike[0], axis)
    grid: list[np.ndarray] = list(np.indices(indices.shape, sparse=True))
    grid[axis] = indices
    return _elements(
        call, data, np.ravel_multi_index(tuple(np.broadcast_arrays(*grid)), data.shape)
    )


def _elements(call: Call, data: Operand, flat: np.ndarray) -> Operand:
    """The elements at places in the order of all of them."""
    return taken(call, call.reshape(data, (math.prod(data.shape),)), flat, 0)


@importer("GatherND", makes=(ops.Gather, ops.IndexArithmetic, ops.Pad, ops.Slice), integers=True)
def _gather_nd(call: Call) -> Operand:
    data, found = call.operand(0), call.operand(1)
    shared = call.integer("batch_dims", 0)
    axes = len(found.shape)
    rank = found.shape[-1] if axes else 0
    if not 0 <= shared < min(axes, len(data.shape)) or not (
        1 <= rank <= len(data.shape) - shared and data.shape[:shared] == found.shape[:shared]
    ):
        raise ModelError(f"indices {list(found.shape)} do not fit shape {list(data.shape)}")
    if isinstance(found, Dynamic):
        return _computed_rows(call, data, found, shared)
    indices = found.array
    if shared == 0 and rank == 1:
        return taken(call, data, indices[..., 0], 0)
    return _rows(call, data, _places(data.shape, indices, shared), shared + rank)


def _computed_rows(call: Call, data: Operand, found: Dynamic, shared: int) -> Operand:
    """The rows of ``data`` at indices [..., k] that a run computes."""
    *whole, rank = found.shape
    place: Operand | None = None
    if shared:
        own = np.arange(math.prod(data.shape[:shared])).reshape(data.shape[:shared])
        place = call.constant(np.expand_dims(own, (*range(shared, len(whole)), -1)), "own")
    for axis, extent in enumerate(data.shape[shared : shared + rank]):
        starts = (*(0 for _ in whole), axis)
        named = call.emit(ops.Slice(starts, (*whole, 1), (1,) * len(starts)), found)
        low, high = call.bounds(named)
        if not found.leaves_over and not (low >= 0 and high < extent):
            # from the end where it is below 0, and refused by the run where there is none
            call.spend(extent)
            numbers = call.constant(np.arange(extent), "numbers")
            named = call.emit(ops.Gather(0), numbers, named)
        if place is None:
            place = named
            continue
        width = call.constant(np.asarray(extent, np.int64), "extent")
        place = of_indices.arithmetic(
            call, "Add", of_indices.arithmetic(call, "Mul", place, width), named
        )
    assert isinstance(place, Dynamic)
    taken_as_one = shared + rank
    rows = call.reshape(data, (math.prod(data.shape[:taken_as_one]), *data.shape[taken_as_one:]))
    rows, place = _computed(call, rows, place, 0)
    return call.emit(ops.Gather(0), rows, call.reshape(place, whole))


def _places(shape: tuple[int, ...], indices: np.ndarray, shared: int = 0) -> np.ndarray:
    """Where the first axes of a value of ``shape`` hold what ``indices`` [..., k] name."""
    rank = indices.shape[-1]
    own = np.indices(indices.shape[:-1], sparse=True)[:shared]
    named = [_from_zero(indices[..., i], shape[shared + i]) for i in range(rank)]
    grids = np.broadcast_arrays(*own, *named)
    return np.ravel_multi_index(tuple(grids), shape[: shared + rank])


def _rows(call: Call, data: Operand, places: np.ndarray, rank: int) -> Operand:
    """What stands at ``places`` of the first ``rank`` axes, taken as one."""
    flat = call.reshape(data, (math.prod(data.shape[:rank]), *data.shape[rank:]))
    return taken(call, flat, places, 0)


@importer("ScatterND", makes=_SCATTERED, integers=True)
def _scatter_nd(call: Call) -> Operand:
    data, indices, updates = call.operand(0), call.static(1, "indices"), call.operand(2)
    if indices is None or indices.ndim < 1 or not 1 <= indices.shape[-1] <= len(data.shape):
        raise ModelError("its indices do not fit its input")
    rank = indices.shape[-1]
    if updates.shape != (*indices.shape[:-1], *data.shape[rank:]):
        raise ModelError(f"updates {list(updates.shape)} do not fit its indices")
    return _scattered(call, data, _places(data.shape, indices), updates, rank)


@importer("ScatterElements", "Scatter", makes=_SCATTERED, integers=True)
def _scatter_elements(call: Call) -> Operand:
    data, indices, updates = call.operand(0), call.static(1, "indices"), call.operand(2)
    axis = call.axis(call.integer("axis", 0), len(data.shape))
    if indices is None or indices.ndim != len(data.shape) or updates.shape != indices.shape:
        raise ModelError("its indices and updates do not fit its input")
    places: list[np.ndarray] = list(np.indices(indices.shape, sparse=True))
    places[axis] = _from_zero(indices, data.shape[axis])
    grids = np.broadcast_arrays(*places)
    if any(grid.max(initial=0) >= n for grid, n in zip(grids, data.shape, strict=True)):
        raise ModelError(f"indices {list(indices.shape)} do not fit shape {list(data.shape)}")
    flat = np.ravel_multi_index(tuple(grids), data.shape)
    return _scattered(call, data, flat, updates, len(data.shape))


def _scattered(
    call: Call, data: Operand, places: np.ndarray, updates: Operand, rank: int
) -> Operand:
    """``data`` with ``updates`` at ``places`` of its first ``rank`` axes, taken as one.

    Where these are added, say, to what there is, each of several updates of one place is in turn.
    """
    reduction = call.text("reduction", "none")
    if reduction not in ("none", *_REDUCTIONS):
        raise ModelError(f"there is no reduction {reduction!r}")
    if not places.size:
        return data
    shape, rest = data.shape, data.shape[rank:]
    data = call.reshape(data, (math.prod(shape[:rank]), *rest))
    updates, places = call.reshape(updates, (places.size, *rest)), places.ravel()
    left = np.arange(0 if reduction == "none" else places.size)
    if reduction == "none":
        data = _with_rows(call, data, places, updates)
    elif (most := int(np.unique(places, return_counts=True)[1].max())) > _MOST_IN_TURN:
        raise Refusal(f"{most} updates of one place are not supported, {_MOST_IN_TURN} are")
    while left.size:
        firsts = np.sort(np.unique(places[left], return_index=True)[1])
        now, left = left[firsts], np.delete(left, firsts)
        own = _rows_at(call, data, places[now])
        new = _rows_at(call, updates, now)
        merged = combine(call, _REDUCTIONS[reduction], own, new, data.kind)
        data = _with_rows(call, data, places[now], merged)
    return call.reshape(data, shape)


def _rows_at(call: Call, data: Operand, places: np.ndarray) -> Operand:
    whole = places.size == data.shape[0] and (places == np.arange(places.size)).all()
    return data if whole else taken(call, data, places, 0)


def _with_rows(call: Call, data: Operand, places: np.ndarray, rows: Operand) -> Operand:
    """``data`` with ``rows`` at places of its first axis, of equal ones the last.

    It is gathered from both, joined.
    """
    count = data.shape[0]
    call.spend(count)
    sources = np.arange(count)
    sources[places] = count + np.arange(places.size)
    joined = call.emit(ops.Concat(0), *call.alike([data, rows]), kind=data.kind)
    return taken(call, joined, sources, 0)


@importer("Compress", makes=(ops.Gather, ops.Slice), integers=True)
def _compress(call: Call) -> Operand:
    x, condition = call.operand(0), call.static(1, "condition")
    if condition is None or condition.ndim != 1:
        raise ModelError("its condition must have one axis")
    axis = 0
    if call.has("axis"):
        axis = call.axis(call.integer("axis", 0), len(x.shape))
    else:
        x = call.reshape(x, (math.prod(x.shape),))
    if not condition.any():
        raise ModelError("its condition keeps nothing")
    return taken(call, x, np.flatnonzero(condition), axis)


@importer("ReverseSequence", makes=(ops.Gather, ops.Slice), integers=True)
def _reverse_sequence(call: Call) -> Operand:
    x, lengths = call.operand(0), call.static(1, "lengths")
    time, batch = call.integer("time_axis", 0), call.integer("batch_axis", 1)
    if (
        {time, batch} != {0, 1}
        or len(x.shape) < 2
        or lengths is None
        or lengths.shape != (x.shape[batch],)
        or not ((lengths >= 0) & (lengths <= x.shape[time])).all()
    ):
        raise ModelError("its lengths or axes do not fit its input")
    call.spend(x.shape[time] * x.shape[batch])
    steps = np.arange(x.shape[time])
    rows = [np.where(steps < n, n - 1 - steps, steps) for n in lengths]
    places = np.stack(rows, axis=1 - time if time else 1)
    if (places == places.take([0], batch)).all():
        return taken(call, x, places.take(0, batch), time)
    own = np.expand_dims(np.arange(x.shape[batch]), time)
    grids = np.broadcast_arrays(*((places, own) if time == 0 else (own, places)))
    return _rows(call, x, np.ravel_multi_index(tuple(grids), x.shape[:2]), 2)
