"""Turns ONNX's elementwise operators into Pointwise expressions and binary operators."""

from __future__ import annotations

import math
from functools import reduce

import numpy as np
import onnx_ir as ir

from edgeinfer.converters.onnx_operators.call import (
    Call,
    Dynamic,
    Operand,
    Refusal,
    Static,
    importer,
)
from edgeinfer.errors import ModelError
from edgeinfer.graph import operators as ops
from edgeinfer.graph.shapes import broadcast

__all__: list[str] = []

_PLAIN = {
    "Abs": "abs",
    "Ceil": "ceil",
    "Cos": "cos",
    "Erf": "erf",
    "Exp": "exp",
    "Floor": "floor",
    "HardSwish": "hard_swish",
    "Log": "log",
    "Mish": "mish",
    "Neg": "neg",
    "Reciprocal": "reciprocal",
    "Relu": "relu",
    "Round": "round",
    "Sigmoid": "sigmoid",
    "Sign": "sign",
    "Sin": "sin",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Sqrt": "sqrt",
    "Tanh": "tanh",
}

# the parameters that ONNX has as attributes, with its defaults
_PARAMETRIC = {
    "Celu": ("celu", {"alpha": 1.0}),
    "Elu": ("elu", {"alpha": 1.0}),
    "HardSigmoid": ("hard_sigmoid", {"alpha": 0.2, "beta": 0.5}),
    "LeakyRelu": ("leaky_relu", {"alpha": 0.01}),
    "Selu": ("selu", {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875}),
    "ThresholdedRelu": ("thresholded_relu", {"alpha": 1.0}),
}

_BINARY: dict[str, tuple[str, type[ops.Operator]]] = {
    "Add": ("add", ops.Add),
    "Sub": ("sub", ops.Sub),
    "Mul": ("mul", ops.Mul),
    "Div": ("div", ops.Div),
    "Pow": ("pow", ops.Pow),
    "Max": ("max", ops.Maximum),
    "Min": ("min", ops.Minimum),
}


@importer(*_PLAIN, makes=(ops.Pointwise,))
def _plain(call: Call) -> Operand:
    return call.pointwise((_PLAIN[call.operator], "x"), call.operand(0))


@importer(*_PARAMETRIC, makes=(ops.Pointwise,))
def _parametric(call: Call) -> Operand:
    function, defaults = _PARAMETRIC[call.operator]
    parameters = (call.real(name, default) for name, default in defaults.items())
    return call.pointwise((function, "x", *parameters), call.operand(0))


@importer("Gelu", makes=(ops.Pointwise,))
def _gelu(call: Call) -> Operand:
    approximate = call.text("approximate", "none")
    if approximate not in ("none", "tanh"):
        raise ModelError(f"approximate must be none or tanh, not {approximate!r}")
    function = "gelu" if approximate == "none" else "gelu_tanh"
    return call.pointwise((function, "x"), call.operand(0))


@importer("Swish", makes=(ops.Pointwise,))
def _swish(call: Call) -> Operand:
    scaled = ("mul", "x", call.real("alpha", 1.0))
    return call.pointwise(("mul", "x", ("sigmoid", scaled)), call.operand(0))


@importer("Clip", makes=(ops.Pointwise,))
def _clip(call: Call) -> Operand:
    bounds = []
    for index, (name, otherwise) in enumerate((("min", -math.inf), ("max", math.inf)), start=1):
        bound = call.static(index, "bounds")
        if bound is not None and bound.size > 1:
            raise ModelError(f"its {name} must be one number, not of shape {list(bound.shape)}")
        value = float(bound.reshape(())) if bound is not None and bound.size else otherwise
        if call.has(name):
            value = call.bound(name, otherwise)
        if math.isnan(value):
            raise ModelError(f"its {name} is NaN")
        bounds.append(value)
    return call.pointwise(("clip", "x", *bounds), call.operand(0))


@importer("PRelu", makes=(ops.Pointwise, ops.PRelu))
def _prelu(call: Call) -> Operand:
    slope = call.weights(1, "slope")
    if slope is None:
        raise ModelError("input 1 is missing")
    if slope.array.size == 1:
        alpha = float(slope.finite().reshape(()))
        return call.pointwise(("leaky_relu", "x", alpha), call.operand(0))
    return call.emit(ops.PRelu(), call.operand(0), slope)


@importer("Identity", integers=True)
def _identity(call: Call) -> Operand:
    return call.operand(0)


