"""Products of two matrices that a run computes, into calls of loops_matmul.h."""

from __future__ import annotations

import math

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

__all__: list[str] = []

# what loops_matmul.h is written for
_ROWS, _MOST_COLUMNS = 6, 32
# what a panel may take of a first-level cache, and how many units are worth having
_PANEL_BYTES, _UNITS = 24576, 8
# products of an instruction that adds floats, of those in registers of 64 that work is counted in
_PRODUCTS = 8


@lower.register
def _q_mat_mul(op: ops.QMatMul, site: KernelSite) -> list[KernelCall]:
    a, b, out = site.shape("a"), site.shape("b"), site.output.shape
    rows, depth, columns = a[-2], a[-1], b[-1]
    product = reach(site.type("a").dtype, op.a_zero_point) * reach(
        site.type("b").dtype, op.b_zero_point
    )
    narrow = site.itemsize("a") == site.itemsize("b") == 1 and depth * product < 2**31
    exact, size = (2**24, 4) if narrow else (2**53, 8)
    whole = -(-columns // _MOST_COLUMNS) * _MOST_COLUMNS
    panel = min(whole, max(_PANEL_BYTES // (size * depth * _MOST_COLUMNS), 1) * _MOST_COLUMNS)
    extents, (a_strides, b_strides) = collapse(
        out[:-2], *(broadcast_strides(shape, len(out))[:-2] for shape in (a, b))
    )
    products = math.prod(out[:-2])
    tiles = max(1, min(rows // _ROWS, _UNITS // products))
    tile = -(-rows // (tiles * _ROWS)) * _ROWS
    return [
        KernelCall(
            "mat_mul_s8" if narrow else "mat_mul_wide",
            (*site.node.inputs, site.node.output),
            {
                **scaled_pair(op, site),
                "rank": len(extents),
                "extents": tuple(extents),
                "a_strides": tuple(a_strides),
                "b_strides": tuple(b_strides),
                "rows": rows,
                "depth": depth,
                "columns": columns,
                "tile": tile,
                "panel": panel,
                "block": (exact - 1) // product,
            },
            units=products * -(-rows // tile),
            work=_PRODUCTS * site.elements * depth,
            scratch=size * depth * (panel + _ROWS),
        )
    ]
