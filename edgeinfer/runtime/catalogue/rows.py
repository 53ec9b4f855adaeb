"""Convolutions and dense layers into calls of conv_rows.h, on rows in the scratch."""

from __future__ import annotations

import math

from edgeinfer.graph import operators as ops
from edgeinfer.runtime.catalogue.call import KernelCall, KernelSite, output_stage, window
from edgeinfer.runtime.catalogue.packing import Layout, packed_layer

__all__ = ["conv_call", "dense_call"]

# what a unit's rows may take of a first-level cache, beside the weights that they meet; and where
# they are twice as large as x, so that a small model's memory is not mostly scratch
_ROW_BYTES, _WIDENED_ROW_BYTES = 16384, 6144
# and of a second-level cache, where weights do not stay in the first: they come once a band
_DEEP_ROW_BYTES = 131072
# pixels that a pass over weights of the second level is worth
_DEEP_PIXELS = 64
# into how many bands an image is divided, if they are not lower than that
_BANDS, _LEAST_BAND = 8, 4
# what the end of a vector of sums costs, in steps; and how many times as wide as one window others
# may make their hull
_END_STEPS, _MOST_HULL = 8, 3
# what kernels may read beyond the last run, and what keeps rows from each other's cache lines
_SLACK = 64
# the kernel for one pixel, where the instruction set has one of its own; it takes x as it stands
_PIXEL = "conv_pixel"


def conv_call(op: ops.QConv, site: KernelSite) -> KernelCall | None:
    """The call for a convolution, where some instruction set has one."""
    x, weights, out = site.shape("x"), site.shape("weights"), site.output.shape
    plain = weights[1:3] == (1, 1) and op.strides == (1, 1) and not any(op.pads)
    if plain and op.group == 1:
        return _flat(op, site, math.prod(out[:3]), x[3])
    layout = Layout.of("conv_rows", site, out[2])
    if layout is None:
        return None
    several = _side_by_side(op, site, layout)
    outputs, (height, width, depth) = several * weights[0] // op.group, weights[1:]
    strides = op.strides[0], several * op.strides[1]
    width += (several - 1) * op.strides[1]
    out = *out[:2], out[2] // several, several * out[3]
    steps = layout.steps(width * depth)
    if op.dilations[1] > 1:  # each pixel's taps are brought together
        pixel = steps * layout.taps
        columns = out[2] * pixel
    else:
        pixel = strides[1] * depth
        columns = ((out[2] - 1) * strides[1] + width) * depth
    pitch = layout.x_planes * (-(-columns // _SLACK) * _SLACK + _SLACK)
    kernel_reach = (height - 1) * op.dilations[0] + 1
    # several bands for threads to share; a band reads its first rows beside the one before it
    deep = layout.is_deep(site)
    room = _DEEP_ROW_BYTES if deep else _row_bytes(site, layout)
    fitting = (room // (pitch * layout.bytes) - kernel_reach) // strides[0] + 1
    wanted = max(_LEAST_BAND, -(-out[1] // _BANDS), _DEEP_PIXELS // out[2] if deep else 0)
    band = max(1, min(out[1], fitting, wanted))
    bands = out[0] * -(-out[1] // band)
    layer = packed_layer(op, site, layout, op.group, several)
    slice_ = layout.slice(outputs, bands, layer.parameters.get("planes", 1))
    return KernelCall(
        layout.kernel,
        (site.node.input("x"), layer.weights, layer.stages, site.node.output),
        {
            **window(x, out, (height, width), strides, op.pads, op.dilations),
            **output_stage(op),
            "group": op.group,
            "depth": depth,
            "outputs": outputs,
            "out_depth": out[3],
            "steps": steps,
            "pixel": pixel,
            "pitch": pitch,
            "band": band,
            "slice": slice_,
            **layer.parameters,
            "input_zero_point": op.input_zero_point,
            "out_bytes": site.output.itemsize,
        },
        units=bands * -(-outputs // slice_),
        work=layout.work(site),
        scratch=((band - 1) * strides[0] + kernel_reach) * pitch * layout.bytes + _SLACK,
        isa=layout.isa,
    )


def dense_call(op: ops.QDense, site: KernelSite) -> KernelCall | None:
    """The call for a dense layer, where some instruction set has one."""
    x = site.shape("x")
    return _flat(op, site, math.prod(x[:-1]), x[-1])


def _flat(
    op: ops.QConv | ops.QDense, site: KernelSite, pixels: int, depth: int
) -> KernelCall | None:
    layout = _flat_layout(site, pixels)
    if layout is None:
        return None
    weights = site.shape("weights")
    least = _DEEP_PIXELS if layout.is_deep(site) else 16
    most = max(least, min(512, _row_bytes(site, layout) // (depth * layout.x_bytes)))
    units = -(-pixels // most)
    tile = -(-pixels // units)
    layer = packed_layer(op, site, layout, 1)
    slice_ = layout.slice(weights[0], units, layer.parameters.get("planes", 1))
    return KernelCall(
        layout.kernel,
        (site.node.input("x"), layer.weights, layer.stages, site.node.output),
        {
            **output_stage(op),
            "pixels": pixels,
            "depth": depth,
            "outputs": weights[0],
            "out_depth": weights[0],
            "steps": layout.steps(depth),
            "tile": tile,
            "slice": slice_,
            "backwards": 0,
            **layer.parameters,
            "out_bytes": site.output.itemsize,
        },
        units=units * -(-weights[0] // slice_),
        work=layout.work(site),
        scratch=tile * depth * layout.x_bytes + _SLACK if layout.kernel != _PIXEL else 0,
        isa=layout.isa,
    )


def _flat_layout(site: KernelSite, pixels: int) -> Layout | None:
    layout = Layout.of("conv_flat", site, pixels)
    if layout is None or pixels > 1 or site.itemsize("x") > 1:
        return layout
    single = Layout.of(_PIXEL, site, pixels)
    return single if single is not None and single.isa == layout.isa else layout


def _side_by_side(op: ops.QConv, site: KernelSite, layout: Layout) -> int:
    """How many neighbouring pixels one pixel of the kernel is, where channels alone would leave
    lanes empty: its channels are those of all, its window is the hull of theirs."""
    count, height, width, depth = site.shape("weights")
    pixels = site.output.shape[2]
    if op.group > 1 or op.dilations[1] > 1 or layout.chunk > 1 or site.itemsize("x") > 1:
        return 1

    def cost(several: int) -> float:
        hull = width + (several - 1) * op.strides[1]
        return (height * layout.steps(hull * depth) + _END_STEPS) / several

    fitting = [
        n
        for n in range(1, layout.lanes // count + 1)
        if pixels % n == 0 and (n - 1) * op.strides[1] <= _MOST_HULL * width
    ]
    return min(fitting, key=cost, default=1)


def _row_bytes(site: KernelSite, layout: Layout) -> int:
    """What a unit's rows may take; less where the copy is twice as large as x, for its memory."""
    return _WIDENED_ROW_BYTES if layout.bytes > site.itemsize("x") else _ROW_BYTES
