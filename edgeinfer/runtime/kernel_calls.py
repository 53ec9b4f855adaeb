"""Turns one integer operator into kernel calls: which kernel, on what, with which numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch

import numpy as np

from edgeinfer.arithmetic import fixedpoint
from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops

__all__ = ["Call", "Site", "lower"]

Parameters = Mapping[str, int | tuple[int, ...]]
Ints = Sequence[int]

# What conv.c and depthwise.c are written for.
_CHANNELS, _PIXELS, _LANES, _DEPTHWISE_BLOCK = 4, 2, 8, 64
# Patches that stay in a first-level cache beside the weights that they meet.
_PATCH_BYTES = 24576
_MAX_TILE = 64
# Entries of an index list: 128 MB of them, where an axis may be 2^31 long.
_MAX_LISTED = 1 << 24
# Fewer products between widenings than this cost more than a second pass over the patch.
_MIN_BLOCK = 64


@dataclass(frozen=True)
class Call:
    """One kernel at work.

    Parameters
    ----------
    kernel : str
        Its name in the kernel table.
    operands : tuple of str or numpy.ndarray
        Values by name, or constants packed for this kernel; the output comes last.
    parameters : mapping
        The fields of the kernel's parameter struct.
    units : int
        Into how many disjoint parts of the output it can be divided.
    work : int
        About how many multiplications or moved elements it is.
    scratch : int
        Bytes that each thread needs beside the operands.
    in_place : tuple of str
        Inputs over which the output may be written, element by element.
    """

    kernel: str
    operands: tuple[str | np.ndarray, ...]
    parameters: Parameters
    units: int
    work: int
    scratch: int = 0
    in_place: tuple[str, ...] = ()


@dataclass(frozen=True)
class Site:
    """A node in its graph: what choosing its kernels looks at."""

    node: Node
    graph: Graph

    def shape(self, index: int) -> tuple[int, ...]:
        """The shape of input ``index``."""
        return self.graph.types[self.node.inputs[index]].shape

    def bytes(self, index: int) -> int:
        """The bytes of an element of input ``index``."""
        return np.dtype(self.graph.types[self.node.inputs[index]].dtype).itemsize

    def constant(self, index: int) -> np.ndarray:
        """Input ``index``, which must be known.

        Raises
        ------
        UnsupportedError
            A run would compute it.
        """
        name = self.node.inputs[index]
        if name not in self.graph.constants:
            raise UnsupportedError(
                f"input {name!r} must be a constant",
                node=self.node.name,
                operator=type(self.node.op).__name__,
            )
        return self.graph.constants[name]

    @property
    def out(self) -> str:
        """The output's name."""
        return self.node.outputs[0]

    @property
    def out_shape(self) -> tuple[int, ...]:
        """The output's shape."""
        return self.graph.types[self.out].shape

    @property
    def out_bytes(self) -> int:
        """The bytes of an element of the output."""
        return np.dtype(self.graph.types[self.out].dtype).itemsize

    @property
    def elements(self) -> int:
        """How many elements the output has."""
        return math.prod(self.out_shape)

    def overwritable(self, *indices: int) -> tuple[str, ...]:
        """Those of the inputs whose elements stand where the output's will."""
        return tuple(
            self.node.inputs[i]
            for i in indices
            if self.shape(i) == self.out_shape and self.bytes(i) == self.out_bytes
        )


@singledispatch
def lower(op: ops.Operator, site: Site) -> list[Call]:
    """The kernel calls that compute ``op`` at ``site``, in order.

    None where the output is the first input under another shape: the same bytes in the same
    order.

    Raises
    ------
    UnsupportedError
        No kernel computes the operator.
    """
    raise UnsupportedError(
        "the integer runtime has no such operator; quantize the graph first",
        node=site.node.name,
        operator=type(op).__name__,
    )


# ---- shared numbers ---------------------------------------------------------------------------


