"""Turns ONNX's convolutions and matrix products into Conv, ConvTranspose, Dense and MatMul."""

from __future__ import annotations

import numpy as np

from edgeinfer.converters.onnx_operators.call import (
    Call,
    Operand,
    Static,
    importer,
)
from edgeinfer.converters.onnx_operators.spatial import (
    apply_nhwc,
    image_window,
    of_image,
    pads_of,
    per_axis,
    spatial_rank,
    weights_hwc,
    window_along,
)
from edgeinfer.converters.onnx_operators.volumes import convolve_volume
from edgeinfer.errors import ModelError
from edgeinfer.graph import operators as ops

__all__ = ["product"]


def _weights(call: Call) -> Static:
    """The weights of a convolution."""
    x, weights = call.operand(0), call.weights(1, "weights")
    if weights is None or len(weights.shape) != len(x.shape):
        raise ModelError("its weights do not have as many axes as its input")
    if tuple(call.integers("kernel_shape") or weights.shape[2:]) != weights.shape[2:]:
        raise ModelError(f"kernel_shape is not that of the weights {list(weights.shape)}")
    return weights


def _bias(call: Call) -> list[Static]:
    bias = call.weights(2, "bias")
    return [] if bias is None else [bias]


@importer("Conv", makes=(ops.Conv, ops.Pad, ops.Slice, ops.Concat))
def _conv(call: Call) -> Operand:
    weights, x = _weights(call), call.operand(0)
    windows, group = window_along(call, weights.shape[2:]), call.integer("group", 1)
    if len(windows) == 3:
        return convolve_volume(call, windows, group, weights, *_bias(call))
    ohwi = call.static_like(weights, weights_hwc(weights.finite()))
    op = ops.Conv(**image_window(*of_image(windows)), group=group)
    return apply_nhwc(call, op, x, ohwi, *_bias(call))


@importer("ConvTranspose", makes=(ops.ConvTranspose,))
def _conv_transpose(call: Call) -> Operand:
    x, rank = call.operand(0), spatial_rank(call.operand(0))
    weights = _weights(call)
    kernel = per_axis(weights.shape[2:], rank, 1, "kernel_shape")
    strides = per_axis(call.integers("strides"), rank, 1, "strides")
    dilations = per_axis(call.integers("dilations"), rank, 1, "dilations")
    output_padding = per_axis(call.integers("output_padding"), rank, 0, "output_padding")
    extents = (1, *x.shape[2:]) if rank == 1 else x.shape[2:]
    full = [
        (n - 1) * s + (k - 1) * d + 1 + p
        for n, s, k, d, p in zip(extents, strides, kernel, dilations, output_padding, strict=True)
    ]
    cut = _cut(call, rank, extents, strides, full)
    if cut is None:
        pads = pads_of(call, rank)
    else:
        # where more is asked for than the windows reach, the rest is bias alone
        output_padding = (output_padding[0] + max(0, -cut[0]), output_padding[1] + max(0, -cut[1]))
        pads = _halved(call, (max(0, cut[0]), max(0, cut[1])))
    op = ops.ConvTranspose(
        strides=strides,
        pads=pads,
        dilations=dilations,
        group=call.integer("group", 1),
        output_padding=output_padding,
    )
    ihwo = call.static_like(weights, weights_hwc(weights.finite()))
    return apply_nhwc(call, op, x, ihwo, *_bias(call))


def _cut(
    call: Call,
    rank: int,
    extents: tuple[int, ...],
    strides: tuple[int, int],
    full: list[int],
) -> tuple[int, int] | None:
    """What a wanted output leaves of ``full`` extents; None where ``pads`` say it instead."""
    auto_pad = call.text("auto_pad", "NOTSET") or "NOTSET"
    wanted = call.integers("output_shape")
    if wanted is not None:
        outputs = per_axis(wanted[-rank:], rank, 1, "output_shape")
    elif auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        outputs = (extents[0] * strides[0], extents[1] * strides[1])
    else:
        return (0, 0) if auto_pad == "VALID" else None
    return full[0] - outputs[0], full[1] - outputs[1]


