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

# as the kernel counts them
_MEASURES = ("variance", "squares", "magnitudes")


def _reduction(
    site: KernelSite, kernel: str, axes: Ints, parameters: Mapping[str, int]
) -> list[KernelCall]:
    x = site.shape("x")
    walk, _ = _groups(x, axes)
    return [
        KernelCall(
            kernel,
            (site.node.input("x"), site.node.output),
            {**parameters, **walk, "in_bytes": site.itemsize("x")},
            units=site.elements,
            work=ELEMENT_WORK * math.prod(x),
        )
    ]


def _groups(x: Ints, axes: Ints) -> tuple[dict[str, int | tuple[int, ...]], int]:
    """The walk over the groups of elements along ``axes``, and how many neighbours it takes."""
    steps = strides_of(x)
    kept = [axis for axis in range(len(x)) if axis not in axes]
    outer, (outer_steps,) = collapse([x[a] for a in kept], [steps[a] for a in kept])
    inner, (inner_steps,) = collapse([x[a] for a in sorted(axes)], [steps[a] for a in sorted(axes)])
    walk: dict[str, int | tuple[int, ...]] = {
        "kept": len(outer),
        "rank": len(outer) + len(inner),
        "extents": (*outer, *inner),
        "strides": (*outer_steps, *inner_steps),
    }
    run = next(
        (e for e, s in ((outer[-1], outer_steps[-1]), (inner[-1], inner_steps[-1])) if s == 1), 1
    )
    return walk, run


@lower.register
def _q_reduce_sum(op: ops.QReduceSum, site: KernelSite) -> list[KernelCall]:
    return _reduction(site, "reduce_sum", op.axes, _scaled(op, site))


@lower.register
def _q_reduce_l2(op: ops.QReduceL2, site: KernelSite) -> list[KernelCall]:
    parameters = {**_scaled(op, site), "fraction": op.fraction}
    return _reduction(site, "reduce_l2", op.axes, parameters)


def _scaled(op: ops.QReduceSum | ops.QReduceL2, site: KernelSite) -> dict[str, int]:
    """The fields of a reduction that ends at a scale of its own."""
    return {
        **output_stage(op),
        "out_bytes": site.output.itemsize,
        "input_zero_point": op.input_zero_point,
        "multiplier": op.multiplier,
        "shift": op.shift,
    }


@lower.register
def _q_normalization(op: ops.QNormalization, site: KernelSite) -> list[KernelCall]:
    x = site.shape("x")
    walk, run = _groups(x, op.axes)
    constants = [site.constant("multiplier"), site.constant("bias")]
    inner, is_each = op.inner, len(constants[0]) > 1 and op.inner % run > 0
    if is_each:
        # a number for each neighbour, and enough of them for a whole line
        cycle = len(constants[0]) * inner
        constants = [np.resize(array.repeat(inner), max(cycle, run)) for array in constants]
        inner = 1
    count = math.prod(x[axis] for axis in op.axes)
    return [
        KernelCall(
            "normalize",
            (site.node.input("x"), *constants, site.node.output),
            {
                **output_stage(op),
                **walk,
                "in_bytes": site.itemsize("x"),
                "out_bytes": site.output.itemsize,
                "input_zero_point": op.input_zero_point,
                "count": count,
                "count_bits": count.bit_length(),
                "measure": _MEASURES.index(op.measure),
                "epsilon": op.epsilon,
                "exponent": op.exponent,
                "is_least": int(op.is_least),
                "fraction": op.fraction,
                "channels": len(constants[0]),
                "inner": inner,
                "step": int(is_each),
                "shift": op.shift,
            },
            units=site.elements // count,
            work=2 * ELEMENT_WORK * site.elements,
            in_place=overwritable(site, "x"),
        )
    ]


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
def _non_max_suppression(op: ops.NonMaxSuppression, site: KernelSite) -> list[KernelCall]:
    samples, classes, places = site.shape("scores")
    return [
        KernelCall(
            "non_max_suppression",
            (site.node.input("boxes"), site.node.input("scores"), site.node.output),
            {
                "box_bytes": site.itemsize("boxes"),
                "score_bytes": site.itemsize("scores"),
                "samples": samples,
                "classes": classes,
                "places": places,
                "count": op.count,
                "overlap": op.overlap,
                "above": int(op.above),
                "centered": int(op.centered),
            },
            units=1,
            work=ELEMENT_WORK * samples * classes * places,
            scratch=8 * places,
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