def _strides(shape: Ints) -> tuple[int, ...]:
    """Elements from one index to the next along each axis of a packed array."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _collapse(extents: Ints, *strides: Ints) -> tuple[list[int], list[list[int]]]:
    """The same walk over fewer axes: those of one element dropped, neighbours joined where every
    operand's strides allow it. At least one axis is left."""
    kept: list[tuple[int, ...]] = []
    for extent, *steps in zip(extents, *strides, strict=True):
        if extent == 1:
            continue
        if kept and all(
            outer == inner * extent for outer, inner in zip(kept[-1][1:], steps, strict=True)
        ):
            kept[-1] = (kept[-1][0] * extent, *steps)
        else:
            kept.append((extent, *steps))
    if not kept:
        kept = [(1, *[0] * len(strides))]
    joined, *walks = map(list, zip(*kept, strict=True))
    return joined, walks


def _stage(op: ops.Requantizing) -> dict[str, int]:
    return {
        "output_zero_point": op.output_zero_point,
        "lo": op.lo,
        "hi": op.hi,
        "twice": int(op.rounding == "double"),
    }


def _window(
    x: Ints, out: Ints, kernel: Ints, strides: Ints, pads: Ints, dilations: Ints
) -> dict[str, int]:
    """The fields that every kernel over windows of an NHWC value has."""
    return {
        "in_height": x[1],
        "in_width": x[2],
        "out_height": out[1],
        "out_width": out[2],
        "kernel_height": kernel[0],
        "kernel_width": kernel[1],
        "stride_height": strides[0],
        "stride_width": strides[1],
        "dilation_height": dilations[0],
        "dilation_width": dilations[1],
        "pad_top": pads[0],
        "pad_left": pads[1],
    }


# ---- convolution and dense layers -------------------------------------------------------------


def _fits_32(site: Site, zero_point: int, weights: np.ndarray, bias: np.ndarray) -> bool:
    """Whether every accumulator is proven below 2^31; partial sums may wrap."""
    if site.bytes(0) == 1:
        return True
    farthest = max(32767 - zero_point, zero_point + 32768)
    magnitude = np.abs(weights.reshape(len(bias), -1).astype(np.int64)).sum(1)
    return int((magnitude * farthest + np.abs(bias.astype(np.int64))).max()) < 2**31


def _folded(weights: np.ndarray, bias: np.ndarray, zero_point: int, narrow: bool) -> np.ndarray:
    """``b - zero_point sum(w)`` a channel; 32 bits of it, modulo 2^32, where ``narrow``."""
    sums = weights.reshape(len(bias), -1).astype(np.int64).sum(1)
    folded: np.ndarray = bias.astype(np.int64) - zero_point * sums
    return folded.astype(np.int32) if narrow else folded


