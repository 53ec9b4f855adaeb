"""The quantization rule of every operator: a float node into the integer nodes that stand for it.

``lower`` is registered by operator class; a class without a rule is refused by name before any
calibration. Every value already has its integer type when the rules run (``post_training.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import singledispatch
from typing import TypedDict

import numpy as np

from edgeinfer.arithmetic import pointwise
from edgeinfer.arithmetic.fixedpoint import (
    add_parameters,
    average_multiplier,
    exponential_table_8,
    exponential_table_16,
    interpolate_16,
    interpolation_table_16,
    multiplier_and_shift,
    round_half_away,
    table,
)
from edgeinfer.errors import QuantizationError
from edgeinfer.graph import Graph, Node, Quantization, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.quant.schemes import Scheme, Width, activation_type
from edgeinfer.quant.weights import quantize_weights

__all__ = ["Lowering", "fixed_output", "is_supported", "lower"]

# an interpolated 16-bit table may err by this many output steps before a full one takes its place
_INTERPOLATION_STEPS = 4.0

# the counts of which fixedpoint.average_multiplier is proven exact
_EXACT_COUNT = {"int8": 4096, "int16": 16384}


def fixed_output(op: ops.Operator, dtype: Width) -> Quantization | None:
    """The output quantization that the contract prescribes for ``op``, where it does."""
    if not isinstance(op, ops.Softmax):
        return None
    if dtype == "int8":
        return Quantization.per_tensor(1 / 256, -128)
    return Quantization.per_tensor(1 / 32768)


class OutputStage(TypedDict):
    """What ends every requantizing operator: ``ops.Requantizing``'s attributes."""

    output_zero_point: int
    lo: int
    hi: int
    rounding: ops.Rounding


class Lowering:
    """The integer Graph in the making.

    Parameters
    ----------
    graph : Graph
        The float Graph.
    scheme : Scheme
        The widths of weights and of constants that join activations.
    rounding : str
        ``single`` or ``double``, for every requantize.
    types : dict of str to TensorType
        The integer type of every value that is not constant.
    ranges : dict of str to (float, float)
        What calibration saw of each value; tables are not asked for sense outside.
    """

    def __init__(
        self,
        graph: Graph,
        scheme: Scheme,
        rounding: ops.Rounding,
        types: dict[str, TensorType],
        ranges: dict[str, tuple[float, float]],
    ) -> None:
        self.graph = graph
        self.scheme = scheme
        self.rounding = rounding
        self.types = dict(types)
        self.ranges = ranges
        self.constants: dict[str, np.ndarray] = {}
        self.nodes: list[Node] = []

    # ---- what a rule reads ----

    def kind(self, name: str) -> tuple[float, int, Width]:
        """Scale, zero point and element type of an activation."""
        t = self.types[name]
        assert t.quantization is not None
        return t.quantization.step, t.quantization.zero_point, t.dtype  # type: ignore[return-value]

    def operand(self, name: str) -> str:
        """``name`` itself, or where it is a float constant, its integers under the same name."""
        if name in self.types:
            return name
        array = self.graph.constants[name]
        if array.dtype != np.float32:
            return self.constant(name, array, None)
        low, high = min(0.0, float(array.min())), max(0.0, float(array.max()))
        t = activation_type(array.shape, low, high, self.scheme.activations)
        return self._integers(name, array, t.quantization)

    def clamp(self, output: str, lo: float = -math.inf, hi: float = math.inf) -> OutputStage:
        """The stage that gives ``output``, with a fused clamp to real ``lo`` ... ``hi``."""
        scale, zero_point, dtype = self.kind(output)
        info = np.iinfo(dtype)

        def integer(bound: float) -> int:
            if math.isinf(bound):
                return info.min if bound < 0 else info.max
            q = float(round_half_away(bound / scale)) + zero_point
            return int(min(max(q, info.min), info.max))

        return {
            "output_zero_point": zero_point,
            "lo": integer(lo),
            "hi": integer(hi),
            "rounding": self.rounding,
        }

    def rescale(
        self, x: str, output: str, lo: float = -math.inf, hi: float = math.inf
    ) -> ops.Rescale:
        """The operator that brings ``x`` to the quantization of ``output``, clamped."""
        in_scale, in_zero_point, _ = self.kind(x)
        multiplier, shift = multiplier_and_shift(in_scale / self.kind(output)[0])
        return ops.Rescale(
            **self.clamp(output, lo, hi),
            input_zero_point=in_zero_point,
            multiplier=multiplier,
            shift=shift,
        )

    # ---- what a rule writes ----

    def constant(self, name: str, array: np.ndarray, quantization: Quantization | None) -> str:
        """A constant of the integer Graph."""
        self.constants[name] = np.ascontiguousarray(array)
        self.types[name] = TensorType(array.shape, str(array.dtype), quantization)  # type: ignore[arg-type]
        return name

    def emit(self, node: Node, op: ops.Operator, *inputs: str) -> None:
        """``op`` in the place of the float ``node``."""
        self.nodes.append(Node(node.name, op, inputs, node.outputs))

    def emit_layer(self, node: Node, op: ops.Operator) -> None:
        """A layer with per-channel weights, channel first."""
        x, weights, *bias = node.inputs
        if weights not in self.graph.constants or (bias and bias[0] not in self.graph.constants):
            raise QuantizationError(
                "weights that a run computes cannot be quantized yet",
                node=node.name,
                operator=type(node.op).__name__,
            )
        q = quantize_weights(
            self.graph.constants[weights],
            self.graph.constants[bias[0]] if bias else None,
            self.types[self.operand(x)],
            self.types[node.outputs[0]],
            self.scheme.weights,
        )
        per_channel = Quantization(tuple(q.scale.tolist()), 0, 0)
        self.emit(
            node,
            op,
            x,
            self.constant(f"{node.name}/weights", q.weights, per_channel),
            # its scale is the product of x's and the weights'
            self.constant(f"{node.name}/bias", q.bias, None),
            self.constant(f"{node.name}/multiplier", q.multiplier, None),
            self.constant(f"{node.name}/shift", q.shift, None),
        )

    def at_type_of(self, node: Node, index: int, output: str) -> str:
        """Input ``index`` of ``node`` at the quantization of ``output``."""
        name = node.inputs[index]
        target = self.types[output].quantization
        if name in self.graph.constants and name not in self.types:
            return self._integers(name, self.graph.constants[name], target)
        if self.types[name].quantization == target:
            return name
        rescaled = f"{node.name}/input{index}"
        self.types[rescaled] = replace(self.types[name], quantization=target)
        self.nodes.append(Node(rescaled, self.rescale(name, output), (name,), (rescaled,)))
        return rescaled

    def _integers(self, name: str, array: np.ndarray, quantization: Quantization | None) -> str:
        assert quantization is not None
        known = self.types.get(name)
        while known is not None and known.quantization != quantization:
            # the same constant serves another operator at another scale
            name += "/rescaled"
            known = self.types.get(name)
        dtype = self.scheme.activations
        return self.constant(name, quantization.quantize(array, dtype), quantization)


