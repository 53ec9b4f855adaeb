"""Turns ONNX's convolutions and matrix products into Conv, ConvTranspose, Dense and MatMul."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgeinfer.converters.onnx_operators.call import Call
from edgeinfer.converters.onnx_operators.registry import Refusal, importer
from edgeinfer.converters.onnx_operators.spatial import (
    Along,
    apply_nhwc,
    entries,
    given_pads,
    image_window,
    of_image,
    weights_hwc,
    window_along,
)
from edgeinfer.converters.onnx_operators.values import Operand, Static
from edgeinfer.converters.onnx_operators.volumes import convolve_volume, stretch_volume
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
    scale = None if weights.scale is None else weights_hwc(weights.scale)
    ohwi = call.static_like(weights, weights_hwc(weights.finite()), scale)
    op = ops.Conv(**image_window(*of_image(windows)), group=group)
    return apply_nhwc(call, op, x, ohwi, *_bias(call))


@importer("ConvTranspose", makes=(ops.ConvTranspose, ops.Pad, ops.Slice, ops.Concat))
def _conv_transpose(call: Call) -> Operand:
    x, weights = call.operand(0), _weights(call)
    rank, group = len(x.shape) - 2, call.integer("group", 1)
    if rank not in (1, 2, 3):
        raise Refusal(f"1-D, 2-D and 3-D are supported, not an input of shape {list(x.shape)}")
    strides, dilations, added = (
        entries(call.integers(name), rank, default, name)
        for name, default in (("strides", 1), ("dilations", 1), ("output_padding", 0))
    )
    plain = [Along(*n) for n in zip(weights.shape[2:], strides, dilations, strict=True)]
    full = [
        (n - 1) * w.stride + (w.kernel - 1) * w.dilation + 1 + p
        for n, w, p in zip(x.shape[2:], plain, added, strict=True)
    ]
    cuts = _cuts(call, x.shape[2:], strides, full)
    if cuts is None:
        pads = given_pads(call, rank)
    else:
        # where more is asked for than the windows reach, the rest is bias alone
        added = [p + max(0, -cut) for p, cut in zip(added, cuts, strict=True)]
        pads = [_halves(call, max(0, cut)) for cut in cuts]
    windows = [
        replace(w, before=before, after=after)
        for w, (before, after) in zip(plain, pads, strict=True)
    ]

    def stretch(padding: Sequence[int], *image: Along) -> ops.ConvTranspose:
        return ops.ConvTranspose(
            **image_window(*image), group=group, output_padding=(padding[0], padding[1])
        )

    if rank == 3:
        deep, down, across = windows
        flat = stretch(added[1:], down, across)
        return stretch_volume(call, deep, added[0], flat, weights, *_bias(call))
    ihwo = call.static_like(weights, weights_hwc(weights.finite()))
    op = stretch([0, *added][-2:], *of_image(windows))
    return apply_nhwc(call, op, x, ihwo, *_bias(call))


def _cuts(
    call: Call, extents: Sequence[int], strides: Sequence[int], full: Sequence[int]
) -> list[int] | None:
    """What a wanted output leaves of ``full`` extents; None where ``pads`` say it instead."""
    auto_pad = call.text("auto_pad", "NOTSET") or "NOTSET"
    wanted = call.integers("output_shape")
    rank = len(extents)
    if wanted is not None:
        outputs: Sequence[int] = entries(wanted[-rank:], rank, 1, "output_shape")
    elif auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        outputs = [n * s for n, s in zip(extents, strides, strict=True)]
    else:
        return [0] * rank if auto_pad == "VALID" else None
    return [n - out for n, out in zip(full, outputs, strict=True)]


def _halves(call: Call, total: int) -> tuple[int, int]:
    """Pads before and after that share ``total``; ``auto_pad`` says which is larger."""
    small, large = total // 2, total - total // 2
    return (small, large) if call.text("auto_pad", "NOTSET") == "SAME_UPPER" else (large, small)


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
        scale = b.scale if transposed or b.scale is None else b.scale.T
        if isinstance(c, Static) and c.array.size in (1, len(weights)) and c.shape[-1:] != (0,):
            values = np.broadcast_to(c.finite().reshape(-1), (len(weights),))
            if c.array.size == 1 or c.shape[-1] == len(weights):
                bias = [call.static_like(c, np.float32(beta) * values)]
        if scale is not None:
            scale = np.float32(abs(alpha)) * scale
        w = call.static_like(b, np.float32(alpha) * weights, scale)
        y = call.emit(ops.Dense(), a, w, *bias)
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
        scale = None if b.scale is None else b.scale.T
        return call.emit(ops.Dense(), a, call.static_like(b, b.finite().T, scale))
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