def _packed(weights: np.ndarray, group: int) -> np.ndarray:
    """[O, taps] as int16 [group, O / group, taps], the last two padded with zeros for conv.c."""
    grouped = weights.reshape(group, len(weights) // group, -1)
    rows = -grouped.shape[1] % _CHANNELS
    taps = -grouped.shape[2] % _LANES
    packed: np.ndarray = np.pad(grouped.astype(np.int16), ((0, 0), (0, rows), (0, taps)))
    return packed


def _block(weights: np.ndarray) -> int:
    """How many products with any int16 surely fit 32 bits together, in whole vectors."""
    largest = max(int(np.abs(weights.astype(np.int64)).max()), 1)
    return (2**31 - 1) // (largest << 15) // _LANES * _LANES


def _planes(packed: np.ndarray, narrow: bool) -> np.ndarray:
    """Packed weights with a new axis 1: as they are where accumulators are ``narrow`` or many
    products fit 32 bits; else ``low`` and ``high`` with w = 256 high + low."""
    if narrow or _block(packed) >= min(_MIN_BLOCK, packed.shape[-1]):
        return packed[:, None]
    low = packed.astype(np.int8)
    high = (packed.astype(np.int32) - low) >> 8
    return np.stack([low, high], 1).astype(np.int16)


def _convolution(
    site: Site, op: ops.QConv | ops.QDense, geometry: Mapping[str, int], pixels: int, group: int
) -> Call:
    weights, bias, multiplier, shift = (site.constant(i) for i in (1, 2, 3, 4))
    narrow = _fits_32(site, op.input_zero_point, weights, bias)
    packed = _planes(_packed(weights, group), narrow)
    outputs, (planes, rows, taps) = len(weights) // group, packed.shape[1:]
    tile = min(max(_PATCH_BYTES // (2 * taps), 1), _MAX_TILE, pixels)
    tiles = -(-pixels // tile)
    # few pixels leave only the channels to share, in parts that outweigh the patch's repetition
    splits = max(1, min(8, rows // 32)) if tiles == 1 else 1
    x = "s8" if site.bytes(0) == 1 else "s16_acc32" if narrow else "s16_acc64"
    return Call(
        f"conv_{x}",
        (
            site.node.inputs[0],
            packed,
            _folded(weights, bias, op.input_zero_point, narrow),
            multiplier.astype(np.int32),
            shift.astype(np.int8),
            site.out,
        ),
        {
            **geometry,
            **_stage(op),
            "pixels": pixels,
            "group": group,
            "depth": math.prod(weights.shape[3:]) if weights.ndim == 4 else weights.shape[1],
            "outputs": outputs,
            "taps": taps,
            "tile": tile,
            "splits": splits,
            "planes": planes,
            "block": min(_block(packed), taps),
            "input_zero_point": op.input_zero_point,
            "out_bytes": site.out_bytes,
        },
        units=tiles * splits,
        work=pixels * weights.size,
        scratch=2 * taps * tile,
    )


def _depthwise(site: Site, op: ops.QConv, geometry: Mapping[str, int]) -> Call:
    weights, bias, multiplier, shift = (site.constant(i) for i in (1, 2, 3, 4))
    narrow = _fits_32(site, op.input_zero_point, weights, bias)
    x = "s8" if site.bytes(0) == 1 else "s16_acc32" if narrow else "s16_acc64"
    return Call(
        f"depthwise_{x}",
        (
            site.node.inputs[0],
            weights[..., 0].transpose(1, 2, 0).astype(np.int16),
            _folded(weights, bias, op.input_zero_point, narrow),
            multiplier.astype(np.int32),
            shift.astype(np.int8),
            site.out,
        ),
        {
            **geometry,
            **_stage(op),
            "channels": len(weights),
            "input_zero_point": op.input_zero_point,
            "out_bytes": site.out_bytes,
        },
        units=site.out_shape[0] * site.out_shape[1],
        work=site.elements * math.prod(weights.shape[1:]),
        scratch=_DEPTHWISE_BLOCK * site.bytes(0),
    )


@lower.register
def _(op: ops.QConv, site: Site) -> list[Call]:
    x, weights, out = site.shape(0), site.shape(1), site.out_shape
    geometry = _window(x, out, weights[1:3], op.strides, op.pads, op.dilations)
    if op.group == x[3] == out[3]:
        return [_depthwise(site, op, geometry)]
    return [_convolution(site, op, geometry, math.prod(out[:3]), op.group)]


@lower.register
def _(op: ops.QDense, site: Site) -> list[Call]:
    rows = math.prod(site.shape(0)[:-1])
    row = (1, 1, rows, 1)
    geometry = _window(row, row, (1, 1), (1, 1), (0, 0), (1, 1))
    return [_convolution(site, op, geometry, rows, 1)]


# ---- pools ------------------------------------------------------------------------------------


@lower.register
def _(op: ops.MaxPool, site: Site) -> list[Call]:
    x, out = site.shape(0), site.out_shape
    return [
        Call(
            "max_pool",
            (site.node.inputs[0], site.out),
            {
                **_window(x, out, op.kernel, op.strides, op.pads, op.dilations),
                "channels": x[3],
                "bytes": site.bytes(0),
            },
            units=out[0] * out[1],
            work=site.elements * math.prod(op.kernel),
        )
    ]


@lower.register
def _(op: ops.QAveragePool, site: Site) -> list[Call]:
    x, out = site.shape(0), site.out_shape
    multiplier, shift = site.constant(1), site.constant(2)
    return [
        Call(
            "average_pool",
            (
                site.node.inputs[0],
                multiplier.astype(np.int32),
                shift.astype(np.int8),
                site.out,
            ),
            {
                **_window(x, out, op.kernel, op.strides, op.pads, (1, 1)),
                **_stage(op),
                "channels": x[3],
                "bytes": site.bytes(0),
                "out_bytes": site.out_bytes,
                "pad_bottom": op.pads[2],
                "pad_right": op.pads[3],
                "count_include_pad": int(op.count_include_pad),
                "input_zero_point": op.input_zero_point,
                "pad_value": op.pad_value,
            },
            units=out[0] * out[1],
            work=site.elements * math.prod(op.kernel),
        )
    ]


# ---- two operands, broadcast ------------------------------------------------------------------


def _broadcast(site: Site, kernel: str, parameters: Parameters, *tables: np.ndarray) -> list[Call]:
    out = site.out_shape
    strides = []
    for i in (0, 1):
        shape = (1,) * (len(out) - len(site.shape(i))) + site.shape(i)
        strides.append(
            [0 if n == 1 else step for n, step in zip(shape, _strides(shape), strict=True)]
        )
    extents, (a_strides, b_strides, _) = _collapse(out, *strides, _strides(out))
    return [
        Call(
            kernel,
            (*site.node.inputs, *tables, site.out),
            {
                **parameters,
                "rank": len(extents),
                "extents": tuple(extents),
                "a_strides": tuple(a_strides),
                "b_strides": tuple(b_strides),
                "a_bytes": site.bytes(0),
                "b_bytes": site.bytes(1),
                "out_bytes": site.out_bytes,
            },
            units=math.prod(extents[:-1]),
            work=site.elements,
            in_place=site.overwritable(0, 1),
        )
    ]


@lower.register
def _(op: ops.QAdd, site: Site) -> list[Call]:
    result = {
        **_stage(op),
        "multiplier": op.multiplier,
        "shift": op.shift,
        "subtract": int(isinstance(op, ops.QSub)),
    }
    if site.bytes(0) == site.bytes(1) == site.out_bytes == 1:
        a = _common_scale(op, op.a_zero_point, op.a_multiplier, op.a_shift)
        b = _common_scale(op, op.b_zero_point, op.b_multiplier, op.b_shift)
        return _broadcast(site, "add_s8", result, a, b)
    operands = {
        "a_zero_point": op.a_zero_point,
        "b_zero_point": op.b_zero_point,
        "left_shift": op.left_shift,
        "a_multiplier": op.a_multiplier,
        "a_shift": op.a_shift,
        "b_multiplier": op.b_multiplier,
        "b_shift": op.b_shift,
    }
    return _broadcast(site, "add", {**result, **operands})


def _common_scale(op: ops.QAdd, zero_point: int, multiplier: int, shift: int) -> np.ndarray:
    """What each int8 becomes at twice the larger scale: verified ratios keep it within int32."""
    q = np.arange(-128, 128, dtype=np.int64) - zero_point
    wide = fixedpoint.round_shift(q << op.left_shift, multiplier, shift, op.rounding)
    return wide.astype(np.int32)


@lower.register
def _(op: ops.QMul, site: Site) -> list[Call]:
    return _broadcast(
        site,
        "mul",
        {
            **_stage(op),
            "a_zero_point": op.a_zero_point,
            "b_zero_point": op.b_zero_point,
            "multiplier": op.multiplier,
            "shift": op.shift,
        },
    )


@lower.register(ops.Maximum)
@lower.register(ops.Minimum)
def _(op: ops.Maximum | ops.Minimum, site: Site) -> list[Call]:
    return _broadcast(site, "extreme", {"largest": int(isinstance(op, ops.Maximum))})


# ---- one operand, element by element ----------------------------------------------------------


@lower.register
def _(op: ops.Rescale, site: Site) -> list[Call]:
    return [
        Call(
            "rescale",
            (site.node.inputs[0], site.out),
            {
                **_stage(op),
                "in_bytes": site.bytes(0),
                "out_bytes": site.out_bytes,
                "input_zero_point": op.input_zero_point,
                "multiplier": op.multiplier,
                "shift": op.shift,
            },
            units=site.elements,
            work=site.elements,
            in_place=site.overwritable(0),
        )
    ]


@lower.register
def _(op: ops.QPRelu, site: Site) -> list[Call]:
    multiplier, shift = site.constant(1), site.constant(2)
    return [
        Call(
            "prelu",
            (
                site.node.inputs[0],
                multiplier.astype(np.int32),
                shift.astype(np.int8),
                site.out,
            ),
            {
                **_stage(op),
                "in_bytes": site.bytes(0),
                "out_bytes": site.out_bytes,
                "input_zero_point": op.input_zero_point,
                "multiplier": op.multiplier,
                "shift": op.shift,
                "slopes": len(multiplier),
            },
            units=site.elements // len(multiplier),
            work=site.elements,
            in_place=site.overwritable(0),
        )
    ]


@lower.register
def _(op: ops.Lookup, site: Site) -> list[Call]:
    table = site.constant(1)
    return [
        Call(
            "lookup_interpolated" if len(table) == 513 else "lookup",
            (site.node.inputs[0], table, site.out),
            {"in_bytes": site.bytes(0), "out_bytes": site.out_bytes},
            units=site.elements,
            work=site.elements,
            in_place=site.overwritable(0),
        )
    ]


# ---- reductions, and what looks along an axis -------------------------------------------------


def _reduction(site: Site, kernel: str, axes: Ints, parameters: Mapping[str, int]) -> list[Call]:
    x = site.shape(0)
    steps = _strides(x)
    kept = [axis for axis in range(len(x)) if axis not in axes]
    outer, (outer_steps,) = _collapse([x[a] for a in kept], [steps[a] for a in kept])
    inner, (inner_steps,) = _collapse(
        [x[a] for a in sorted(axes)], [steps[a] for a in sorted(axes)]
    )
    return [
        Call(
            kernel,
            (site.node.inputs[0], site.out),
            {
                **parameters,
                "kept": len(outer),
                "rank": len(outer) + len(inner),
                "extents": (*outer, *inner),
                "strides": (*outer_steps, *inner_steps),
                "in_bytes": site.bytes(0),
            },
            units=site.elements,
            work=math.prod(x),
        )
    ]


@lower.register
def _(op: ops.QReduceSum, site: Site) -> list[Call]:
    parameters = {
        **_stage(op),
        "out_bytes": site.out_bytes,
        "input_zero_point": op.input_zero_point,
        "multiplier": op.multiplier,
        "shift": op.shift,
    }
    return _reduction(site, "reduce_sum", op.axes, parameters)


@lower.register(ops.ReduceMax)
@lower.register(ops.ReduceMin)
def _(op: ops.ReduceMax | ops.ReduceMin, site: Site) -> list[Call]:
    largest = int(isinstance(op, ops.ReduceMax))
    return _reduction(site, "reduce_extreme", op.axes, {"largest": largest})


def _along(site: Site, axis: int) -> dict[str, int]:
    x = site.shape(0)
    return {"bytes": site.bytes(0), "extent": x[axis], "inner": math.prod(x[axis + 1 :])}


@lower.register
def _(op: ops.ArgMax, site: Site) -> list[Call]:
    return [
        Call(
            "argmax",
            (site.node.inputs[0], site.out),
            {**_along(site, op.axis), "last": int(op.select_last_index)},
            units=site.elements,
            work=math.prod(site.shape(0)),
        )
    ]


@lower.register
def _(op: ops.QSoftmax, site: Site) -> list[Call]:
    return [
        Call(
            "softmax_s8" if site.bytes(0) == 1 else "softmax_s16",
            (site.node.inputs[0], site.constant(1).astype(np.int32), site.out),
            _along(site, op.axis),
            units=site.elements // site.shape(0)[op.axis],
            work=8 * site.elements,
            in_place=site.overwritable(0),
        )
    ]


# ---- moving elements --------------------------------------------------------------------------


def _copy(
    site: Site,
    extents: Ints,
    in_strides: Ints,
    out_strides: Ints | None = None,
    *,
    source: int = 0,
    in_start: int = 0,
    out_start: int = 0,
) -> Call:
    """A strided copy of input ``source``; without ``out_strides`` it fills the output."""
    joined, (in_walk, out_walk) = _collapse(extents, in_strides, out_strides or _strides(extents))
    return Call(
        "copy",
        (site.node.inputs[source], site.out),
        {
            "bytes": site.bytes(source),
            "rank": len(joined),
            "extents": tuple(joined),
            "in_strides": tuple(in_walk),
            "out_strides": tuple(out_walk),
            "in_start": in_start,
            "out_start": out_start,
        },
        units=math.prod(joined[:-1]),
        work=math.prod(joined),
    )


def _unless_same(site: Site, call: Call) -> list[Call]:
    """The copy, or nothing where it would copy the whole input as it stands."""
    packed = (call.parameters["in_strides"], call.parameters["in_start"]) == (
        call.parameters["out_strides"],
        0,
    )
    return [] if packed and site.elements == math.prod(site.shape(0)) else [call]


@lower.register
def _(op: ops.Reshape, site: Site) -> list[Call]:
    return []


@lower.register
def _(op: ops.Concat, site: Site) -> list[Call]:
    joined, calls, start = _strides(site.out_shape), [], 0
    for i in range(len(site.node.inputs)):
        shape = site.shape(i)
        calls.append(_copy(site, shape, _strides(shape), joined, source=i, out_start=start))
        start += shape[op.axis] * joined[op.axis]
    return _unless_same(site, calls[0]) if len(calls) == 1 else calls


@lower.register
def _(op: ops.Slice, site: Site) -> list[Call]:
    steps = _strides(site.shape(0))
    strides = [step * stride for step, stride in zip(op.steps, steps, strict=True)]
    start = sum(s * stride for s, stride in zip(op.starts, steps, strict=True))
    return _unless_same(site, _copy(site, op.sizes, strides, in_start=start))


@lower.register
def _(op: ops.Transpose, site: Site) -> list[Call]:
    steps = _strides(site.shape(0))
    walk = [steps[axis] for axis in op.permutation]
    return _unless_same(site, _copy(site, site.out_shape, walk))


@lower.register
def _(op: ops.Expand, site: Site) -> list[Call]:
    x = (1,) * (len(op.shape) - len(site.shape(0))) + site.shape(0)
    walk = [0 if n == 1 else step for n, step in zip(x, _strides(x), strict=True)]
    return _unless_same(site, _copy(site, site.out_shape, walk))


@lower.register
def _(op: ops.Tile, site: Site) -> list[Call]:
    x = site.shape(0)
    extents = [n for pair in zip(op.repeats, x, strict=True) for n in pair]
    walk = [step for stride in _strides(x) for step in (0, stride)]
    return _unless_same(site, _copy(site, extents, walk))


@lower.register
def _(op: ops.DepthToSpace, site: Site) -> list[Call]:
    n, height, width, channels = site.shape(0)
    b, depth = op.block, channels // op.block**2
    row, column, c = (b * depth, depth, 1) if op.mode == "DCR" else (b, 1, b * b)
    extents = (n, height, b, width, b, depth)
    walk = (height * width * channels, width * channels, row, channels, column, c)
    return _unless_same(site, _copy(site, extents, walk))


@lower.register
def _(op: ops.SpaceToDepth, site: Site) -> list[Call]:
    n, height, width, channels = site.shape(0)
    b, row = op.block, width * channels
    extents = (n, height // b, width // b, b, b, channels)
    walk = (height * row, b * row, b * channels, row, channels, 1)
    return _unless_same(site, _copy(site, extents, walk))


@lower.register
def _(op: ops.Pad, site: Site) -> list[Call]:
    x, out = site.shape(0), site.out_shape
    if x == out:
        return []
    if op.mode != "constant":
        _require_listable(site, out)
        pads = zip(x, op.before, op.after, strict=True)
        lists = [np.pad(np.arange(n), (b, a), mode=op.mode) for n, b, a in pads]
        return _take(site, x, lists)
    steps = _strides(out)
    start = sum(b * step for b, step in zip(op.before, steps, strict=True))
    fill = Call(
        "fill",
        (site.out,),
        {"bytes": site.out_bytes, "value": int(op.value)},
        units=site.elements,
        work=site.elements,
    )
    return [fill, _copy(site, x, _strides(x), steps, out_start=start)]


def _require_listable(site: Site, extents: Ints) -> None:
    """Refuse index lists that would take more memory than what they index."""
    if max(extents) > _MAX_LISTED:
        raise UnsupportedError(
            f"picks elements along an axis of {max(extents)}; the limit is {_MAX_LISTED}",
            node=site.node.name,
            operator=type(site.node.op).__name__,
        )


def _take(site: Site, x: Ints, lists: Sequence[np.ndarray]) -> list[Call]:
    """Element [i, j, ...] of the output is [lists[0][i], lists[1][j], ...] of ``x``."""
    whole = [np.array_equal(chosen, np.arange(n)) for chosen, n in zip(lists, x, strict=True)]
    rank = len(x)
    while rank > 0 and whole[rank - 1]:
        rank -= 1
    if rank == 0:
        return []
    steps, run = _strides(x), math.prod(x[rank:])
    offsets = [chosen * step for chosen, step in zip(lists, steps, strict=True)][:rank]
    extents = tuple(map(len, offsets))
    return [
        Call(
            "take",
            (site.node.inputs[0], np.concatenate(offsets).astype(np.int64), site.out),
            {"bytes": site.bytes(0), "rank": rank, "extents": extents, "run": run},
            units=math.prod(extents[:-1]),
            work=site.elements,
        )
    ]


@lower.register
def _(op: ops.ResizeNearest, site: Site) -> list[Call]:
    x = site.shape(0)
    _require_listable(site, (x[0], x[3]))
    lists = [np.arange(x[0]), np.array(op.rows), np.array(op.columns), np.arange(x[3])]
    return _take(site, x, lists)


@lower.register
def _(op: ops.Gather, site: Site) -> list[Call]:
    x = site.shape(0)
    outer, extent, inner = math.prod(x[: op.axis]), x[op.axis], math.prod(x[op.axis + 1 :])
    if site.node.inputs[1] in site.graph.constants:
        _require_listable(site, (outer, inner))
        indices = site.constant(1).ravel()
        chosen = np.where(indices < 0, indices + extent, indices)
        return _take(site, (outer, extent, inner), [np.arange(outer), chosen, np.arange(inner)])
    indices_count = math.prod(site.shape(1))
    return [
        Call(
            "gather",
            (*site.node.inputs, site.out),
            {**_along(site, op.axis), "indices": indices_count},
            units=outer * indices_count,
            work=site.elements,
        )
    ]
