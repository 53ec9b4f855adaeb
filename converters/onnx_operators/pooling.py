"""Turns ONNX's pools into MaxPool and AveragePool, the global ones into reductions."""

from __future__ import annotations

from edgeinfer.converters.onnx_operators.call import Call, Operand, Refusal, importer
from edgeinfer.converters.onnx_operators.spatial import (
    apply_nhwc,
    explicit_pads,
    per_axis,
    spatial_rank,
)
from edgeinfer.errors import ModelError
from edgeinfer.graph import operators as ops

__all__: list[str] = []


@importer("MaxPool", makes=(ops.MaxPool,), ignores=("storage_order",))
@importer("AveragePool", makes=(ops.AveragePool,))
def _pool(call: Call) -> Operand:
    x = call.operand(0)
    rank = spatial_rank(x)
    shape = call.integers("kernel_shape")
    if shape is None:
        raise ModelError("kernel_shape is missing")
    kernel = per_axis(shape, rank, 1, "kernel_shape")
    strides = per_axis(call.integers("strides"), rank, 1, "strides")
    dilations = per_axis(call.integers("dilations"), rank, 1, "dilations")
    if min(*kernel, *strides, *dilations) < 1:
        raise ModelError("kernel_shape, strides and dilations must be positive")
    extents = (1, *x.shape[2:]) if rank == 1 else x.shape[2:]
    pads = explicit_pads(call, extents, kernel, strides, dilations)
    extra = (0, 0)
    if call.integer("ceil_mode", 0) and call.text("auto_pad", "NOTSET") in ("NOTSET", ""):
        reach = ((kernel[0] - 1) * dilations[0] + 1, (kernel[1] - 1) * dilations[1] + 1)
        extra = (
            _ceil_pad(extents[0], reach[0], strides[0], pads[0], pads[2]),
            _ceil_pad(extents[1], reach[1], strides[1], pads[1], pads[3]),
        )
    if call.operator == "MaxPool":
        if call.uses_output(1):
            raise Refusal("its second output, Indices, is not supported")
        top, left, bottom, right = pads
        pads = (top, left, bottom + extra[0], right + extra[1])
        return apply_nhwc(call, ops.MaxPool(strides, pads, kernel, dilations), x)
    if dilations != (1, 1):
        raise Refusal(f"dilations {list(dilations)} of an average are not supported")
    count_include_pad = bool(call.integer("count_include_pad", 0))
    op = ops.AveragePool(strides, pads, kernel, extra, count_include_pad)
    return apply_nhwc(call, op, x)


def _ceil_pad(extent: int, reach: int, stride: int, before: int, after: int) -> int:
    """What ``ceil_mode`` adds at the end, so that a last window, begun inside, is whole."""
    span = extent + before + after - reach
    places = -(-span // stride) + 1
    if (places - 1) * stride >= extent + before:
        places -= 1  # it would begin in the padding
    return max(0, (places - 1) * stride - span)


@importer("GlobalAveragePool", makes=(ops.ReduceMean,))
@importer("GlobalMaxPool", makes=(ops.ReduceMax,))
def _global_pool(call: Call) -> Operand:
    x = call.operand(0)
    axes = tuple(range(2, len(x.shape)))
    if not axes:
        raise ModelError(f"needs axes beside batch and channels, not shape {list(x.shape)}")
    reduction = ops.ReduceMean if call.operator == "GlobalAveragePool" else ops.ReduceMax
    return call.emit(reduction(axes), x)
