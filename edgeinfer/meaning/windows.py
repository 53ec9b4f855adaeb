"""Windows over height and width of an NHWC array: views of them, and their sums."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from edgeinfer.graph import operators as ops

__all__ = ["at_once", "im2col", "neighbour_sums", "window_sums", "windows"]

_MOST_SCRATCH = 1 << 25
"""Elements that are laid out anew at a time, which may be hundreds for each of a tensor."""


def windows(
    x: np.ndarray,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[int, int, int, int],
    dilations: tuple[int, int],
    fill: float,
) -> np.ndarray:
    """A view [N,H',W',C,kh,kw] of x [N,H,W,C] padded with ``fill``."""
    if any(pads):
        top, left, bottom, right = pads
        x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    view = sliding_window_view(x, reach, (1, 2))
    return view[:, :: strides[0], :: strides[1], :, :: dilations[0], :: dilations[1]]


def at_once(elements: int) -> int:
    """How many pieces of so many ``elements`` are laid out at a time, which is one at least."""
    return max(1, _MOST_SCRATCH // max(1, elements))


def im2col(view: np.ndarray, channels: slice) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
    """Windows [N,H',W',C,kh,kw] as the rows of a matrix, part by part.

    Each part is slices of the first two axes with its rows [n,h,W',kh*kw*c], of ``channels`` alone.
    """
    chosen = view[:, :, :, channels].transpose(0, 1, 2, 4, 5, 3)
    images, lines, columns = chosen.shape[:3]
    row = math.prod(chosen.shape[3:])
    room = at_once(columns * row)
    together = max(1, room // max(1, lines))
    for image in range(0, images, together):
        for line in range(0, lines, room):
            part = slice(image, image + together), slice(line, line + room)
            patch = chosen[part]
            yield part, patch.reshape(*patch.shape[:3], row)


def window_sums(
    op: ops.AveragePool | ops.QAveragePool, x: np.ndarray, pad_value: float
) -> tuple[np.ndarray, np.ndarray]:
    """The sum [N,H',W',C] of each window of x [N,H,W,C], and the count [1,H',W',1] of its elements.

    Where ``op`` counts its pads, each is an element ``pad_value``; what ceil_mode adds never is.
    """
    top, left, bottom, right = op.pads
    present = np.ones((1, *x.shape[1:3], 1), np.int64)
    if op.count_include_pad:
        frame = ((0, 0), (top, bottom), (left, right), (0, 0))
        x = np.pad(x, frame, constant_values=pad_value)
        present = np.pad(present, frame, constant_values=1)
        pads = (0, 0, *op.ceil_pads)
    else:
        pads = (top, left, bottom + op.ceil_pads[0], right + op.ceil_pads[1])
    sums, counts = (
        windows(values, op.kernel, op.strides, pads, (1, 1), 0).sum((-2, -1))
        for values in (x, present)
    )
    return sums, counts


def neighbour_sums(x: np.ndarray, first: np.ndarray, weights: np.ndarray, axis: int) -> np.ndarray:
    """Along ``axis`` of x the sums ``weights[i, 0] x[first[i]] + weights[i, 1] x[first[i] + 1]``.

    ``weights`` [n, taps], of any number of taps, has the element type of x.
    """
    column = (-1,) + (1,) * (x.ndim - axis - 1)
    taps = (
        x.take(first + t, axis) * weights[:, t].reshape(column) for t in range(weights.shape[1])
    )
    total = next(taps)
    for tap in taps:
        total += tap
    return total
