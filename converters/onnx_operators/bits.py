"""Turns ONNX's bitwise operators on whole numbers that a run computes into sums and remainders.

The lowest k bits of x, in two's complement, are x mod 2^k. A constant mask is made of stretches of
bits, each the difference of two such remainders; of two values that a run computes each bit is
multiplied by its own.
"""

from __future__ import annotations

from functools import reduce

import numpy as np
import onnx_ir as ir

from edgeinfer.converters.onnx_operators import indices
from edgeinfer.converters.onnx_operators.call import Call
from edgeinfer.converters.onnx_operators.registry import Refusal, importer
from edgeinfer.converters.onnx_operators.values import Dynamic, Operand, Static
from edgeinfer.errors import ModelError
from edgeinfer.graph import operators as ops

__all__ = ["as_integers"]

# of two values that a run computes: each costs a handful of operators
_MOST_BITS = 32

_MAKES = (ops.IndexArithmetic, ops.Gather)

_OF_BITS = ("BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor")


def as_integers(call: Call, x: Operand, kind: ir.DataType) -> Operand:
    """``x``, held as int64, as integers of another type: what its bits hold of it."""
    _refuse_other_uses(call, kind)
    x = _wrapped(call, x, kind)
    if kind == ir.DataType.UINT64 and call.bounds(x)[0] < 0:
        raise Refusal(f"a run cannot convert int64 to {kind.name} where it may be below 0")
    return x if x.kind == "integers" else call.emit(ops.Reshape(x.shape), x, kind="integers")


def _refuse_other_uses(call: Call, kind: ir.DataType) -> None:
    """Refuse what would wrap where ``kind`` ends: all but bits is computed in int64."""
    for use in call.node.outputs[0].uses():
        if use.node.op_type not in (*_OF_BITS, "Cast"):
            raise Refusal(f"a run computes {use.node.op_type} of int64, not of {kind.name}")


def _wrapped(call: Call, x: Operand, kind: ir.DataType) -> Operand:
    """The number of type ``kind`` that has the lowest bits of ``x``."""
    bits = kind.bitwidth
    least = -(2 ** (bits - 1)) if kind.is_signed() else 0
    low, high = call.bounds(x)
    if bits == 64 or (low >= least and high < least + 2**bits):
        return x
    start = call.constant(np.asarray(least, np.int64), "least")
    above = _low_bits(call, indices.arithmetic(call, "Sub", x, start), bits)
    return indices.arithmetic(call, "Add", above, start)


@importer("BitwiseNot", makes=_MAKES, integers=True)
def _not(call: Call) -> Operand:
    x, kind = _whole(call.operand(0)), _kind(call)
    ones = call.constant(np.asarray(-1), "ones")
    return _wrapped(call, indices.arithmetic(call, "Sub", ones, x), kind)


@importer("BitwiseAnd", "BitwiseOr", "BitwiseXor", makes=_MAKES, integers=True)
def _of_two(call: Call) -> Operand:
    a, b = _whole(call.operand(0)), _whole(call.operand(1))
    if isinstance(a, Static):
        a, b = b, a
    _kind(call)
    low, high = _bounds(call, a, b)
    shared = _masked(call, a, b) if isinstance(b, Static) else _both(call, a, b)
    if call.operator != "BitwiseAnd":
        total = indices.arithmetic(call, "Add", a, b)
        twice = 2 if call.operator == "BitwiseXor" else 1
        shared = indices.arithmetic(call, "Sub", total, _times(call, shared, twice))
    assert isinstance(shared, Dynamic)
    shared.bounds = max(low, shared.bounds[0]), min(high, shared.bounds[1])
    return shared


@importer("BitShift", makes=_MAKES, integers=True)
def _shift(call: Call) -> Operand:
    x, counts = _whole(call.operand(0)), call.static(1, "shifts")
    direction = call.text("direction", "")
    if direction not in ("LEFT", "RIGHT"):
        raise ModelError(f"direction must be LEFT or RIGHT, not {direction!r}")
    if counts is None or counts.dtype.kind not in "iu":
        raise ModelError("its shifts must be integers")
    kind = _kind(call)
    counts = counts.astype(np.int64)
    if (counts < 0).any() or (counts > 62).any():
        raise Refusal(f"a run shifts int64 by 0 to 62 bits, not by {counts.ravel().tolist()}")
    powers = call.constant(np.left_shift(np.int64(1), counts), "powers")
    if direction == "LEFT":
        return _wrapped(call, indices.arithmetic(call, "Mul", x, powers), kind)
    if call.bounds(x)[0] < 0:
        # it is rounded down
        x = indices.arithmetic(call, "Sub", x, indices.arithmetic(call, "Mod", x, powers))
    return indices.arithmetic(call, "Div", x, powers)


