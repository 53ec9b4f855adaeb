"""Operators on quantized integers: those of floats, dequantized before and quantized behind."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import numpy_helper

from edgeinfer.converters.onnx_operators import Dynamic, Refusal, Static
from edgeinfer.converters.operator_bodies.body import Body, Outputs, operator

__all__: list[str] = []

_WINDOW = {"auto_pad": "NOTSET", "dilations": [], "group": 1, "kernel_shape": [], "pads": []}
_WINDOW |= {"strides": []}
_AVERAGED = {"auto_pad": "NOTSET", "ceil_mode": 0, "count_include_pad": 0, "kernel_shape": []}
_AVERAGED |= {"pads": [], "strides": []}


def _taken(b: Body, first: int, **attributes: Any) -> str:
    """The input ``first`` as floats, by the scale and the zero point behind it."""
    return b(
        "DequantizeLinear",
        b.input(first),
        b.input(first + 1),
        *b.if_there(first + 2),
        **attributes,
    )


def _given(b: Body, y: str, first: int) -> str:
    """``y`` as integers, by the scale at input ``first`` and the zero point behind it."""
    return b("QuantizeLinear", y, b.input(first), *b.if_there(first + 1))


def _attributes(b: Body, known: dict[str, Any]) -> dict[str, Any]:
    """Those of ``known`` that the node has."""
    found = {}
    for name, default in known.items():
        value = b.attribute(name, default)
        if value != default:
            found[name] = value if isinstance(value, str | int | float) else list(value)
    return found


def _bias(b: Body, index: int, x_scale: str, w_scale: str, factor: float = 1.0) -> list[str]:
    """A bias of int32, in steps of the products of both scales."""
    if not b.has(index):
        return []
    step = b.scaled(b("Mul", x_scale, w_scale), factor)
    return [b("DequantizeLinear", b.input(index), step, axis=0)]


def _refuse_channels_last(b: Body) -> None:
    if b.attribute("channels_last", 0):
        raise Refusal("channels as the last axis are not supported")


@operator("QLinearConv", domain="")
def _convolution(b: Body) -> Outputs:
    x, w = _taken(b, 0), _taken(b, 3, axis=0)
    bias = _bias(b, 8, b.input(1), b.input(4))
    return _given(b, b("Conv", x, w, *bias, **_attributes(b, _WINDOW)), 6)


@operator("QLinearMatMul", domain="")
def _product(b: Body) -> Outputs:
    last = len(b.shape(3)) - 1
    y = b("MatMul", _taken(b, 0), _taken(b, 3, **({"axis": last} if last > 0 else {})))
    return _given(b, y, 6)


@operator("QGemm")
def _dense(b: Body) -> Outputs:
    alpha = b.attribute("alpha", 1.0)
    transposed = {name: b.attribute(name, 0) for name in ("transA", "transB")}
    bias = _bias(b, 6, b.input(1), b.input(4), alpha)
    x, w = _taken(b, 0), _taken(b, 3, axis=0 if transposed["transB"] else 1)
    y = b("Gemm", x, w, *bias, alpha=alpha, **transposed)
    return _given(b, y, 7) if b.has(7) else y


@operator("QLinearAdd", "QLinearMul")
def _pair(b: Body) -> Outputs:
    name = b.node.op_type.removeprefix("QLinear")
    return _given(b, b(name, _taken(b, 0), _taken(b, 3)), 6)


@operator("QLinearSigmoid")
def _sigmoid(b: Body) -> Outputs:
    return _given(b, b("Sigmoid", _taken(b, 0)), 3)


@operator("QLinearLeakyRelu")
def _leaky_relu(b: Body) -> Outputs:
    return _given(b, b("LeakyRelu", _taken(b, 0), alpha=b.attribute("alpha", 0.01)), 3)


@operator("QLinearSoftmax")
def _softmax(b: Body) -> Outputs:
    rank, older = len(b.shape(0)), b.attribute("opset", 13) < 13
    axis = b.attribute("axis", 1 if older else -1) % rank
    x = _taken(b, 0)
    if older and axis != rank - 1:
        # all axes from that one on were one
        rows = b("Flatten", x, axis=axis)
        flat = b("Softmax", rows, axis=-1)
        return _given(b, b("Reshape", flat, b.constant(list(b.shape(0)))), 3)
    return _given(b, b("Softmax", x, axis=axis), 3)


@operator("QLinearGlobalAveragePool")
def _global_average(b: Body) -> Outputs:
    _refuse_channels_last(b)
    return _given(b, b("GlobalAveragePool", _taken(b, 0)), 3)


@operator("QLinearAveragePool")
def _average(b: Body) -> Outputs:
    _refuse_channels_last(b)
    return _given(b, b("AveragePool", _taken(b, 0), **_attributes(b, _AVERAGED)), 3)


@operator("QLinearReduceMean")
def _mean(b: Body) -> Outputs:
    axes = b.attribute("axes", [])
    keepdims = b.attribute("keepdims", 1)
    over = [b.constant(list(axes))] if axes else []
    return _given(b, b("ReduceMean", _taken(b, 0), *over, keepdims=keepdims), 3)


@operator("QLinearConcat")
def _joined(b: Body) -> Outputs:
    parts = [_taken(b, first) for first in range(2, len(b.operands), 3)]
    return _given(b, b("Concat", *parts, axis=b.attribute("axis", 0)), 0)


@operator("QLinearWhere")
def _chosen(b: Body) -> Outputs:
    return _given(b, b("Where", b.input(0), _taken(b, 1), _taken(b, 4)), 7)


@operator("QuantizeLinear")
def _rounded(b: Body) -> Outputs:
    axis = b.attribute("axis", 1)
    return b("QuantizeLinear", b.input(0), b.input(1), *b.if_there(2), axis=axis)


@operator("DequantizeLinear")
def _floats(b: Body) -> Outputs:
    axis = b.attribute("axis", 1)
    return b("DequantizeLinear", b.input(0), b.input(1), *b.if_there(2), axis=axis)


# ---- sums of products of integers --------------------------------------------------------------


def _quantized(b: Body, index: int, zero_point: int) -> tuple[str, float]:
    """What a run quantized at input ``index``, as floats; and how many numbers less their zero
    point one is."""
    operand = b.operands[index]
    of = operand.quantized if isinstance(operand, Dynamic) else None
    if of is None:
        raise Refusal(f"its input {index} is not one that a QuantizeLinear gives")
    given = b.operands[zero_point] if b.has(zero_point) else None
    subtracted = int(given.array.reshape(-1)[0]) if isinstance(given, Static) else 0
    if isinstance(given, Dynamic) or subtracted != of.zero_point:
        raise Refusal(
            f"its input {index} has zero point {of.zero_point}, and it takes another away"
        )
    scale = b.constant(np.float32(of.scale))
    dtype = "uint8" if of.dtype == "computed" else of.dtype
    zero = b("Constant", value=numpy_helper.from_array(np.array(of.zero_point, dtype)))
    return b("DequantizeLinear", b.input(index), scale, zero), 1 / of.scale


def _weights(b: Body, index: int, zero_point: int, axis: int) -> str:
    """Weights less their zero points."""
    operand = b.operands[index]
    if not isinstance(operand, Static):
        raise Refusal("its weights must be constant")
    zeros = b.operands[zero_point] if b.has(zero_point) else None
    if zeros is None:
        return b("DequantizeLinear", b.input(index), b.constant(np.float32(1)))
    ones = b.constant(np.ones(zeros.shape, np.float32))
    return b("DequantizeLinear", b.input(index), ones, b.input(zero_point), axis=axis)


@operator("MatMulInteger", domain="")
def _integer_product(b: Body) -> Outputs:
    x, times = _quantized(b, 0, 2)
    return b.scaled(b("MatMul", x, _weights(b, 1, 3, len(b.shape(1)) - 1)), times)


@operator("ConvInteger", domain="")
def _integer_convolution(b: Body) -> Outputs:
    x, times = _quantized(b, 0, 2)
    return b.scaled(b("Conv", x, _weights(b, 1, 3, 0), **_attributes(b, _WINDOW)), times)


@operator("MatMulIntegerToFloat")
def _scaled_product(b: Body) -> Outputs:
    x, times = _quantized(b, 0, 4)
    y = b.scaled(b("MatMul", x, _weights(b, 1, 5, len(b.shape(1)) - 1)), times)
    return b.sum(b("Mul", y, b("Mul", b.input(2), b.input(3))), b.optional(6))


@operator("DynamicQuantizeMatMul")
def _dynamic_product(b: Body) -> Outputs:
    last = len(b.shape(1)) - 1
    y = b("MatMul", b.input(0), _weights(b, 1, 3, last))
    return b.sum(b("Mul", y, b.input(2)), b.optional(4))
