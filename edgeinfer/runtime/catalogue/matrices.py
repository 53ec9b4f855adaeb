"""Products of two matrices that a run computes, into calls of loops_matmul.h."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.arithmetic.accumulators import reach
from edgeinfer.graph import operators as ops
from edgeinfer.runtime.catalogue.call import (
    KernelCall,
    KernelSite,
    broadcast_strides,
    collapse,
    lower,
    scaled_pair,
)
from edgeinfer.runtime.catalogue.proofs import short_products

__all__: list[str] = []

# what loops_matmul.h is written for
_ROWS, _MOST_COLUMNS = 6, 32
# how many units are worth having
_UNITS = 8
# products of an instruction that adds pairs of words or doubles, of those in registers of 64 that
# work is counted in
_WORD_PRODUCTS, _WIDE_PRODUCTS = 4, 16


@lower.register
def _q_mat_mul(op: ops.QMatMul, site: KernelSite) -> list[KernelCall]:
    a, b, out = site.shape("a"), site.shape("b"), site.output.shape
    rows, depth, columns = a[-2], a[-1], b[-1]
    types = site.type("a").dtype, site.type("b").dtype
    zero_points = op.a_zero_point, op.b_zero_point
    product = math.prod(map(reach, types, zero_points))
    words = all(map(_are_words, types, zero_points)) and depth * product < 2**31
    short = short_products(op, depth * product) if words else None
    size, packed_depth = (2, depth + depth % 2) if words else (8, depth)
    whole = -(-columns // _MOST_COLUMNS) * _MOST_COLUMNS
    fitting = site.cache_bytes // (size * packed_depth * _MOST_COLUMNS)
    panel = min(whole, max(fitting, 1) * _MOST_COLUMNS)
    extents, (a_strides, b_strides) = collapse(
        out[:-2], *(broadcast_strides(shape, len(out))[:-2] for shape in (a, b))
    )
    products = math.prod(out[:-2])
    tiles = max(1, min(rows // _ROWS, _UNITS // products))
    tile = -(-rows // (tiles * _ROWS)) * _ROWS
    return [
        KernelCall(
            "mat_mul_words" if words else "mat_mul_wide",
            (*site.node.inputs, site.node.output),
            {
                "lead": 0,
                "rounding": 0,
                **scaled_pair(op, site),
                **(vars(short) if short is not None else {}),
                "is_short": int(short is not None),
                "rank": len(extents),
                "extents": tuple(extents),
                "a_strides": tuple(a_strides),
                "b_strides": tuple(b_strides),
                "rows": rows,
                "depth": depth,
                "columns": columns,
                "tile": tile,
                "panel": panel,
                "block": (2**53 - 1) // product,
            },
            units=products * -(-rows // tile),
            work=(_WORD_PRODUCTS if words else _WIDE_PRODUCTS) * site.elements * depth,
            scratch=size * packed_depth * (panel + _ROWS),
        )
    ]


def _are_words(dtype: str, zero_point: int) -> bool:
    """Whether integers of ``dtype`` less their zero point fit 16 bits."""
    info = np.iinfo(dtype)
    return info.min - zero_point >= -(2**15) and info.max - zero_point < 2**15
