"""Turns one integer operator into kernel calls: which kernel, on what, with which numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch

import numpy as np

from edgeinfer.arithmetic import fixedpoint
from edgeinfer.arithmetic.accumulators import folded_bias, largest_sums, reach
from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from edgeinfer.graph.site import Site

__all__ = ["KernelCall", "KernelSite", "lower", "packed_bytes"]

Parameters = Mapping[str, int | tuple[int, ...]]
Ints = Sequence[int]

# What conv.c and depthwise.c are written for.
_CHANNELS, _LANES, _DEPTHWISE_BLOCK = 4, 8, 64
# The two tables of an addition of int8.
_TABLE_BYTES = 2 * 4 * 256
# Patches that stay in a first-level cache beside the weights that they meet.
_PATCH_BYTES = 24576
_MAX_TILE = 64
# Fewer products between widenings than this cost more than a second pass over the patch.
_MIN_BLOCK = 64


@dataclass(frozen=True)
class KernelCall:
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
class KernelSite(Site):
    """A node for which kernels are chosen, with what was packed for others.

    Parameters
    ----------
    packs : dict
        Constants packed for kernels, by the constant and how it was packed; each with the constant,
        so that no other takes its place in memory.
    """

    packs: dict[tuple[object, ...], tuple[np.ndarray, np.ndarray]]

    def packed(
        self, role: str, make: Callable[[np.ndarray], np.ndarray], *how: object
    ) -> np.ndarray:
        """``make`` of the constant in ``role``, made once for all that pack it like ``how``."""
        constant = self.constant(role)
        key = (id(constant), make.__name__, *how)
        if key not in self.packs:
            self.packs[key] = constant, make(constant)
        return self.packs[key][1]


def _overwritable(site: KernelSite, *roles: str) -> tuple[str, ...]:
    """Those of the inputs whose elements stand where the output's will."""
    output = site.output
    return tuple(
        site.node.input(role)
        for role in roles
        if site.shape(role) == output.shape and site.itemsize(role) == output.itemsize
    )


@singledispatch
def lower(op: ops.Operator, site: KernelSite) -> list[KernelCall]:
    """The kernel calls that compute ``op`` at ``site``, in order.

    None where the output is the first input under another shape: the same bytes in the same
    order.

    Raises
    ------
    UnsupportedError
        No kernel computes the operator.
    """
    raise NotImplementedError(type(op).__name__)