def _halved(call: Call, total: tuple[int, int]) -> tuple[int, int, int, int]:
    """Pads (top, left, bottom, right) that share ``total``; ``auto_pad`` says who gets more."""
    (top, left), (bottom, right) = ((n // 2 for n in total), (n - n // 2 for n in total))
    if call.text("auto_pad", "NOTSET") == "SAME_UPPER":
        return (top, left, bottom, right)
    return (bottom, right, top, left)


@importer("Gemm", makes=(ops.Dense, ops.MatMul, ops.Add, ops.Pointwise))
def _gemm(call: Call) -> Operand:
    a, b, c = call.operand(0), call.operand(1), call.optional(2)
    if len(a.shape) != 2 or len(b.shape) != 2:
        raise ModelError(f"multiplies matrices, not shapes {list(a.shape)} and {list(b.shape)}")
    alpha, beta = call.real("alpha", 1.0), call.real("beta", 1.0)
    if call.integer("transA", 0):
        a = call.transpose(a, (1, 0))
    transposed = bool(call.integer("transB", 0))
    bias: list[Static] = []
    if isinstance(b, Static):
        weights = b.finite() if transposed else b.finite().T
        if isinstance(c, Static) and c.array.size in (1, len(weights)) and c.shape[-1:] != (0,):
            values = np.broadcast_to(c.finite().reshape(-1), (len(weights),))
            if c.array.size == 1 or c.shape[-1] == len(weights):
                bias = [call.static_like(c, np.float32(beta) * values)]
        y = call.emit(ops.Dense(), a, call.static_like(b, np.float32(alpha) * weights), *bias)
    else:
        y = call.emit(ops.MatMul(), a, call.transpose(b, (1, 0)) if transposed else b)
        if alpha != 1:
            y = call.pointwise(("mul", "x", alpha), y)
    if c is None or bias:
        return y
    if isinstance(c, Static):
        return call.emit(ops.Add(), y, call.static_like(c, np.float32(beta) * c.finite()))
    return call.emit(ops.Add(), y, c if beta == 1 else call.pointwise(("mul", "x", beta), c))


@importer("MatMul", makes=(ops.Dense, ops.MatMul))
def _matmul(call: Call) -> Operand:
    return product(call, call.operand(0), call.operand(1))


def product(call: Call, a: Operand, b: Operand) -> Operand:
    """``a`` @ ``b``, a Dense layer where one of them is a constant matrix."""
    if isinstance(b, Static) and len(b.shape) == 2:
        return call.emit(ops.Dense(), a, call.static_like(b, b.finite().T))
    if isinstance(b, Static) and len(b.shape) == 1:
        weights = call.static_like(b, b.finite().reshape(1, -1))
        return call.reshape(call.emit(ops.Dense(), a, weights), a.shape[:-1])
    if isinstance(a, Static) and len(a.shape) == 2 and len(b.shape) >= 2:
        # a @ b = (b' @ a')', and a is the Dense layer's weights as it stands
        swapped = (*range(len(b.shape) - 2), len(b.shape) - 1, len(b.shape) - 2)
        turned = call.emit(ops.Dense(), call.transpose(b, swapped), a)
        return call.transpose(turned, swapped)
    # a vector is a matrix of one row or column, whose axis is then dropped
    row, column = len(a.shape) == 1, len(b.shape) == 1
    if row:
        a = call.reshape(a, (1, *a.shape))
    if column:
        b = call.reshape(b, (*b.shape, 1))
    y: Operand = call.emit(ops.MatMul(), a, b)
    shape = y.shape[:-2] + (() if row else y.shape[-2:-1]) + (() if column else y.shape[-1:])
    return call.reshape(y, shape)
