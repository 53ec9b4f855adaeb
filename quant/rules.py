"""The quantization rule of every operator: a float node into the integer nodes that stand for it.

``rule`` registers one by operator class; a class without a rule is refused by name before any
calibration. Every value already has its integer type when the rules run, and a rule sees only its
node's (``fragment.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import singledispatch
from typing import Any, TypeAlias

import numpy as np

from edgeinfer.arithmetic import pointwise
from edgeinfer.arithmetic.accumulators import reach
from edgeinfer.arithmetic.fixedpoint import (
    MAX_QUOTIENT_SHIFT,
    add_parameters,
    average_multiplier,
    exponential_table_8,
    exponential_table_16,
    interpolate_16,
    multiplier_and_shift,
    multiplier_bits,
    requantize,
    root_fraction,
)
from edgeinfer.arithmetic.tables import (
    KNOTS,
    Integers,
    function_table,
    step_with_bends_on_knots,
)
from edgeinfer.errors import QuantizationError
from edgeinfer.graph import Node, Quantization, TensorType, nearest_float32
from edgeinfer.graph import operators as ops
from edgeinfer.graph.shapes import broadcast
from edgeinfer.quant.fragment import Fragment, OutputStage
from edgeinfer.quant.normalization import integer_normalization, refuse_too_many
from edgeinfer.quant.phases import phases_of
from edgeinfer.quant.recurrent import unroll
from edgeinfer.quant.resizing import integer_resize
from edgeinfer.quant.schemes import Width, activation_type, fixed_output
from edgeinfer.quant.wide_tables import INTERPOLATION_STEPS, wide_table
from edgeinfer.quant.widths import wider

__all__ = ["integer_operators", "is_supported", "lower", "rule"]

# the counts of which fixedpoint.average_multiplier is proven exact
_EXACT_COUNT = {"int8": 4096, "int16": 16384}


@singledispatch
def lower(op: ops.Operator, node: Node, to: Fragment) -> None:
    """Emit the integer nodes for ``node`` into ``to``."""
    raise NotImplementedError(type(op).__name__)


@lower.register
def refuse(op: ops.FloatOperator, node: Node, to: Fragment) -> None:
    """The rule of the float operators that have none yet."""
    raise QuantizationError("has no integer meaning yet")


@lower.register
def _integer_operator(op: ops.IntegerOperator, node: Node, to: Fragment) -> None:
    raise QuantizationError("is an integer operator already; quantize takes a float graph")


def is_supported(op: ops.Operator) -> bool:
    """Whether ``op`` has a rule, or needs none."""
    return lower.dispatch(type(op)) is not refuse


Rule: TypeAlias = Callable[[Any, Node, Fragment], None]

_MAKES: dict[Rule, tuple[type[ops.Operator], ...]] = {}


def rule(
    *classes: type[ops.Operator], makes: tuple[type[ops.Operator], ...]
) -> Callable[[Rule], Rule]:
    """Register the rule of ``classes``, which ``makes`` these operators, and a Rescale beside."""

    def register(function: Rule) -> Rule:
        for kind in classes:
            lower.register(kind, function)
        _MAKES[function] = makes
        return function

    return register


def integer_operators(kind: type[ops.Operator]) -> tuple[type[ops.Operator], ...]:
    """What may stand for an operator of ``kind`` in an integer Graph, beside a Rescale.

    None where the quantizer refuses it. An operator that only selects stands for itself.
    """
    made = _MAKES.get(lower.dispatch(kind), ())
    return (kind,) if issubclass(kind, made) else made


@rule(ops.Conv, makes=(ops.QConv,))
def _conv(op: ops.Conv, node: Node, to: Fragment) -> None:
    quantized = ops.QConv(
        **to.clamp(node.output, op.lo, op.hi),
        input_zero_point=to.kind(node.input("x"))[1],
        strides=op.strides,
        pads=op.pads,
        dilations=op.dilations,
        group=op.group,
    )
    to.emit_layer(quantized)


@rule(
    ops.ConvTranspose,
    makes=(ops.QConv, ops.DepthToSpace, ops.Reshape, ops.Transpose, ops.Slice),
)
def _conv_transpose(op: ops.ConvTranspose, node: Node, to: Fragment) -> None:
    x, y = node.input("x"), node.output
    shapes = (to.graph.types[name].shape for name in (x, y))
    phases = phases_of(op, *to.layer_constants(), *shapes)
    quantized = ops.QConv(
        **to.clamp(y, op.lo, op.hi),
        input_zero_point=to.kind(x)[1],
        pads=phases.pads,
        dilations=phases.dilations,
        group=phases.group,
    )
    to.emit_moved(quantized, to.layer(phases.weights, phases.bias), phases.shape, phases.moves)


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


@rule(ops.Dense, makes=(ops.QDense,))
def _dense(op: ops.Dense, node: Node, to: Fragment) -> None:
    quantized = ops.QDense(
        **to.clamp(node.output, op.lo, op.hi),
        input_zero_point=to.kind(node.input("x"))[1],
    )
    to.emit_layer(quantized)


@rule(ops.Pointwise, makes=(ops.Lookup, ops.Rescale, ops.Reshape))
def _pointwise(op: ops.Pointwise, node: Node, to: Fragment) -> None:
    x, y = node.input("x"), node.output
    if not to.is_computed(x):  # a constant that the model gives out
        t = to.type(y)
        assert t.quantization is not None
        value = pointwise.evaluate(op.expression, to.graph.constants[x])
        integers = t.quantization.quantize(value, t.dtype)
        to.emit(ops.Reshape(t.shape), to.constant("constant", integers, t.quantization))
        return
    in_dtype, out_dtype = _dtypes(to, x, y)
    if in_dtype == "int8":
        _emit_table(op, to, x, y, _table(op, to, to.kind(x), to.kind(y), 256))
        return
    bounds = pointwise.clip_bounds(op.expression)
    if bounds is not None:
        to.emit(to.rescale(x, y, *bounds), x)
        return
    # a table of 65,536 bytes would serve an 8-bit result; one of 513 steps and a Rescale do too
    _emit_wide_table(op, to, x, to.in_16_bits("wide", y) if out_dtype == "int8" else y)


def _emit_wide_table(op: ops.Pointwise, to: Fragment, x: str, y: str) -> None:
    """The table of a function of 16 bits: of 513 knots where these are nearly as good as 65,536.

    Where they are not, they may be after a Rescale to a finer scale: one that reaches no farther
    than the function still changes, and has knots where it bends.
    """
    entries = _table(op, to, to.kind(x), to.kind(y), 65536)
    own, finer = to.kind(x)[0], _finer_step(op, to.kind(x), to.kind(y), entries)
    for step in (own, finer):
        ratio = multiplier_and_shift(own / step)
        q = requantize(np.arange(-32768, 32768), *ratio, 0, -32768, 32767)
        with suppress(QuantizationError):
            knots = _table(op, to, (step, 0, "int16"), to.kind(y), KNOTS)
            if np.abs(interpolate_16(knots, q) - entries).max() <= INTERPOLATION_STEPS:
                _emit_table(op, to, x if step == own else to.at_step(0, step), y, knots)
                return
    _emit_table(op, to, x, y, entries)


def _finer_step(op: ops.Pointwise, x: Integers, y: Integers, entries: np.ndarray) -> float:
    """The scale of ``x`` that reaches as far as ``entries`` change, or a little farther."""
    changes = np.flatnonzero(np.diff(entries)) - 32768
    farthest = max(-int(changes.min(initial=0)), int(changes.max(initial=0)) + 1)
    low, high = -32768 * y[0], 32767 * y[0]

    def clamped(reals: np.ndarray) -> np.ndarray:
        return np.clip(pointwise.evaluate(op.expression, reals), low, high)

    return nearest_float32(step_with_bends_on_knots(clamped, x[0] * farthest / 32767, y[0]))


def _emit_table(op: ops.Pointwise, to: Fragment, x: str, y: str, entries: np.ndarray) -> None:
    lookup = ops.Lookup(op.expression, to.known.domains.get(to.node.input("x")))
    to.emit_by_way_of(y, lookup, x, to.constant("table", entries, None))


def _table(op: ops.Pointwise, to: Fragment, x: Integers, y: Integers, entries: int) -> np.ndarray:
    domain = to.known.domains.get(to.node.input("x"))
    try:
        return function_table(op.expression, domain, x, y, entries)
    except QuantizationError as error:
        raise QuantizationError(str(error), node=to.node.name, operator=str(op)) from error


def _dtypes(to: Fragment, *names: str) -> tuple[Width, ...]:
    return tuple(to.kind(name)[2] for name in names)


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


@rule(ops.Exceeds, makes=(ops.QSub, ops.Lookup))
def _exceeds(op: ops.Exceeds, node: Node, to: Fragment) -> None:
    """x is above t where its integer is above floor(t / scale + zero point): the sign of an exact
    difference, of which 8 bits are enough."""
    x, y = node.input("x"), node.output
    thresholds = to.graph.constants.get(node.input("thresholds"))
    if thresholds is None or not to.is_computed(x):
        raise QuantizationError("thresholds that a run computes cannot be quantized")
    scale, zero_point, dtype = to.kind(x)
    info = np.iinfo(dtype)
    below = np.floor(thresholds.astype(np.float64) / scale + zero_point)
    integers = np.clip(below, info.min, info.max).astype(dtype)
    difference = ops.QSub(
        a_zero_point=zero_point,
        b_zero_point=zero_point,
        rounding=to.rounding,
        **add_parameters(scale, scale, scale, bits=8 if dtype == "int8" else 16),
    )
    t = replace(to.type(x), dtype="int8", quantization=Quantization.per_tensor(scale))
    constant = to.constant("thresholds", integers, to.type(x).quantization)
    sign = to.emit_part("difference", t, difference, x, constant)
    lookup = ops.Lookup(("greater", "x", 0.0))
    table = function_table(lookup.expression, None, to.kind(sign), to.kind(y), 256)
    to.emit(lookup, sign, to.constant("table", table, None))


@rule(ops.PRelu, makes=(ops.QPRelu,))
def _prelu(op: ops.PRelu, node: Node, to: Fragment) -> None:
    x, slope = node.inputs
    if slope not in to.graph.constants:
        raise QuantizationError(
            "slopes that a run computes cannot be quantized",
            node=node.name,
            operator="PRelu",
        )
    in_scale, in_zero_point, _ = to.kind(x)
    ratio = in_scale / to.kind(node.output)[0]
    slopes = _cyclic(to.graph.constants[slope], to.type(x).shape).astype(np.float64)
    pairs = [multiplier_and_shift(abs(s) * ratio) if s else (0, 62) for s in slopes.tolist()]
    signed = [int(math.copysign(1, s)) * m for s, (m, _) in zip(slopes, pairs, strict=True)]
    multiplier, shift = multiplier_and_shift(ratio)
    quantized = ops.QPRelu(
        **to.clamp(node.output),
        input_zero_point=in_zero_point,
        multiplier=multiplier,
        shift=shift,
    )
    to.emit(
        quantized,
        x,
        to.constant("multiplier", np.array(signed, np.int32), None),
        to.constant("shift", np.array([s for _, s in pairs], np.int8), None),
    )


def _cyclic(slope: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """``slope`` broadcast to the fewest last axes of ``shape`` along which it varies."""
    full = slope.reshape((1,) * (len(shape) - slope.ndim) + slope.shape)
    varies = [axis for axis, n in enumerate(full.shape) if n > 1]
    first = varies[0] if varies else len(shape)
    return np.broadcast_to(full.reshape(full.shape[first:]), shape[first:]).reshape(-1)


@rule(ops.AveragePool, makes=(ops.QAveragePool,))
def _average_pool(op: ops.AveragePool, node: Node, to: Fragment) -> None:
    x, y = node.input("x"), node.output
    (in_scale, zero_point, dtype), (out_scale, _, _) = to.kind(x), to.kind(y)
    counts = range(1, op.kernel[0] * op.kernel[1] + 1)
    clamp = to.clamp(y)
    exact = to.type(x).quantization == to.type(y).quantization
    if exact and counts[-1] <= _EXACT_COUNT[dtype]:
        # the sum of the integers as they stand: their average needs no zero point, and a second
        # rounding would spoil the division, which TFLM too computes exactly
        pairs = [average_multiplier(n) for n in counts]
        clamp |= {"output_zero_point": 0, "rounding": "single"}
        subtracted = 0
    else:
        pairs = [multiplier_and_shift(in_scale / (out_scale * n)) for n in counts]
        subtracted = zero_point
    quantized = ops.QAveragePool(
        **clamp,
        kernel=op.kernel,
        strides=op.strides,
        pads=op.pads,
        ceil_pads=op.ceil_pads,
        count_include_pad=op.count_include_pad,
        input_zero_point=subtracted,
        pad_value=zero_point,
    )
    to.emit(
        quantized,
        x,
        to.constant("multiplier", np.array([m for m, _ in pairs], np.int32), None),
        to.constant("shift", np.array([s for _, s in pairs], np.int8), None),
    )


def _sum_over_axes(
    op: ops.ReduceMean | ops.ReduceSum, node: Node, to: Fragment, *, mean: bool
) -> None:
    x, y = node.input("x"), node.output
    (in_scale, zero_point, dtype), (out_scale, _, _) = to.kind(x), to.kind(y)
    count = math.prod(to.type(x).shape[a] for a in op.axes)
    clamp = to.clamp(y)
    exact = mean and to.type(x).quantization == to.type(y).quantization
    if exact and count <= _EXACT_COUNT[dtype]:
        multiplier, shift = average_multiplier(count)
        clamp |= {"output_zero_point": 0, "rounding": "single"}
        zero_point = 0
    else:
        ratio = in_scale / (out_scale * (count if mean else 1))
        wide = dtype == "int16" and count * 32768 >= 2**31
        multiplier, shift = multiplier_and_shift(ratio, 24 if wide else 31)
    quantized = ops.QReduceSum(
        **clamp,
        axes=op.axes,
        keepdims=op.keepdims,
        input_zero_point=zero_point,
        multiplier=multiplier,
        shift=shift,
        mean=mean,
    )
    to.emit(quantized, x)


@rule(ops.ReduceMean, makes=(ops.QReduceSum,))
def _reduce_mean(op: ops.ReduceMean, node: Node, to: Fragment) -> None:
    _sum_over_axes(op, node, to, mean=True)


@rule(ops.ReduceSum, makes=(ops.QReduceSum,))
def _reduce_sum(op: ops.ReduceSum, node: Node, to: Fragment) -> None:
    _sum_over_axes(op, node, to, mean=False)


@rule(ops.Resize, makes=(ops.QResize,))
def _resize(op: ops.Resize, node: Node, to: Fragment) -> None:
    x, y = node.input("x"), node.output
    (in_scale, zero_point, dtype), (out_scale, _, _) = to.kind(x), to.kind(y)
    made = integer_resize(op, dtype)
    ratio = in_scale / out_scale / (made.rows.denominator * made.columns.denominator)
    multiplier, shift = multiplier_and_shift(ratio, made.bits)
    clamp = to.clamp(y)
    if to.type(x).quantization == to.type(y).quantization:
        # what lies between two integers is one division: a second rounding would spoil it
        clamp |= {"rounding": "single"}
    quantized = ops.QResize(
        **clamp, input_zero_point=zero_point, multiplier=multiplier, shift=shift
    )
    to.emit(
        quantized,
        x,
        to.constant("first_rows", made.rows.first, None),
        to.constant("row_weights", made.rows.weights, None),
        to.constant("first_columns", made.columns.first, None),
        to.constant("column_weights", made.columns.weights, None),
    )


@rule(ops.ReduceL2, makes=(ops.QReduceL2,))
def _reduce_l2(op: ops.ReduceL2, node: Node, to: Fragment) -> None:
    x, y = node.input("x"), node.output
    in_scale, zero_point, dtype = to.kind(x)
    count = math.prod(to.type(x).shape[a] for a in op.axes)
    refuse_too_many(count)
    fraction = root_fraction(count, reach(dtype, zero_point))
    multiplier, shift = multiplier_and_shift(in_scale / to.kind(y)[0] * 2.0**-fraction)
    quantized = ops.QReduceL2(
        **to.clamp(y),
        axes=op.axes,
        keepdims=op.keepdims,
        input_zero_point=zero_point,
        fraction=fraction,
        multiplier=multiplier,
        shift=shift,
    )
    to.emit(quantized, x)


@rule(ops.Normalization, makes=(ops.QNormalization,))
def _normalization(op: ops.Normalization, node: Node, to: Fragment) -> None:
    x, y = node.input("x"), node.output
    attributes, multiplier, offset = integer_normalization(
        op, to.type(x).shape, to.kind(x), to.kind(y)[0], *to.scale_and_bias()
    )
    # R1 alone: no library that rounds twice has it
    stage = to.clamp(y, op.lo, op.hi)
    stage["rounding"] = "single"
    to.emit(
        ops.QNormalization(**stage, **attributes),
        x,
        to.constant("multiplier", multiplier, None),
        to.constant("bias", offset, None),
    )


@rule(ops.Softmax, makes=(ops.QSoftmax,))
def _softmax(op: ops.Softmax, node: Node, to: Fragment) -> None:
    y = node.output
    width = wider(*_dtypes(to, node.input("x"), y))
    x = to.widened(0, width)
    wide = y
    if to.kind(y)[2] != width:
        prescribed = fixed_output(op, width)
        wide = to.between("wide", replace(to.type(y), dtype=width, quantization=prescribed))
    exponentials = exponential_table_8 if width == "int8" else exponential_table_16
    name = to.constant("table", exponentials(to.kind(x)[0]), None)
    to.emit_by_way_of(wide, ops.QSoftmax(op.axis), x, name)


@rule(
    ops.LogSoftmax,
    makes=(ops.QSoftmax, ops.ReduceMax, ops.QSub, ops.Lookup, ops.QAdd),
)
def _log_softmax(op: ops.LogSoftmax, node: Node, to: Fragment) -> None:
    """(x - max x) + log(max softmax x): what is far below the largest keeps its distance, and the
    logarithm is one of a probability of 1/n or more."""
    y, axis = node.output, op.axis
    given = to.kind(node.input("x"))[2]
    x = to.widened(0, "int16")
    kind = to.type(x)
    step, count = to.kind(x)[0], kind.shape[axis]
    one = (*kind.shape[:axis], 1, *kind.shape[axis + 1 :])
    largest = to.emit_part("largest", replace(kind, shape=one), ops.ReduceMax((axis,), True), x)
    # 255 steps of int8 times 128 are fewer than 32,768; those of int16 may be twice as many
    covering = Quantization.per_tensor(step if given == "int8" else 2 * step)
    distances = replace(kind, quantization=covering)
    distance = to.emit_part(
        "distance", distances, _difference(to, distances, x, largest), x, largest
    )
    shares = replace(kind, quantization=fixed_output(ops.Softmax(axis), "int16"))
    table = to.constant("exponentials", exponential_table_16(step), None)
    share = to.emit_part("softmax", shares, ops.QSoftmax(axis), x, table)
    best = to.emit_part("best", replace(shares, shape=one), ops.ReduceMax((axis,), True), share)
    # no finer than y's step makes of use, so that its table is one of few entries
    finest = max(math.log(max(count, 2)) / 32000, to.kind(y)[0] / 128)
    logarithms = replace(kind, shape=one, quantization=Quantization.per_tensor(finest))
    logarithm = _logarithm(to, best, logarithms, count)
    a, b = to.kind(distance)[0], to.kind(logarithm)[0]
    total = ops.QAdd(**to.clamp(y), **add_parameters(a, b, to.kind(y)[0], bits=16))
    to.emit(total, distance, logarithm)


def _difference(to: Fragment, t: TensorType, a: str, b: str) -> ops.QSub:
    """``a - b``, of 16 bits each, as type ``t``."""
    assert t.quantization is not None
    step = t.quantization.step
    parameters = add_parameters(to.kind(a)[0], to.kind(b)[0], step, bits=16)
    return ops.QSub(lo=-32768, hi=32767, rounding=to.rounding, **parameters)


def _logarithm(to: Fragment, share: str, t: TensorType, count: int) -> str:
    """The logarithm of ``share``, which is at least 1 / ``count``, as type ``t``."""
    lookup = ops.Lookup(("log", "x"), (1 / count, 1.0))
    return _emit_function(to, "logarithm", t, lookup, share, min(32768 // count, 32767))


def _emit_function(
    to: Fragment, part: str, t: TensorType, lookup: ops.Lookup, x: str, least: int
) -> str:
    """A function of 16 bits as type ``t``, of 513 entries where these serve from ``least`` on."""
    assert t.quantization is not None
    integers = to.kind(x), (t.quantization.step, 0, t.dtype)
    entries = wide_table(lookup.expression, lookup.domain, *integers, least)
    return to.emit_part(part, t, lookup, x, to.constant(f"{part} table", entries, None))


@rule(ops.LRN, makes=(ops.QMul, ops.QDense, ops.Lookup))
def _lrn(op: ops.LRN, node: Node, to: Fragment) -> None:
    """x times a power of the sum of its neighbours' squares, 16 bits for each of these."""
    if op.bias <= 0 or op.alpha < 0:
        raise QuantizationError(
            "divides by what may be 0; a bias above 0 and an alpha that is not negative are taken"
        )
    x, y = node.input("x"), node.output
    shape, (scale, zero_point, dtype) = to.type(x).shape, to.kind(x)
    squares = _type_16(shape, (reach(dtype, zero_point) * scale) ** 2)
    square = to.emit_part("squares", squares, _product(to, x, x, squares), x, x)
    window = _window_of_channels(shape[-1], op.size)
    # less half of the most that it can be, a sum makes use of both signs
    half = int(window.sum(1).max()) * 32767 // 2
    middle = half * to.kind(square)[0]
    sums = _type_16(shape, middle)
    total = to.emit_part("sums", sums, *_sum_less(to, square, window, half, sums))
    factor = op.alpha / op.size
    divisor = ("max", ("add", ("mul", "x", factor), op.bias + factor * middle), op.bias)
    lookup = ops.Lookup(("pow", divisor, -op.beta), (-middle, middle))
    ends = pointwise.evaluate(lookup.expression, np.array(lookup.domain))
    powers = _type_16(shape, float(ends.max()))
    power = _emit_function(to, "powers", powers, lookup, total, -32767)
    end = to.clamp(y)
    product = _product(to, x, power, to.type(y))
    zero_point, lo, hi = end["output_zero_point"], end["lo"], end["hi"]
    to.emit(replace(product, output_zero_point=zero_point, lo=lo, hi=hi), x, power)


