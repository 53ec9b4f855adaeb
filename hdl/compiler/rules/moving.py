"""The NPU's rules of what moves elements: a layer passes them on, to another place."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops
from edgeinfer.hdl.compiler.layers import Grid, Layer, Region, geometry
from edgeinfer.hdl.compiler.rules.registry import PHASES, NpuSite, rule
from edgeinfer.hdl.compiler.rules.turning import joined, relined, took_apart

_CHANNELS = 2
"""Their axis in a geometry."""

_FLATTENED = 1024
"""Elements that a kernel of ones and zeros, which has their square, still lays side by side."""


@rule(ops.Concat, where="along height, width or channels")
def _concat(op: ops.Concat, site: NpuSite) -> None:
    axis = _axis(site, op.axis, "joins along")
    operands = [
        site.held(f"operand {index}", constant.reshape(geometry(constant.shape)))
        if (constant := site.graph.constants.get(name)) is not None
        else name
        for index, name in enumerate(site.node.operands)
    ]
    if axis == _CHANNELS:
        site.lowered.concats[site.node.output] = tuple(operands)
        return
    at = [0, 0]
    for name, kind in zip(operands, site.inputs, strict=True):
        height, width, _ = geometry(kind.shape)
        region, grid = Region(0, 0, height, width), Grid(at[0], at[1])
        site.add(site.filter(source=name, region=region, grid=grid))
        at[axis] += (height, width)[axis]


def _axis(site: NpuSite, axis: int, does: str) -> int:
    """Which of height, width and channels ``axis`` of the node's first operand is."""
    axes = len(site.inputs[0].shape)
    axis += 3 - axes if axis >= 0 else 3
    if axis < max(0, 4 - axes):
        raise site.refuse(f"{does} another axis than height, width or channels")
    return axis


@rule(
    ops.Reshape,
    where="into a vector, pixels into other lines, channels into heads and back",
)
def _reshape(op: ops.Reshape, site: NpuSite) -> None:
    before, after = site.source_geometry, site.output_geometry
    count = math.prod(before)
    if took_apart(site) or joined(site) or relined(site):
        return
    if after not in (before, (1, 1, count)):
        raise site.refuse(f"turns {site.shape('x')} into {op.shape}, which moves elements")
    if after == before or _read_densely(site.graph, site.node.output):
        site.lowered.aliases[site.node.output] = site.source
        return
    if count > _FLATTENED:
        raise site.refuse(
            f"flattens {count} elements for another reader than a Dense; "
            f"the NPU does it for {_FLATTENED} at most"
        )
    site.add(site.dense(np.eye(count, dtype=np.int64).reshape(count, *before)))


def _read_densely(graph: Graph, name: str) -> bool:
    """Whether all readers of ``name`` are Dense, so that it may keep its operand's layout."""

    def is_dense(node: Node) -> bool:
        if isinstance(node.op, ops.Reshape):
            output = node.outputs[0]
            kept = geometry(graph.types[output].shape) == geometry(graph.types[name].shape)
            return kept and _read_densely(graph, output)
        return isinstance(node.op, ops.QDense)

    return all(is_dense(node) for node in graph.nodes if name in node.inputs)


@rule(ops.Slice, where=f"backwards {PHASES} rows or columns at most")
def _slice(op: ops.Slice, site: NpuSite) -> None:
    _, *pixels, channels = (
        range(start, start + step * size, step)
        for start, size, step in zip(op.starts, op.sizes, op.steps, strict=True)
    )
    rows, columns = [range(1)] * (2 - len(pixels)) + pixels
    _take(site, rows, columns, channels)


def _take(site: NpuSite, rows: Sequence[int], columns: Sequence[int], own: Sequence[int]) -> None:
    """Layers that put such rows, columns and channels of the source side by side."""
    channels = np.array(own)
    whole = np.array_equal(channels, np.arange(site.channels))
    down, across = _phases(site, rows), _phases(site, columns)
    for top, (line, line_step, height) in enumerate(down):
        for left, (pixel, pixel_step, width) in enumerate(across):
            place: dict[str, object] = {
                "strides": (line_step, pixel_step),
                "pads": (-line, -pixel),
            }
            if len(down) * len(across) > 1:
                place["region"] = Region(0, 0, height, width)
                place["grid"] = Grid(top, left, len(down), len(across))
            site.add(site.filter(**place) if whole else _selection(site, channels, **place))


def _phases(site: NpuSite, places: Sequence[int]) -> list[tuple[int, int, int]]:
    """``places`` as the fewest progressions that take turns: of each its first, step and length."""
    for count in range(1, min(PHASES, len(places)) + 1):
        each = [np.array(places[phase::count]) for phase in range(count)]
        steps = [np.unique(np.diff(own)) for own in each]
        if all(len(step) < 2 and (step >= 0).all() for step in steps):
            return [
                (int(own[0]), int(step[0]) if len(step) else 0, len(own))
                for own, step in zip(each, steps, strict=True)
            ]
    raise site.refuse(f"takes rows or columns in steps that do not repeat after {PHASES} or fewer")


