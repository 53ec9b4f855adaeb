"""Turns ONNX's elementwise arithmetic into Pointwise expressions and binary operators."""

from __future__ import annotations

import math
from functools import reduce

import numpy as np

from edgeinfer.arithmetic import elementary
from edgeinfer.arithmetic.pointwise import Expression
from edgeinfer.converters.onnx_operators import indices
from edgeinfer.converters.onnx_operators.call import Call
from edgeinfer.converters.onnx_operators.registry import Refusal, importer
from edgeinfer.converters.onnx_operators.values import Dynamic, Kind, Operand, Static
from edgeinfer.errors import ModelError
from edgeinfer.graph import operators as ops
from edgeinfer.graph.shapes import broadcast

__all__ = ["combine"]

_PLAIN = {
    "Acos": "acos",
    "Acosh": "acosh",
    "Asin": "asin",
    "Asinh": "asinh",
    "Atan": "atan",
    "Atanh": "atanh",
    "Ceil": "ceil",
    "Cos": "cos",
    "Cosh": "cosh",
    "Erf": "erf",
    "Exp": "exp",
    "Floor": "floor",
    "HardSwish": "hard_swish",
    "Log": "log",
    "Mish": "mish",
    "Reciprocal": "reciprocal",
    "Round": "round",
    "Sigmoid": "sigmoid",
    "Sin": "sin",
    "Sinh": "sinh",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Sqrt": "sqrt",
    "Tan": "tan",
    "Tanh": "tanh",
}

# of integers they give integers
_KEEPING = {"Abs": "abs", "Neg": "neg", "Relu": "relu", "Sign": "sign"}

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


# of a Pow by constants: more are no exponents that someone wrote down
_MOST_EXPONENTS = 4


@importer(*_PLAIN, makes=(ops.Pointwise,))
def _plain(call: Call) -> Operand:
    return call.pointwise((_PLAIN[call.operator], "x"), call.operand(0))


@importer(*_KEEPING, makes=(ops.Pointwise, ops.IndexArithmetic), integers=True)
def _keeping(call: Call) -> Operand:
    x = call.operand(0)
    if indices.is_held(x):
        return _keeping_indices(call, x)
    return call.pointwise((_KEEPING[call.operator], "x"), x, x.kind)


def _keeping_indices(call: Call, x: Operand) -> Operand:
    zero = call.constant(np.asarray(0, np.int64), "zero")
    match call.operator:
        case "Relu":
            return indices.arithmetic(call, "Max", x, zero)
        case "Sign":
            above = indices.compared(call, "greater", x, zero)
            below = indices.compared(call, "greater", zero, x)
            return indices.arithmetic(call, "Sub", above, below)
    negative = indices.arithmetic(call, "Sub", zero, x)
    return negative if call.operator == "Neg" else indices.arithmetic(call, "Max", x, negative)


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


@importer("Shrink", makes=(ops.Pointwise,))
def _shrink(call: Call) -> Operand:
    bias, limit = call.real("bias", 0.0), call.real("lambd", 0.5)
    above = ("where", ("greater", "x", limit), ("sub", "x", bias), 0.0)
    below = ("where", ("greater", -limit, "x"), ("add", "x", bias), above)
    return call.pointwise(below, call.operand(0))


@importer("Clip", makes=(ops.Pointwise, ops.IndexArithmetic), integers=True)
def _clip(call: Call) -> Operand:
    x = call.operand(0)
    bounds: list[float | int] = []
    for index, (name, otherwise) in enumerate((("min", -math.inf), ("max", math.inf)), start=1):
        bound = call.static(index, "bounds")
        if bound is not None and bound.size > 1:
            raise ModelError(f"its {name} must be one number, not of shape {list(bound.shape)}")
        # integers stay what they are: beyond 2^53 no float is
        value = bound.reshape(()).item() if bound is not None and bound.size else otherwise
        if call.has(name):
            value = call.bound(name, otherwise)
        if math.isnan(float(value)):
            raise ModelError(f"its {name} is NaN")
        bounds.append(value)
    if not indices.is_held(x):
        return call.pointwise(("clip", "x", *map(float, bounds)), x, x.kind)
    for operator, number in zip(("Max", "Min"), bounds, strict=True):
        if math.isfinite(number):
            limit = call.constant(np.asarray(int(number), np.int64), operator)
            x = indices.arithmetic(call, operator, x, limit)
    return x


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
    if not call.uses_output(1):
        return [x]
    call.spend(math.prod(x.shape))
    return [x, call.constant(np.ones(x.shape, bool), "mask")]


@importer("Add", makes=(ops.Add, ops.Pointwise, ops.IndexArithmetic, ops.Gather), integers=True)
@importer(
    "Sub", makes=(ops.Sub, ops.Add, ops.Pointwise, ops.IndexArithmetic, ops.Gather), integers=True
)
@importer("Mul", makes=(ops.Mul, ops.Pointwise, ops.IndexArithmetic, ops.Gather), integers=True)
@importer(
    "Div", makes=(ops.Div, ops.Mul, ops.Pointwise, ops.IndexArithmetic, ops.Gather), integers=True
)
@importer(
    "Pow",
    makes=(ops.Pow, ops.Pointwise, ops.Where, ops.Mul, ops.IndexArithmetic, ops.Gather),
    integers=True,
)
@importer("Max", makes=(ops.Maximum, ops.Pointwise, ops.IndexArithmetic, ops.Gather), integers=True)
@importer("Min", makes=(ops.Minimum, ops.Pointwise, ops.IndexArithmetic, ops.Gather), integers=True)
def _binary(call: Call) -> Operand:
    if call.operator not in ("Max", "Min") and len(call.inputs) != 2:
        raise ModelError(f"takes 2 inputs, not {len(call.inputs)}")
    return reduce(lambda a, b: combine(call, call.operator, a, b), call.operands())