def _type_16(shape: tuple[int, ...], farthest: float) -> TensorType:
    """A type of 16 bits that reaches as far as ``farthest`` from 0."""
    return activation_type(shape, 0.0, farthest, "int16", 1.0)


def _product(to: Fragment, a: str, b: str, t: TensorType) -> ops.QMul:
    """``a`` times ``b``, of 16 bits, at the scale of ``t``."""
    assert t.quantization is not None
    (a_scale, a_zero, _), (b_scale, b_zero, _) = to.kind(a), to.kind(b)
    multiplier, shift = multiplier_and_shift(a_scale * b_scale / t.quantization.step)
    return ops.QMul(
        lo=-32768,
        hi=32767,
        a_zero_point=a_zero,
        b_zero_point=b_zero,
        multiplier=multiplier,
        shift=shift,
    )


def _sum_less(
    to: Fragment, x: str, window: np.ndarray, less: int, t: TensorType
) -> tuple[ops.Operator, *tuple[str, ...]]:
    """The sums of ``x`` over each ``window`` [O,I], less an integer, as type ``t``."""
    assert t.quantization is not None
    count = len(window)
    multiplier, shift = multiplier_and_shift(
        to.kind(x)[0] / t.quantization.step,
        multiplier_bits(int(window.sum(1).max()) * 32768 + less),
    )
    return (
        ops.QDense(lo=-32768, hi=32767),
        x,
        to.constant("window", window, Quantization((1.0,) * count, 0, 0)),
        to.constant("half", np.full(count, -less, np.int64), None),
        to.constant("multiplier", np.full(count, multiplier, np.int32), None),
        to.constant("shift", np.full(count, shift, np.int8), None),
    )


