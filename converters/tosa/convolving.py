"""Windows over height and width, and sums of weights over them, as TOSA's convolutions."""

from __future__ import annotations

from typing import Literal

import numpy as np

from edgeinfer.converters.tosa.flatbuffer import Tensor
from edgeinfer.converters.tosa.rounding import narrow
from edgeinfer.converters.tosa.writer import TosaWriter
from edgeinfer.errors import UnsupportedError
from edgeinfer.graph.shapes import window_extent

__all__ = ["convolved", "whole_windows"]


def whole_windows(
    to: TosaWriter,
    x: Tensor,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[int, int, int, int],
    dilations: tuple[int, int] = (1, 1),
) -> tuple[Tensor, list[int]]:
    """``x`` [N,H,W,C] and pads without the rows and columns at the end that no window reaches.

    TOSA takes no windows that leave a rest. ``pads`` are (top, left, bottom, right), and those that
    are given back stand in TOSA's order: top, bottom, left, right.
    """
    top, left, bottom, right = pads
    kept = []
    for axis, before, after in ((0, top, bottom), (1, left, right)):
        extent = x.shape[1 + axis]
        span = (kernel[axis] - 1) * dilations[axis] + 1
        after -= (extent + before + after - span) % strides[axis]
        if after < 0:
            x, after = to.part(x, 1 + axis, 0, extent + after), 0
        kept += [before, after]
    return x, kept


def convolved(
    to: TosaWriter,
    operator: Literal["CONV2D", "DEPTHWISE_CONV2D"],
    x: Tensor,
    zero_point: int,
    weights: np.ndarray,
    bias: np.ndarray,
    largest: int,
    *,
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilations: tuple[int, int] = (1, 1),
) -> Tensor:
    """``sum (x - zero_point) w + bias`` as INT32, which stays within ``largest`` in magnitude.

    ``weights`` are [O,kh,kw,I], and of a DEPTHWISE_CONV2D [O,kh,kw,1], where every O / C of them
    belong to one of x's C channels.

    Raises
    ------
    UnsupportedError
        They are no integers of 8 bits, or 32 bits may not hold the sums.
    """
    if weights.dtype != np.int8:
        raise UnsupportedError("TOSA's convolutions take no weights of 16 bits")
    count, height, width, _ = weights.shape
    x, pad = whole_windows(to, x, (height, width), strides, pads, dilations)
    extents = (
        window_extent(x.shape[1 + axis], size, strides[axis], dilations[axis], *around)
        for axis, size, around in ((0, height, pad[:2]), (1, width, pad[2:]))
    )
    if operator == "DEPTHWISE_CONV2D":
        # O = C M, O H W 1 -> H W C M
        weights = weights.reshape(x.shape[3], -1, height, width).transpose(2, 3, 0, 1)
    dtype = "INT48" if x.dtype == "INT16" else "INT32"
    operands = [
        x,
        to.constant(np.ascontiguousarray(weights)),
        to.constant(bias),
        to.number(zero_point, x.dtype),
        to.number(0, "INT8"),
    ]
    acc = to.apply(
        operator,
        operands,
        (x.shape[0], *extents, count),
        dtype,
        pad=pad,
        stride=list(strides),
        dilation=list(dilations),
        acc_type=dtype,
        local_bound=False,
    )
    return narrow(to, acc, largest)
