"""Rules of what takes two values: sums, products, quotients, and choices between them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgeinfer.arithmetic import pointwise
from edgeinfer.arithmetic.accumulators import reach
from edgeinfer.arithmetic.fixedpoint import (
    MAX_QUOTIENT_SHIFT,
    add_parameters,
    multiplier_and_shift,
    multiplier_bits,
)
from edgeinfer.arithmetic.tables import function_table
from edgeinfer.graph import Node, Quantization, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.graph.shapes import broadcast
from edgeinfer.quant.fragment import Fragment, OutputStage
from edgeinfer.quant.rules.registry import rule
from edgeinfer.quant.widths import wider

__all__: list[str] = []


def _sum_or_difference(
    op: ops.Add | ops.Sub, node: Node, to: Fragment, kind: type[ops.QAdd]
) -> None:
    a, b = to.summands(subtract=kind is ops.QSub)
    (a_scale, a_zero, a_dtype), (b_scale, b_zero, b_dtype) = to.kind(a), to.kind(b)
    out_scale, _, _ = to.kind(node.output)
    quantized = kind(
        **to.clamp(node.output, op.lo, op.hi),
        a_zero_point=a_zero,
        b_zero_point=b_zero,
        **add_parameters(
            a_scale, b_scale, out_scale, bits=8 if wider(a_dtype, b_dtype) == "int8" else 16
        ),
    )
    to.emit(quantized, a, b)


@rule(ops.Add, makes=(ops.QAdd,))
def _add(op: ops.Add, node: Node, to: Fragment) -> None:
    _sum_or_difference(op, node, to, ops.QAdd)


@rule(ops.Sub, makes=(ops.QSub,))
def _sub(op: ops.Sub, node: Node, to: Fragment) -> None:
    _sum_or_difference(op, node, to, ops.QSub)


@rule(ops.Mul, makes=(ops.QMul,))
def _mul(op: ops.Mul, node: Node, to: Fragment) -> None:
    a, b = to.operands()
    ratio = multiplier_and_shift(to.kind(a)[0] * to.kind(b)[0] / to.kind(node.output)[0])
    _emit_of_two(to, ops.QMul, (a, b), ratio, to.clamp(node.output, op.lo, op.hi))


@rule(ops.Div, makes=(ops.QDiv,))
def _div(op: ops.Div, node: Node, to: Fragment) -> None:
    a, b = to.operands()
    real = to.kind(a)[0] / (to.kind(b)[0] * to.kind(node.output)[0])
    ratio = multiplier_and_shift(real, most=MAX_QUOTIENT_SHIFT)
    stage = to.clamp(node.output)
    stage["rounding"] = "single"
    _emit_of_two(to, ops.QDiv, (a, b), ratio, stage)


@rule(ops.MatMul, makes=(ops.QMatMul,))
def _mat_mul(op: ops.MatMul, node: Node, to: Fragment) -> None:
    a, b = to.operands()
    (a_scale, a_zero, a_dtype), (b_scale, b_zero, b_dtype) = to.kind(a), to.kind(b)
    depth = to.type(a).shape[-1]
    largest = depth * reach(a_dtype, a_zero) * reach(b_dtype, b_zero)
    ratio = multiplier_and_shift(
        a_scale * b_scale / to.kind(node.output)[0], multiplier_bits(largest)
    )
    _emit_of_two(to, ops.QMatMul, (a, b), ratio, to.clamp(node.output))


def _emit_of_two(
    to: Fragment,
    kind: type[ops.QMatMul | ops.QMul | ops.QDiv],
    operands: tuple[str, str],
    ratio: tuple[int, int],
    stage: OutputStage,
) -> None:
    """The operator of ``kind``, whose result is multiplied by ``ratio``, M and S."""
    a_zero_point, b_zero_point = (to.kind(name)[1] for name in operands)
    multiplier, shift = ratio
    quantized = kind(
        **stage,
        a_zero_point=a_zero_point,
        b_zero_point=b_zero_point,
        multiplier=multiplier,
        shift=shift,
    )
    to.emit(quantized, *operands)


@rule(ops.Where, makes=(ops.QMul, ops.QAdd, ops.Lookup, ops.Expand))
def _where(op: ops.Where, node: Node, to: Fragment) -> None:
    """condition * a + (1 - condition) * b, each share at the scale of the result: what is chosen is
    rounded once, and the other share is exactly 0."""
    y = node.output
    shares = []
    for place, role in ((1, "a"), (2, "b")):
        name = node.inputs[place]
        if not to.is_computed(name) and not to.graph.constants[name].any():
            continue
        value = name if to.is_computed(name) else to.at_type_of(place, y)
        shares.append((role, value, _choice(to, node.input("condition"), role)))
    if not shares:
        shares.append(("a", to.at_type_of(1, y), _choice(to, node.input("condition"), "a")))
    scale, _, _ = to.kind(y)
    names = []
    for role, value, choice in shares:
        value_scale, zero_point, _ = to.kind(value)
        multiplier, shift = multiplier_and_shift(value_scale / scale)
        product = ops.QMul(
            **to.clamp(y), b_zero_point=zero_point, multiplier=multiplier, shift=shift
        )
        shape = broadcast(to.type(choice).shape, to.type(value).shape)
        if len(shares) == 1 and shape == to.type(y).shape:
            to.emit(product, choice, value)
            return
        t = replace(to.type(y), shape=shape)
        names.append(to.emit_part(f"share of {role}", t, product, choice, value))
    if len(names) == 1:
        to.emit(ops.Expand(to.type(y).shape), *names)
        return
    _, zero_point, dtype = to.kind(y)
    parameters = add_parameters(scale, scale, scale, bits=8 if dtype == "int8" else 16)
    zero_points = {"a_zero_point": zero_point, "b_zero_point": zero_point}
    to.emit(ops.QAdd(**to.clamp(y), **zero_points, **parameters), *names)


def _choice(to: Fragment, condition: str, role: str) -> str:
    """The integers 1 where a Where gives ``role``, and 0 elsewhere."""
    one = Quantization.per_tensor(1.0)
    expression: pointwise.Expression = ("greater", "x", 0.5)
    if role == "b":
        expression = ("sub", 1.0, expression)
    if not to.is_computed(condition):
        chosen = pointwise.evaluate(expression, to.graph.constants[condition])
        return to.constant(f"choice of {role}", chosen.astype(np.int8), one)
    kind = TensorType(to.type(condition).shape, "int8", one)
    entries = 256 if to.kind(condition)[2] == "int8" else 65536
    integers = function_table(expression, None, to.kind(condition), (1.0, 0, "int8"), entries)
    table = to.constant(f"table of {role}", integers, None)
    return to.emit_part(f"choice of {role}", kind, ops.Lookup(expression), condition, table)