@importer("Dropout", ignores=("ratio", "seed"))
def _dropout(call: Call) -> list[Operand]:
    training = call.static(2, "training_mode")
    if training is not None and training.any():
        raise Refusal("it is in training mode: export the model in evaluation mode")
    x = call.operand(0)
    return [x, call.constant(np.ones(x.shape, bool), "mask")][: call.output_count]


@importer("Cast", integers=True, ignores=("saturate", "round_mode"))
def _cast(call: Call) -> Operand:
    x = call.operand(0)
    target = ir.DataType(call.integer("to", 1))
    source = x.type.dtype if isinstance(x, Dynamic) else "float32"
    if source == "float32" and target.name in ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE"):
        return x
    if source in ("int32", "int64") and target.name in ("INT32", "INT64"):
        return x
    raise Refusal(f"a run cannot convert {source} to {target.name}")


@importer("CastLike", integers=True, ignores=("saturate", "round_mode"))
def _cast_like(call: Call) -> Operand:
    x, like = call.operand(0), call.operand(1)
    source, target = call.dtype(x), call.dtype(like)
    # floats of 8 bits and less are numbers of another kind
    if isinstance(like, Static) and target == "float32" and like.array.dtype.itemsize == 1:
        raise Refusal(f"a run cannot convert {source} to {like.array.dtype}")
    if source != target:
        raise Refusal(f"a run cannot convert {source} to {target}")
    return x


@importer("Where", makes=(ops.Add, ops.Mul, ops.Pointwise))
def _where(call: Call) -> Operand:
    condition = call.static(0, "condition")
    if condition is None:
        raise ModelError("input 0 is missing")
    chosen = np.asarray(condition, bool)
    shares: list[Operand] = []
    for place, here in ((1, chosen), (2, ~chosen)):
        value = call.operand(place)
        if isinstance(value, Static):
            array = np.where(here, value.clamped(), np.float32(0))
            shares.append(call.constant(array, f"chosen of input {place}"))
        else:
            factor = call.constant(here.astype(np.float32), f"choice of input {place}")
            shares.append(_combine(call, "Mul", value, factor))
    return _combine(call, "Add", *shares)


@importer("Add", makes=(ops.Add, ops.Pointwise))
@importer("Sub", makes=(ops.Sub, ops.Add, ops.Pointwise))
@importer("Mul", makes=(ops.Mul, ops.Pointwise))
@importer("Div", makes=(ops.Div, ops.Mul, ops.Pointwise))
@importer("Pow", makes=(ops.Pow, ops.Pointwise))
@importer("Max", makes=(ops.Maximum, ops.Pointwise))
@importer("Min", makes=(ops.Minimum, ops.Pointwise))
def _binary(call: Call) -> Operand:
    if call.operator not in ("Max", "Min") and len(call.inputs) != 2:
        raise ModelError(f"takes 2 inputs, not {len(call.inputs)}")
    return reduce(lambda a, b: _combine(call, call.operator, a, b), call.operands())


@importer("Sum", "Mean", makes=(ops.Add, ops.Pointwise))
def _sum(call: Call) -> Operand:
    operands = call.operands()
    total = reduce(lambda a, b: _combine(call, "Add", a, b), operands)
    if call.operator == "Sum":
        return total
    return call.pointwise(("mul", "x", 1.0 / len(operands)), total)


def _combine(call: Call, operator: str, a: Operand, b: Operand) -> Operand:
    """One binary operator; with a constant scalar it is a function of the other operand."""
    function, op = _BINARY[operator]
    shape = broadcast(a.shape, b.shape)
    # an infinite bound, or a mask of minus infinity, is as good as the largest number
    taken = Static.clamped if operator in ("Add", "Sub", "Max", "Min") else Static.finite
    a, b = (call.static_like(v, taken(v)) if isinstance(v, Static) else v for v in (a, b))
    for scalar, x, expression in (
        (b, a, lambda c: (function, "x", c)),
        (a, b, lambda c: (function, c, "x")),
    ):
        if isinstance(scalar, Static) and isinstance(x, Dynamic) and scalar.array.size == 1:
            constant = float(scalar.array.reshape(()))
            return call.reshape(call.pointwise(expression(constant), x), shape)
    if isinstance(b, Static) and operator == "Sub":
        return call.emit(ops.Add(), a, call.static_like(b, -b.array))
    if isinstance(b, Static) and operator == "Div":
        with np.errstate(divide="ignore"):
            return call.emit(ops.Mul(), a, call.static_like(b, 1 / b.array))
    if isinstance(a, Static) and operator in ("Add", "Mul", "Max", "Min"):
        a, b = b, a
    return call.emit(op(), a, b)
