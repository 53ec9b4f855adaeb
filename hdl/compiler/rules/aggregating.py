"""The NPU's rules of what makes one element of many: sums and maxima along any axes."""

from __future__ import annotations

from collections.abc import Set

import numpy as np

from edgeinfer.arithmetic.accumulators import folded_bias
from edgeinfer.graph import operators as ops
from edgeinfer.hdl.compiler.layers import Geometry, Grid, Region
from edgeinfer.hdl.compiler.rules.computing import requantizing
from edgeinfer.hdl.compiler.rules.registry import NpuSite, rule
from edgeinfer.hdl.compiler.rules.turning import turn_channels
from edgeinfer.hdl.isa import Mode

_CHANNELS = 2
"""Their axis in a geometry."""

_WHERE = "over height, width, channels or several of them"


@rule(ops.QReduceSum, where=_WHERE)
def _reduce_sum(op: ops.QReduceSum, site: NpuSite) -> None:
    """A kernel of ones as large as what it sums up: of all channels, or one for each."""
    axes = _axes(op, site)
    height, width, channels = _extents(site.source_geometry, axes)
    result, place = _placed(site, axes)
    across = _CHANNELS in axes
    weights = np.ones((1 if across else site.channels, height, width, channels), np.int64)
    ones = np.ones(len(weights), np.int64)
    layer = (site.dense if across else site.filter)(
        weights=weights,
        kernel=(height, width),
        bias=folded_bias(weights, 0 * ones, op.input_zero_point),
        multiplier=op.multiplier * ones,
        shift=op.shift * ones,
        output=result,
        **place,
        **requantizing(op),
    )
    site.add(layer)
    if result != site.node.output:
        turn_channels(site, result, site.lowered.made[result], site.node.output)


@rule(ops.ReduceMax, where=_WHERE)
def _reduce_max(op: ops.ReduceMax, site: NpuSite) -> None:
    """A maximum over lines and pixels; channels become pixels for it, and one of these again."""
    axes = _axes(op, site)
    if _CHANNELS not in axes:
        _, place = _placed(site, axes)
        _maximum(site, site.source, site.source_geometry, axes, site.node.output, place)
        return
    value, (height, width, channels) = site.source, site.source_geometry
    if spatial := axes - {_CHANNELS}:
        height, width, _ = shape = _left(site.source_geometry, spatial)
        value = site.make("greatest of pixels", shape)
        _maximum(site, site.source, site.source_geometry, spatial, value, {})
    turned = site.make("turned", (height, channels, width))
    turn_channels(site, value, (height, width, channels), turned)
    best = (height, 1, width)
    if site.output_geometry == best:
        _maximum(site, turned, (height, channels, width), {1}, site.node.output, {})
        return
    if site.output_geometry != (height, width, 1):
        raise site.refuse("takes the maximum over channels and gives lines as pixels")
    greatest = site.make("greatest", best)
    _maximum(site, turned, (height, channels, width), {1}, greatest, {})
    turn_channels(site, greatest, best, site.node.output)


def _maximum(
    site: NpuSite,
    source: str,
    shape: Geometry,
    axes: Set[int],
    output: str,
    place: dict[str, object],
) -> None:
    height, width, _ = _extents(shape, axes)
    weights = np.ones((shape[_CHANNELS], height, width, 1), np.int64)
    site.add(
        site.filter(
            source=source,
            output=output,
            mode=Mode.MAXIMUM,
            kernel=(height, width),
            weights=weights,
            **place,
        )
    )


def _axes(op: ops.Reducing, site: NpuSite) -> set[int]:
    """The axes of the source's geometry that go."""
    rank = len(site.inputs[0].shape)
    return {axis % rank + 3 - rank for axis in op.axes if axis % rank}


def _extents(shape: Geometry, axes: Set[int]) -> Geometry:
    """The kernel that takes all along ``axes``, and one along others."""
    height, width, channels = (n if axis in axes else 1 for axis, n in enumerate(shape))
    return height, width, channels


def _left(shape: Geometry, axes: Set[int]) -> Geometry:
    """What is left of ``shape``."""
    height, width, channels = (1 if axis in axes else n for axis, n in enumerate(shape))
    return height, width, channels


def _placed(site: NpuSite, axes: Set[int]) -> tuple[str, dict[str, object]]:
    """Where results come that have no axis any more: the value they are, and what is to be said.

    Lines become pixels as they are written; pixels of one channel are turned into one of many.
    """
    left, output = _left(site.source_geometry, axes), site.output_geometry
    height, width, channels = left
    if left == output:
        return site.node.output, {}
    if width == 1 and output == (1, height, channels):
        place = {"region": Region(0, 0, height, 1), "grid": Grid(turned=True)}
        return site.node.output, place
    if height == channels == 1 and output == (1, 1, width):
        return site.make("one a pixel", left), {}
    raise site.refuse(f"turns {site.shape('x')} into {site.output.shape}, which moves elements")