@singledispatch
def lower(op: ops.Operator, node: Node, to: Lowering) -> None:
    """Emit the integer nodes for ``node`` into ``to``."""
    raise QuantizationError(
        "has no integer meaning yet", node=node.name, operator=type(op).__name__
    )


def is_supported(op: ops.Operator) -> bool:
    """Whether ``op`` has a rule."""
    return lower.dispatch(type(op)) is not lower.dispatch(object)


@lower.register
def _conv(op: ops.Conv, node: Node, to: Lowering) -> None:
    quantized = ops.QConv(
        **to.clamp(node.outputs[0], op.lo, op.hi),
        input_zero_point=to.kind(node.inputs[0])[1],
        strides=op.strides,
        pads=op.pads,
        dilations=op.dilations,
        group=op.group,
    )
    to.emit_layer(node, quantized)


@lower.register
def _dense(op: ops.Dense, node: Node, to: Lowering) -> None:
    quantized = ops.QDense(
        **to.clamp(node.outputs[0], op.lo, op.hi),
        input_zero_point=to.kind(node.inputs[0])[1],
    )
    to.emit_layer(node, quantized)


@lower.register
def _pointwise(op: ops.Pointwise, node: Node, to: Lowering) -> None:
    (x,), (y,) = node.inputs, node.outputs
    in_scale, in_zero_point, in_dtype = to.kind(x)
    out_scale, out_zero_point, out_dtype = to.kind(y)
    bounds = _clip_bounds(op.expression)
    if in_dtype == "int16" and bounds is not None:
        to.emit(node, to.rescale(x, y, *bounds), x)
        return
    function = _total(op.expression, *to.ranges[x])
    try:
        entries = table(
            function, in_scale, in_zero_point, out_scale, out_zero_point, in_dtype, out_dtype
        )
    except QuantizationError as error:
        raise QuantizationError(str(error), node=node.name, operator=str(op)) from error
    if in_dtype == "int16":
        knots = interpolation_table_16(function, in_scale, out_scale)
        if knots is not None and _interpolation_error(knots, entries) <= _INTERPOLATION_STEPS:
            entries = knots
    to.emit(node, ops.Lookup(), x, to.constant(f"{node.name}/table", entries, None))


