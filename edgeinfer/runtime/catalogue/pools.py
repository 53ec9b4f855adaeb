"""Pools and resizes, which sum and compare neighbours, into calls of their kernels."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.arithmetic import accumulators
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


@lower.register
def _q_resize(op: ops.QResize, site: KernelSite) -> list[KernelCall]:
    x, out = site.shape("x"), site.output.shape
    row_weights, column_weights = site.constant("row_weights"), site.constant("column_weights")
    taps = row_weights.shape[1], column_weights.shape[1]
    return [
        KernelCall(
            "resize",
            (
                site.node.input("x"),
                site.constant("first_rows").astype(np.int32),
                row_weights.astype(np.int16),
                site.constant("first_columns").astype(np.int32),
                column_weights.astype(np.int16),
                site.node.output,
            ),
            {
                **output_stage(op),
                "bytes": site.itemsize("x"),
                "out_bytes": site.output.itemsize,
                "in_height": x[1],
                "in_width": x[2],
                "out_height": out[1],
                "out_width": out[2],
                "channels": x[3],
                "row_taps": taps[0],
                "column_taps": taps[1],
                "input_zero_point": op.input_zero_point,
                "multiplier": op.multiplier,
                "shift": op.shift,
                "plain_shift": _plain_shift(op, site),
            },
            units=out[0] * out[1],
            work=ELEMENT_WORK // 2 * site.elements * sum(taps),
            scratch=4 * x[2] * x[3],
        )
    ]


def _plain_shift(op: ops.QResize, site: KernelSite) -> int:
    """By how many bits the sums of int8 are shifted, in 32 bits, where R does nothing else."""
    shift = op.shift - op.multiplier.bit_length() + 1
    is_power = op.multiplier.bit_count() == 1
    if site.itemsize("x") != 1 or not is_power or not 0 < shift < 31 or op.rounding == "double":
        return 0
    reach = accumulators.reach("int8", op.input_zero_point)
    weights = site.constant("row_weights"), site.constant("column_weights")
    _, largest = accumulators.largest_resized(*weights, reach)
    return shift if largest + (1 << (shift - 1)) < 2**31 else 0
