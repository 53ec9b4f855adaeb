"""Operators of two operands, broadcast, into calls of their kernels."""

from __future__ import annotations

import math
from typing import get_args, get_type_hints

import numpy as np

from edgeinfer.graph import operators as ops
from edgeinfer.meaning import reference
from edgeinfer.runtime.catalogue.call import (
    ELEMENT_WORK,
    KernelCall,
    KernelSite,
    Parameters,
    broadcast_strides,
    collapse,
    lower,
    output_stage,
    overwritable,
    pair_widths,
    scaled_pair,
    strides_of,
)
from edgeinfer.runtime.catalogue.chains import Function, link
from edgeinfer.runtime.catalogue.proofs import linear_sum, short_product, short_sum

__all__: list[str] = []

# elements of a row that is worth a thread's while
_CHUNK = 4096


def _broadcast(
    site: KernelSite,
    kernel: str,
    parameters: Parameters,
    *tables: np.ndarray,
) -> list[KernelCall]:
    out = site.output.shape
    strides = (broadcast_strides(site.shape(role), len(out)) for role in ("a", "b"))
    extents, (a_strides, b_strides, _) = collapse(out, *strides, strides_of(out))
    chunk = math.gcd(extents[-1], _CHUNK)
    if len(extents) == 1 and chunk >= _CHUNK // 4:
        # rows for threads to share, of what is one row
        extents = [extents[0] // chunk, chunk]
        a_strides, b_strides = ([chunk * s[0], s[0]] for s in (a_strides, b_strides))
    return [
        KernelCall(
            kernel,
            (*site.node.inputs, *tables, site.node.output),
            {
                **parameters,
                "rank": len(extents),
                "extents": tuple(extents),
                "a_strides": tuple(a_strides),
                "b_strides": tuple(b_strides),
            },
            units=math.prod(extents[:-1]),
            work=ELEMENT_WORK * site.elements,
            in_place=overwritable(site, "a", "b"),
        )
    ]


@lower.register
def _index_arithmetic(op: ops.IndexArithmetic, site: KernelSite) -> list[KernelCall]:
    functions = get_args(get_type_hints(ops.IndexArithmetic)["function"])
    return _broadcast(site, "index_arithmetic", {"function": functions.index(op.function)})


def _is_narrow(site: KernelSite) -> bool:
    return set(pair_widths(site).values()) == {1}


def _takes_words(site: KernelSite) -> bool:
    return site.itemsize("a") == site.itemsize("b") == 2


def _makes_rows(site: KernelSite) -> bool:
    """Whether neither operand is broadcast, so that the pair may be a link of a chain."""
    same = site.shape("a") == site.shape("b") == site.output.shape
    return same and any(site.having("chain_s16"))


@lower.register
def _q_add(op: ops.QAdd, site: KernelSite) -> list[KernelCall]:
    narrow = _is_narrow(site)
    linear = linear_sum(op) if narrow else None
    if linear is not None:
        form = {**vars(linear), "lo": op.lo, "hi": op.hi}
        return _broadcast(site, "add_linear", form)
    subtract = int(isinstance(op, ops.QSub))
    short = short_sum(op) if _takes_words(site) and site.output.itemsize == 2 else None
    if short is not None and _makes_rows(site):
        stages = [
            (short.a_multiplier, short.a_rounding, short.a_shift),
            (short.b_multiplier, short.b_rounding, short.b_shift),
            (short.multiplier, short.rounding, short.shift),
        ]
        function = Function.SUBTRACT if subtract else Function.ADD
        return link(site, function, ["a", "b"], stages, ends=(op.lo, op.hi))
    if short is not None:
        form = {**vars(short), "subtract": subtract, "lo": op.lo, "hi": op.hi}
        return _broadcast(site, "add_s16", form)
    result = {
        **output_stage(op),
        **pair_widths(site),
        "multiplier": op.multiplier,
        "shift": op.shift,
        "subtract": subtract,
    }
    if narrow:
        q = np.arange(-128, 128)
        # verified ratios keep what 8 bits become within 32
        a, b = (table.astype(np.int32) for table in reference.common_scale(op, q, q))
        return _broadcast(site, "add_s8", result, a, b)
    operands = {
        "a_zero_point": op.a_zero_point,
        "b_zero_point": op.b_zero_point,
        "left_shift": op.left_shift,
        "a_multiplier": op.a_multiplier,
        "a_shift": op.a_shift,
        "b_multiplier": op.b_multiplier,
        "b_shift": op.b_shift,
    }
    return _broadcast(site, "add", {**result, **operands})


@lower.register
def _q_mul(op: ops.QMul, site: KernelSite) -> list[KernelCall]:
    zero_points = {"a_zero_point": op.a_zero_point, "b_zero_point": op.b_zero_point}
    ends = {"lo": op.lo, "hi": op.hi}
    if _is_narrow(site) and any(site.having("mul_s8")):
        short = short_product(op, 8)
        if short is not None:
            return _broadcast(site, "mul_s8", {**zero_points, **vars(short), **ends})
    if _takes_words(site) and not any(zero_points.values()) and any(site.having("mul_s16")):
        short = short_product(op, 16)
        if short is not None and _makes_rows(site):
            own = short.multiplier, short.rounding, short.shift
            stages = [(0, 0, 0), (0, 0, 0), own]
            return link(site, Function.MULTIPLY, ["a", "b"], stages, ends=(op.lo, op.hi))
        if short is not None:
            stage = {
                "multiplier": short.multiplier,
                "rounding": short.rounding,
                "shift": short.shift,
            }
            return _broadcast(site, "mul_s16", {**stage, **ends, "out_bytes": site.output.itemsize})
    return _broadcast(site, "mul", scaled_pair(op, site))


@lower.register
def _q_div(op: ops.QDiv, site: KernelSite) -> list[KernelCall]:
    return _broadcast(site, "div", scaled_pair(op, site))


@lower.register(ops.Maximum)
@lower.register(ops.Minimum)
def _maximum(op: ops.Maximum | ops.Minimum, site: KernelSite) -> list[KernelCall]:
    return _broadcast(
        site, "extreme", {**pair_widths(site), "largest": int(isinstance(op, ops.Maximum))}
    )
