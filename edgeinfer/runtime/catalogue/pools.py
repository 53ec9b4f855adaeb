"""Pools into calls of their kernels."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.graph import operators as ops
from edgeinfer.runtime.catalogue.call import (
    ELEMENT_WORK,
    KernelCall,
    KernelSite,
    lower,
    output_stage,
    window,
)

__all__: list[str] = []


@lower.register
def _max_pool(op: ops.MaxPool, site: KernelSite) -> list[KernelCall]:
    x, out = site.shape("x"), site.output.shape
    return [
        KernelCall(
            "max_pool",
            (site.node.input("x"), site.node.output),
            {
                **window(x, out, op.kernel, op.strides, op.pads, op.dilations),
                "channels": x[3],
                "bytes": site.itemsize("x"),
            },
            units=out[0] * out[1],
            work=ELEMENT_WORK // 2 * site.elements * math.prod(op.kernel),
        )
    ]


@lower.register
def _q_average_pool(op: ops.QAveragePool, site: KernelSite) -> list[KernelCall]:
    x, out = site.shape("x"), site.output.shape
    multiplier, shift = site.constant("multiplier"), site.constant("shift")
    return [
        KernelCall(
            "average_pool",
            (
                site.node.input("x"),
                multiplier.astype(np.int32),
                shift.astype(np.int8),
                site.node.output,
            ),
            {
                **window(x, out, op.kernel, op.strides, op.pads, (1, 1)),
                **output_stage(op),
                "channels": x[3],
                "bytes": site.itemsize("x"),
                "out_bytes": site.output.itemsize,
                "pad_bottom": op.pads[2],
                "pad_right": op.pads[3],
                "count_include_pad": int(op.count_include_pad),
                "input_zero_point": op.input_zero_point,
                "pad_value": op.pad_value,
            },
            units=out[0] * out[1],
            work=ELEMENT_WORK // 2 * site.elements * math.prod(op.kernel),
        )
    ]