def _window_of_channels(channels: int, size: int) -> np.ndarray:
    """Which channels [:, i] are beside each, int8: one more behind it where ``size`` is even."""
    before, after = (size - 1) // 2, size // 2
    offset = np.arange(channels) - np.arange(channels)[:, None]
    return ((offset >= -before) & (offset <= after)).astype(np.int8)


@rule(
    ops.Recurrent,
    makes=(
        ops.QDense,
        ops.QAdd,
        ops.QSub,
        ops.QMul,
        ops.Lookup,
        ops.Split,
        ops.Reshape,
        ops.Concat,
    ),
)
def _recurrent(op: ops.Recurrent, node: Node, to: Fragment) -> None:
    unroll(op, node, to)


@rule(ops.Joining, makes=(ops.Joining,))
def _join(op: ops.Joining, node: Node, to: Fragment) -> None:
    y = node.output
    if to.type(y).quantization is None:
        to.emit(op, *(to.unscaled(name) for name in node.inputs))
        return
    to.emit(op, *(to.at_type_of(i, y) for i in range(len(node.inputs))))


@rule(ops.Pad, makes=(ops.Pad,))
def _pad(op: ops.Pad, node: Node, to: Fragment) -> None:
    t = to.type(node.output)
    if t.quantization is None:
        to.emit(op, node.input("x"))
        return
    value = t.quantization.quantize(np.array([op.value], np.float32), t.dtype)
    to.emit(replace(op, value=int(value[0])), to.at_type_of(0, node.output))


