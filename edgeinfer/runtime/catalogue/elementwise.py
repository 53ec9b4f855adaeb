"""Operators of one operand, element by element, into calls of their kernels."""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import operators as ops
from edgeinfer.meaning import reference
from edgeinfer.runtime.catalogue.call import (
    ELEMENT_WORK,
    KernelCall,
    KernelSite,
    lower,
    output_stage,
    overwritable,
)
from edgeinfer.runtime.catalogue.chains import Function, link
from edgeinfer.runtime.catalogue.proofs import short_rescale

__all__: list[str] = []


def _table(site: KernelSite, table: np.ndarray) -> KernelCall:
    """What ``table`` holds for each x, or for knots between which it interpolates."""
    kernel = "lookup" if len(table) != 513 else "lookup_interpolated"
    if table.nbytes == 256 and any(site.having("lookup_s8")):
        kernel = "lookup_s8"
    return KernelCall(
        kernel,
        (site.node.input("x"), table, site.node.output),
        {"in_bytes": site.itemsize("x"), "out_bytes": site.output.itemsize},
        units=site.elements,
        work=ELEMENT_WORK * site.elements,
        in_place=overwritable(site, "x"),
    )


def _results(op: ops.Operator, site: KernelSite, *constants: np.ndarray) -> np.ndarray:
    """What each x of 8 bits becomes."""
    (results,) = reference.evaluate(op, np.arange(-128, 128).astype(np.int8), *constants)
    return results.astype(site.output.dtype)


@lower.register
def _rescale(op: ops.Rescale, site: KernelSite) -> list[KernelCall]:
    if site.itemsize("x") == 1:
        return [_table(site, _results(op, site))]
    short = short_rescale(op) if site.itemsize("x") == 2 and site.output.itemsize <= 2 else None
    if short is not None and any(site.having("chain_s16")):
        return link(site, Function.RESCALE, ["x"], [short], ends=(op.lo, op.hi))
    return [
        KernelCall(
            "rescale",
            (site.node.input("x"), site.node.output),
            {
                **output_stage(op),
                "in_bytes": site.itemsize("x"),
                "out_bytes": site.output.itemsize,
                "input_zero_point": op.input_zero_point,
                "multiplier": op.multiplier,
                "shift": op.shift,
            },
            units=site.elements,
            work=ELEMENT_WORK * site.elements,
            in_place=overwritable(site, "x"),
        )
    ]


@lower.register
def _q_prelu(op: ops.QPRelu, site: KernelSite) -> list[KernelCall]:
    multiplier, shift = site.constant("multiplier"), site.constant("shift")
    if site.itemsize("x") == 1 and len(multiplier) == 1:
        return [_table(site, _results(op, site, multiplier, shift))]
    return [
        KernelCall(
            "prelu",
            (
                site.node.input("x"),
                multiplier.astype(np.int32),
                shift.astype(np.int8),
                site.node.output,
            ),
            {
                **output_stage(op),
                "in_bytes": site.itemsize("x"),
                "out_bytes": site.output.itemsize,
                "input_zero_point": op.input_zero_point,
                "multiplier": op.multiplier,
                "shift": op.shift,
                "slopes": len(multiplier),
            },
            units=site.elements // len(multiplier),
            work=ELEMENT_WORK * site.elements,
            in_place=overwritable(site, "x"),
        )
    ]


@lower.register
def _lookup(op: ops.Lookup, site: KernelSite) -> list[KernelCall]:
    table = site.constant("table")
    if len(table) == 513 and any(site.having("chain_s16")):
        return link(site, Function.INTERPOLATE, ["x"], table=table)
    return [_table(site, table)]