def _selection(site: NpuSite, channels: np.ndarray, **changes: object) -> Layer:
    """The layer that puts ``channels`` of its source side by side, with weights of ones."""
    count, first = len(channels), int(channels.min())
    own = range(first, int(channels.max()) + 1)
    if count > 1 and np.array_equal(channels, own):
        weights, group = np.ones((count, 1, 1, 1), np.int64), count
    else:
        weights, group = np.zeros((count, 1, 1, len(own)), np.int64), 1
        weights[np.arange(count), 0, 0, channels - first] = 1
    return site.dense(weights, group=group, channels=own, **changes)


@rule(ops.Split, where="along height, width or channels")
def _split(op: ops.Split, site: NpuSite) -> None:
    axis, at = _axis(site, op.axis, "splits"), 0
    for name, size in zip(site.node.outputs, op.sizes, strict=True):
        if axis == _CHANNELS:
            layer = _selection(site, np.arange(at, at + size), output=name)
        else:
            layer = site.filter(pads=(-at, 0) if axis == 0 else (0, -at), output=name)
        site.add(layer)
        at += size


@rule(ops.Gather, where="by constant indices along height, width or channels")
def _gather(op: ops.Gather, site: NpuSite) -> None:
    if not site.is_constant("indices") or site.shape("indices") == ():
        raise site.refuse("gathers by indices that a run computes, or by a single one")
    indices = site.constant("indices")
    if indices.ndim != 1:
        raise site.refuse("gathers by indices of more than one axis")
    axis = _axis(site, op.axis, "gathers along")
    taken: list[Sequence[int]] = [range(count) for count in site.source_geometry]
    taken[axis] = [int(i) for i in indices % len(taken[axis])]
    rows, columns, channels = taken
    _take(site, rows, columns, channels)


@rule(ops.Pad, where="with a constant, either pixels or channels")
def _pad(op: ops.Pad, site: NpuSite) -> None:
    shape = site.shape("x")
    if len(shape) != 4 or op.mode != "constant" or op.before[0] or op.after[0]:
        raise site.refuse("pads other axes than height, width and channels, or not by a constant")
    value, c = int(op.value), shape[3]
    if not op.before[3] and not op.after[3]:
        site.add(site.filter(pads=(op.before[1], op.before[2]), pad=value))
        return
    if any(op.before[1:3]) or any(op.after[1:3]):
        raise site.refuse("pads channels and pixels at once")
    out = op.before[3] + c + op.after[3]
    weights = np.zeros((out, 1, 1, c), np.int64)
    weights[op.before[3] + np.arange(c), 0, 0, np.arange(c)] = 1
    bias = np.where(weights.any((1, 2, 3)), 0, value)
    site.add(site.dense(weights, bias=bias))


@rule(ops.ResizeNearest, where=f"rows and columns in steps that repeat after {PHASES} at most")
def _resize_nearest(op: ops.ResizeNearest, site: NpuSite) -> None:
    _take(site, op.rows, op.columns, range(site.channels))


@rule(ops.DepthToSpace)
def _depth_to_space(op: ops.DepthToSpace, site: NpuSite) -> None:
    height, width, channels = site.source_geometry
    block, count = op.block, channels // op.block**2
    by_place = np.arange(channels).reshape(-1, count)
    if op.mode == "CRD":
        by_place = np.arange(channels).reshape(count, -1).T
    for phase, own in enumerate(by_place):
        grid = Grid(phase // block, phase % block, block, block)
        site.add(_selection(site, own, region=Region(0, 0, height, width), grid=grid))


@rule(ops.SpaceToDepth, where=f"blocks of {_FLATTENED} elements at most")
def _space_to_depth(op: ops.SpaceToDepth, site: NpuSite) -> None:
    count = op.block**2 * site.channels
    if count > _FLATTENED:
        raise site.refuse(f"has blocks of {count} elements; the NPU takes {_FLATTENED} at most")
    weights = np.eye(count, dtype=np.int64).reshape(count, op.block, op.block, -1)
    site.add(site.dense(weights, strides=(op.block, op.block)))


@rule(ops.Expand)
def _expand(op: ops.Expand, site: NpuSite) -> None:
    before, after = site.source_geometry, site.output_geometry
    down, across = (int(old == new) for old, new in zip(before[:2], after[:2], strict=True))
    if before[2] == after[2]:
        site.add(site.filter(strides=(down, across)))
    else:
        site.add(_selection(site, np.zeros(after[2], int), strides=(down, across)))


@rule(ops.Tile, where=f"height and width {PHASES} times at most")
def _tile(op: ops.Tile, site: NpuSite) -> None:
    height, width, channels = site.source_geometry
    down, across, deep = (
        new // old for old, new in zip(site.source_geometry, site.output_geometry, strict=True)
    )
    if max(down, across) > PHASES:
        raise site.refuse(f"repeats height or width more than {PHASES} times")
    for row in range(down):
        for column in range(across):
            place = {
                "region": Region(0, 0, height, width),
                "grid": Grid(row * height, column * width),
            }
            if deep == 1:
                site.add(site.filter(**place))
            else:
                site.add(_selection(site, np.tile(np.arange(channels), deep), **place))