@rule(ops.Gather, ops.GatherElements, makes=(ops.Gather, ops.GatherElements))
def _gather(op: ops.Gather | ops.GatherElements, node: Node, to: Fragment) -> None:
    y = node.output
    scaled = to.type(y).quantization is not None
    data = to.at_type_of(0, y) if scaled else to.unscaled(node.inputs[0])
    to.emit(op, data, to.unscaled(node.inputs[1]))


@rule(ops.NonMaxSuppression, makes=(ops.NonMaxSuppression,))
def _non_max_suppression(op: ops.NonMaxSuppression, node: Node, to: Fragment) -> None:
    """On the integers: which boxes overlap depends neither on a scale nor on a zero point."""
    boxes, scores = node.operands
    boxes = to.widened(0, "int16") if to.is_computed(boxes) else to.operand(boxes, "int16")
    scores = to.operand(scores, "int16")
    scale, zero_point, dtype = to.kind(scores)
    info = np.iinfo(dtype)
    below = np.clip(np.float64(op.above) / scale + zero_point, info.min - 1, info.max)
    to.emit(replace(op, above=math.floor(below)), boxes, scores)


@rule(
    ops.ArgMax,
    ops.IndexArithmetic,
    ops.TopIndices,
    ops.Selecting,
    makes=(ops.ArgMax, ops.IndexArithmetic, ops.TopIndices, ops.Selecting),
)
def _selecting(op: ops.Operator, node: Node, to: Fragment) -> None:
    to.emit(op, *map(to.unscaled, node.inputs))
