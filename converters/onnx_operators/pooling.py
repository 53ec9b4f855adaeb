"""Turns ONNX's pools into MaxPool and AveragePool, the global ones into reductions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from edgeinfer.converters.onnx_operators.call import Call, Operand, Refusal, importer
from edgeinfer.converters.onnx_operators.spatial import (
    Along,
    apply_nhwc,
    image_window,
    of_image,
    window_along,
)
from edgeinfer.converters.onnx_operators.volumes import apply_to_volume
from edgeinfer.errors import ModelError
from edgeinfer.graph import operators as ops

__all__: list[str] = []


@importer("MaxPool", makes=(ops.MaxPool,), ignores=("storage_order",))
@importer("AveragePool", makes=(ops.AveragePool,))
def _pool(call: Call) -> Operand:
    x = call.operand(0)
    shape = call.integers("kernel_shape")
    if shape is None:
        raise ModelError("kernel_shape is missing")
    windows = window_along(call, shape)
    if call.integer("ceil_mode", 0) and call.text("auto_pad", "NOTSET") in ("NOTSET", ""):
        windows = [
            replace(w, ceil=_ceil_pad(n, w)) for n, w in zip(x.shape[2:], windows, strict=True)
        ]
    pool: Callable[[Along, Along], ops.Operator] = _largest
    if call.operator == "AveragePool":
        dilations = [window.dilation for window in windows]
        if max(dilations) > 1:
            raise Refusal(f"dilations {dilations} of an average are not supported")
        pool = partial(_mean, count_include_pad=bool(call.integer("count_include_pad", 0)))
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
    axes = tuple(range(2, len(x.shape)))
    if not axes:
        raise ModelError(f"needs axes beside batch and channels, not shape {list(x.shape)}")
    reduction = ops.ReduceMean if call.operator == "GlobalAveragePool" else ops.ReduceMax
    return call.emit(reduction(axes), x)
