"""Rules of what sums up elements: averages, sums and norms over windows and axes, and resizes."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.arithmetic.accumulators import reach
from edgeinfer.arithmetic.fixedpoint import average_multiplier, multiplier_and_shift, root_fraction
from edgeinfer.graph import Node
from edgeinfer.graph import operators as ops
from edgeinfer.quant.fragment import Fragment
from edgeinfer.quant.normalization import refuse_too_many
from edgeinfer.quant.resizing import integer_resize
from edgeinfer.quant.rules.registry import rule

__all__: list[str] = []

# the counts of which fixedpoint.average_multiplier is proven exact
_EXACT_COUNT = {"int8": 4096, "int16": 16384}


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


@rule(ops.ReduceMean, ops.ReduceSum, makes=(ops.QReduceSum,))
def _sum_or_mean(op: ops.ReduceMean | ops.ReduceSum, node: Node, to: Fragment) -> None:
    x, y, mean = node.input("x"), node.output, isinstance(op, ops.ReduceMean)
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
