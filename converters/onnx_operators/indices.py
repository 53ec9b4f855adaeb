"""Turns ONNX's arithmetic on int64 that a run is given, or computes, into IndexArithmetic.

Such values are indices: token ids, places of a largest element. ``Call`` makes floats of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgeinfer.converters.onnx_operators.call import Call
from edgeinfer.converters.onnx_operators.registry import Refusal
from edgeinfer.converters.onnx_operators.values import ANY_INT64, Dynamic, Kind, Operand, Static
from edgeinfer.errors import ModelError
from edgeinfer.graph import operators as ops

__all__ = ["arithmetic", "chosen", "compared", "folded", "is_held", "place_of_extreme"]

_FUNCTIONS = {
    "Add": "add",
    "Sub": "sub",
    "Mul": "mul",
    "Div": "div",
    "Mod": "mod",
    "Max": "max",
    "Min": "min",
}

# a power of 2 beyond this has no digit in int64
_MOST_EXPONENT = 63


def is_held(*operands: Operand | None) -> bool:
    """Whether a run computes one of the operands as int64, or is given it so."""
    return any(isinstance(v, Dynamic) and v.type.dtype == "int64" for v in operands)


def arithmetic(
    call: Call, operator: str, a: Operand, b: Operand, kind: Kind = "integers"
) -> Operand:
    """``operator``, an ONNX name, of two operands of which one is held as int64."""
    if operator == "Pow":
        return _power(call, a, b)
    a, b = _int64(call, a), _int64(call, b)
    if operator in ("Div", "Mod"):
        return _divided(call, operator, a, b, kind)
    result = _function(call, _FUNCTIONS[operator], a, b, kind)
    left_over = [v for v in (a, b) if isinstance(v, Dynamic) and v.leaves_over]
    return _left_over(call, result, left_over[0]) if left_over else result


def _function(
    call: Call, function: str, a: Operand, b: Operand, kind: Kind = "integers"
) -> Operand:
    low, high = _bounds(function, call.bounds(a), call.bounds(b))
    result = call.emit(ops.IndexArithmetic(function), a, b, kind=kind)  # type: ignore[arg-type]
    return _bounded(result, low, high)


def _divided(call: Call, operator: str, a: Operand, b: Operand, kind: Kind) -> Operand:
    """The quotient or the remainder by a constant: by its magnitude, where it is below 0."""
    if not isinstance(b, Static):
        raise Refusal("a run divides int64 by constants only")
    if not b.array.all():
        raise ModelError("divides integers by 0")
    if (b.array < 0).any():
        if (b.array == ANY_INT64[0]).any():
            raise Refusal(f"a run cannot divide int64 by {ANY_INT64[0]}")
        signs = call.constant(np.sign(b.array), "signs")
        turned = arithmetic(call, "Mul", a, signs)
        result = _divided(call, operator, turned, call.static_like(b, np.abs(b.array)), kind)
        return result if operator == "Div" else arithmetic(call, "Mul", result, signs)
    result = _function(call, _FUNCTIONS[operator], a, b, kind)
    left_over = isinstance(a, Dynamic) and a.leaves_over
    return _left_over(call, result, a) if left_over else result


def _power(call: Call, a: Operand, b: Operand) -> Operand:
    """``a`` to constant exponents, by squares."""
    exponents = b.array.astype(np.float64) if isinstance(b, Static) else np.array(-1.0)
    if not np.isin(exponents, np.arange(_MOST_EXPONENT + 1)).all():
        raise Refusal(
            f"int64 that a run computes is raised to constants from 0 to {_MOST_EXPONENT} alone"
        )
    left, square = exponents.astype(np.int64), _int64(call, a)
    one = call.constant(np.asarray(1, np.int64), "one")
    result: Operand = call.constant(np.ones(np.broadcast_shapes(a.shape, b.shape), np.int64), "1")
    while left.any():
        wanted = left % 2
        factor = square
        if not wanted.all():
            # of the others 1
            more = arithmetic(call, "Sub", square, one)
            more = arithmetic(call, "Mul", more, call.constant(wanted, "wanted"))
            factor = arithmetic(call, "Add", more, one)
        result = arithmetic(call, "Mul", factor, result) if wanted.any() else result
        left = left // 2
        square = arithmetic(call, "Mul", square, square) if left.any() else square
    return result


def _left_over(call: Call, x: Operand, like: Operand) -> Operand:
    """``x``, but -1 where ``like`` holds that for what is left over."""
    one = call.constant(np.asarray(1, np.int64), "one")
    none = call.constant(np.asarray(-1, np.int64), "none")
    is_there = _function(call, "greater", like, none)
    result = _function(call, "mul", _function(call, "add", x, one), is_there)
    result = _function(call, "sub", result, one)
    if isinstance(result, Dynamic):
        result.leaves_over = True
    return result


def compared(call: Call, function: str, a: Operand, b: Operand) -> Operand:
    """``equal``, ``greater`` or ``greater_equal`` of two operands, one of them held as int64."""
    if function == "greater_equal":
        return _negated(call, compared(call, "greater", b, a))
    a, b = _whole(call, function, a, b)
    result = call.emit(
        ops.IndexArithmetic(function),  # type: ignore[arg-type]
        _int64(call, a),
        _int64(call, b),
        kind="truth values",
    )
    return _bounded(result, 0, 1)


def _negated(call: Call, truth: Operand) -> Operand:
    return arithmetic(
        call, "Sub", call.constant(np.asarray(1, np.int64), "one"), truth, "truth values"
    )


def _whole(call: Call, function: str, a: Operand, b: Operand) -> tuple[Operand, Operand]:
    """The operands, a constant of floats as the integers that compare alike."""
    rounding = {"greater": (np.ceil, np.floor)}.get(function)
    found = []
    for place, value in enumerate((a, b)):
        if isinstance(value, Static) and value.kind == "floats":
            numbers = np.clip(value.clamped().astype(np.float64), *ANY_INT64)
            if rounding is None and (numbers != np.rint(numbers)).any():
                raise Refusal("a run cannot hold int64 equal to fractions")
            whole = numbers if rounding is None else rounding[place](numbers)
            # the largest float64 below 2^63
            whole = np.clip(whole, -(2.0**63), 2.0**63 - 1024)
            value = call.static_like(value, whole.astype(np.int64))
        found.append(value)
    return found[0], found[1]


def chosen(call: Call, condition: Operand, a: Operand, b: Operand) -> Operand:
    """``a`` where ``condition`` is true, else ``b``, of which one is held as int64."""
    if not isinstance(condition, Static) and not is_held(condition):
        raise Refusal("a choice between int64 by a condition of floats is not supported")
    share = arithmetic(call, "Mul", condition, a)
    rest = arithmetic(call, "Mul", _negated(call, condition), b)
    low, high = zip(call.bounds(a), call.bounds(b), strict=True)
    return _bounded(arithmetic(call, "Add", share, rest, a.kind), min(low), max(high))


# ---- along axes ------------------------------------------------------------------------------


def folded(call: Call, operator: str, x: Operand, axes: Sequence[int], keepdims: bool) -> Operand:
    """``operator``, an ONNX name, of all elements along ``axes``: of one half with the other."""
    kept = [n for axis, n in enumerate(x.shape) if axis not in axes]
    for axis in axes:
        while x.shape[axis] > 1:
            half = x.shape[axis] // 2
            both = arithmetic(
                call, operator, call.stretch(x, axis, 0, half), call.stretch(x, axis, half, half)
            )
            if x.shape[axis] % 2:
                rest = call.stretch(x, axis, 2 * half, 1)
                both = call.emit(ops.Concat(axis), both, rest)
            x = both
    return x if keepdims else call.reshape(x, kept)


def place_of_extreme(
    call: Call, operator: str, x: Operand, axis: int, keepdims: bool, *, last: bool
) -> Operand:
    """Where along ``axis`` the ``Max`` or ``Min`` of ``x`` is, the first or the last of equals."""
    count = x.shape[axis]
    extreme = folded(call, operator, x, (axis,), True)
    is_there = compared(call, "equal", x, extreme)
    shape = [count if a == axis else 1 for a in range(len(x.shape))]
    # of those that are there the numbers are above 0, and larger the nearer they are asked for
    numbers = np.arange(count) if last else np.arange(count)[::-1]
    ranks = call.constant(numbers.reshape(shape) + 1, "ranks")
    best = folded(call, "Max", arithmetic(call, "Mul", is_there, ranks), (axis,), keepdims)
    ends = call.constant(np.asarray(1 if last else count, np.int64), "ends")
    place = arithmetic(call, "Sub", *((best, ends) if last else (ends, best)))
    return _bounded(place, 0, count - 1)


def _int64(call: Call, x: Operand) -> Operand:
    if isinstance(x, Static):
        return call.static_like(x, x.array.astype(np.int64))
    if x.type.dtype != "int64":
        raise Refusal(f"its input {x.name!r} is computed as floats, others as int64")
    return x


def _bounded(x: Operand, low: int, high: int) -> Operand:
    if isinstance(x, Dynamic):
        x.bounds = (low, high)
    return x


def _bounds(function: str, a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    """What the function of numbers within bounds is within; it wraps beyond int64."""
    match function:
        case "add":
            low, high = a[0] + b[0], a[1] + b[1]
        case "sub":
            low, high = a[0] - b[1], a[1] - b[0]
        case "mul":
            products = [m * n for m in a for n in b]
            low, high = min(products), max(products)
        case "div":
            quotients = [math.trunc(m / n) for m in a for n in b if abs(m) < 2**52]
            low, high = (min(quotients), max(quotients)) if len(quotients) == 4 else a
        case "mod":
            low, high = 0, b[1] - 1
        case "max":
            low, high = max(a[0], b[0]), max(a[1], b[1])
        case "min":
            low, high = min(a[0], b[0]), min(a[1], b[1])
        case _:
            low, high = 0, 1
    inside = ANY_INT64[0] <= low and high <= ANY_INT64[1]
    return (low, high) if inside else ANY_INT64