def _clip_bounds(expression: pointwise.Expression) -> tuple[float, float] | None:
    match expression:
        case ("relu", "x"):
            return 0.0, math.inf
        case ("clip", "x", float(lo), float(hi)):
            return lo, hi
    return None


def _total(
    expression: pointwise.Expression, low: float, high: float
) -> Callable[[np.ndarray], np.ndarray]:
    """The function, and outside its domain its value at the nearest input that was seen."""

    def function(x: np.ndarray) -> np.ndarray:
        y = pointwise.evaluate(expression, x)
        if not np.isnan(y).any():
            return y
        return np.where(np.isnan(y), pointwise.evaluate(expression, np.clip(x, low, high)), y)

    return function


def _interpolation_error(knots: np.ndarray, entries: np.ndarray) -> float:
    q = np.arange(-32768, 32768)
    return float(np.abs(interpolate_16(knots, q) - entries).max())


def _add(op: ops.Add | ops.Sub, node: Node, to: Lowering, kind: type[ops.QAdd]) -> None:
    a, b = (to.operand(name) for name in node.inputs)
    (a_scale, a_zero, dtype), (b_scale, b_zero, _) = to.kind(a), to.kind(b)
    out_scale, _, _ = to.kind(node.outputs[0])
    quantized = kind(
        **to.clamp(node.outputs[0], op.lo, op.hi),
        a_zero_point=a_zero,
        b_zero_point=b_zero,
        **add_parameters(a_scale, b_scale, out_scale, bits=8 if dtype == "int8" else 16),
    )
    to.emit(node, quantized, a, b)


@lower.register
def _(op: ops.Add, node: Node, to: Lowering) -> None:
    _add(op, node, to, ops.QAdd)


@lower.register
def _(op: ops.Sub, node: Node, to: Lowering) -> None:
    _add(op, node, to, ops.QSub)


@lower.register
def _mul(op: ops.Mul, node: Node, to: Lowering) -> None:
    a, b = (to.operand(name) for name in node.inputs)
    (a_scale, a_zero, _), (b_scale, b_zero, _) = to.kind(a), to.kind(b)
    multiplier, shift = multiplier_and_shift(a_scale * b_scale / to.kind(node.outputs[0])[0])
    quantized = ops.QMul(
        **to.clamp(node.outputs[0], op.lo, op.hi),
        a_zero_point=a_zero,
        b_zero_point=b_zero,
        multiplier=multiplier,
        shift=shift,
    )
    to.emit(node, quantized, a, b)


@lower.register
def _prelu(op: ops.PRelu, node: Node, to: Lowering) -> None:
    x, slope = node.inputs
    if slope not in to.graph.constants:
        raise QuantizationError(
            "slopes that a run computes cannot be quantized",
            node=node.name,
            operator="PRelu",
        )
    in_scale, in_zero_point, _ = to.kind(x)
    ratio = in_scale / to.kind(node.outputs[0])[0]
    slopes = _cyclic(to.graph.constants[slope], to.types[x].shape).astype(np.float64)
    pairs = [multiplier_and_shift(abs(s) * ratio) if s else (0, 62) for s in slopes.tolist()]
    signed = [int(math.copysign(1, s)) * m for s, (m, _) in zip(slopes, pairs, strict=True)]
    multiplier, shift = multiplier_and_shift(ratio)
    quantized = ops.QPRelu(
        **to.clamp(node.outputs[0]),
        input_zero_point=in_zero_point,
        multiplier=multiplier,
        shift=shift,
    )
    to.emit(
        node,
        quantized,
        x,
        to.constant(f"{node.name}/multiplier", np.array(signed, np.int32), None),
        to.constant(f"{node.name}/shift", np.array([s for _, s in pairs], np.int8), None),
    )


