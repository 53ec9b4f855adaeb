"""What a kernel wants of a layer: its layout, and weights and stages packed to that."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgeinfer.cython_kernels.runtime import LAYOUTS
from edgeinfer.graph import operators as ops
from edgeinfer.runtime.catalogue.call import ELEMENT_WORK, KernelSite
from edgeinfer.runtime.catalogue.stages import led_stages, packed_stages
from edgeinfer.runtime.catalogue.wide import MOST_BYTE_PRODUCTS, wide_layer

__all__ = ["Layout", "PackedLayer", "packed_blocks", "packed_layer"]

# of a first-level cache
_FIRST_LEVEL_BYTES = 49152
# below this, tiles of pixels stay empty
_FEW_PIXELS = 4
# into how many units a layer is divided, if its channels are as many blocks
_UNITS = 8
# what the widest instruction of registers multiplies
_PRODUCTS = 64
# how many times as fast as registers an instruction of chunks is
_CHUNK_SPEED = 4
# the work of a weight from a second-level cache or beyond
_FAR_WORK = 8
# what sums cost a vector on their way through memory, and those of two planes, as measured
_MEMORY_CYCLES, _WIDE_MEMORY_CYCLES = 1.5, 16
# and what it costs a layer to make chunks ready: half a microsecond where others did so just
# before, and two and more where none did
_CHUNK_CYCLES = 2000


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
        vectors = site.elements / self.lanes
        rows, products = shape[1] if len(shape) == 4 else 1, math.prod(shape[1:])
        chunks = rows * -(-products // (rows * self.taps * self.chunk))
        if self.x_planes == 1:
            return (products / 8 - chunks - _MEMORY_CYCLES) * vectors > _CHUNK_CYCLES
        gain = site.itemsize("weights") * (products / 4 - 2 * chunks) - _WIDE_MEMORY_CYCLES
        return gain * vectors > _CHUNK_CYCLES and products <= MOST_BYTE_PRODUCTS

    @property
    def x_planes(self) -> int:
        """How many planes x has in the scratch: two where kernels take int16 as bytes."""
        return 2 if self.kernel.endswith("_s16") and self.bytes == 1 else 1

    @property
    def leads(self) -> bool:
        """Whether the kernel may shift its sums to the left; see conv_pixel.h."""
        return self.kernel == "conv_pixel"

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
        """A layer's, in products of registers of 64: those of its products, of weights that come
        from beyond the first level, and of outputs."""
        outputs, weights = site.elements, math.prod(site.shape("weights"))
        products = outputs * weights // site.shape("weights")[0]
        far = _FAR_WORK * weights if self.is_deep(site) else 0
        if self.chunk > 1:
            products //= _CHUNK_SPEED
        else:
            products = products * _PRODUCTS // (self.lanes * self.taps)
        return products + far + ELEMENT_WORK // 2 * outputs

    def slice(self, outputs: int, bands: int, planes: int = 1) -> int:
        """The channels of a unit, in whole blocks: all, unless threads would find too few bands."""
        block = self.lanes * self.vectors // planes
        slices = max(1, min(-(-outputs // block), _UNITS // bands))
        return -(-outputs // (slices * block)) * block

    def is_deep(self, site: KernelSite) -> bool:
        """Whether the weights leave no room for anything else in a first-level cache."""
        return math.prod(site.shape("weights")) * self.bytes > _FIRST_LEVEL_BYTES

    @property
    def dtype(self) -> str:
        """The element type of a packed weight."""
        return f"int{8 * self.bytes}"


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
        parameters: dict[str, int] = {}
        if layout.leads:
            stages, form, parameters["lead"] = led_stages(op, site, layout)
        else:
            stages, form = packed_stages(op, site, layout, group, several)
        how: tuple[object, ...] = (several,)
        parameters["form"] = form
    else:
        layer = wide_layer(op, site, layout.taps, layout.bytes)
        planes, how = layer.planes, layer.how
        stages, parameters = layer.stages(layout.lanes, group), layer.parameters

    def blocks_of_vectors(_: np.ndarray) -> np.ndarray:
        if isinstance(op, ops.QConv) and several > 1:
            return packed_blocks(_repeated(planes, several, op.strides[1]), layout, group)
        return packed_blocks(planes, layout, group)

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


def packed_blocks(planes: np.ndarray, layout: Layout, group: int) -> np.ndarray:
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
