"""A transposed convolution as an ordinary one, whose channels are the phases of its strides.

Output pixel ``s q + r`` of a stride ``s`` sees the taps of phase ``r`` alone, as a window of x that
begins the same for all phases ("sub-pixel convolution": Shi et al., "Is the deconvolution layer
the same as a convolutional layer?", 2016). What is left is to bring the phases between each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeinfer.errors import QuantizationError
from edgeinfer.graph import operators as ops

__all__ = ["Phases", "phases_of"]

# for how many weights of a phase, of which dilations make most zeros, there may be one that counts
_MOST_HOLES = 16

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Phases:
    """What a transposed convolution is made of.

    Parameters
    ----------
    weights : numpy.ndarray
        [group phases O/group, kh, kw, I/group], as ``ops.Conv`` takes them.
    bias : numpy.ndarray or None
        [group phases O/group].
    pads, dilations, group
        The convolution's.
    moves : tuple of (Operator, shape)
        What brings its output into place, one after another, and the shapes that they give.
    shape : tuple of int
        Of the convolution's output.
    """

    weights: np.ndarray
    bias: np.ndarray | None
    pads: tuple[int, int, int, int]
    dilations: tuple[int, int]
    group: int
    moves: tuple[tuple[ops.Operator, Shape], ...]
    shape: Shape


@dataclass(frozen=True)
class _Side:
    """One spatial axis: ``taps[r][j]`` is the tap that phase r has at place j of the window, or -1;
    ``count`` pixels of each phase, of which the output begins at ``start``."""

    taps: np.ndarray
    dilation: int
    pads: tuple[int, int]
    count: int
    start: int


def phases_of(
    op: ops.ConvTranspose, weights: np.ndarray, bias: np.ndarray | None, x: Shape, y: Shape
) -> Phases:
    """``op`` with ``weights`` [I, kh, kw, O/group] on x [N,H,W,I], which gives y [N,H',W',O]."""
    down, across = (
        _side(weights.shape[1 + i], op.strides[i], op.dilations[i], op.pads[i], x[1 + i], y[1 + i])
        for i in (0, 1)
    )
    group, outputs = op.group, y[3] // op.group
    taps = down.taps.size * across.taps.size
    if taps > _MOST_HOLES * math.prod(op.strides) * math.prod(weights.shape[1:3]):
        raise QuantizationError(
            f"dilations {list(op.dilations)} beside strides {list(op.strides)} spread its taps too "
            "far to be taken as one convolution; fill its weights with zeros instead"
        )
    # a tap of zeros behind the last, which is what -1 means
    padded = np.pad(weights, ((0, 0), (0, 1), (0, 1), (0, 0)))
    found = padded.reshape(group, -1, *padded.shape[1:])[:, :, down.taps][:, :, :, :, across.taps]
    # [group, I/group, rows, kh, columns, kw, O/group]
    phases = found.transpose(0, 2, 4, 6, 3, 5, 1)
    rows, columns = op.strides
    spread = None
    if bias is not None:
        shape = group, rows, columns, outputs
        spread = np.broadcast_to(bias.reshape(group, 1, 1, outputs), shape).reshape(-1)
    shape = (x[0], down.count, across.count, rows * columns * y[3])
    whole = (x[0], rows * down.count, columns * across.count, y[3])
    moves = [*_interleaved(shape, whole, op)]
    if whole != y:
        starts = (0, down.start, across.start, 0)
        moves.append((ops.Slice(starts, y, (1, 1, 1, 1)), y))
    return Phases(
        np.ascontiguousarray(phases.reshape(shape[3], *phases.shape[4:])),
        spread,
        (down.pads[0], across.pads[0], down.pads[1], across.pads[1]),
        (down.dilation, across.dilation),
        group,
        tuple(moves),
        shape,
    )


def _side(kernel: int, stride: int, dilation: int, pad: int, extent: int, size: int) -> _Side:
    if stride == 1:
        taps = np.arange(kernel)[None, ::-1]
        reach = (kernel - 1) * dilation
    else:
        reach = (kernel - 1) * dilation // stride
        taps = np.full((stride, reach + 1), -1)
        for tap in range(kernel):
            delay, phase = divmod(tap * dilation, stride)
            taps[phase, reach - delay] = tap
        dilation = 1
    # the pixels of each phase that the output begins and ends in; x is never cut, the output is
    first, last = min(pad // stride, reach), (pad + size - 1) // stride
    pads = reach - first, max(0, last + 1 - extent)
    return _Side(taps, dilation, pads, extent + sum(pads) - reach, pad - stride * first)


def _interleaved(
    shape: Shape, whole: Shape, op: ops.ConvTranspose
) -> Sequence[tuple[ops.Operator, Shape]]:
    """From the phases among the channels to pixels between each other."""
    rows, columns = op.strides
    if rows == columns == 1:
        return ()
    if op.group == 1 and rows == columns:
        return ((ops.DepthToSpace(rows), whole),)
    if op.group == rows == 1:
        return ((ops.Reshape(whole), whole),)
    apart = (*shape[:3], op.group, rows, columns, whole[3] // op.group)
    order = (0, 1, 4, 2, 5, 3, 6)
    turned = tuple(apart[axis] for axis in order)
    return (
        (ops.Reshape(apart), apart),
        (ops.Transpose(order), turned),
        (ops.Reshape(whole), whole),
    )