def _cyclic(slope: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """``slope`` broadcast to the fewest last axes of ``shape`` along which it varies."""
    full = slope.reshape((1,) * (len(shape) - slope.ndim) + slope.shape)
    varies = [axis for axis, n in enumerate(full.shape) if n > 1]
    first = varies[0] if varies else len(shape)
    return np.broadcast_to(full.reshape(full.shape[first:]), shape[first:]).reshape(-1)


@lower.register
def _average_pool(op: ops.AveragePool, node: Node, to: Lowering) -> None:
    (x,), (y,) = node.inputs, node.outputs
    (in_scale, zero_point, dtype), (out_scale, _, _) = to.kind(x), to.kind(y)
    counts = range(1, op.kernel[0] * op.kernel[1] + 1)
    clamp = to.clamp(y)
    exact = to.types[x].quantization == to.types[y].quantization
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
        node,
        quantized,
        x,
        to.constant(f"{node.name}/multiplier", np.array([m for m, _ in pairs], np.int32), None),
        to.constant(f"{node.name}/shift", np.array([s for _, s in pairs], np.int8), None),
    )


def _reduce_sum(op: ops.ReduceMean | ops.ReduceSum, node: Node, to: Lowering, divisor: int) -> None:
    (x,), (y,) = node.inputs, node.outputs
    (in_scale, zero_point, dtype), (out_scale, _, _) = to.kind(x), to.kind(y)
    count = math.prod(to.types[x].shape[a] for a in op.axes)
    clamp = to.clamp(y)
    exact = to.types[x].quantization == to.types[y].quantization and divisor == count
    if exact and count <= _EXACT_COUNT[dtype]:
        multiplier, shift = average_multiplier(count)
        clamp |= {"output_zero_point": 0, "rounding": "single"}
        zero_point = 0
    else:
        ratio = in_scale / (out_scale * divisor)
        wide = dtype == "int16" and count * 32768 >= 2**31
        multiplier, shift = multiplier_and_shift(ratio, 24 if wide else 31)
    quantized = ops.QReduceSum(
        **clamp,
        axes=op.axes,
        keepdims=op.keepdims,
        input_zero_point=zero_point,
        multiplier=multiplier,
        shift=shift,
    )
    to.emit(node, quantized, x)


@lower.register
def _(op: ops.ReduceMean, node: Node, to: Lowering) -> None:
    shape = to.types[node.inputs[0]].shape
    _reduce_sum(op, node, to, math.prod(shape[a] for a in op.axes))


@lower.register
def _(op: ops.ReduceSum, node: Node, to: Lowering) -> None:
    _reduce_sum(op, node, to, 1)


@lower.register
def _softmax(op: ops.Softmax, node: Node, to: Lowering) -> None:
    (x,) = node.inputs
    scale, _, dtype = to.kind(x)
    exponentials = (exponential_table_8 if dtype == "int8" else exponential_table_16)(scale)
    name = to.constant(f"{node.name}/table", exponentials, None)
    to.emit(node, ops.QSoftmax(op.axis), x, name)


@lower.register(ops.Concat)
@lower.register(ops.Maximum)
@lower.register(ops.Minimum)
def _join(op: ops.Operator, node: Node, to: Lowering) -> None:
    y = node.outputs[0]
    if to.types[y].quantization is None:
        to.emit(node, op, *(to.operand(name) for name in node.inputs))
        return
    to.emit(node, op, *(to.at_type_of(node, i, y) for i in range(len(node.inputs))))


@lower.register
def _pad(op: ops.Pad, node: Node, to: Lowering) -> None:
    quantization = to.types[node.outputs[0]].quantization
    if quantization is not None:
        dtype = to.types[node.outputs[0]].dtype
        value = quantization.quantize(np.array([op.value], np.float32), dtype)
        op = replace(op, value=int(value[0]))
    to.emit(node, op, node.inputs[0])


@lower.register
def _gather(op: ops.Gather, node: Node, to: Lowering) -> None:
    data, indices = node.inputs
    y = node.outputs[0]
    if to.types[y].quantization is not None and data in to.graph.constants:
        to.emit(node, op, to.at_type_of(node, 0, y), to.operand(indices))
        return
    to.emit(node, op, *(to.operand(name) for name in node.inputs))


@lower.register(ops.ArgMax)
@lower.register(ops.DepthToSpace)
@lower.register(ops.Expand)
@lower.register(ops.MaxPool)
@lower.register(ops.ReduceMax)
@lower.register(ops.ReduceMin)
@lower.register(ops.Reshape)
@lower.register(ops.ResizeNearest)
@lower.register(ops.Slice)
@lower.register(ops.SpaceToDepth)
@lower.register(ops.Tile)
@lower.register(ops.Transpose)
def _move(op: ops.Operator, node: Node, to: Lowering) -> None:
    to.emit(node, op, *node.inputs)
