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

__all__: list[str] = []


def _table(site: KernelSite, table: np.ndarray) -> KernelCall:
    """What ``table`` holds for each x, or for knots between which it interpolates."""
    kernel, quick = "lookup", "lookup_s8" if table.nbytes == 256 else None
    if len(table) == 513:
        kernel, quick = "lookup_interpolated", "interpolate_s16"
    return KernelCall(
        quick if quick is not None and any(site.having(quick)) else kernel,
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
    return [_table(site, site.constant("table"))]
