"""Turns ONNX's pools into MaxPool and AveragePool, the global ones into reductions, and LpPool into
sums of powers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from edgeinfer.arithmetic.pointwise import Expression
from edgeinfer.converters.onnx_operators.call import Call
from edgeinfer.converters.onnx_operators.registry import Refusal, importer
from edgeinfer.converters.onnx_operators.spatial import (
    Along,
    apply_nhwc,
    image_window,
    of_image,
    spatial_rank,
    window_along,
)
from edgeinfer.converters.onnx_operators.values import Operand
from edgeinfer.converters.onnx_operators.volumes import apply_to_volume
from edgeinfer.errors import ModelError
from edgeinfer.graph import operators as ops

__all__: list[str] = []


@importer("MaxPool", makes=(ops.MaxPool,), ignores=("storage_order",))
@importer("AveragePool", makes=(ops.AveragePool, ops.Conv, ops.Mul))
def _pool(call: Call) -> Operand:
    x = call.operand(0)
    shape = call.integers("kernel_shape")
    if shape is None:
        raise ModelError("kernel_shape is missing")
    windows = window_along(call, shape)
    windows = _with_ceil_pads(call, windows)
    pool: Callable[[Along, Along], ops.Operator] = _largest
    if call.operator == "AveragePool":
        dilations = [window.dilation for window in windows]
        counted = bool(call.integer("count_include_pad", 0))
        if max(dilations) > 1:
            return _mean_of_distant(call, windows, pads_count=counted)
        pool = partial(_mean, count_include_pad=counted)
    elif call.uses_output(1):
        raise Refusal("its second output, Indices, is not supported")
    if len(windows) == 3:
        deep, down, across = windows
        sees_depth_alone = down.is_pointwise and across.is_pointwise
        return apply_to_volume(
            call,
            None if sees_depth_alone else pool(down, across),
            None if deep.is_pointwise else pool(deep, Along()),
        )
    return apply_nhwc(call, pool(*of_image(windows)), x)


def _with_ceil_pads(call: Call, windows: Sequence[Along]) -> list[Along]:
    """The windows with what ``ceil_mode`` adds at their ends."""
    extents = call.operand(0).shape[2:]
    if not call.integer("ceil_mode", 0) or call.text("auto_pad", "NOTSET") not in ("NOTSET", ""):
        return list(windows)
    return [replace(w, ceil=_ceil_pad(n, w)) for n, w in zip(extents, windows, strict=True)]


def _largest(down: Along, across: Along) -> ops.Operator:
    down, across = (replace(w, after=w.after + w.ceil) for w in (down, across))
    return ops.MaxPool(**image_window(down, across), kernel=(down.kernel, across.kernel))


def _mean(down: Along, across: Along, *, count_include_pad: bool) -> ops.Operator:
    window = image_window(down, across)
    return ops.AveragePool(
        strides=window["strides"],
        pads=window["pads"],
        kernel=(down.kernel, across.kernel),
        ceil_pads=(down.ceil, across.ceil),
        count_include_pad=count_include_pad,
    )


def _mean_of_distant(call: Call, windows: Sequence[Along], *, pads_count: bool) -> Operand:
    """The mean of windows with gaps: a sum by equal weights, made up for where fewer count."""
    x = call.operand(0)
    if len(windows) > 2:
        raise Refusal("dilations of an average over volumes are not supported")
    down, across = of_image([replace(w, after=w.after + w.ceil) for w in windows])
    size = down.kernel * across.kernel
    call.spend(x.shape[1] * size)
    weights = np.full((x.shape[1], down.kernel, across.kernel, 1), 1 / size, np.float32)
    op = ops.Conv(**image_window(down, across), group=x.shape[1])
    y = apply_nhwc(call, op, x, call.constant(weights, "weights"))
    counts = np.ones(())
    for window, extent, places in zip(windows, x.shape[2:], y.shape[2:], strict=True):
        taps = (
            np.arange(places)[:, None] * window.stride
            + np.arange(window.kernel) * window.dilation
            - window.before
        )
        before, behind = (window.before, window.after) if pads_count else (0, 0)
        inside = ((taps >= -before) & (taps < extent + behind)).sum(1)
        counts = counts[..., None] * inside
    if (counts == size).all():
        return y
    return call.emit(ops.Mul(), y, call.constant((size / counts).astype(np.float32), "share"))


def _ceil_pad(extent: int, window: Along) -> int:
    """What ``ceil_mode`` adds at the end, so that a last window, begun inside, is whole."""
    span = extent + window.before + window.after - (window.kernel - 1) * window.dilation - 1
    places = -(-span // window.stride) + 1
    if (places - 1) * window.stride >= extent + window.before:
        places -= 1  # it would begin in the padding
    return max(0, (places - 1) * window.stride - span)


@importer("GlobalAveragePool", makes=(ops.ReduceMean,))
@importer("GlobalMaxPool", makes=(ops.ReduceMax,))
def _global_pool(call: Call) -> Operand:
    x = call.operand(0)
    reduction = ops.ReduceMean if call.operator == "GlobalAveragePool" else ops.ReduceMax
    return call.emit(reduction(_places(x)), x)


def _places(x: Operand) -> tuple[int, ...]:
    """The axes beside batch and channels."""
    if len(x.shape) < 3:
        raise ModelError(f"needs axes beside batch and channels, not shape {list(x.shape)}")
    return tuple(range(2, len(x.shape)))


# ---- norms -----------------------------------------------------------------------------------


def _powers(call: Call) -> tuple[Expression, Expression]:
    """What each element becomes before they are added, and the sum afterwards."""
    order = call.integer("p", 2)
    if order < 1:
        raise ModelError(f"its p must be 1 or more, not {order}")
    if order == 1:
        return ("abs", "x"), "x"
    if order == 2:
        return ("mul", "x", "x"), ("sqrt", "x")
    return ("pow", ("abs", "x"), float(order)), ("pow", "x", 1 / order)


@importer("LpPool", makes=(ops.Pointwise, ops.Conv))
def _lp_pool(call: Call) -> Operand:
    x, shape = call.operand(0), call.integers("kernel_shape")
    if shape is None:
        raise ModelError("kernel_shape is missing")
    spatial_rank(x)
    before, after = _powers(call)
    windows = _with_ceil_pads(call, window_along(call, shape))
    down, across = of_image([replace(w, after=w.after + w.ceil) for w in windows])
    call.spend(x.shape[1] * down.kernel * across.kernel)
    ones = np.ones((x.shape[1], down.kernel, across.kernel, 1), np.float32)
    op = ops.Conv(**image_window(down, across), group=x.shape[1])
    powers = call.pointwise(before, x)
    sums = apply_nhwc(call, op, powers, call.constant(ones, "ones"))
    return sums if after == "x" else call.pointwise(after, sums)


@importer("GlobalLpPool", makes=(ops.Pointwise, ops.ReduceSum))
def _global_lp_pool(call: Call) -> Operand:
    x = call.operand(0)
    before, after = _powers(call)
    sums = call.emit(ops.ReduceSum(_places(x)), call.pointwise(before, x))
    return sums if after == "x" else call.pointwise(after, sums)
