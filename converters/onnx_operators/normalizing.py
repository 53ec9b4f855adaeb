"""Turns ONNX's normalizations into scales and shifts, or the operators that need statistics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer.converters.onnx_operators.call import (
    Call,
    Dynamic,
    Operand,
    Refusal,
    Static,
    importer,
)
from edgeinfer.converters.onnx_operators.spatial import apply_nhwc
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


@importer("InstanceNormalization", makes=(ops.InstanceNormalization,))
def _instance_normalization(call: Call) -> Operand:
    scale, bias = _affine(call, 1, "scale"), _affine(call, 2, "bias")
    op = ops.InstanceNormalization(call.real("epsilon", 1e-5))
    return apply_nhwc(call, op, call.operand(0), scale, bias)


@importer("LayerNormalization", makes=(ops.LayerNormalization,), ignores=("stash_type",))
def _layer_normalization(call: Call) -> Sequence[Operand]:
    if call.uses_output(1) or call.uses_output(2):
        raise Refusal("its outputs Mean and InvStdDev are not supported")
    x = call.operand(0)
    op = ops.LayerNormalization(
        call.axis(call.integer("axis", -1), len(x.shape)), call.real("epsilon", 1e-5)
    )
    bias = [] if call.optional(2) is None else [_affine(call, 2, "bias")]
    return [call.emit(op, x, _affine(call, 1, "scale"), *bias)]


def _affine(call: Call, index: int, what: str) -> Static:
    parameter = call.weights(index, what)
    if parameter is None:
        raise ModelError(f"its {what} is missing")
    return parameter


@importer("LRN", makes=(ops.LRN,))
def _lrn(call: Call) -> Operand:
    op = ops.LRN(
        call.integer("size", 0),
        call.real("alpha", 1e-4),
        call.real("beta", 0.75),
        call.real("bias", 1.0),
    )
    return apply_nhwc(call, op, call.operand(0))