@lower.register
def _float_operator(op: ops.FloatOperator, site: KernelSite) -> list[KernelCall]:
    raise UnsupportedError(
        "the integer runtime has no such operator; quantize the graph first",
        node=site.node.name,
        operator=site.operator,
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


# ---- memory -----------------------------------------------------------------------------------


def packed_bytes(graph: Graph) -> int:
    """At most the bytes of the constants as kernels read them, by their shapes alone."""
    sizes: dict[tuple[object, ...], int] = {}
    for node in graph.nodes:
        site = Site(node, graph)
        if isinstance(node.op, ops.QConv | ops.QDense):
            group = node.op.group if isinstance(node.op, ops.QConv) else 1
            outputs, *taps = site.shape("weights")
            rows, columns = outputs // group + _CHANNELS, math.prod(taps) + _LANES
            # two planes of int16, the last two axes padded
            sizes[node.input("weights"), group] = 2 * 2 * group * rows * columns
            # biases have zero points folded in and may be int64; multipliers and shifts
            sizes[(node.name,)] = 16 * outputs
        else:
            constants = [name for name in node.operands if name in graph.constants]
            sizes.update(((name,), graph.types[name].nbytes) for name in constants)
            # the tables of an addition, or a few index lists
            listed = isinstance(node.op, ops.ResizeNearest | ops.Gather)
            sizes[(node.name,)] = _TABLE_BYTES + (8 * site.inputs[-1].elements if listed else 0)
    return sum(sizes.values())


# ---- convolution and dense layers -------------------------------------------------------------


def _fits_32(site: KernelSite, zero_point: int, weights: np.ndarray, bias: np.ndarray) -> bool:
    """Whether every accumulator is proven below 2^31; partial sums may wrap."""
    x = site.type("x").dtype
    if x == "int8":
        return True
    return int(largest_sums(weights, bias, reach(x, zero_point)).max()) < 2**31


def _folded(weights: np.ndarray, bias: np.ndarray, zero_point: int, narrow: bool) -> np.ndarray:
    """The bias for sums over x itself; 32 bits of it, modulo 2^32, where ``narrow``."""
    folded = folded_bias(weights, bias, zero_point)
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
    site: KernelSite,
    op: ops.QConv | ops.QDense,
    geometry: Mapping[str, int],
    pixels: int,
    group: int,
) -> KernelCall:
    weights, bias, multiplier, shift = (
        site.constant(role) for role in ("weights", "bias", "multiplier", "shift")
    )
    narrow = _fits_32(site, op.input_zero_point, weights, bias)

    def planes_of_groups(weights: np.ndarray) -> np.ndarray:
        return _planes(_packed(weights, group), narrow)

    packed = site.packed("weights", planes_of_groups, group, narrow)
    outputs, (planes, rows, taps) = len(weights) // group, packed.shape[1:]
    tile = min(max(_PATCH_BYTES // (2 * taps), 1), _MAX_TILE, pixels)
    tiles = -(-pixels // tile)
    # few pixels leave only the channels to share, in parts that outweigh the patch's repetition
    splits = max(1, min(8, rows // 32)) if tiles == 1 else 1
    x = "s8" if site.itemsize("x") == 1 else "s16_acc32" if narrow else "s16_acc64"
    return KernelCall(
        f"conv_{x}",
        (
            site.node.input("x"),
            packed,
            _folded(weights, bias, op.input_zero_point, narrow),
            multiplier.astype(np.int32),
            shift.astype(np.int8),
            site.node.output,
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
            "out_bytes": site.output.itemsize,
        },
        units=tiles * splits,
        work=pixels * weights.size,
        scratch=2 * taps * tile,
    )


def _taps_of_channels(weights: np.ndarray) -> np.ndarray:
    """[C, kh, kw, 1] as int16 [kh, kw, C], for depthwise.c."""
    return weights[..., 0].transpose(1, 2, 0).astype(np.int16)


def _depthwise(site: KernelSite, op: ops.QConv, geometry: Mapping[str, int]) -> KernelCall:
    weights, bias, multiplier, shift = (
        site.constant(role) for role in ("weights", "bias", "multiplier", "shift")
    )
    narrow = _fits_32(site, op.input_zero_point, weights, bias)
    x = "s8" if site.itemsize("x") == 1 else "s16_acc32" if narrow else "s16_acc64"
    return KernelCall(
        f"depthwise_{x}",
        (
            site.node.input("x"),
            site.packed("weights", _taps_of_channels),
            _folded(weights, bias, op.input_zero_point, narrow),
            multiplier.astype(np.int32),
            shift.astype(np.int8),
            site.node.output,
        ),
        {
            **geometry,
            **_stage(op),
            "channels": len(weights),
            "input_zero_point": op.input_zero_point,
            "out_bytes": site.output.itemsize,
        },
        units=site.output.shape[0] * site.output.shape[1],
        work=site.elements * math.prod(weights.shape[1:]),
        scratch=_DEPTHWISE_BLOCK * site.itemsize("x"),
    )


@lower.register
def _q_conv(op: ops.QConv, site: KernelSite) -> list[KernelCall]:
    x, weights, out = site.shape("x"), site.shape("weights"), site.output.shape
    geometry = _window(x, out, weights[1:3], op.strides, op.pads, op.dilations)
    if op.group == x[3] == out[3]:
        return [_depthwise(site, op, geometry)]
    return [_convolution(site, op, geometry, math.prod(out[:3]), op.group)]


@lower.register
def _q_dense(op: ops.QDense, site: KernelSite) -> list[KernelCall]:
    rows = math.prod(site.shape("x")[:-1])
    row = (1, 1, rows, 1)
    geometry = _window(row, row, (1, 1), (1, 1), (0, 0), (1, 1))
    return [_convolution(site, op, geometry, rows, 1)]


# ---- pools ------------------------------------------------------------------------------------


@lower.register
def _max_pool(op: ops.MaxPool, site: KernelSite) -> list[KernelCall]:
    x, out = site.shape("x"), site.output.shape
    return [
        KernelCall(
            "max_pool",
            (site.node.input("x"), site.node.output),
            {
                **_window(x, out, op.kernel, op.strides, op.pads, op.dilations),
                "channels": x[3],
                "bytes": site.itemsize("x"),
            },
            units=out[0] * out[1],
            work=site.elements * math.prod(op.kernel),
        )
    ]


@lower.register
def _q_average_pool(op: ops.QAveragePool, site: KernelSite) -> list[KernelCall]:
    x, out = site.shape("x"), site.output.shape
    multiplier, shift = site.constant("multiplier"), site.constant("shift")
    return [
        KernelCall(
            "average_pool",
            (
                site.node.input("x"),
                multiplier.astype(np.int32),
                shift.astype(np.int8),
                site.node.output,
            ),
            {
                **_window(x, out, op.kernel, op.strides, op.pads, (1, 1)),
                **_stage(op),
                "channels": x[3],
                "bytes": site.itemsize("x"),
                "out_bytes": site.output.itemsize,
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


def _broadcast(
    site: KernelSite, kernel: str, parameters: Parameters, *tables: np.ndarray
) -> list[KernelCall]:
    out = site.output.shape
    strides = []
    for role in ("a", "b"):
        shape = (1,) * (len(out) - len(site.shape(role))) + site.shape(role)
        strides.append(
            [0 if n == 1 else step for n, step in zip(shape, _strides(shape), strict=True)]
        )
    extents, (a_strides, b_strides, _) = _collapse(out, *strides, _strides(out))
    return [
        KernelCall(
            kernel,
            (*site.node.inputs, *tables, site.node.output),
            {
                **parameters,
                "rank": len(extents),
                "extents": tuple(extents),
                "a_strides": tuple(a_strides),
                "b_strides": tuple(b_strides),
                "a_bytes": site.itemsize("a"),
                "b_bytes": site.itemsize("b"),
                "out_bytes": site.output.itemsize,
            },
            units=math.prod(extents[:-1]),
            work=site.elements,
            in_place=_overwritable(site, "a", "b"),
        )
    ]


@lower.register
def _q_add(op: ops.QAdd, site: KernelSite) -> list[KernelCall]:
    result = {
        **_stage(op),
        "multiplier": op.multiplier,
        "shift": op.shift,
        "subtract": int(isinstance(op, ops.QSub)),
    }
    if site.itemsize("a") == site.itemsize("b") == site.output.itemsize == 1:
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
def _q_mul(op: ops.QMul, site: KernelSite) -> list[KernelCall]:
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
def _maximum(op: ops.Maximum | ops.Minimum, site: KernelSite) -> list[KernelCall]:
    return _broadcast(site, "extreme", {"largest": int(isinstance(op, ops.Maximum))})


# ---- one operand, element by element ----------------------------------------------------------


@lower.register
def _rescale(op: ops.Rescale, site: KernelSite) -> list[KernelCall]:
    return [
        KernelCall(
            "rescale",
            (site.node.input("x"), site.node.output),
            {
                **_stage(op),
                "in_bytes": site.itemsize("x"),
                "out_bytes": site.output.itemsize,
                "input_zero_point": op.input_zero_point,
                "multiplier": op.multiplier,
                "shift": op.shift,
            },
            units=site.elements,
            work=site.elements,
            in_place=_overwritable(site, "x"),
        )
    ]


@lower.register
def _q_prelu(op: ops.QPRelu, site: KernelSite) -> list[KernelCall]:
    multiplier, shift = site.constant("multiplier"), site.constant("shift")
    return [
        KernelCall(
            "prelu",
            (
                site.node.input("x"),
                multiplier.astype(np.int32),
                shift.astype(np.int8),
                site.node.output,
            ),
            {
                **_stage(op),
                "in_bytes": site.itemsize("x"),
                "out_bytes": site.output.itemsize,
                "input_zero_point": op.input_zero_point,
                "multiplier": op.multiplier,
                "shift": op.shift,
                "slopes": len(multiplier),
            },
            units=site.elements // len(multiplier),
            work=site.elements,
            in_place=_overwritable(site, "x"),
        )
    ]


@lower.register
def _lookup(op: ops.Lookup, site: KernelSite) -> list[KernelCall]:
    table = site.constant("table")
    return [
        KernelCall(
            "lookup_interpolated" if len(table) == 513 else "lookup",
            (site.node.input("x"), table, site.node.output),
            {"in_bytes": site.itemsize("x"), "out_bytes": site.output.itemsize},
            units=site.elements,
            work=site.elements,
            in_place=_overwritable(site, "x"),
        )
    ]


# ---- reductions, and what looks along an axis -------------------------------------------------


def _reduction(
    site: KernelSite, kernel: str, axes: Ints, parameters: Mapping[str, int]
) -> list[KernelCall]:
    x = site.shape("x")
    steps = _strides(x)
    kept = [axis for axis in range(len(x)) if axis not in axes]
    outer, (outer_steps,) = _collapse([x[a] for a in kept], [steps[a] for a in kept])
    inner, (inner_steps,) = _collapse(
        [x[a] for a in sorted(axes)], [steps[a] for a in sorted(axes)]
    )
    return [
        KernelCall(
            kernel,
            (site.node.input("x"), site.node.output),
            {
                **parameters,
                "kept": len(outer),
                "rank": len(outer) + len(inner),
                "extents": (*outer, *inner),
                "strides": (*outer_steps, *inner_steps),
                "in_bytes": site.itemsize("x"),
            },
            units=site.elements,
            work=math.prod(x),
        )
    ]


@lower.register
def _q_reduce_sum(op: ops.QReduceSum, site: KernelSite) -> list[KernelCall]:
    parameters = {
        **_stage(op),
        "out_bytes": site.output.itemsize,
        "input_zero_point": op.input_zero_point,
        "multiplier": op.multiplier,
        "shift": op.shift,
    }
    return _reduction(site, "reduce_sum", op.axes, parameters)


@lower.register(ops.ReduceMax)
@lower.register(ops.ReduceMin)
def _reduce_max(op: ops.ReduceMax | ops.ReduceMin, site: KernelSite) -> list[KernelCall]:
    largest = int(isinstance(op, ops.ReduceMax))
    return _reduction(site, "reduce_extreme", op.axes, {"largest": largest})


def _along(site: KernelSite, role: str, axis: int) -> dict[str, int]:
    x = site.shape(role)
    return {"bytes": site.itemsize(role), "extent": x[axis], "inner": math.prod(x[axis + 1 :])}


@lower.register
def _arg_max(op: ops.ArgMax, site: KernelSite) -> list[KernelCall]:
    return [
        KernelCall(
            "argmax",
            (site.node.input("x"), site.node.output),
            {**_along(site, "x", op.axis), "last": int(op.select_last_index)},
            units=site.elements,
            work=math.prod(site.shape("x")),
        )
    ]


@lower.register
def _q_softmax(op: ops.QSoftmax, site: KernelSite) -> list[KernelCall]:
    return [
        KernelCall(
            "softmax_s8" if site.itemsize("x") == 1 else "softmax_s16",
            (site.node.input("x"), site.constant("table").astype(np.int32), site.node.output),
            _along(site, "x", op.axis),
            units=site.elements // site.shape("x")[op.axis],
            work=8 * site.elements,
            in_place=_overwritable(site, "x"),
        )
    ]


# ---- moving elements --------------------------------------------------------------------------


def _copy(
    site: KernelSite,
    extents: Ints,
    in_strides: Ints,
    out_strides: Ints | None = None,
    *,
    source: str | None = None,
    target: str | None = None,
    in_start: int = 0,
    out_start: int = 0,
) -> KernelCall:
    """A strided copy from ``source``, or the first input; without ``out_strides`` it fills
    ``target``, or the first output."""
    joined, (in_walk, out_walk) = _collapse(extents, in_strides, out_strides or _strides(extents))
    source = source or site.node.operands[0]
    return KernelCall(
        "copy",
        (source, target or site.node.outputs[0]),
        {
            "bytes": site.graph.types[source].itemsize,
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


def _unless_same(site: KernelSite, call: KernelCall) -> list[KernelCall]:
    """The copy, or nothing where it would copy the whole input as it stands."""
    packed = (call.parameters["in_strides"], call.parameters["in_start"]) == (
        call.parameters["out_strides"],
        0,
    )
    whole = site.elements == site.inputs[0].elements
    return [] if packed and whole else [call]


@lower.register
def _reshape(op: ops.Reshape, site: KernelSite) -> list[KernelCall]:
    return []


@lower.register
def _concat(op: ops.Concat, site: KernelSite) -> list[KernelCall]:
    joined, calls, start = _strides(site.output.shape), [], 0
    for name in site.node.operands:
        shape = site.graph.types[name].shape
        calls.append(_copy(site, shape, _strides(shape), joined, source=name, out_start=start))
        start += shape[op.axis] * joined[op.axis]
    return _unless_same(site, calls[0]) if len(calls) == 1 else calls


@lower.register
def _split(op: ops.Split, site: KernelSite) -> list[KernelCall]:
    steps, calls, start = _strides(site.shape("x")), [], 0
    for name, t in zip(site.node.outputs, site.outputs, strict=True):
        calls.append(_copy(site, t.shape, steps, target=name, in_start=start))
        start += t.shape[op.axis] * steps[op.axis]
    return _unless_same(site, calls[0]) if len(calls) == 1 else calls


@lower.register
def _slice(op: ops.Slice, site: KernelSite) -> list[KernelCall]:
    steps = _strides(site.shape("x"))
    strides = [step * stride for step, stride in zip(op.steps, steps, strict=True)]
    start = sum(s * stride for s, stride in zip(op.starts, steps, strict=True))
    return _unless_same(site, _copy(site, op.sizes, strides, in_start=start))


@lower.register
def _transpose(op: ops.Transpose, site: KernelSite) -> list[KernelCall]:
    steps = _strides(site.shape("x"))
    walk = [steps[axis] for axis in op.permutation]
    return _unless_same(site, _copy(site, site.output.shape, walk))


@lower.register
def _expand(op: ops.Expand, site: KernelSite) -> list[KernelCall]:
    x = (1,) * (len(op.shape) - len(site.shape("x"))) + site.shape("x")
    walk = [0 if n == 1 else step for n, step in zip(x, _strides(x), strict=True)]
    return _unless_same(site, _copy(site, site.output.shape, walk))


@lower.register
def _tile(op: ops.Tile, site: KernelSite) -> list[KernelCall]:
    x = site.shape("x")
    extents = [n for pair in zip(op.repeats, x, strict=True) for n in pair]
    walk = [step for stride in _strides(x) for step in (0, stride)]
    return _unless_same(site, _copy(site, extents, walk))


@lower.register
def _depth_to_space(op: ops.DepthToSpace, site: KernelSite) -> list[KernelCall]:
    n, height, width, channels = site.shape("x")
    b, depth = op.block, channels // op.block**2
    row, column, c = (b * depth, depth, 1) if op.mode == "DCR" else (b, 1, b * b)
    extents = (n, height, b, width, b, depth)
    walk = (height * width * channels, width * channels, row, channels, column, c)
    return _unless_same(site, _copy(site, extents, walk))


@lower.register
def _space_to_depth(op: ops.SpaceToDepth, site: KernelSite) -> list[KernelCall]:
    n, height, width, channels = site.shape("x")
    b, row = op.block, width * channels
    extents = (n, height // b, width // b, b, b, channels)
    walk = (height * row, b * row, b * channels, row, channels, 1)
    return _unless_same(site, _copy(site, extents, walk))


@lower.register
def _pad(op: ops.Pad, site: KernelSite) -> list[KernelCall]:
    x, out = site.shape("x"), site.output.shape
    if x == out:
        return []
    steps = _strides(out)
    start = sum(b * step for b, step in zip(op.before, steps, strict=True))
    inside = _copy(site, x, _strides(x), steps, out_start=start)
    if op.mode != "constant":
        return [inside, *_mirrored(op, site)]
    fill = KernelCall(
        "fill",
        (site.node.output,),
        {"bytes": site.output.itemsize, "value": int(op.value)},
        units=site.elements,
        work=site.elements,
    )
    return [fill, inside]


def _mirrored(op: ops.Pad, site: KernelSite) -> Iterator[KernelCall]:
    """Axis by axis, what lies before and after the inside, from the inside: copies in the output.

    The axes before are whole by then, those that follow have their inside only.
    """
    x, out, steps = site.shape("x"), site.output.shape, _strides(site.output.shape)
    for axis, n in enumerate(x):
        before, after = op.before[axis], op.after[axis]
        inside = sum(op.before[a] * steps[a] for a in range(axis + 1, len(x)))
        # edge: the same element again and again; reflect: on the way back from the second
        walk, first, last = (0, before, before + n - 1)
        if op.mode == "reflect":
            walk, first, last = (-1, 2 * before, before + n - 2)
        for count, source, target in ((before, first, 0), (after, last, before + n)):
            if count:
                yield _copy(
                    site,
                    (*out[:axis], count, *x[axis + 1 :]),
                    (*steps[:axis], walk * steps[axis], *steps[axis + 1 :]),
                    steps,
                    source=site.node.output,
                    in_start=inside + source * steps[axis],
                    out_start=inside + target * steps[axis],
                )


def _take(
    site: KernelSite, outer: int, extents: Ints, lists: Sequence[np.ndarray], run: int
) -> list[KernelCall]:
    """Of x [outer, *extents, run] the elements [:, lists[0][i], lists[1][j], ..., :]."""
    if all(np.array_equal(chosen, np.arange(n)) for chosen, n in zip(lists, extents, strict=True)):
        return []
    steps = _strides((*extents, run))
    offsets = [chosen * step for chosen, step in zip(lists, steps, strict=False)]
    lengths = tuple(map(len, offsets))
    return [
        KernelCall(
            "take",
            (
                site.node.operands[0],
                np.concatenate(offsets).astype(np.int64),
                site.node.output,
            ),
            {
                "bytes": site.output.itemsize,
                "rank": len(lengths),
                "extents": lengths,
                "run": run,
                "outer_stride": math.prod(extents) * run,
            },
            units=outer * math.prod(lengths[:-1]),
            work=site.elements,
        )
    ]


@lower.register
def _resize_nearest(op: ops.ResizeNearest, site: KernelSite) -> list[KernelCall]:
    n, height, width, channels = site.shape("x")
    return _take(site, n, (height, width), [np.array(op.rows), np.array(op.columns)], channels)


@lower.register
def _gather(op: ops.Gather, site: KernelSite) -> list[KernelCall]:
    x = site.shape("data")
    outer, extent, inner = math.prod(x[: op.axis]), x[op.axis], math.prod(x[op.axis + 1 :])
    if site.is_constant("indices"):
        indices = site.constant("indices").ravel()
        chosen = np.where(indices < 0, indices + extent, indices)
        return _take(site, outer, (extent,), [chosen], inner)
    indices_count = site.type("indices").elements
    return [
        KernelCall(
            "gather",
            (*site.node.inputs, site.node.output),
            {**_along(site, "data", op.axis), "indices": indices_count},
            units=outer * indices_count,
            work=site.elements,
        )
    ]
