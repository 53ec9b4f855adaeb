"""Turns what is done over depth, height and width into what is done over two axes at a time.

A volume is [N,D,H,W,C] in between. Its depths are images of a batch where no two of them are seen
together, and rows of an image where nothing else is. A convolution that sees all three takes the
depths of each window as channels, side by side, so that it still is one sum; a transposed one does
so for each phase of its stride over depth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgeinfer.converters.onnx_operators.call import Call
from edgeinfer.converters.onnx_operators.spatial import Along, image_window
from edgeinfer.converters.onnx_operators.values import Operand, Static
from edgeinfer.errors import ModelError
from edgeinfer.graph import operators as ops
from edgeinfer.graph.shapes import window_extent

__all__ = ["apply_to_volume", "convolve_volume", "stretch_volume"]


def convolve_volume(
    call: Call, windows: Sequence[Along], group: int, weights: Static, *bias: Static
) -> Operand:
    """The convolution of ``call`` by ``weights`` [O,I/group,kd,kh,kw]."""
    deep, down, across = windows
    taps = weights.finite().transpose(0, 3, 4, 2, 1)
    x = _channels_last(call)
    n, depth, *image = x.shape
    sees_depth_alone = down.is_pointwise and across.is_pointwise
    if sees_depth_alone:
        taps = taps.reshape(len(taps), deep.kernel, 1, -1)
        images: tuple[int, ...] = (n, depth, image[0] * image[1], image[2])
        window = image_window(deep, Along())
    else:
        x = _with_depths_as_channels(call, x, deep, group)
        taps = taps.reshape(*taps.shape[:3], -1)
        images = (n * x.shape[1], *x.shape[2:])
        window = image_window(down, across)
    op = ops.Conv(**window, group=group)
    y: Operand = call.emit(op, call.reshape(x, images), call.static_like(weights, taps), *bias)
    place = (y.shape[1], *image[:2]) if sees_depth_alone else (x.shape[1], *y.shape[1:3])
    return _channels_first(call, call.reshape(y, (n, *place, y.shape[3])))


def stretch_volume(
    call: Call,
    deep: Along,
    padding: int,
    flat: ops.ConvTranspose,
    weights: Static,
    *bias: Static,
) -> Operand:
    """The transposed convolution of ``call`` by ``weights`` [I,O/group,kd,kh,kw].

    ``flat`` is what it is over height and width; over depth it is ``deep``, with ``padding`` more
    places at the end.
    """
    taps = weights.finite().transpose(2, 0, 3, 4, 1)
    x = _channels_last(call)
    n, depth, *image, channels = x.shape
    reach = (deep.kernel - 1) * deep.dilation
    places = (depth - 1) * deep.stride + reach + 1 + padding - deep.before - deep.after
    if places < 1 or channels % flat.group:
        raise ModelError(
            f"a window of {deep.kernel} in {flat.group} groups does not fit shape {list(x.shape)}"
        )
    # of each phase as many places as of the first, from which what is too much is cut
    count = -(-places // deep.stride)
    phases = [_taps_of_phase(deep, phase) for phase in range(min(deep.stride, places))]
    starts = [start for phase in phases for _, start in phase]
    before = max(0, -min(starts, default=0))
    after = max(0, max(starts, default=0) + count - depth)
    if before or after:
        x = call.emit(ops.Pad((0, before, 0, 0, 0), (0, after, 0, 0, 0)), x)
    call.spend(len(phases) * taps.size)
    found = []
    for phase in phases:
        own = [taps[tap] for tap, _ in phase] or [np.zeros_like(taps[0])]
        windows = [(before + start, 1) for _, start in phase] or [(0, 1)]
        joined = _side_by_side(call, x, windows, count, flat.group)
        # in each group the weights of its depths, one after another
        grouped = np.stack([w.reshape(flat.group, -1, *w.shape[1:]) for w in own], axis=1)
        ihwo = call.static_like(weights, grouped.reshape(-1, *taps.shape[2:]))
        y: Operand = call.emit(
            flat, call.reshape(joined, (n * count, *image, joined.shape[4])), ihwo, *bias
        )
        found.append(call.reshape(y, (n, count, 1, *y.shape[1:])))
    y = found[0] if len(found) == 1 else call.emit(ops.Concat(2), *found)
    y = call.reshape(y, (n, count * len(found), *y.shape[3:]))
    if y.shape[1] > places:
        y = call.stretch(y, 1, 0, places)
    return _channels_first(call, y)


def _taps_of_phase(deep: Along, phase: int) -> list[tuple[int, int]]:
    """The taps that reach the depth ``phase`` and every ``stride``-th one from there on, each with
    the depth of x that it takes to the first of these."""
    found = []
    for tap in range(deep.kernel):
        ahead = phase + deep.before - tap * deep.dilation
        if ahead % deep.stride == 0:
            found.append((tap, ahead // deep.stride))
    return found


def apply_to_volume(
    call: Call, to_images: ops.Operator | None, to_depths: ops.Operator | None
) -> Operand:
    """On the input of ``call`` an operator over height and width, and then one over depth.

    The latter has the depths as rows of images that are one pixel wide. None stands for nothing.
    """
    x = _channels_last(call)
    if to_images is not None:
        n, depth, *image = x.shape
        y: Operand = call.emit(to_images, call.reshape(x, (n * depth, *image)))
        x = call.reshape(y, (n, depth, *y.shape[1:]))
    if to_depths is not None:
        n, depth, *image = x.shape
        y = call.emit(to_depths, call.reshape(x, (n, depth, 1, math.prod(image))))
        x = call.reshape(y, (n, y.shape[1], *image))
    return _channels_first(call, x)


def _channels_last(call: Call) -> Operand:
    x = call.operand(0)
    return call.transpose(x, (0, 2, 3, 4, 1), f"{x.name}@ndhwc")


def _channels_first(call: Call, y: Operand) -> Operand:
    return call.transpose(y, (0, 4, 1, 2, 3))


def _with_depths_as_channels(call: Call, x: Operand, deep: Along, group: int) -> Operand:
    """[N,D',H,W,kd C] of x [N,D,H,W,C]: in each group the depths of a window, one after another."""
    if deep.is_pointwise:
        return x
    depth, channels = x.shape[1], x.shape[4]
    places = window_extent(depth, deep.kernel, deep.stride, deep.dilation, deep.before, deep.after)
    if places < 1 or channels % group:
        raise ModelError(
            f"a window of {deep.kernel} in {group} groups does not fit shape {list(x.shape)}"
        )
    if deep.before or deep.after:
        x = call.emit(ops.Pad((0, deep.before, 0, 0, 0), (0, deep.after, 0, 0, 0)), x)
    windows = [(tap * deep.dilation, deep.stride) for tap in range(deep.kernel)]
    return _side_by_side(call, x, windows, places, group)


def _side_by_side(
    call: Call, x: Operand, windows: Sequence[tuple[int, int]], count: int, group: int
) -> Operand:
    """[N,count,H,W,k C] of x [N,D,H,W,C]: in each group ``count`` depths of each of k windows.

    A window is its first depth and its stride.
    """
    n, _, height, width, channels = x.shape
    sizes = (n, count, height, width, channels)
    apart = (*sizes[:4], group, channels // group)
    slices = []
    for start, stride in windows:
        window = ops.Slice((0, start, 0, 0, 0), sizes, (1, stride, 1, 1, 1))
        slices.append(call.reshape(call.emit(window, x), apart))
    joined = slices[0] if len(slices) == 1 else call.emit(ops.Concat(5), *slices)
    return call.reshape(joined, (*sizes[:4], channels * len(slices)))
