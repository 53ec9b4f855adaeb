"""Layers on rows in the scratch (conv_rows.h): weights and stages packed for its tiles."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgeinfer.cython_kernels.runtime import LAYOUTS
from edgeinfer.graph import operators as ops
from edgeinfer.runtime.catalogue.call import (
    ELEMENT_WORK,
    KernelCall,
    KernelSite,
    output_stage,
    window,
)
from edgeinfer.runtime.catalogue.stages import packed_stages
from edgeinfer.runtime.catalogue.wide import MOST_BYTE_PRODUCTS, wide_layer

__all__ = ["Layout", "PackedLayer", "conv_call", "dense_call", "packed_layer"]

# what a unit's rows may take of a first-level cache, beside the weights that they meet; and where
# they are twice as large as x, so that a small model's memory is not mostly scratch
_ROW_BYTES, _WIDENED_ROW_BYTES = 16384, 6144
# and of a second-level cache, where weights do not stay in the first: they come once a band
_DEEP_ROW_BYTES, _FIRST_LEVEL_BYTES = 131072, 49152
# pixels that a pass over weights of the second level is worth
_DEEP_PIXELS = 64
# into how many bands an image is divided, if they are not lower than that; and into how many units
# a layer, if its channels are as many blocks
_BANDS, _LEAST_BAND, _UNITS = 8, 4, 8
# below this, tiles of pixels stay empty
_FEW_PIXELS = 4
# how many times as fast as registers an instruction of chunks is
_CHUNK_SPEED = 4
# the work of a weight from a second-level cache or beyond
_FAR_WORK = 8
# what sums cost a vector on their way through memory, and those of two planes, as measured
_MEMORY_CYCLES, _WIDE_MEMORY_CYCLES = 1.5, 16
# what the end of a vector of sums costs, in steps; and how many times as wide as one window others
# may make their hull
_END_STEPS, _MOST_HULL = 8, 3
# what kernels may read beyond the last run, and what keeps rows from each other's cache lines
_SLACK = 64


@dataclass(frozen=True)
class Layout:
    """How a kernel wants its weights; see ``weight_layout`` in kernels.h."""

    lanes: int
    taps: int
    vectors: int
    offset: int
    bytes: int
    chunk: int
    has_floats: int
    kernel: str
    isa: str

    @classmethod
    def of(cls, kernel: str, site: KernelSite, pixels: int) -> Layout | None:
        """What the best kernel for ``pixels`` wants; None where no instruction set has one."""
        name = kernel if site.itemsize("x") == 1 else f"{kernel}_s16"
        layouts = (cls(*LAYOUTS[name, isa], name, isa) for isa in site.having(name))

        def suits(layout: Layout) -> bool:
            # an instruction that takes pixels by the dozen has no use for a few
            return layout.chunk == 1 or (pixels >= _FEW_PIXELS and layout.chunks_pay(site))

        return next(filter(suits, layouts), None)

    def chunks_pay(self, site: KernelSite) -> bool:
        """Whether a layer is better taken by chunks, and may be.

        A pixel's products with a vector of channels take an eighth of a cycle each in registers, a
        quarter if they are of 16 bits. As chunks of bytes they take a cycle a chunk, two for both
        planes of x, but these sums go through memory; all for each plane of weights.
        """
        shape = site.shape("weights")
        rows, products = shape[1] if len(shape) == 4 else 1, math.prod(shape[1:])
        chunks = rows * -(-products // (rows * self.taps * self.chunk))
        if self.x_planes == 1:
            return products / 8 - chunks > _MEMORY_CYCLES
        gain = site.itemsize("weights") * (products / 4 - 2 * chunks)
        return gain > _WIDE_MEMORY_CYCLES and products <= MOST_BYTE_PRODUCTS

    @property
    def x_planes(self) -> int:
        """How many planes x has in the scratch: two where kernels take int16 as bytes."""
        return 2 if self.kernel.endswith("_s16") and self.bytes == 1 else 1

    @property
    def x_bytes(self) -> int:
        """The bytes of an element of x in the scratch."""
        return self.x_planes * self.bytes

    def steps(self, run: int) -> int:
        """Steps along ``run`` elements of a window: chunks of equal sizes."""
        steps = -(-run // self.taps)
        chunks = -(-steps // self.chunk)
        return chunks * -(-steps // chunks)

    def work(self, site: KernelSite) -> int:
        """A layer's, in products of registers: those of its products, of weights that come from
        beyond the first level, and of outputs."""
        outputs, weights = site.elements, math.prod(site.shape("weights"))
        products = outputs * weights // site.shape("weights")[0]
        speed = 1 if self.chunk == 1 else _CHUNK_SPEED
        far = _FAR_WORK * weights if _is_deep(site, self) else 0
        return products // speed + far + ELEMENT_WORK // 2 * outputs

    @property
    def dtype(self) -> str:
        """The element type of a packed weight."""
        return f"int{8 * self.bytes}"


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
    deep = _is_deep(site, layout)
    room = _DEEP_ROW_BYTES if deep else _row_bytes(site, layout)
    fitting = (room // (pitch * layout.bytes) - kernel_reach) // strides[0] + 1
    wanted = max(_LEAST_BAND, -(-out[1] // _BANDS), _DEEP_PIXELS // out[2] if deep else 0)
    band = max(1, min(out[1], fitting, wanted))
    bands = out[0] * -(-out[1] // band)
    layer = packed_layer(op, site, layout, op.group, several)
    slice_ = _slice(outputs, bands, layout, layer)
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
    layout = Layout.of("conv_flat", site, pixels)
    if layout is None:
        return None
    weights = site.shape("weights")
    least = _DEEP_PIXELS if _is_deep(site, layout) else 16
    most = max(least, min(512, _row_bytes(site, layout) // (depth * layout.x_bytes)))
    units = -(-pixels // most)
    tile = -(-pixels // units)
    layer = packed_layer(op, site, layout, 1)
    slice_ = _slice(weights[0], units, layout, layer)
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
            **layer.parameters,
            "out_bytes": site.output.itemsize,
        },
        units=units * -(-weights[0] // slice_),
        work=layout.work(site),
        scratch=tile * depth * layout.x_bytes + _SLACK,
        isa=layout.isa,
    )


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


def _slice(outputs: int, bands: int, layout: Layout, layer: PackedLayer) -> int:
    """The channels of a unit, in whole blocks: all, unless threads would find too few bands."""
    block = layout.lanes * layout.vectors // layer.parameters.get("planes", 1)
    slices = max(1, min(-(-outputs // block), _UNITS // bands))
    return -(-outputs // (slices * block)) * block


def _row_bytes(site: KernelSite, layout: Layout) -> int:
    """What a unit's rows may take; less where the copy is twice as large as x, for its memory."""
    return _WIDENED_ROW_BYTES if layout.bytes > site.itemsize("x") else _ROW_BYTES


