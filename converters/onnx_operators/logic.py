"""Turns ONNX's comparisons, logic, choices and casts into functions that give 0 and 1.

A truth value that a run computes is a float, 0 or 1, and so are integers that are made of floats:
Pointwise, Maximum and the like mean the same of them.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeinfer.arithmetic.pointwise import Expression
from edgeinfer.converters.onnx_operators import indices
from edgeinfer.converters.onnx_operators.bits import as_integers
from edgeinfer.converters.onnx_operators.call import Call
from edgeinfer.converters.onnx_operators.elementwise import combine
from edgeinfer.converters.onnx_operators.masked_rows import rows_of_nothing
from edgeinfer.converters.onnx_operators.registry import Refusal, importer
from edgeinfer.converters.onnx_operators.values import Dynamic, Kind, Operand, Static
from edgeinfer.errors import ModelError
from edgeinfer.graph import operators as ops
from edgeinfer.graph.shapes import broadcast

__all__: list[str] = []

_FLOATS = ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE")
_INTEGERS = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")

_NOT = ("sub", 1.0, "x")
_IS_TRUE = ("sub", 1.0, ("equal", "x", 0.0))

# the function, and whether the operands change places
_COMPARISONS = {
    "Equal": ("equal", False),
    "Greater": ("greater", False),
    "GreaterOrEqual": ("greater_equal", False),
    "Less": ("greater", True),
    "LessOrEqual": ("greater_equal", True),
}


# ---- comparisons -----------------------------------------------------------------------------


@importer(
    *_COMPARISONS, makes=(ops.Pointwise, ops.Sub, ops.Add, ops.IndexArithmetic), integers=True
)
def _comparison(call: Call) -> Operand:
    function, swapped = _COMPARISONS[call.operator]
    a, b = call.operand(0), call.operand(1)
    return _compared(call, function, *((b, a) if swapped else (a, b)))


def _compared(call: Call, function: str, a: Operand, b: Operand) -> Operand:
    if indices.is_held(a, b):
        return indices.compared(call, function, a, b)
    for scalar, x, expression in (
        (b, a, lambda c: (function, "x", c)),
        (a, b, lambda c: (function, c, "x")),
    ):
        if isinstance(scalar, Static) and isinstance(x, Dynamic) and scalar.array.size == 1:
            bound = float(scalar.clamped().reshape(()))
            truth = call.pointwise(expression(bound), x, "truth values")
            return call.reshape(truth, broadcast(a.shape, b.shape))
    return call.pointwise((function, "x", 0.0), combine(call, "Sub", a, b), "truth values")


@importer("IsNaN", makes=(ops.Pointwise, ops.ReduceMax, ops.ReduceMin, ops.Expand, ops.Gather))
def _is_nan(call: Call) -> Operand:
    rows = rows_of_nothing(call)
    if rows is not None:
        return rows
    return call.pointwise(("is_nan", "x"), call.operand(0), "truth values")


@importer("IsInf", makes=(ops.Pointwise,))
def _is_inf(call: Call) -> Operand:
    signs = {1.0: call.integer("detect_positive", 1), -1.0: call.integer("detect_negative", 1)}
    wanted = [sign for sign, asked in signs.items() if asked]
    infinite: Expression = ("is_infinite", "x")
    match wanted:
        case [sign]:
            infinite = ("mul", infinite, ("greater", ("mul", "x", sign), 0.0))
        case []:
            infinite = ("mul", infinite, 0.0)
    return call.pointwise(infinite, call.operand(0), "truth values")


# ---- logic -----------------------------------------------------------------------------------


@importer("Not", makes=(ops.Pointwise, ops.IndexArithmetic), integers=True)
def _not(call: Call) -> Operand:
    x = call.operand(0)
    if indices.is_held(x):
        one = call.constant(np.asarray(1, np.int64), "one")
        return indices.arithmetic(call, "Sub", one, x, "truth values")
    return call.pointwise(_NOT, x, "truth values")


@importer("And", makes=(ops.Mul, ops.Pointwise, ops.IndexArithmetic, ops.Gather), integers=True)
@importer("Or", makes=(ops.Maximum, ops.Pointwise, ops.IndexArithmetic, ops.Gather), integers=True)
@importer(
    "Xor", makes=(ops.Sub, ops.Add, ops.Pointwise, ops.IndexArithmetic, ops.Gather), integers=True
)
def _logic(call: Call) -> Operand:
    a, b = call.operand(0), call.operand(1)
    operator = {"And": "Mul", "Or": "Max", "Xor": "Sub"}[call.operator]
    made = combine(call, operator, a, b, kind="truth values")
    if call.operator == "Xor" and indices.is_held(made):
        return indices.arithmetic(call, "Mul", made, made, "truth values")
    return call.pointwise(("abs", "x"), made, "truth values") if call.operator == "Xor" else made


# ---- choices ---------------------------------------------------------------------------------


@importer(
    "Where",
    makes=(ops.Where, ops.Mul, ops.Pointwise, ops.IndexArithmetic, ops.Gather),
    integers=True,
)
def _where(call: Call) -> Operand:
    condition, a, b = (call.operand(place) for place in range(3))
    kind = _kind_of_choice(a, b)
    if condition.kind != "truth values":
        raise ModelError(f"its condition holds {condition.kind}")
    if indices.is_held(a, b):
        if kind != "floats":
            return indices.chosen(call, condition, a, b)
        a, b = call.floats_of(a), call.floats_of(b)
    condition = call.floats_of(condition)
    if isinstance(condition, Static):
        chosen = np.asarray(condition.array, bool)
        for value, other, here in ((a, b, chosen), (b, a, ~chosen)):
            whole = broadcast(broadcast(value.shape, other.shape), here.shape)
            if (
                isinstance(other, Static)
                and not other.array.any()
                and broadcast(value.shape, here.shape) == whole
            ):
                factor = call.constant(here.astype(np.float32), "choice")
                return combine(call, "Mul", value, factor, kind=kind)
        condition = call.static_like(condition, chosen.astype(np.float32))
    elif a.shape == b.shape == () and isinstance(a, Static) and isinstance(b, Static):
        numbers = (float(v.clamped().reshape(())) for v in (a, b))
        return call.pointwise(("where", "x", *numbers), condition, kind)
    a, b = (call.static_like(v, v.clamped()) if isinstance(v, Static) else v for v in (a, b))
    return call.emit(ops.Where(), condition, a, b, kind=kind)


def _kind_of_choice(a: Operand, b: Operand) -> Kind:
    if a.kind != b.kind:
        raise ModelError(f"chooses between {a.kind} and {b.kind}")
    return a.kind


# ---- casts -----------------------------------------------------------------------------------


@importer(
    "Cast",
    makes=(ops.Pointwise, ops.IndexArithmetic, ops.Gather),
    integers=True,
    ignores=("saturate", "round_mode"),
)
def _cast(call: Call) -> Operand:
    target = ir.DataType(call.integer("to", 1))
    return _converted(call, call.operand(0), target)


@importer(
    "CastLike",
    makes=(ops.Pointwise, ops.IndexArithmetic, ops.Gather),
    integers=True,
    ignores=("saturate", "round_mode"),
)
def _cast_like(call: Call) -> Operand:
    x, like = call.operand(0), call.operand(1)
    if isinstance(like, Static):
        return _converted(call, x, ir.DataType.from_numpy(like.array.dtype))
    kinds = {"floats": "FLOAT", "integers": "INT64", "truth values": "BOOL"}
    return _converted(call, x, ir.DataType[kinds[like.kind]])


def _converted(call: Call, x: Operand, target: ir.DataType) -> Operand:
    """``x`` as the element type ``target``, whatever holds it in the Graph."""
    if isinstance(x, Static) and target.name in (*_FLOATS, *_INTEGERS, "BOOL"):
        dtype_of = np.float32 if target.name in _FLOATS else np.int64
        return call.static_like(x, x.array.astype(bool if target.name == "BOOL" else dtype_of))
    dtype = call.dtype(x)
    if dtype == "float32":
        match x.kind, target.name:
            case ("floats", name) if name in _FLOATS:
                return x
            case ("truth values", "BOOL"):
                return x
            case ("integers", "INT32" | "INT64"):
                return x
            case (_, "BOOL"):
                return call.pointwise(_IS_TRUE, x, "truth values")
            case (_, name) if name in _FLOATS:
                return call.pointwise("x", x, "floats")
            case ("truth values", name) if name in _INTEGERS:
                return call.pointwise("x", x, "integers")
            case ("floats", name) if name in _INTEGERS:
                return call.pointwise(("trunc", "x"), x, "integers")
    elif dtype == "int64":
        return _indices_as(call, x, target)
    held = dtype if x.kind == "floats" or dtype != "float32" else x.kind
    raise Refusal(f"a run cannot convert {held} to {target.name}")


def _indices_as(call: Call, x: Operand, target: ir.DataType) -> Operand:
    """``x``, held as int64, as the element type ``target``."""
    if target.name == "BOOL":
        if x.kind == "truth values":
            return x
        zero, one = (
            call.constant(np.asarray(n, np.int64), name) for n, name in ((0, "zero"), (1, "one"))
        )
        is_zero = indices.compared(call, "equal", x, zero)
        return indices.arithmetic(call, "Sub", one, is_zero, "truth values")
    if target.name in ("INT32", "INT64"):
        # the same numbers, of another kind in the model
        return x if x.kind == "integers" else call.emit(ops.Reshape(x.shape), x, kind="integers")
    if target.name in _INTEGERS:
        return as_integers(call, x, target)
    if target.name in _FLOATS:
        # the same numbers until something asks for floats
        return call.emit(ops.Reshape(x.shape), x, kind="floats")
    raise Refusal(f"a run cannot convert int64 to {target.name}")
