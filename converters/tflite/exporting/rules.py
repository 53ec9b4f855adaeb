"""What each integer operator is in TensorFlow Lite."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch

import numpy as np

from edgeinfer.arithmetic.fixedpoint import multiplier_and_shift, round_half_away
from edgeinfer.converters.same_pads import same_pads
from edgeinfer.converters.tflite.exporting.expressions import write_expression
from edgeinfer.converters.tflite.exporting.graph_writer import GraphWriter
from edgeinfer.converters.tflite.model import Quantized
from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Node, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.graph.graph import Quantization

__all__ = ["VERSIONS", "clamps", "requantize", "write_node"]

VERSIONS = {
    "ADD": 2,
    "AVERAGE_POOL_2D": 2,
    "BROADCAST_TO": 3,
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
    "RESIZE_BILINEAR": 2,
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


def clamps(op: ops.Requantizing, y: TensorType) -> bool:
    """Whether ``op`` bounds what it gives, of type ``y``, by other numbers than the type does."""
    return _fused(op, y) != _NONE


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


def requantize(op: ops.Requantizing, value: str, place: int, to: GraphWriter) -> None:
    """The tensor at ``place`` as ``value``, at its scale and within the bounds of ``op``."""
    y = to.type(value)
    if not clamps(op, y):
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
    requantize(op, node.output, mean, to)


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
    if clamps(op, y):
        raise UnsupportedError("it clamps")
    places = [to.place(value) for value in node.inputs]
    to.write("BATCH_MATMUL", places, [to.place(node.output)], AdjX=False, AdjY=False)


@write_node.register
def _rescale(op: ops.Rescale, node: Node, to: GraphWriter) -> None:
    requantize(op, node.output, to.place(node.inputs[0]), to)


@write_node.register
def _lookup(op: ops.Lookup, node: Node, to: GraphWriter) -> None:
    if op.expression is None:
        raise UnsupportedError("its table is of a function that this file does not name")
    write_expression(op.expression, node.inputs[0], node.output, to)


@write_node.register
def _prelu(op: ops.QPRelu, node: Node, to: GraphWriter) -> None:
    """Slopes of int8, one scale for all: what they lose shows where x is far below 0."""
    x, y = to.type(node.input("x")), to.type(node.output)
    if x.dtype != "int8":
        raise UnsupportedError("TensorFlow Lite's PRELU has 8 bits")
    if clamps(op, y):
        raise UnsupportedError("it clamps")
    multiplier, shift = (
        to.graph.constants[node.input(role)].astype(np.float64) for role in ("multiplier", "shift")
    )
    ratio = _quantization(y).step / _quantization(x).step
    if (op.multiplier, op.shift) != multiplier_and_shift(1 / ratio):
        raise UnsupportedError("it scales what is above 0")
    slopes = multiplier * 2.0**-shift * ratio
    axes = next(n for n in range(len(x.shape) + 1) if np.prod(x.shape[n:]) == slopes.size)
    step = np.float32(np.abs(slopes).max(initial=0) / 127) or np.float32(1)
    integers = round_half_away(slopes / step).astype(np.int8).reshape(x.shape[axes:])
    alpha = to.constant(integers, "slopes", Quantized(np.array([step]), np.zeros(1, np.int64), 0))
    to.write("PRELU", [to.place(node.input("x")), alpha], [to.place(node.output)])


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
    if clamps(op, to.type(node.output)):
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
