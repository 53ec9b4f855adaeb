"""Turns ONNX's channels-first values into the NHWC values of spatial operators, and back.

A value of three axes goes through as an image of one row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer.converters.onnx_operators.call import Call, Operand, Refusal
from edgeinfer.errors import ModelError
from edgeinfer.graph import operators as ops

__all__ = ["apply_nhwc", "explicit_pads", "per_axis", "weights_hwc"]


def apply_nhwc(call: Call, op: ops.Operator, x: Operand, *parameters: Operand) -> Operand:
    """``op`` on ``x`` [N,C,L] or [N,C,H,W], its result in the same order of axes."""
    rank = spatial_rank(x)
    y: Operand = call.emit(op, to_nhwc(call, x), *parameters, name=f"{call.result}@nhwc")
    if rank == 2:
        return call.transpose(y, (0, 3, 1, 2))
    n, _, length, channels = y.shape
    y = call.reshape(y, (n, length, channels), f"{call.result}@nlc")
    return call.transpose(y, (0, 2, 1))


def to_nhwc(call: Call, x: Operand) -> Operand:
    """``x`` [N,C,L] or [N,C,H,W] as [N,H,W,C]."""
    if spatial_rank(x) == 2:
        return call.transpose(x, (0, 2, 3, 1), f"{x.name}@nhwc")
    n, channels, length = x.shape
    name = x.name
    x = call.transpose(x, (0, 2, 1), f"{name}@nlc")
    return call.reshape(x, (n, 1, length, channels), f"{name}@nhwc")


def spatial_rank(x: Operand) -> int:
    """1 or 2, the number of axes beside batch and channels; Refusal for any other."""
    if len(x.shape) not in (3, 4):
        raise Refusal(f"1-D and 2-D are supported, not an input of shape {list(x.shape)}")
    return len(x.shape) - 2


def weights_hwc(array: np.ndarray) -> np.ndarray:
    """Weights [A,B,k] or [A,B,kh,kw] as [A,kh,kw,B]."""
    return (array[:, :, None, :] if array.ndim == 3 else array).transpose(0, 2, 3, 1)


def per_axis(values: Sequence[int] | None, rank: int, default: int, what: str) -> tuple[int, int]:
    """One number for each of two axes, as ONNX gives them for ``rank`` axes."""
    values = (default,) * rank if values is None else tuple(values)
    if len(values) != rank:
        raise ModelError(f"{what} must have {rank} entries, not {list(values)}")
    return (default, values[0]) if rank == 1 else (values[0], values[1])


def explicit_pads(
    call: Call,
    extents: Sequence[int],
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
) -> tuple[int, int, int, int]:
    """Pads (top, left, bottom, right) of a window that ``auto_pad`` or ``pads`` asks for."""
    auto_pad = call.text("auto_pad", "NOTSET") or "NOTSET"
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        befores, afters = [], []
        for extent, k, stride, dilation in zip(extents, kernel, strides, dilations, strict=True):
            if stride < 1:
                raise ModelError(f"strides must be positive, not {stride}")
            places = -(-extent // stride)
            total = max(0, (places - 1) * stride + (k - 1) * dilation + 1 - extent)
            small, large = total // 2, total - total // 2
            befores.append(small if auto_pad == "SAME_UPPER" else large)
            afters.append(large if auto_pad == "SAME_UPPER" else small)
        return (befores[0], befores[1], afters[0], afters[1])
    if auto_pad == "VALID":
        return (0, 0, 0, 0)
    if auto_pad != "NOTSET":
        raise ModelError(f"auto_pad cannot be {auto_pad!r}")
    return pads_of(call, spatial_rank(call.operand(0)))


def pads_of(call: Call, rank: int) -> tuple[int, int, int, int]:
    """The ``pads`` attribute as (top, left, bottom, right)."""
    pads = call.integers("pads") or (0,) * (2 * rank)
    if len(pads) != 2 * rank:
        raise ModelError(f"pads must have {2 * rank} entries, not {list(pads)}")
    if min(pads) < 0:
        raise Refusal(f"negative pads {list(pads)} are not supported")
    top, left = per_axis(pads[:rank], rank, 0, "pads")
    bottom, right = per_axis(pads[rank:], rank, 0, "pads")
    return (top, left, bottom, right)
