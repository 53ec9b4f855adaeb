"""Reductions, and what looks along an axis, into calls of their kernels."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from edgeinfer.graph import operators as ops
from edgeinfer.runtime.catalogue.call import (
    ELEMENT_WORK,
    Ints,
    KernelCall,
    KernelSite,
    along,
    collapse,
    lower,
    output_stage,
    overwritable,
    strides_of,
)

__all__: list[str] = []


def _reduction(
    site: KernelSite, kernel: str, axes: Ints, parameters: Mapping[str, int]
) -> list[KernelCall]:
    x = site.shape("x")
    steps = strides_of(x)
    kept = [axis for axis in range(len(x)) if axis not in axes]
    outer, (outer_steps,) = collapse([x[a] for a in kept], [steps[a] for a in kept])
    inner, (inner_steps,) = collapse([x[a] for a in sorted(axes)], [steps[a] for a in sorted(axes)])
    return [
        KernelCall(
            kernel,
            (site.node.input("x"), site.node.output),
            {
                **parameters,
                "kept": len(outer),
                "rank": len(outer) + len(inner),
                "extents": (*outer, *inner),
                "strides": (*outer_steps, *inner_steps),
                "in_bytes": site.itemsize("x"),
            },
            units=site.elements,
            work=ELEMENT_WORK * math.prod(x),
        )
    ]


@lower.register
def _q_reduce_sum(op: ops.QReduceSum, site: KernelSite) -> list[KernelCall]:
    parameters = {
        **output_stage(op),
        "out_bytes": site.output.itemsize,
        "input_zero_point": op.input_zero_point,
        "multiplier": op.multiplier,
        "shift": op.shift,
    }
    return _reduction(site, "reduce_sum", op.axes, parameters)


@lower.register(ops.ReduceMax)
@lower.register(ops.ReduceMin)
def _reduce_max(op: ops.ReduceMax | ops.ReduceMin, site: KernelSite) -> list[KernelCall]:
    largest = int(isinstance(op, ops.ReduceMax))
    return _reduction(site, "reduce_extreme", op.axes, {"largest": largest})


@lower.register
def _arg_max(op: ops.ArgMax, site: KernelSite) -> list[KernelCall]:
    return [
        KernelCall(
            "argmax",
            (site.node.input("x"), site.node.output),
            {**along(site, "x", op.axis), "last": int(op.select_last_index)},
            units=site.elements,
            work=ELEMENT_WORK * math.prod(site.shape("x")),
        )
    ]


@lower.register
def _top_indices(op: ops.TopIndices, site: KernelSite) -> list[KernelCall]:
    x = site.shape("x")
    return [
        KernelCall(
            "top_indices",
            (site.node.input("x"), site.node.output),
            {**along(site, "x", op.axis), "count": op.count, "largest": int(op.largest)},
            units=math.prod(x) // x[op.axis],
            work=ELEMENT_WORK * math.prod(x),
            scratch=8 * op.count,
        )
    ]


@lower.register
def _q_softmax(op: ops.QSoftmax, site: KernelSite) -> list[KernelCall]:
    return [
        KernelCall(
            "softmax_s8" if site.itemsize("x") == 1 else "softmax_s16",
            (site.node.input("x"), site.constant("table").astype(np.int32), site.node.output),
            along(site, "x", op.axis),
            units=site.elements // site.shape("x")[op.axis],
            work=8 * ELEMENT_WORK * site.elements,
            in_place=overwritable(site, "x"),
        )
    ]