def _whole(x: Operand) -> Operand:
    """``x``, of which a run must compute int64."""
    if isinstance(x, Dynamic) and x.type.dtype != "int64":
        raise Refusal(f"its input {x.name!r} is computed as floats, and has no bits")
    if x.kind != "integers":
        raise ModelError(f"its input {x.name!r} holds {x.kind}")
    return x


def _kind(call: Call) -> ir.DataType:
    """The element type of the inputs, which the output shares."""
    kinds = [_element_type(value) for value in call.node.inputs if value is not None]
    kind = next((k for k in kinds if k is not None), ir.DataType.INT64)
    if kind not in (ir.DataType.INT64, ir.DataType.INT32):
        _refuse_other_uses(call, kind)
    return kind


def _element_type(value: ir.Value) -> ir.DataType | None:
    """The element type of ``value``, as far as the file or the casts before it say."""
    while value.dtype is None:
        producer = value.producer()
        if producer is None:
            return None
        if producer.op_type == "Cast":
            return ir.DataType(producer.attributes["to"].as_int())
        if producer.op_type not in _OF_BITS or producer.inputs[0] is None:
            return None
        value = producer.inputs[0]
    return value.dtype


def _bounds(call: Call, a: Operand, b: Operand) -> tuple[int, int]:
    """What holds no more bits than the operands do, and no sign where they have none."""
    bounds = [*call.bounds(a), *call.bounds(b)]
    bits = max((n if n >= 0 else ~n).bit_length() for n in bounds)
    return (-(2**bits) if min(bounds) < 0 else 0), 2**bits - 1


def _times(call: Call, x: Operand, factor: int | np.ndarray) -> Operand:
    array = np.asarray(factor, np.int64)
    if (array == 1).all() and array.ndim == 0:
        return x
    return indices.arithmetic(call, "Mul", x, call.constant(array, "factors"))


def _sum(call: Call, terms: list[Operand]) -> Operand:
    return reduce(lambda a, b: indices.arithmetic(call, "Add", a, b), terms)


def _low_bits(call: Call, x: Operand, count: int) -> Operand:
    """``x`` mod 2^count, for a count of 1 to 63."""
    low, high = call.bounds(x)
    if low >= 0 and high < 2**count:
        return x
    if count == 63:
        zero = call.constant(np.asarray(0, np.int64), "zero")
        is_below = indices.compared(call, "greater", zero, x)
        return indices.arithmetic(call, "Sub", x, _times(call, is_below, -(2**63)))
    return indices.arithmetic(call, "Mod", x, call.constant(np.asarray(2**count), "power"))


def _masked(call: Call, x: Operand, mask: Static) -> Operand:
    """The bits of ``x`` that are set in the mask.

    A mask below 0 has nearly all: what it lacks is taken away.
    """
    array = mask.array.astype(np.int64)
    is_below = array < 0
    bits = np.where(is_below, ~array, array)
    terms: list[Operand] = []
    above = np.zeros_like(bits)
    for place in range(63, 0, -1):
        # of the stretch that ends here, less that which begins here
        own = bits >> (place - 1) & 1
        if (factors := own - above).any():
            alike = factors.reshape(-1)[0]
            factor = alike if (factors == alike).all() else factors
            terms.append(_times(call, _low_bits(call, x, place), factor))
        above = own
    taken = _sum(call, terms) if terms else _times(call, x, 0)
    if is_below.any():
        rest = indices.arithmetic(call, "Sub", x, taken)
        if is_below.all():
            return rest
        left = _times(call, rest, is_below.astype(np.int64))
        taken = _times(call, taken, (~is_below).astype(np.int64))
        return indices.arithmetic(call, "Add", left, taken)
    shape = np.broadcast_shapes(x.shape, array.shape)
    return taken if taken.shape == shape else _times(call, taken, np.ones(array.shape, np.int64))


def _both(call: Call, a: Operand, b: Operand) -> Operand:
    """The bits that two values have in common, one after another."""
    low, high = _bounds(call, a, b)
    count = high.bit_length()
    if low < 0 or count > _MOST_BITS:
        raise Refusal(
            f"its inputs are not known to be from 0 to {2**_MOST_BITS - 1}: Clip them before"
        )
    terms: list[Operand] = []
    for place in range(count):
        shared = indices.arithmetic(call, "Mul", _bit(call, a, place), _bit(call, b, place))
        terms.append(_times(call, shared, 2**place))
    return _sum(call, terms) if terms else indices.arithmetic(call, "Min", a, b)


def _bit(call: Call, x: Operand, place: int) -> Operand:
    one = _low_bits(call, x, place + 1)
    if not place:
        return one
    return indices.arithmetic(call, "Div", one, call.constant(np.asarray(2**place), "power"))
