"""Turns what is done over depth, height and width into what is done over two axes at a time.

A volume is [N,D,H,W,C] in between. Its depths are images of a batch where no two of them are seen
together, and rows of an image where nothing else is. A convolution that sees all three takes the
depths of each window as channels, side by side, so that it still is one sum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgeinfer.converters.onnx_operators.call import Call, Operand, Static
from edgeinfer.converters.onnx_operators.spatial import Along, image_window
from edgeinfer.errors import ModelError
from edgeinfer.graph import operators as ops
from edgeinfer.graph.shapes import window_extent

__all__ = ["apply_to_volume", "convolve_volume"]


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
    n, depth, height, width, channels = x.shape
    places = window_extent(depth, deep.kernel, deep.stride, deep.dilation, deep.before, deep.after)
    if places < 1 or channels % group:
        raise ModelError(
            f"a window of {deep.kernel} in {group} groups does not fit shape {list(x.shape)}"
        )
    if deep.before or deep.after:
        x = call.emit(ops.Pad((0, deep.before, 0, 0, 0), (0, deep.after, 0, 0, 0)), x)
    sizes, steps = (n, places, height, width, channels), (1, deep.stride, 1, 1, 1)
    apart = (n, places, height, width, group, channels // group)
    slices = [
        call.reshape(
            call.emit(ops.Slice((0, tap * deep.dilation, 0, 0, 0), sizes, steps), x), apart
        )
        for tap in range(deep.kernel)
    ]
    joined = slices[0] if len(slices) == 1 else call.emit(ops.Concat(5), *slices)
    return call.reshape(joined, (*apart[:4], channels * deep.kernel))
