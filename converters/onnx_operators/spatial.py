"""Turns ONNX's channels-first values into the NHWC values of spatial operators, and back.

A value of three axes goes through as an image of one row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np

from edgeinfer.converters.onnx_operators.call import Call
from edgeinfer.converters.onnx_operators.registry import Refusal
from edgeinfer.converters.onnx_operators.values import Operand
from edgeinfer.converters.same_pads import same_pads
from edgeinfer.errors import ModelError
from edgeinfer.graph import operators as ops

__all__ = [
    "Along",
    "apply_nhwc",
    "entries",
    "given_pads",
    "image_window",
    "of_image",
    "spatial_rank",
    "weights_hwc",
    "window_along",
]


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


def entries(values: Sequence[int] | None, rank: int, default: int, what: str) -> list[int]:
    """One number for each of ``rank`` axes, as ONNX gives them; ModelError for any other count."""
    values = (default,) * rank if values is None else values
    if len(values) != rank:
        raise ModelError(f"{what} must have {rank} entries, not {list(values)}")
    return list(values)


@dataclass(frozen=True)
class Along:
    """A window along one axis, which is padded ``before`` and ``after``, and by ceil_mode."""

    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    before: int = 0
    after: int = 0
    ceil: int = 0

    @property
    def is_pointwise(self) -> bool:
        """Whether each element is seen alone, at its own place."""
        return self == Along(dilation=self.dilation)


def window_along(call: Call, kernel_shape: Sequence[int]) -> list[Along]:
    """The window of ``call`` along each axis of its input beside batch and channels."""
    extents = call.operand(0).shape[2:]
    rank = len(extents)
    if rank not in (1, 2, 3):
        shape = list(call.operand(0).shape)
        raise Refusal(f"1-D, 2-D and 3-D are supported, not an input of shape {shape}")

    names = ("kernel_shape", "strides", "dilations")
    kernel, strides, dilations = (
        entries(kernel_shape if name == "kernel_shape" else call.integers(name), rank, 1, name)
        for name in names
    )
    if min(*kernel, *strides, *dilations) < 1:
        raise ModelError("kernel_shape, strides and dilations must be positive")
    plain = [Along(*window) for window in zip(kernel, strides, dilations, strict=True)]
    pads = _pads_along(call, extents, plain)
    return [
        replace(window, before=before, after=after)
        for window, (before, after) in zip(plain, pads, strict=True)
    ]


def _pads_along(
    call: Call, extents: Sequence[int], windows: Sequence[Along]
) -> Sequence[tuple[int, int]]:
    """The pads of each axis that ``auto_pad`` or ``pads`` asks for."""
    auto_pad = call.text("auto_pad", "NOTSET") or "NOTSET"
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        pads = [
            same_pads(extent, window.kernel, window.stride, window.dilation)
            for extent, window in zip(extents, windows, strict=True)
        ]
        return pads if auto_pad == "SAME_UPPER" else [(large, small) for small, large in pads]
    if auto_pad == "VALID":
        return [(0, 0)] * len(windows)
    if auto_pad != "NOTSET":
        raise ModelError(f"auto_pad cannot be {auto_pad!r}")
    return given_pads(call, len(windows))


def given_pads(call: Call, rank: int) -> list[tuple[int, int]]:
    """The ``pads`` attribute as (before, after) of each axis."""
    pads = call.integers("pads") or (0,) * (2 * rank)
    if len(pads) != 2 * rank:
        raise ModelError(f"pads must have {2 * rank} entries, not {list(pads)}")
    if min(pads) < 0:
        raise Refusal(f"negative pads {list(pads)} are not supported")
    return list(zip(pads[:rank], pads[rank:], strict=True))


class Image(TypedDict):
    """The attributes of ``ops.Windowed``, and dilations."""

    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilations: tuple[int, int]


def image_window(down: Along, across: Along) -> Image:
    """A window over height and width."""
    return {
        "strides": (down.stride, across.stride),
        "pads": (down.before, across.before, down.after, across.after),
        "dilations": (down.dilation, across.dilation),
    }


def of_image(windows: Sequence[Along]) -> tuple[Along, Along]:
    """Along height and width; what has a length alone is an image of one row."""
    return (Along(), windows[0]) if len(windows) == 1 else (windows[0], windows[1])
