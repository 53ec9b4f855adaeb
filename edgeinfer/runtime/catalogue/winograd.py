"""Convolutions of 3x3 without strides into calls of conv_winograd.h: 16 products for 36."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.graph import operators as ops
from edgeinfer.runtime.catalogue.call import KernelCall, KernelSite, output_stage
from edgeinfer.runtime.catalogue.packing import Layout, packed_blocks
from edgeinfer.runtime.catalogue.stages import packed_stages

__all__ = ["conv_call"]

_KERNEL = "conv_winograd"
# twice the transform of a kernel's side, so that it is one of integers
_TWICE_G = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]], np.int16)
# whose sum of int8 by int8 fits 32 bits four times
_MOST_PRODUCTS = 2**15 - 1
# squares of a unit; and where its weights do not stay in a first-level cache
_SQUARES, _DEEP_SQUARES = 12, 24
# bytes apart at which the sixteen places of a square would meet in a cache's sets
_MEETING = 1024


def conv_call(op: ops.QConv, site: KernelSite) -> KernelCall | None:
    """The call for a convolution, where it is of this kind and the instruction set has one."""
    (samples, in_height, in_width, depth), out = site.shape("x"), site.output.shape
    if not _is_of_this_kind(op, site):
        return None
    layout = Layout.of("conv_rows", site, out[2])
    if layout is None or layout.isa not in site.having(_KERNEL):
        return None
    if depth % (layout.lanes * layout.taps):
        return None

    def blocks_of_squares(weights: np.ndarray) -> np.ndarray:
        sides = np.einsum("ia,oabd->oibd", _TWICE_G, weights)
        squares = np.einsum("jb,oibd->oijd", _TWICE_G, sides)
        return packed_blocks(squares.reshape(1, len(weights), 16, 1, depth), layout, 1)

    stages, form = packed_stages(op, site, layout, 1)
    all_squares = -(-out[1] // 2) * -(-out[2] // 2)
    units = -(-all_squares // (_DEEP_SQUARES if layout.is_deep(site) else _SQUARES))
    squares = -(-all_squares // units)
    units = samples * -(-all_squares // squares)
    slice_ = layout.slice(out[3], units)
    place = squares * depth
    if place * layout.bytes % _MEETING == 0:
        place += layout.lanes * layout.taps
    return KernelCall(
        _KERNEL,
        (
            site.node.input("x"),
            site.packed("weights", blocks_of_squares, layout),
            stages,
            site.node.output,
        ),
        {
            **output_stage(op),
            "in_height": in_height,
            "in_width": in_width,
            "out_height": out[1],
            "out_width": out[2],
            "pad_top": op.pads[0],
            "pad_left": op.pads[1],
            "depth": depth,
            "outputs": out[3],
            "out_depth": out[3],
            "place": place,
            "squares": squares,
            "slice": slice_,
            "form": form,
            "input_zero_point": op.input_zero_point,
            "out_bytes": site.output.itemsize,
        },
        units=units * -(-out[3] // slice_),
        work=layout.work(site) // 2,
        scratch=depth + 16 * place * layout.bytes,
        isa=layout.isa,
    )


def _is_of_this_kind(op: ops.QConv, site: KernelSite) -> bool:
    weights = site.shape("weights")
    return (
        site.itemsize("x") == 1
        and weights[1:3] == (3, 3)
        and (op.strides, op.dilations, op.group) == ((1, 1), (1, 1), 1)
        and math.prod(weights[1:]) <= _MOST_PRODUCTS
    )