def _is_deep(site: KernelSite, layout: Layout) -> bool:
    """Whether the weights leave no room for anything else in a first-level cache."""
    return math.prod(site.shape("weights")) * layout.bytes > _FIRST_LEVEL_BYTES


# ---- packing --------------------------------------------------------------------------------


@dataclass(frozen=True)
class PackedLayer:
    """Weights and stages as a kernel takes them, and the parameters that say in which form."""

    weights: np.ndarray
    stages: np.ndarray
    parameters: dict[str, int]


def packed_layer(
    op: ops.QConv | ops.QDense, site: KernelSite, layout: Layout, group: int, several: int = 1
) -> PackedLayer:
    """The layer at ``site`` in the form of conv_rows.h, for ``several`` pixels side by side."""
    if site.itemsize("x") == 1:
        planes = site.constant("weights")[None]
        stages, short = packed_stages(op, site, layout, group, several)
        how: tuple[object, ...] = (several,)
        parameters = {"is_short": short}
    else:
        layer = wide_layer(op, site, layout.taps, layout.bytes)
        planes, how = layer.planes, layer.how
        stages, parameters = layer.stages(layout.lanes, group), layer.parameters

    def blocks_of_vectors(_: np.ndarray) -> np.ndarray:
        if isinstance(op, ops.QConv) and several > 1:
            return _packed(_repeated(planes, several, op.strides[1]), layout, group)
        return _packed(planes, layout, group)

    packed = site.packed("weights", blocks_of_vectors, layout, group, *how)
    return PackedLayer(packed, stages, parameters)


def _repeated(planes: np.ndarray, several: int, stride: int) -> np.ndarray:
    """[P, O, kh, kw, D] for each of the pixels side by side: [P, several O, kh, hull, D]."""
    count, outputs, height, width, depth = planes.shape
    hull = width + (several - 1) * stride
    repeated = np.zeros((count, several, outputs, height, hull, depth), planes.dtype)
    for pixel in range(several):
        first = pixel * stride
        repeated[:, pixel, :, :, first : first + width] = planes
    return repeated.reshape(count, -1, height, hull, depth)


def _packed(planes: np.ndarray, layout: Layout, group: int) -> np.ndarray:
    """[P, O, kh, kw, D] or [P, O, D] as [group][block][kh][step][vector][plane][lane][tap]."""
    rows = planes.shape[2] if planes.ndim == 5 else 1
    grouped = planes.reshape(len(planes), group, planes.shape[1] // group, rows, -1)
    outputs, run = grouped.shape[2], grouped.shape[4]
    vectors, steps = -(-outputs // layout.lanes), layout.steps(run)
    shape = (len(planes), group, vectors * layout.lanes, rows, steps * layout.taps)
    padded = np.zeros(shape, layout.dtype)
    padded[:, :, :outputs, :, :run] = grouped
    split = padded.reshape(len(planes), group, vectors, layout.lanes, rows, steps, layout.taps)
    block = layout.vectors // len(planes)
    blocks = [
        split[:, :, first : first + block].transpose(1, 4, 5, 2, 0, 3, 6).reshape(group, -1)
        for first in range(0, vectors, block)
    ]
    return np.concatenate(blocks, axis=1)
