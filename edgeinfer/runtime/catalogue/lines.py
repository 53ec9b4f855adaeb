"""Depthwise layers on lines in the scratch (depthwise_lines.h), packed for its tiles."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.graph import operators as ops
from edgeinfer.runtime.catalogue.call import (
    ELEMENT_WORK,
    KernelCall,
    KernelSite,
    output_stage,
    window,
)
from edgeinfer.runtime.catalogue.packing import Layout
from edgeinfer.runtime.catalogue.stages import packed_stages
from edgeinfer.runtime.catalogue.wide import wide_layer

__all__ = ["depthwise_call"]

# what a band's lines may take of a second-level cache, and in any case; in between, no more than x
# itself, so that a small model's memory is not mostly scratch
_LINE_BYTES, _LEAST_LINE_BYTES = 65536, 8192
# what kernels may read beyond the last line, in columns
_SLACK = 64


def depthwise_call(op: ops.QConv, site: KernelSite) -> KernelCall | None:
    """The call for a depthwise convolution, where some instruction set has one."""
    layout = Layout.of("depthwise_lines", site, site.shape("x")[2])
    if layout is None:
        return None
    x, weights, out = site.shape("x"), site.shape("weights"), site.output.shape
    depth, height, width = weights[:3]
    planes = site.constant("weights")[None]
    how: tuple[object, ...] = ()
    if site.itemsize("x") == 2:
        layer = wide_layer(op, site, 1, layout.bytes)
        planes, how = layer.planes, layer.how
        if (layer.part_rows, layer.part_steps) != (height, width):
            return None
    block = layout.lanes * layout.vectors // len(planes)
    several = _side_by_side(out[2], depth, layout.lanes, block) if op.strides[1] == 1 else 1
    channels = several * depth
    quads = -(-height // layout.taps)
    spacing = 1
    if op.dilations[0] == 1:
        # as many output rows a line as its taps hold without another quad
        fitting = (g for g in (4, 2, 1) if height + g - 1 <= quads * layout.taps)
        spacing = next(g for g in fitting if layout.taps % g == 0)
    lines_of_quad = layout.taps * op.dilations[0] // spacing
    columns = (out[2] - 1) * op.strides[1] + (width - 1) * op.dilations[1] + 1
    own = min(depth, block)
    pitch = columns * own + _SLACK

    def lines(band: int) -> int:
        """At most what the rows of a band take."""
        return -(-((band - 1) * op.strides[0]) // spacing) + 1 + (quads - 1) * lines_of_quad

    most = min(_LINE_BYTES, max(_LEAST_LINE_BYTES, math.prod(x)))
    band = spacing
    while band < out[1] and lines(2 * band) * pitch * layout.taps * layout.bytes <= most:
        band *= 2
    band = min(band, out[1])
    if site.itemsize("x") == 1:
        stages, form = packed_stages(op, site, layout, 1, several)
        ends: dict[str, int] = {"form": form}
    else:
        stages = layer.stages(layout.lanes, 1, several)
        ends = {name: layer.parameters[name] for name in ("form", "planes")}

    def blocks_of_phases(_: np.ndarray) -> np.ndarray:
        return _packed(planes, layout, several, spacing, quads)

    return KernelCall(
        layout.kernel,
        (
            site.node.input("x"),
            site.packed("weights", blocks_of_phases, layout, several, spacing, *how),
            stages,
            site.node.output,
        ),
        {
            **window(x, out, (height, width), op.strides, op.pads, op.dilations),
            **output_stage(op),
            "depth": depth,
            "pixels": out[2] // several,
            "channels": channels,
            "pixel_stride": op.strides[1],
            "block": block,
            "spacing": spacing,
            "quads": quads,
            "lines": lines(band),
            "pitch": pitch,
            "band": band,
            **ends,
            "input_zero_point": op.input_zero_point,
            "out_bytes": site.output.itemsize,
        },
        units=out[0] * -(-out[1] // band),
        work=(4 * math.prod(weights[1:]) + ELEMENT_WORK) * site.elements,
        scratch=lines(band) * pitch * layout.taps * layout.bytes
        + x[2] * depth * site.itemsize("x")
        + _SLACK,
    )


def _side_by_side(width: int, depth: int, lanes: int, block: int) -> int:
    """How many pixels of few channels fill a block of channels best, as divisors of the row."""
    fitting = [n for n in range(1, width + 1) if width % n == 0 and n * depth <= block]

    def fullness(n: int) -> tuple[float, int]:
        vectors = -(-n * depth // lanes)
        return n * depth / (vectors * lanes), n

    return max(fitting, key=fullness, default=1)


def _packed(
    planes: np.ndarray, layout: Layout, several: int, spacing: int, quads: int
) -> np.ndarray:
    """[P, C, kh, kw, 1] as [block][phase][quad][kx][vector][plane][lane][tap], flat."""
    count, depth, height, width = planes.shape[:4]
    channels = several * depth
    phases = np.zeros((count, spacing, channels, quads * layout.taps, width), layout.dtype)
    for phase in range(spacing):
        phases[:, phase, :, phase : phase + height] = np.tile(planes[..., 0], (1, several, 1, 1))
    block = layout.lanes * layout.vectors // count
    blocks = []
    for first in range(0, channels, block):
        part = phases[:, :, first : first + block]
        padding = -part.shape[2] % layout.lanes
        part = np.pad(part, ((0, 0), (0, 0), (0, padding), (0, 0), (0, 0)))
        part = part.reshape(count, spacing, -1, layout.lanes, quads, layout.taps, width)
        blocks.append(part.transpose(1, 4, 6, 2, 0, 3, 5).ravel())
    return np.concatenate(blocks)