@importer(
    "Mod",
    makes=(ops.Div, ops.Mul, ops.Sub, ops.Add, ops.Pointwise, ops.IndexArithmetic, ops.Gather),
    integers=True,
)
def _mod(call: Call) -> Operand:
    x, divisor = call.operand(0), call.operand(1)
    truncated = bool(call.integer("fmod", 0))
    if indices.is_held(x, divisor):
        if not truncated:
            return indices.arithmetic(call, "Mod", x, divisor)
        quotient = indices.arithmetic(call, "Div", x, divisor)
        whole = indices.arithmetic(call, "Mul", quotient, divisor)
        return indices.arithmetic(call, "Sub", x, whole)
    if (
        isinstance(divisor, Static)
        and divisor.array.size == 1
        and len(divisor.shape) <= len(x.shape)
    ):
        number = float(divisor.finite().reshape(()))
        return call.pointwise(("fmod" if truncated else "mod", "x", number), x, x.kind)
    quotient = combine(call, "Div", x, divisor, "floats")
    quotient = call.pointwise(("trunc" if truncated else "floor", "x"), quotient, x.kind)
    whole = combine(call, "Mul", quotient, divisor, x.kind)
    return combine(call, "Sub", x, whole, x.kind)


@importer("Sum", makes=(ops.Add, ops.Pointwise, ops.IndexArithmetic, ops.Gather), integers=True)
@importer("Mean", makes=(ops.Add, ops.Pointwise))
def _sum(call: Call) -> Operand:
    operands = call.operands()
    total = reduce(lambda a, b: combine(call, "Add", a, b), operands)
    if call.operator == "Sum":
        return total
    return call.pointwise(("mul", "x", 1.0 / len(operands)), total)


def _is_whole_power(a: Operand, b: Operand) -> bool:
    """Whether it gives integers as ``a`` are, however the exponent is held."""
    return indices.is_held(a) and a.kind == "integers" and isinstance(b, Static)


def _are_floats(*operands: Operand) -> bool:
    """Whether one is of floats in the model, or is held as such."""
    return any(
        v.kind == "floats" or (isinstance(v, Dynamic) and v.type.dtype == "float32")
        for v in operands
    )


def combine(call: Call, operator: str, a: Operand, b: Operand, kind: Kind | None = None) -> Operand:
    """Add, Sub, Mul, Div, Pow, Max or Min of two operands; with a constant scalar it is a function
    of the other one. Of two integers it gives integers, where no other ``kind`` is said."""
    if indices.is_held(a, b):
        if not _are_floats(a, b) or (operator == "Pow" and _is_whole_power(a, b)):
            return indices.arithmetic(call, operator, a, b, kind or "integers")
        a, b = call.floats_of(a), call.floats_of(b)
    function, op = _BINARY[operator]
    if kind is None:
        kind = "integers" if a.kind == b.kind == "integers" else "floats"
    shape = broadcast(a.shape, b.shape)
    # an infinite bound, or a mask of minus infinity, is as good as the largest number
    taken = Static.clamped if operator in ("Add", "Sub", "Max", "Min") else Static.finite
    a, b = (call.static_like(v, taken(v)) if isinstance(v, Static) else v for v in (a, b))
    for scalar, x, expression in (
        (b, a, lambda c: (function, "x", c)),
        (a, b, lambda c: (function, c, "x")),
    ):
        if isinstance(scalar, Static) and isinstance(x, Dynamic) and scalar.array.size == 1:
            made: Expression = expression(float(scalar.array.reshape(())))
            made = ("trunc", made) if (operator, kind) == ("Div", "integers") else made
            return call.reshape(call.pointwise(made, x, kind), shape)
    if operator == "Pow":
        return _power(call, a, b)
    if isinstance(b, Static) and operator == "Sub":
        return call.emit(ops.Add(), a, call.static_like(b, -b.array), kind=kind)
    if (operator, kind) == ("Div", "integers"):
        return call.pointwise(("trunc", "x"), call.emit(op(), a, b), kind)
    if isinstance(b, Static) and operator == "Div" and b.array.all():
        return call.emit(ops.Mul(), a, call.static_like(b, 1 / b.array), kind=kind)
    if isinstance(a, Static) and operator in ("Add", "Mul", "Max", "Min"):
        a, b = b, a
    return call.emit(op(), a, b, kind=kind)


def _power(call: Call, a: Operand, b: Operand) -> Operand:
    """``a`` to the power of ``b``, of which neither is one constant number."""
    if isinstance(a, Static) and (a.array > 0).all():
        logarithms = call.static_like(a, elementary.log(a.array))
        return call.pointwise(("exp", "x"), call.emit(ops.Mul(), b, logarithms))
    exponents = np.unique(b.array) if isinstance(b, Static) else np.zeros(0)
    if isinstance(b, Static) and 0 < exponents.size <= _MOST_EXPONENTS:
        # each a function, also of what is below 0
        first, *others = (
            (b.array == e, call.pointwise(("pow", "x", float(e)), a)) for e in exponents
        )
        y = first[1]
        for here, raised in others:
            choice = call.constant(here.astype(np.float32), "choice")
            y = call.emit(ops.Where(), choice, raised, y)
        if y.shape == broadcast(a.shape, b.shape):
            return y
    return call.emit(ops.Pow(), a, b)
