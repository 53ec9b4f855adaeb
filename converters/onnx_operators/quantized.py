"""Turns QuantizeLinear and DequantizeLinear into FakeQuantize: floats that integers stand for.

A pair of them says of a value which integers a model that is quantized already has there. Between
the two, what only moves elements may take the integers; in the Graph these are the floats that
they stand for, which move alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import onnx_ir as ir

from edgeinfer.converters.onnx_operators.call import Call
from edgeinfer.converters.onnx_operators.registry import Refusal, importer
from edgeinfer.converters.onnx_operators.values import Dynamic, Operand, Quantized, Static
from edgeinfer.errors import ModelError
from edgeinfer.graph import operators as ops

__all__ = ["integers_of", "steps_of"]

_BLOCKS = "scales by block are not supported: quantize by tensor, and weights by channel"

# integers whose scale each run computes
_COMPUTED = Quantized("computed", 1.0, 0)

_ACTIVATIONS: dict[str, Literal["int8", "uint8", "int16", "uint16"]] = {
    "int8": "int8",
    "uint8": "uint8",
    "int16": "int16",
    "uint16": "uint16",
}


@importer("QuantizeLinear", makes=(ops.FakeQuantize,), integers=True, ignores=("saturate",))
def _quantize_linear(call: Call) -> Operand:
    x, to = call.operand(0), _quantized(call)
    if isinstance(x, Static):
        raise Refusal("constants are folded")  # by onnx's evaluator, whatever their axes
    y = call.emit(_rounding(to), x, kind="quantized integers")
    assert isinstance(y, Dynamic)
    y.quantized = to
    return y


@importer("DequantizeLinear", makes=(ops.FakeQuantize, ops.Pointwise), integers=True)
def _dequantize_linear(call: Call) -> Operand:
    x, of = call.operand(0), _quantized(call)
    if isinstance(x, Dynamic) and x.quantized is not None:
        if x.quantized not in (of, _COMPUTED):
            raise Refusal(f"takes {x.name!r} for {of}, but it is {x.quantized}")
        return call.pointwise("x", x)
    real = ("mul", ("sub", "x", float(of.zero_point)), of.scale)
    if x.kind == "floats":
        return call.pointwise(real, x)  # sums of integers
    # the caller's integers, or what moves them: themselves at scale 1
    whole = Quantized(of.dtype, 1.0, 0)
    integers = call.emit(_rounding(whole), x, kind="floats")
    return call.emit(_rounding(of), call.pointwise(real, integers))


@importer("DynamicQuantizeLinear", makes=(ops.Pointwise,))
def _dynamic_quantize_linear(call: Call) -> Sequence[Operand]:
    """Of a scale that each run computes: the floats themselves at scale 1, to be calibrated."""
    y = call.pointwise("x", call.operand(0), kind="quantized integers")
    if isinstance(y, Static):
        raise Refusal("of constants is not supported")
    if any(value.is_graph_output() for value in call.node.outputs):
        raise Refusal("the model gives out what it makes, at a scale that each run computes")
    y.quantized = _COMPUTED
    scale, zero_point = np.array(1, np.float32), np.array(0, np.uint8)
    return [y, call.constant(scale, "scale"), call.constant(zero_point, "zero point")]


def integers_of(x: Dynamic) -> tuple[ops.Pointwise, ops.FakeQuantize]:
    """What makes the numbers themselves, as floats, of the quantized integers ``x``."""
    of = x.quantized
    assert of is not None
    number = ("add", ("div", "x", of.scale), float(of.zero_point))
    return ops.Pointwise(number), _rounding(Quantized(of.dtype, 1.0, 0))


def _rounding(to: Quantized) -> ops.FakeQuantize:
    if to.dtype not in _ACTIVATIONS:
        raise Refusal(f"a value of {to.dtype} is not supported: {', '.join(_ACTIVATIONS)} are")
    return ops.FakeQuantize(to.scale, to.zero_point, _ACTIVATIONS[to.dtype])


def _quantized(call: Call) -> Quantized:
    """The integers that a node gives or takes."""
    if call.integer("block_size", 0):
        raise Refusal(_BLOCKS)
    call.integer("axis", 1)
    call.integer("precision", 0)
    scale, zero_point = call.static(1, "scale"), call.static(2, "zero point")
    if scale is None:
        raise ModelError("its scale is missing")
    if scale.size != 1:
        raise Refusal(
            f"has {scale.size} scales for a value that a run computes: such a value has one"
        )
    number = float(np.float32(scale.reshape(())))
    if not (np.isfinite(number) and number > 0):
        raise ModelError(f"its scale must be above 0 and finite, not {number:g}")
    x = call.operand(0)
    if zero_point is not None:
        if zero_point.size != 1:
            raise ModelError(f"has {zero_point.size} zero points beside one scale")
        return Quantized(str(zero_point.dtype), number, int(zero_point.reshape(())))
    declared: int | None = call.integer("output_dtype", 0)
    if call.operator == "DequantizeLinear":
        if isinstance(x, Dynamic) and x.quantized is not None:
            return Quantized(x.quantized.dtype, number, 0)
        taken = call.node.inputs[0]
        declared = None if taken is None else taken.dtype
    dtype = ir.DataType(declared).name.lower() if declared else "uint8"
    return Quantized(dtype, number, 0)


def steps_of(node: ir.Node, weights: Static, scale: Static) -> np.ndarray | None:
    """The scale of each element that a DequantizeLinear of constants gives, to be broadcast.

    None where integers are not of a layer's weights, but of its bias.

    Raises
    ------
    Refusal
        Its scales are by block.
    """
    block = node.attributes.get("block_size")
    if block is not None and block.as_int():
        raise Refusal(_BLOCKS)
    if weights.array.dtype.itemsize > 2:
        return None
    steps = scale.array.astype(np.float32)
    if steps.size == 1:
        return steps.reshape((1,) * weights.array.ndim)
    axis = node.attributes.get("axis")
    place = (1 if axis is None else axis.as_int()) % weights.array.ndim
    return steps.reshape([-1 if i == place else 1 for i in range(weights.array.ndim)])
