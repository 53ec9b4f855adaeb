"""The NPU's rules of what turns: height, width and channels change places, channels and heads."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from edgeinfer.graph import operators as ops
from edgeinfer.hdl.compiler.layers import Geometry, Grid, Region
from edgeinfer.hdl.compiler.rules.registry import NpuSite, rule
from edgeinfer.hdl.isa import Mode

__all__ = ["joined", "relined", "took_apart", "turn_channels"]

_STRETCHES = 255
"""Layers, at most, by which pixels come into other lines."""


def took_apart(site: NpuSite) -> bool:
    """Where channels become heads: a line's pixels become lines, a stretch of channels a pixel."""
    before, after = site.source_geometry, site.output_geometry
    heads, channels = after[1:]
    if before == after or before[0] > 1 or before[1:] != (after[0], heads * channels):
        return False
    for head in range(heads):
        site.add(
            site.dense(
                np.ones((channels, 1, 1, 1), np.int64),
                group=channels,
                channels=range(head * channels, (head + 1) * channels),
                region=Region(0, 0, 1, before[1]),
                grid=Grid(0, head, turned=True),
            )
        )
    return True


def joined(site: NpuSite) -> bool:
    """Where heads become channels: lines become pixels with the channels of all of their own."""
    lines, heads, channels = site.source_geometry
    if lines == 1 or site.output_geometry != (1, lines, heads * channels):
        return False
    parts = []
    for head in range(heads):
        part = _made(site, f"head {head}", (1, lines, channels))
        place = {"region": Region(0, 0, lines, 1), "grid": Grid(turned=True)}
        site.add(site.filter(output=part, pads=(0, -head), **place))
        parts.append(part)
    site.lowered.concats[site.node.output] = tuple(parts)
    return True


def relined(site: NpuSite) -> bool:
    """Where the same pixels lie in other lines: each stretch that stays together is a layer."""
    (height, width, channels), (lines, columns, after) = site.source_geometry, site.output_geometry
    # a vector is made of channels, see moving.py
    if channels != after or width == columns or lines == columns == 1:
        return False
    ends = sorted({*range(0, height * width, width), *range(0, lines * columns, columns)})
    if len(ends) > _STRETCHES:
        raise site.refuse(
            f"lays {height} lines of pixels in {lines}, in more stretches than {_STRETCHES}"
        )
    for start, stop in pairwise([*ends, height * width]):
        (y, x), (line, column) = divmod(start, width), divmod(start, columns)
        site.add(
            site.filter(
                pads=(-y, -x), region=Region(0, 0, 1, stop - start), grid=Grid(line, column)
            )
        )
    return True


def _made(site: NpuSite, what: str, geometry: Geometry, target: str = "") -> str:
    """The name of a value that the Graph does not have, a part of ``target`` or of the output."""
    name = f"{what} of {target or site.node.output}"
    site.lowered.made[name] = geometry
    return name


_TURNS = {
    (0, 1, 2): "",
    (1, 0, 2): "L",
    (0, 2, 1): "C",
    (2, 0, 1): "CL",
    (1, 2, 0): "LC",
    (2, 1, 0): "CLC",
}
"""How height, width and channels come into an order: lines and pixels, pixels and channels change
places."""


@rule(ops.Transpose, where="of height, width and channels")
def _transpose(op: ops.Transpose, site: NpuSite) -> None:
    axes = len(site.inputs[0].shape)
    if op.permutation[0] != 0:
        raise site.refuse("moves the batch")
    kept = 4 - axes
    order = (*range(kept), *(axis - 1 + kept for axis in op.permutation[1:]))
    value, shape, turns = site.source, site.source_geometry, _TURNS[order]
    if not turns:
        site.lowered.aliases[site.node.output] = value
    for index, turn in enumerate(turns):
        height, width, channels = shape
        shape = (width, height, channels) if turn == "L" else (height, channels, width)
        target = site.node.output
        if index < len(turns) - 1:
            target = _made(site, f"turn {index}", shape)
        if turn == "L":
            region, grid = Region(0, 0, height, width), Grid(turned=True)
            ones = np.ones((channels, 1, 1, 1), np.int64)
            layer = site.dense(ones, mode=Mode.DEPTHWISE, group=channels)
            site.add(replace(layer, source=value, output=target, region=region, grid=grid))
        else:
            turn_channels(site, value, (height, width, channels), target)
        value = target


def turn_channels(site: NpuSite, source: str, shape: Geometry, target: str) -> None:
    """Pixels and channels of ``source`` change places, a word of new channels at a time.

    Of line and channel, the array takes an element of every pixel in turn.
    """
    height, width, channels = shape
    columns = site.config.columns
    pixel = -(-channels // columns) * columns
    parts = []
    for first in range(0, width, columns):
        count = min(columns, width - first)
        part = target
        if width > columns:
            part = _made(site, f"from {first}", (height, channels, count), target)
        weights = np.eye(count, dtype=np.int64).reshape(count, 1, count, 1)
        layer = site.dense(
            weights,
            source=source,
            output=part,
            dilations=(1, pixel),
            pads=(0, -first * pixel),
            elements=True,
            region=Region(0, 0, height, channels),
        )
        site.add(layer)
        parts.append(part)
    if len(parts) > 1:
        site.lowered.concats[target] = tuple(parts)
