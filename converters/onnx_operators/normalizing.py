"""Turns ONNX's normalizations into scales and shifts, or the operators that need statistics."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgeinfer.arithmetic.fixedpoint import Measure
from edgeinfer.converters.onnx_operators.call import Call
from edgeinfer.converters.onnx_operators.registry import Refusal, importer
from edgeinfer.converters.onnx_operators.spatial import apply_nhwc
from edgeinfer.converters.onnx_operators.values import Dynamic, Operand, Static
from edgeinfer.errors import ModelError
from edgeinfer.graph import operators as ops

__all__: list[str] = []

_BATCH_PARAMETERS = ("scale", "bias", "mean", "variance")


@importer("BatchNormalization", makes=(ops.Mul, ops.Add), ignores=("momentum",))
def _batch_normalization(call: Call) -> Sequence[Operand]:
    x = call.operand(0)
    training = bool(call.integer("training_mode", 0))
    # of a constant, as of weights that are standardized so, its statistics are constants too
    if (training and isinstance(x, Dynamic)) or any(call.uses_output(i) for i in range(1, 5)):
        raise Refusal("it is in training mode: export the model in evaluation mode")
    # before opset 9, spatial=0 has a parameter for each element, not for each channel
    shape = x.shape[1:] if call.integer("spatial", 1) == 0 else x.shape[1:2]
    arrays = []
    for index, name in enumerate(_BATCH_PARAMETERS, start=1):
        parameter = call.weights(index, name)
        if parameter is None or parameter.shape != shape:
            raise ModelError(f"its {name} must have shape {list(shape)}")
        arrays.append(parameter.finite().astype(np.float64))
    scale, bias, mean, variance = arrays
    if training and isinstance(x, Static):
        others = tuple(axis for axis in range(len(x.shape)) if axis != 1)
        values = x.finite().astype(np.float64)
        mean, variance = values.mean(others), values.var(others)
    epsilon = call.real("epsilon", 1e-5)
    if (variance + epsilon <= 0).any():
        raise ModelError(f"its variance plus epsilon {epsilon} is not positive")
    factor = scale / np.sqrt(variance + epsilon)
    ones = (1,) * (len(x.shape) - 1 - factor.ndim)
    y = x
    for op, array, name in (
        (ops.Mul(), factor, "factor"),
        (ops.Add(), bias - mean * factor, "shift"),
    ):
        constant = call.constant(array.astype(np.float32).reshape(*shape, *ones), name)
        y = call.emit(op, y, constant)
    return [y]


# what computes a scale, a bias or a statistic beside a normalization
_BESIDE = (ops.Mul, ops.Add)
_STATISTICS = (ops.ReduceMean, ops.Sub, ops.Pointwise)


@importer("InstanceNormalization", makes=(ops.Normalization, *_BESIDE))
def _instance_normalization(call: Call) -> Operand:
    x = call.operand(0)
    rank = len(x.shape)
    if rank < 3:
        raise ModelError(f"its input must have 3 axes or more, not shape {list(x.shape)}")
    channels = (x.shape[1], *(1,) * (rank - 2))
    op = ops.Normalization(axes=tuple(range(2, rank)), epsilon=_epsilon(call))
    parameters = [
        _of_shape(call, index, what, channels[:1], channels)
        for index, what in ((1, "scale"), (2, "bias"))
    ]
    return _normalized(call, op, x, *parameters)


def _normalized(
    call: Call, op: ops.Normalization, x: Operand, scale: Operand, bias: Operand | None = None
) -> Operand:
    """``op`` by a scale and a bias, which are multiplied and added where a run computes them."""
    bias_comes_apart = isinstance(bias, Dynamic)
    if isinstance(scale, Static):
        y = call.emit(op, x, scale, *([] if bias is None or bias_comes_apart else [bias]))
        return call.emit(ops.Add(), y, bias) if bias is not None and bias_comes_apart else y
    y = call.emit(ops.Mul(), call.emit(op, x, _number(call, 1.0)), scale)
    return y if bias is None else call.emit(ops.Add(), y, bias)


@importer(
    "LayerNormalization",
    makes=(ops.Normalization, *_BESIDE, *_STATISTICS),
    ignores=("stash_type",),
)
def _layer_normalization(call: Call) -> Sequence[Operand]:
    y = _over_last_axes(call, "variance")
    return [y, *_statistics(call)] if call.uses_output(1) or call.uses_output(2) else [y]


def _statistics(call: Call) -> list[Operand]:
    """The mean, and one over the root of the variance."""
    x = call.operand(0)
    rank = len(x.shape)
    axes = tuple(range(call.axis(call.integer("axis", -1), rank), rank))
    mean = call.emit(ops.ReduceMean(axes, True), x)
    squares = call.pointwise(("mul", "x", "x"), call.emit(ops.Sub(), x, mean))
    variance = call.emit(ops.ReduceMean(axes, True), squares)
    root = ("sqrt", ("add", "x", _epsilon(call)))
    return [mean, call.pointwise(("reciprocal", root), variance)][: call.output_count - 1]


@importer(
    "RMSNormalization",
    # onnxruntime's, to which some exporters give no domain
    "SimplifiedLayerNormalization",
    "com.microsoft.SimplifiedLayerNormalization",
    makes=(ops.Normalization, *_BESIDE),
    ignores=("stash_type",),
)
def _rms_normalization(call: Call) -> Sequence[Operand]:
    if call.uses_output(1):
        raise Refusal("its output inv_std_var is not supported")
    return [_over_last_axes(call, "squares")]


@importer("GroupNormalization", makes=(ops.Normalization, *_BESIDE), ignores=("stash_type",))
def _group_normalization(call: Call) -> Operand:
    x = call.operand(0)
    n, channels, *places = x.shape
    groups = call.integer("num_groups", 0)
    if groups < 1 or channels % groups:
        raise ModelError(f"{channels} channels do not divide into {groups} groups")
    # before opset 21, scale and bias have a number for each group
    last = (channels // groups,) if call.version >= 21 else (1,)
    grouped = (n, groups, channels // groups, *places)
    op = ops.Normalization(axes=tuple(range(2, len(grouped))), epsilon=_epsilon(call))
    parameters = [
        _of_shape(call, index, what, (groups * last[0],), (groups, *last, *(1,) * len(places)))
        for index, what in ((1, "scale"), (2, "bias"))
    ]
    y = _normalized(call, op, call.reshape(x, grouped), *parameters)
    return call.reshape(y, x.shape)


@importer("MeanVarianceNormalization", makes=(ops.Normalization,))
def _mean_variance_normalization(call: Call) -> Operand:
    """ONNX adds 1e-9 to the root, against zeros; what is divided by 0 is 0 anyway."""
    x = call.operand(0)
    axes = call.integers("axes")
    rank = len(x.shape)
    of = tuple(sorted({call.axis(axis, rank) for axis in ((0, 2, 3) if axes is None else axes)}))
    return call.emit(ops.Normalization(axes=of), x, _number(call, 1.0))


@importer("LpNormalization", makes=(ops.Normalization,))
def _lp_normalization(call: Call) -> Operand:
    x = call.operand(0)
    axis = call.axis(call.integer("axis", -1), len(x.shape))
    order = call.integer("p", 2)
    if order not in (1, 2):
        raise ModelError(f"p must be 1 or 2, not {order}")
    # a mean is divided by; what it is less than the sum is made up for
    count = x.shape[axis]
    measure: Measure = "squares" if order == 2 else "magnitudes"
    less = 1 / math.sqrt(count) if order == 2 else 1 / count
    return call.emit(ops.Normalization(axes=(axis,), measure=measure), x, _number(call, less))


def _number(call: Call, value: float) -> Static:
    return call.constant(np.array([value], np.float32), "scale")


def _of_shape(
    call: Call, index: int, what: str, shape: tuple[int, ...], seen_as: tuple[int, ...]
) -> Operand:
    parameter = _affine(call, index, what)
    if parameter.shape != shape:
        raise ModelError(f"its {what} must have shape {list(shape)}")
    return call.reshape(parameter, seen_as)


def _over_last_axes(call: Call, measure: Measure) -> Operand:
    x = call.operand(0)
    rank = len(x.shape)
    axes = tuple(range(call.axis(call.integer("axis", -1), rank), rank))
    op = ops.Normalization(axes=axes, epsilon=_epsilon(call), measure=measure)
    return _normalized(call, op, x, _affine(call, 1, "scale"), call.optional(2))


def _affine(call: Call, index: int, what: str) -> Operand:
    parameter = call.optional(index)
    if parameter is None:
        raise ModelError(f"its {what} is missing")
    return parameter


def _epsilon(call: Call) -> float:
    epsilon = call.real("epsilon", 1e-5)
    if epsilon < 0:
        raise ModelError(f"its epsilon {epsilon} is negative")
    return epsilon


@importer("LRN", makes=(ops.LRN,))
def _lrn(call: Call) -> Operand:
    op = ops.LRN(
        call.integer("size", 0),
        call.real("alpha", 1e-4),
        call.real("beta", 0.75),
        call.real("bias", 1.0),
    )
    return apply_nhwc(call, op, call.operand(0))
