"""Rules of what divides by a measure of many elements: normalizations and softmaxes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgeinfer.arithmetic import elementary, pointwise
from edgeinfer.arithmetic.accumulators import reach
from edgeinfer.arithmetic.fixedpoint import (
    exponential_table_8,
    exponential_table_16,
    multiplier_and_shift,
    multiplier_bits,
)
from edgeinfer.errors import QuantizationError
from edgeinfer.graph import Node, Quantization, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.quant.fragment import Fragment
from edgeinfer.quant.normalization import integer_normalization
from edgeinfer.quant.rules.between import (
    difference_of,
    emit_function,
    ending,
    integers,
    of_reach,
    product_of,
    sum_of,
)
from edgeinfer.quant.rules.registry import rule
from edgeinfer.quant.schemes import fixed_output
from edgeinfer.quant.widths import wider

__all__: list[str] = []

# of an LRN, whose windows are a matrix with as many rows and columns
_MOST_CHANNELS = 8192


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


@rule(ops.Softmax, makes=(ops.QSoftmax, ops.Rescale))
def _softmax(op: ops.Softmax, node: Node, to: Fragment) -> None:
    y = node.output
    width = wider(to.kind(node.input("x"))[2], to.kind(y)[2])
    if to.type(y).quantization != fixed_output(op, to.kind(y)[2]):
        # another tool's scale: to round twice to 8 bits would tell
        width = "int16"
    x = to.widened(0, width)
    wide = y
    prescribed = fixed_output(op, width)
    if to.kind(y)[2] != width or to.type(y).quantization != prescribed:
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
    away = difference_of(to, x, largest, distances)
    distance = to.emit_part("distance", distances, away, x, largest)
    shares = replace(kind, quantization=fixed_output(ops.Softmax(axis), "int16"))
    table = to.constant("exponentials", exponential_table_16(step), None)
    share = to.emit_part("softmax", shares, ops.QSoftmax(axis), x, table)
    best = to.emit_part("best", replace(shares, shape=one), ops.ReduceMax((axis,), True), share)
    # no finer than y's step makes of use, so that its table is one of few entries
    finest = max(float(elementary.log(max(count, 2))) / 32000, to.kind(y)[0] / 128)
    logarithms = replace(kind, shape=one, quantization=Quantization.per_tensor(finest))
    logarithm = _logarithm(to, best, logarithms, count)
    to.emit(sum_of(to, distance, logarithm, to.type(y)), distance, logarithm)


def _logarithm(to: Fragment, share: str, t: TensorType, count: int) -> str:
    """The logarithm of ``share``, which is at least 1 / ``count``, as type ``t``."""
    lookup = ops.Lookup(("log", "x"), (1 / count, 1.0))
    return emit_function(to, "logarithm", t, lookup, share, min(32768 // count, 32767))


@rule(ops.LRN, makes=(ops.QMul, ops.QDense, ops.Lookup))
def _lrn(op: ops.LRN, node: Node, to: Fragment) -> None:
    """x times a power of the sum of its neighbours' squares, 16 bits for each of these."""
    if op.bias <= 0 or op.alpha < 0:
        raise QuantizationError(
            "divides by what may be 0; a bias above 0 and an alpha that is not negative are taken"
        )
    x, y = node.input("x"), node.output
    shape, (scale, zero_point, dtype) = to.type(x).shape, to.kind(x)
    if shape[-1] > _MOST_CHANNELS:
        raise QuantizationError(f"has {shape[-1]} channels; up to {_MOST_CHANNELS} are taken")
    squares = of_reach(shape, (reach(dtype, zero_point) * scale) ** 2)
    square = to.emit_part("squares", squares, product_of(to, x, x, squares), x, x)
    window = _window_of_channels(shape[-1], op.size)
    # less half of the most that it can be, a sum makes use of both signs
    half = int(window.sum(1).max()) * 32767 // 2
    middle = half * to.kind(square)[0]
    sums = of_reach(shape, middle)
    total = to.emit_part("sums", sums, *_sum_less(to, square, window, half, sums))
    factor = op.alpha / op.size
    divisor = ("max", ("add", ("mul", "x", factor), op.bias + factor * middle), op.bias)
    lookup = ops.Lookup(("pow", divisor, -op.beta), (-middle, middle))
    ends = pointwise.evaluate(lookup.expression, np.array(lookup.domain))
    powers = of_reach(shape, float(ends.max()))
    power = emit_function(to, "powers", powers, lookup, total, -32767)
    to.emit(product_of(to, x, power, to.type(y)), x, power)


def _sum_less(
    to: Fragment, x: str, window: np.ndarray, less: int, t: TensorType
) -> tuple[ops.Operator, *tuple[str, ...]]:
    """The sums of ``x`` over each ``window`` [O,I], less an integer, as type ``t``."""
    count = len(window)
    multiplier, shift = multiplier_and_shift(
        to.kind(x)[0] / integers(t)[0],
        multiplier_bits(int(window.sum(1).max()) * 32768 + less),
    )
    return (
        ops.QDense(**ending(t)),
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
