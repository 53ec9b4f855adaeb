"""Layers on rows in the scratch (conv_rows.h): weights and stages packed for its tiles."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgeinfer.arithmetic.accumulators import folded_bias, largest_sums, reach
from edgeinfer.cython_kernels.runtime import LAYOUTS
from edgeinfer.graph import operators as ops
from edgeinfer.runtime.catalogue.call import KernelCall, KernelSite, output_stage, window
from edgeinfer.runtime.catalogue.proofs import ShortStage, constant_channels, short_stage
from edgeinfer.runtime.catalogue.wide import MOST_BYTE_PRODUCTS, wide_layer

__all__ = ["Layout", "PackedLayer", "conv_call", "dense_call", "packed_layer", "stages_of"]

# what a unit's rows may take of a first-level cache, beside the weights that they meet
_ROW_BYTES = 16384
# and of a second-level cache, where weights do not stay in the first: they come once a band
_DEEP_ROW_BYTES, _FIRST_LEVEL_BYTES = 131072, 49152
# pixels that a pass over weights of the second level is worth
_DEEP_PIXELS = 64
# into how many bands an image is divided, if they are not lower than that
_BANDS, _LEAST_BAND = 8, 4
# below this, tiles of pixels stay empty
_FEW_PIXELS = 4
# how many times as fast as registers an instruction of chunks is
_CHUNK_SPEED = 4
# what sums cost a vector on their way through memory, and those of two planes, as measured
_MEMORY_CYCLES, _WIDE_MEMORY_CYCLES = 1.5, 16
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

    def work(self, products: int) -> int:
        """How many products of registers take as long as ``products`` here."""
        return products if self.chunk == 1 else products // _CHUNK_SPEED

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
    outputs, (height, width, depth) = weights[0] // op.group, weights[1:]
    steps = layout.steps(width * depth)
    if op.dilations[1] > 1:  # each pixel's taps are brought together
        pixel = steps * layout.taps
        columns = out[2] * pixel
    else:
        pixel = op.strides[1] * depth
        columns = ((out[2] - 1) * op.strides[1] + width) * depth
    pitch = layout.x_planes * (-(-columns // _SLACK) * _SLACK + _SLACK)
    kernel_reach = (height - 1) * op.dilations[0] + 1
    # several bands for threads to share; a band reads its first rows beside the one before it
    deep = _is_deep(site, layout)
    room = _DEEP_ROW_BYTES if deep else _ROW_BYTES
    fitting = (room // (pitch * layout.bytes) - kernel_reach) // op.strides[0] + 1
    wanted = max(_LEAST_BAND, -(-out[1] // _BANDS), _DEEP_PIXELS // out[2] if deep else 0)
    band = max(1, min(out[1], fitting, wanted))
    layer = packed_layer(op, site, layout, op.group)
    return KernelCall(
        layout.kernel,
        (site.node.input("x"), layer.weights, layer.stages, site.node.output),
        {
            **window(x, out, (height, width), op.strides, op.pads, op.dilations),
            **output_stage(op),
            "group": op.group,
            "depth": depth,
            "outputs": outputs,
            "steps": steps,
            "pixel": pixel,
            "pitch": pitch,
            "band": band,
            **layer.parameters,
            "input_zero_point": op.input_zero_point,
            "out_bytes": site.output.itemsize,
        },
        units=out[0] * -(-out[1] // band),
        work=layout.work(math.prod(out[:3]) * math.prod(weights)),
        scratch=((band - 1) * op.strides[0] + kernel_reach) * pitch * layout.bytes + _SLACK,
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
    most = max(least, min(512, _ROW_BYTES // (depth * layout.x_bytes)))
    units = -(-pixels // most)
    tile = -(-pixels // units)
    layer = packed_layer(op, site, layout, 1)
    return KernelCall(
        layout.kernel,
        (site.node.input("x"), layer.weights, layer.stages, site.node.output),
        {
            **output_stage(op),
            "pixels": pixels,
            "depth": depth,
            "outputs": weights[0],
            "steps": layout.steps(depth),
            "tile": tile,
            **layer.parameters,
            "out_bytes": site.output.itemsize,
        },
        units=units,
        work=layout.work(pixels * math.prod(weights)),
        scratch=tile * depth * layout.x_bytes + _SLACK,
        isa=layout.isa,
    )


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
    op: ops.QConv | ops.QDense, site: KernelSite, layout: Layout, group: int
) -> PackedLayer:
    """The layer at ``site`` in the form of conv_rows.h."""
    if site.itemsize("x") == 1:
        planes = site.constant("weights")[None]
        stages, short = stages_of(op, site, layout, group)
        how: tuple[object, ...] = ()
        parameters = {"is_short": short}
    else:
        layer = wide_layer(op, site, layout.taps, layout.bytes)
        planes, how = layer.planes, layer.how
        stages, parameters = layer.stages(layout.lanes, group), layer.parameters

    def blocks_of_vectors(_: np.ndarray) -> np.ndarray:
        return _packed(planes, layout, group)

    packed = site.packed("weights", blocks_of_vectors, layout, group, *how)
    return PackedLayer(packed, stages, parameters)


def _packed(planes: np.ndarray, layout: Layout, group: int) -> np.ndarray:
    """[P, O, kh, kw, D] or [P, O, D] as [group][block][kh][step][vector][plane][lane][tap]."""
    rows = planes.shape[2] if planes.ndim == 5 else 1
    grouped = planes.reshape(len(planes), group, planes.shape[1] // group, rows, -1)
    run = grouped.shape[4]
    padding = -grouped.shape[2] % layout.lanes, layout.steps(run) * layout.taps - run
    padded = np.pad(grouped, ((0, 0), (0, 0), (0, padding[0]), (0, 0), (0, padding[1])))
    vectors, steps = padded.shape[2] // layout.lanes, padded.shape[4] // layout.taps
    split = padded.reshape(len(planes), group, vectors, layout.lanes, rows, steps, layout.taps)
    block = layout.vectors // len(planes)
    blocks = [
        split[:, :, first : first + block].transpose(1, 4, 5, 2, 0, 3, 6).reshape(group, -1)
        for first in range(0, vectors, block)
    ]
    return np.concatenate(blocks, axis=1).astype(layout.dtype)


def stages_of(
    op: ops.QConv | ops.QDense, site: KernelSite, layout: Layout, group: int, repeats: int = 1
) -> tuple[np.ndarray, int]:
    """Stages [group][vector][4][lane] for int8 x, and 1 where they have the short form.

    With ``repeats``, all channels that many times over.
    """
    weights, bias, multiplier, shift = (
        site.constant(role) for role in ("weights", "bias", "multiplier", "shift")
    )
    # partial sums and biases may wrap: the accumulator itself is proven
    folded = folded_bias(weights, bias, op.input_zero_point + layout.offset).astype(np.int32)
    short = None
    if op.rounding == "single":
        limit = reach("int8", op.input_zero_point)
        constant, value = constant_channels(op, weights, (bias, multiplier, shift), limit)
        # a channel that is constant may have a bias beyond all others
        largest = np.where(constant, 0, largest_sums(weights, bias, limit))
        short = short_stage(multiplier, shift, op.output_zero_point, largest)
        if short is not None:
            short.rounding[constant] = value[constant] << short.shift[constant]
    stage = short or ShortStage(multiplier, np.zeros_like(multiplier), shift)
    rows = np.stack([folded, stage.multiplier, stage.rounding, stage.shift]).astype(np.int32)
    rows = np.tile(rows.reshape(4, group, -1), (1, 1, repeats))
    # a shift of 33 for lanes without a channel, which no form minds
    padded = np.pad(rows, ((0, 0), (0, 0), (0, -rows.shape[2] % layout.lanes)))
    padded[3, :, rows.shape[2] :] = 33 - 32 * (short is not None)
    split = padded.reshape(4, group, -1, layout.lanes).transpose(1, 2, 0, 3)
    return np.ascontiguousarray(split), int(short is not None)
