"""Rules of functions of one value: as tables, as a clamp, or of slopes and thresholds."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from edgeinfer.arithmetic import pointwise
from edgeinfer.arithmetic.fixedpoint import add_parameters, multiplier_and_shift
from edgeinfer.arithmetic.tables import function_table
from edgeinfer.errors import QuantizationError
from edgeinfer.graph import Node, Quantization
from edgeinfer.graph import operators as ops
from edgeinfer.quant.fragment import Fragment
from edgeinfer.quant.rules.registry import rule
from edgeinfer.quant.wide_tables import wide_table_and_step

__all__: list[str] = []


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
    if op.expression == "x":
        to.emit(to.rescale(x, y), x)
        return
    domain = to.known.domains.get(x)
    is_wide = to.kind(x)[2] == "int16"
    bounds = pointwise.clip_bounds(op.expression)
    if is_wide and bounds is not None:
        to.emit(to.rescale(x, y, *bounds), x)
        return
    try:
        if is_wide:
            # a table of 65,536 bytes would serve an 8-bit result; one of 513 and a Rescale do too
            y = to.in_16_bits("wide", y) if to.kind(y)[2] == "int8" else y
            entries, step = wide_table_and_step(op.expression, domain, to.kind(x), to.kind(y))
            x = x if step == to.kind(x)[0] else to.at_step(0, step)
        else:
            entries = function_table(op.expression, domain, to.kind(x), to.kind(y), 256)
    except QuantizationError as error:
        raise QuantizationError(str(error), node=node.name, operator=str(op)) from error
    to.emit_by_way_of(y, ops.Lookup(op.expression, domain), x, to.constant("table", entries, None))


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
        raise QuantizationError("slopes that a run computes cannot be quantized")
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
