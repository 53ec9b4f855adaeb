"""What each integer operator is in TensorFlow Lite."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch

import numpy as np

from edgeinfer.arithmetic.fixedpoint import round_half_away
from edgeinfer.converters.same_pads import same_pads
from edgeinfer.converters.tflite.exporting.expressions import write_expression
from edgeinfer.converters.tflite.exporting.graph_writer import GraphWriter
from edgeinfer.converters.tflite.model import Quantized
from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Node, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.graph.graph import Quantization

__all__ = ["VERSIONS", "write_node"]

VERSIONS = {
    "ADD": 2,
    "AVERAGE_POOL_2D": 2,
    "CONCATENATION": 2,
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "FULLY_CONNECTED": 4,
    "LEAKY_RELU": 2,
    "LOGISTIC": 2,
    "MAXIMUM": 2,
    "MAX_POOL_2D": 2,
    "MEAN": 2,
    "MINIMUM": 2,
    "MUL": 2,
    "PAD": 2,
    "PADV2": 2,
    "REDUCE_MAX": 2,
    "REDUCE_MIN": 2,
    "SLICE": 2,
    "SOFTMAX": 2,
    "SPLIT_V": 2,
    "STRIDED_SLICE": 2,
    "SUB": 2,
    "SUM": 2,
    "TANH": 2,
    "TILE": 2,
    "TRANSPOSE": 2,
}
"""By operator, the version that takes int8, where that is not the first."""

_SAME, _VALID = 0, 1
_NONE, _RELU, _RELU_1, _RELU_6 = range(4)


@singledispatch
def write_node(op: ops.Operator, node: Node, to: GraphWriter) -> None:
    """Write the operators of TensorFlow Lite that stand for ``node``.

    Raises
    ------
    UnsupportedError
        There are none.
    """
    raise UnsupportedError("it has no form in TensorFlow Lite yet")


# ---- bounds -----------------------------------------------------------------------------------


def _fused(op: ops.Requantizing, y: TensorType) -> int | None:
    """The activation that clamps as ``op`` does; None where there is none."""
    info, zero = np.iinfo(y.dtype), op.output_zero_point
    step = np.float32(_quantization(y).step)
    bounds = max(op.lo, info.min), min(op.hi, info.max)

    def of(low: float | None, high: float | None) -> tuple[int, int]:
        """Those integers as TensorFlow Lite computes them, in float32."""
        lowest, highest = (
            None if end is None else zero + int(round_half_away(float(np.float32(end) / step)))
            for end in (low, high)
        )
        return (
            info.min if lowest is None else max(info.min, lowest),
            info.max if highest is None else min(info.max, highest),
        )

    ways = {_NONE: (None, None), _RELU: (0.0, None), _RELU_6: (0.0, 6.0), _RELU_1: (-1.0, 1.0)}
    return next((way for way, ends in ways.items() if of(*ends) == bounds), None)


def _write_clamped(
    operator: str,
    op: ops.Requantizing,
    node: Node,
    inputs: Sequence[int],
    to: GraphWriter,
    **options: float,
) -> None:
    """An operator with an activation, and behind it what no activation clamps as."""
    y = to.type(node.output)
    fused = _fused(op, y)
    if fused is not None:
        to.write(
            operator, inputs, [to.place(node.output)], FusedActivationFunction=fused, **options
        )
        return
    made = to.between("unclamped", y)
    to.write(operator, inputs, [made], FusedActivationFunction=_NONE, **options)
    _clamp(op, node.output, made, to)


def _clamp(op: ops.Requantizing, value: str, made: int, to: GraphWriter) -> None:
    """``made`` within the bounds of ``op``, as ``value``."""
    y = to.type(value)
    info = np.iinfo(y.dtype)
    ends = []
    if op.lo > info.min:
        ends.append(("MAXIMUM", op.lo))
    if op.hi < info.max:
        ends.append(("MINIMUM", op.hi))
    for place, (operator, bound) in enumerate(ends):
        is_last = place == len(ends) - 1
        out = to.place(value) if is_last else to.between("clamped", y)
        to.write(operator, [made, to.integer(y, bound, "bound")], [out])
        made = out


def _requantize(op: ops.Requantizing, value: str, place: int, to: GraphWriter) -> None:
    """The tensor at ``place`` as ``value``, at its scale and within the bounds of ``op``."""
    y = to.type(value)
    if _fused(op, y) == _NONE:
        to.write("QUANTIZE", [place], [to.place(value)])
        return
    made = to.between("unclamped", y)
    to.write("QUANTIZE", [place], [made])
    _clamp(op, value, made, to)


def _quantization(t: TensorType) -> Quantization:
    if t.quantization is None:
        raise UnsupportedError("a value of it has no scale in this file")
    return t.quantization


# ---- windows ----------------------------------------------------------------------------------


def _padded(
    op: ops.QConv | ops.QAveragePool | ops.MaxPool,
    x: str,
    kernel: Sequence[int],
    dilations: Sequence[int],
    fill: int | None,
    to: GraphWriter,
    *,
    counts: bool = False,
) -> tuple[int, int]:
    """The place of ``x``, and SAME or VALID: padded beforehand with ``fill``, or what stands for 0,
    where neither does it, or where pads count."""
    t = to.type(x)
    before, after = op.pads[:2], op.pads[2:]
    if not any(op.pads):
        return to.place(x), _VALID
    same = list(map(same_pads, t.shape[1:3], kernel, op.strides, dilations))
    if not counts and same == list(zip(before, after, strict=True)):
        return to.place(x), _SAME
    around = [(0, 0), *zip(before, after, strict=True), (0, 0)]
    shape = [sum(ends) + extent for ends, extent in zip(around, t.shape, strict=True)]
    made = to.between("padded", t, shape)
    numbers = to.constant(np.array(around, np.int32), "pads")
    number = _quantization(t).zero_point if fill is None else fill
    to.write("PADV2", [to.place(x), numbers, to.integer(t, number, "fill")], [made])
    return made, _VALID


@write_node.register
def _convolution(op: ops.QConv, node: Node, to: GraphWriter) -> None:
    weights, scale, bias = _layer(node, to)
    channels, *kernel, depth = weights.shape
    place, padding = _padded(op, node.input("x"), kernel, op.dilations, None, to)
    options: dict[str, float] = {
        "Padding": padding,
        "StrideH": op.strides[0],
        "StrideW": op.strides[1],
        "DilationHFactor": op.dilations[0],
        "DilationWFactor": op.dilations[1],
    }
    width = to.type(node.input("x")).shape[-1]
    name, axis = "CONV_2D", 0
    if op.group == width and depth == 1:
        name, axis = "DEPTHWISE_CONV_2D", 3
        weights = np.ascontiguousarray(weights.transpose(3, 1, 2, 0))
        options["DepthMultiplier"] = channels // width
    w = to.constant(weights, "weights", Quantized(scale, np.zeros(len(scale), np.int64), axis))
    _write_clamped(name, op, node, [place, w, bias], to, **options)


@write_node.register
def _dense(op: ops.QDense, node: Node, to: GraphWriter) -> None:
    weights, scale, bias = _layer(node, to)
    if (scale == scale[0]).all():
        scale = scale[:1]
    w = to.constant(weights, "weights", Quantized(scale, np.zeros(len(scale), np.int64), 0))
    keeps = len(to.type(node.output).shape) != 2
    inputs = [to.place(node.input("x")), w, bias]
    _write_clamped("FULLY_CONNECTED", op, node, inputs, to, KeepNumDims=keeps)


def _layer(node: Node, to: GraphWriter) -> tuple[np.ndarray, np.ndarray, int]:
    """Weights, their scale a channel, and the place of the bias."""
    weights, bias = (to.graph.constants[node.input(role)] for role in ("weights", "bias"))
    if weights.dtype != np.int8:
        raise UnsupportedError("its weights have 16 bits, and TensorFlow Lite's have 8")
    scale = np.array(_quantization(to.type(node.input("weights"))).scale, np.float32).reshape(-1)
    scale = np.broadcast_to(scale, (len(weights),)).copy()
    steps = scale * np.float32(_quantization(to.type(node.input("x"))).step)
    quantized = Quantized(steps, np.zeros(len(steps), np.int64), 0)
    return weights, scale, to.constant(bias, "bias", quantized)


@write_node.register
def _average_pool(op: ops.QAveragePool, node: Node, to: GraphWriter) -> None:
    if any(op.ceil_pads):
        raise UnsupportedError("its windows begin inside and end outside")
    x, y = node.input("x"), to.type(node.output)
    fill = op.pad_value if op.count_include_pad else None
    if fill is None and any(op.pads) and not _is_same(op, to.type(x)):
        raise UnsupportedError("it is padded as neither SAME nor VALID does")
    place, padding = _padded(op, x, op.kernel, (1, 1), fill, to, counts=op.count_include_pad)
    options = _pool(op, padding)
    if _quantization(to.type(x)) == _quantization(y):
        _write_clamped("AVERAGE_POOL_2D", op, node, [place], to, **options)
        return
    # TensorFlow Lite's has the scale of what it takes
    mean = to.between("mean", to.type(x), y.shape)
    to.write("AVERAGE_POOL_2D", [place], [mean], FusedActivationFunction=_NONE, **options)
    _requantize(op, node.output, mean, to)


def _is_same(op: ops.QAveragePool, x: TensorType) -> bool:
    same = list(map(same_pads, x.shape[1:3], op.kernel, op.strides))
    return same == list(zip(op.pads[:2], op.pads[2:], strict=True))


@write_node.register
def _max_pool(op: ops.MaxPool, node: Node, to: GraphWriter) -> None:
    if tuple(op.dilations) != (1, 1):
        raise UnsupportedError("its windows have gaps")
    x, y = node.inputs[0], to.type(node.output)
    # what pads never counts
    place, padding = _padded(op, x, op.kernel, (1, 1), int(np.iinfo(y.dtype).min), to)
    options = _pool(op, padding)
    to.write("MAX_POOL_2D", [place], [to.place(node.output)], **options)


def _pool(op: ops.QAveragePool | ops.MaxPool, padding: int) -> dict[str, float]:
    return {
        "Padding": padding,
        "StrideH": op.strides[0],
        "StrideW": op.strides[1],
        "FilterHeight": op.kernel[0],
        "FilterWidth": op.kernel[1],
    }


# ---- elements ---------------------------------------------------------------------------------


@write_node.register(ops.QAdd)
@write_node.register(ops.QMul)
def _pair(op: ops.QAdd | ops.QMul, node: Node, to: GraphWriter) -> None:
    name = {ops.QAdd: "ADD", ops.QSub: "SUB", ops.QMul: "MUL"}[type(op)]
    for value in node.inputs:
        _quantization(to.type(value))
    _write_clamped(name, op, node, [to.place(value) for value in node.inputs], to)


@write_node.register
def _product(op: ops.QMatMul, node: Node, to: GraphWriter) -> None:
    y = to.type(node.output)
    if _fused(op, y) != _NONE:
        raise UnsupportedError("it clamps")
    places = [to.place(value) for value in node.inputs]
    to.write("BATCH_MATMUL", places, [to.place(node.output)], AdjX=False, AdjY=False)


@write_node.register
def _rescale(op: ops.Rescale, node: Node, to: GraphWriter) -> None:
    _requantize(op, node.output, to.place(node.inputs[0]), to)


@write_node.register
def _lookup(op: ops.Lookup, node: Node, to: GraphWriter) -> None:
    if op.expression is None:
        raise UnsupportedError("its table is of a function that this file does not name")
    write_expression(op.expression, node.inputs[0], node.output, to)


@write_node.register
def _softmax(op: ops.QSoftmax, node: Node, to: GraphWriter) -> None:
    x = node.input("x")
    if op.axis != len(to.type(x).shape) - 1:
        raise UnsupportedError("it is not along the last axis")
    to.write("SOFTMAX", [to.place(x)], [to.place(node.output)], Beta=1.0)


@write_node.register(ops.Maximum)
@write_node.register(ops.Minimum)
def _extreme(op: ops.Maximum | ops.Minimum, node: Node, to: GraphWriter) -> None:
    name = "MAXIMUM" if isinstance(op, ops.Maximum) else "MINIMUM"
    to.write(name, [to.place(value) for value in node.inputs], [to.place(node.output)])


# ---- reductions -------------------------------------------------------------------------------


@write_node.register
def _sum(op: ops.QReduceSum, node: Node, to: GraphWriter) -> None:
    if op.mean is None:
        raise UnsupportedError("whether it is a mean or a sum is not named in this file")
    if _fused(op, to.type(node.output)) != _NONE:
        raise UnsupportedError("it clamps")
    _reduced("MEAN" if op.mean else "SUM", op, node, to)


@write_node.register(ops.ReduceMax)
@write_node.register(ops.ReduceMin)
def _end(op: ops.ReduceMax | ops.ReduceMin, node: Node, to: GraphWriter) -> None:
    _reduced("REDUCE_MAX" if isinstance(op, ops.ReduceMax) else "REDUCE_MIN", op, node, to)


def _reduced(
    name: str, op: ops.QReduceSum | ops.ReduceMax | ops.ReduceMin, node: Node, to: GraphWriter
) -> None:
    axes = to.numbers(op.axes, "axes")
    inputs, outputs = [to.place(node.inputs[0]), axes], [to.place(node.output)]
    to.write(name, inputs, outputs, KeepDims=op.keepdims)


# ---- places -----------------------------------------------------------------------------------


@write_node.register
def _reshape(op: ops.Reshape, node: Node, to: GraphWriter) -> None:
    shape = list(to.type(node.output).shape)
    if to.graph.free_batch and shape:
        shape[0] = -1
    numbers = to.numbers(shape, "shape")
    to.write("RESHAPE", [to.place(node.inputs[0]), numbers], [to.place(node.output)])


@write_node.register
def _transpose(op: ops.Transpose, node: Node, to: GraphWriter) -> None:
    order = to.numbers(op.permutation, "permutation")
    to.write("TRANSPOSE", [to.place(node.inputs[0]), order], [to.place(node.output)])


@write_node.register
def _concat(op: ops.Concat, node: Node, to: GraphWriter) -> None:
    places = [to.place(value) for value in node.inputs]
    to.write(
        "CONCATENATION",
        places,
        [to.place(node.output)],
        Axis=op.axis,
        FusedActivationFunction=_NONE,
    )


@write_node.register
def _split(op: ops.Split, node: Node, to: GraphWriter) -> None:
    sizes = to.numbers(op.sizes, "sizes")
    axis = to.constant(np.array(op.axis, np.int32), "axis")
    inputs = [to.place(node.inputs[0]), sizes, axis]
    to.write("SPLIT_V", inputs, [to.place(v) for v in node.outputs], NumSplits=len(op.sizes))


@write_node.register
def _slice(op: ops.Slice, node: Node, to: GraphWriter) -> None:
    x = to.place(node.inputs[0])
    if all(step == 1 for step in op.steps):
        numbers = [to.numbers(op.starts, "starts"), to.numbers(op.sizes, "sizes")]
        to.write("SLICE", [x, *numbers], [to.place(node.output)])
        return
    starts, steps = np.array(op.starts), np.array(op.steps)
    ends = starts + np.array(op.sizes) * steps
    # before the first element nothing ends
    open_ends = sum(1 << axis for axis, end in enumerate(ends) if end < 0)
    chosen = {"starts": starts, "ends": np.maximum(ends, 0), "steps": steps}
    to.write(
        "STRIDED_SLICE",
        [x, *(to.numbers(array.tolist(), part) for part, array in chosen.items())],
        [to.place(node.output)],
        EndMask=open_ends,
    )


@write_node.register
def _pad(op: ops.Pad, node: Node, to: GraphWriter) -> None:
    around = np.array([op.before, op.after], np.int32).T
    inputs = [to.place(node.inputs[0]), to.constant(np.ascontiguousarray(around), "pads")]
    outputs = [to.place(node.output)]
    if op.mode == "reflect":
        to.write("MIRROR_PAD", inputs, outputs, Mode=0)
        return
    if op.mode != "constant":
        raise UnsupportedError(f"its mode {op.mode!r} is none of TensorFlow Lite's")
    inputs.append(to.integer(to.type(node.output), int(op.value), "fill"))
    to.write("PADV2", inputs, outputs)


@write_node.register
def _tile(op: ops.Tile, node: Node, to: GraphWriter) -> None:
    repeats = to.numbers(op.repeats, "repeats")
    to.write("TILE", [to.place(node.inputs[0]), repeats], [to.place(node.output)])


@write_node.register
def _gather(op: ops.Gather, node: Node, to: GraphWriter) -> None:
    data, indices = node.inputs
    if indices not in to.graph.constants:
        raise UnsupportedError("a run computes its indices, which are not checked there")
    known = to.graph.constants[indices]
    extent = to.type(data).shape[op.axis]
    from_start = np.where(known < 0, known + extent, known).astype(np.int32)
    inputs = [to.place(data), to.constant(from_start, "indices")]
    to.write("GATHER", inputs, [to.place(node.output)], Axis=op.axis, BatchDims=0)


@write_node.register
def _nearest(op: ops.ResizeNearest, node: Node, to: GraphWriter) -> None:
    x, y = node.inputs[0], node.output
    sides = tuple(zip((op.rows, op.columns), to.type(x).shape[1:3], strict=True))
    for half in (0, 1):
        if all(list(sources) == _nearest_of(len(sources), n, half) for sources, n in sides):
            size = to.numbers([len(op.rows), len(op.columns)], "size")
            how = {"AlignCorners": 0, "HalfPixelCenters": half}
            to.write("RESIZE_NEAREST_NEIGHBOR", [to.place(x), size], [to.place(y)], **how)
            return
    n, _, width, channels = to.type(x).shape
    between = to.between("rows", to.type(x), (n, len(op.rows), width, channels))
    for axis, sources, given, made in (
        (1, op.rows, to.place(x), between),
        (2, op.columns, between, to.place(y)),
    ):
        indices = to.numbers(sources, "sources")
        to.write("GATHER", [given, indices], [made], Axis=axis, BatchDims=0)


def _nearest_of(after: int, before: int, half: int) -> list[int]:
    """The sources of TensorFlow Lite, in float32 as it computes them."""
    places = np.arange(after, dtype=np.float32) + np.float32(half / 2)
    sources = np.floor(places * np.float32(np.float32(before) / np.float32(after)))
    return np.minimum(sources, before - 1).astype(int).tolist()


@write_node.register(ops.DepthToSpace)
@write_node.register(ops.SpaceToDepth)
def _blocks(op: ops.DepthToSpace | ops.SpaceToDepth, node: Node, to: GraphWriter) -> None:
    if isinstance(op, ops.DepthToSpace) and op.mode != "DCR":
        raise UnsupportedError("channels lie before blocks in it")
    name = "DEPTH_TO_SPACE" if isinstance(op, ops.DepthToSpace) else "SPACE_TO_DEPTH"
    to.write(name, [to.place(node.inputs[0])], [to.place(node.output)], BlockSize=op.block)
