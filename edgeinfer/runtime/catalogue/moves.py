"""Operators that move elements into strided copies, and lists where no strides serve."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

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
    strides_of,
)

__all__ = ["copy"]


def copy(
    site: KernelSite,
    extents: Ints,
    in_strides: Ints,
    out_strides: Ints | None = None,
    *,
    source: str | None = None,
    target: str | None = None,
    in_start: int = 0,
    out_start: int = 0,
) -> KernelCall:
    """A strided copy from ``source``, or the first input; without ``out_strides`` it fills
    ``target``, or the first output."""
    joined, (in_walk, out_walk) = collapse(extents, in_strides, out_strides or strides_of(extents))
    source = source or site.node.operands[0]
    return KernelCall(
        "copy",
        (source, target or site.node.outputs[0]),
        {
            "bytes": site.graph.types[source].itemsize,
            "rank": len(joined),
            "extents": tuple(joined),
            "in_strides": tuple(in_walk),
            "out_strides": tuple(out_walk),
            "in_start": in_start,
            "out_start": out_start,
        },
        units=math.prod(joined[:-1]),
        work=ELEMENT_WORK * math.prod(joined),
    )


def _unless_same(site: KernelSite, call: KernelCall) -> list[KernelCall]:
    """The copy, or nothing where it would copy the whole input as it stands."""
    packed = (call.parameters["in_strides"], call.parameters["in_start"]) == (
        call.parameters["out_strides"],
        0,
    )
    whole = site.elements == site.inputs[0].elements
    return [] if packed and whole else [call]


@lower.register
def _reshape(op: ops.Reshape, site: KernelSite) -> list[KernelCall]:
    return []


@lower.register
def _concat(op: ops.Concat, site: KernelSite) -> list[KernelCall]:
    joined, calls, start = strides_of(site.output.shape), [], 0
    for name in site.node.operands:
        shape = site.graph.types[name].shape
        calls.append(copy(site, shape, strides_of(shape), joined, source=name, out_start=start))
        start += shape[op.axis] * joined[op.axis]
    return _unless_same(site, calls[0]) if len(calls) == 1 else calls


@lower.register
def _split(op: ops.Split, site: KernelSite) -> list[KernelCall]:
    steps, calls, start = strides_of(site.shape("x")), [], 0
    for name, t in zip(site.node.outputs, site.outputs, strict=True):
        calls.append(copy(site, t.shape, steps, target=name, in_start=start))
        start += t.shape[op.axis] * steps[op.axis]
    return _unless_same(site, calls[0]) if len(calls) == 1 else calls


@lower.register
def _slice(op: ops.Slice, site: KernelSite) -> list[KernelCall]:
    steps = strides_of(site.shape("x"))
    strides = [step * stride for step, stride in zip(op.steps, steps, strict=True)]
    start = sum(s * stride for s, stride in zip(op.starts, steps, strict=True))
    return _unless_same(site, copy(site, op.sizes, strides, in_start=start))


@lower.register
def _transpose(op: ops.Transpose, site: KernelSite) -> list[KernelCall]:
    steps = strides_of(site.shape("x"))
    walk = [steps[axis] for axis in op.permutation]
    return _unless_same(site, copy(site, site.output.shape, walk))


@lower.register
def _expand(op: ops.Expand, site: KernelSite) -> list[KernelCall]:
    x = (1,) * (len(op.shape) - len(site.shape("x"))) + site.shape("x")
    walk = [0 if n == 1 else step for n, step in zip(x, strides_of(x), strict=True)]
    return _unless_same(site, copy(site, site.output.shape, walk))


@lower.register
def _tile(op: ops.Tile, site: KernelSite) -> list[KernelCall]:
    x = site.shape("x")
    extents = [n for pair in zip(op.repeats, x, strict=True) for n in pair]
    walk = [step for stride in strides_of(x) for step in (0, stride)]
    return _unless_same(site, copy(site, extents, walk))


@lower.register
def _depth_to_space(op: ops.DepthToSpace, site: KernelSite) -> list[KernelCall]:
    n, height, width, channels = site.shape("x")
    b, depth = op.block, channels // op.block**2
    row, column, c = (b * depth, depth, 1) if op.mode == "DCR" else (b, 1, b * b)
    extents = (n, height, b, width, b, depth)
    walk = (height * width * channels, width * channels, row, channels, column, c)
    return _unless_same(site, copy(site, extents, walk))


@lower.register
def _space_to_depth(op: ops.SpaceToDepth, site: KernelSite) -> list[KernelCall]:
    n, height, width, channels = site.shape("x")
    b, row = op.block, width * channels
    extents = (n, height // b, width // b, b, b, channels)
    walk = (height * row, b * row, b * channels, row, channels, 1)
    return _unless_same(site, copy(site, extents, walk))


@lower.register
def _pad(op: ops.Pad, site: KernelSite) -> list[KernelCall]:
    x, out = site.shape("x"), site.output.shape
    if x == out:
        return []
    steps = strides_of(out)
    start = sum(b * step for b, step in zip(op.before, steps, strict=True))
    inside = copy(site, x, strides_of(x), steps, out_start=start)
    if op.mode != "constant":
        return [inside, *_mirrored(op, site)]
    fill = KernelCall(
        "fill",
        (site.node.output,),
        {"bytes": site.output.itemsize, "value": int(op.value)},
        units=site.elements,
        work=ELEMENT_WORK * site.elements,
    )
    return [fill, inside]


def _mirrored(op: ops.Pad, site: KernelSite) -> Iterator[KernelCall]:
    """Axis by axis, what lies before and after the inside, from the inside: copies in the output.

    The axes before are whole by then, those that follow have their inside only.
    """
    x, out, steps = site.shape("x"), site.output.shape, strides_of(site.output.shape)
    for axis, n in enumerate(x):
        before, after = op.before[axis], op.after[axis]
        inside = sum(op.before[a] * steps[a] for a in range(axis + 1, len(x)))
        # edge: the same element again and again; reflect: on the way back from the second
        walk, first, last = (0, before, before + n - 1)
        if op.mode == "reflect":
            walk, first, last = (-1, 2 * before, before + n - 2)
        for count, source, target in ((before, first, 0), (after, last, before + n)):
            if count:
                yield copy(
                    site,
                    (*out[:axis], count, *x[axis + 1 :]),
                    (*steps[:axis], walk * steps[axis], *steps[axis + 1 :]),
                    steps,
                    source=site.node.output,
                    in_start=inside + source * steps[axis],
                    out_start=inside + target * steps[axis],
                )


def _take(
    site: KernelSite, outer: int, extents: Ints, lists: Sequence[np.ndarray], run: int
) -> list[KernelCall]:
    """Of x [outer, *extents, run] the elements [:, lists[0][i], lists[1][j], ..., :]."""
    if all(np.array_equal(chosen, np.arange(n)) for chosen, n in zip(lists, extents, strict=True)):
        return []
    steps = strides_of((*extents, run))
    offsets = [chosen * step for chosen, step in zip(lists, steps, strict=False)]
    lengths = tuple(map(len, offsets))
    return [
        KernelCall(
            "take",
            (
                site.node.operands[0],
                np.concatenate(offsets).astype(np.int64),
                site.node.output,
            ),
            {
                "bytes": site.output.itemsize,
                "rank": len(lengths),
                "extents": lengths,
                "run": run,
                "outer_stride": math.prod(extents) * run,
            },
            units=outer * math.prod(lengths[:-1]),
            work=ELEMENT_WORK * site.elements,
        )
    ]


@lower.register
def _resize_nearest(op: ops.ResizeNearest, site: KernelSite) -> list[KernelCall]:
    n, height, width, channels = site.shape("x")
    return _take(site, n, (height, width), [np.array(op.rows), np.array(op.columns)], channels)


@lower.register
def _gather(op: ops.Gather, site: KernelSite) -> list[KernelCall]:
    x = site.shape("data")
    outer, extent, inner = math.prod(x[: op.axis]), x[op.axis], math.prod(x[op.axis + 1 :])
    if site.is_constant("indices"):
        indices = site.constant("indices").ravel()
        chosen = np.where(indices < 0, indices + extent, indices)
        return _take(site, outer, (extent,), [chosen], inner)
    indices_count = site.type("indices").elements
    return [
        KernelCall(
            "gather",
            (*site.node.inputs, site.node.output),
            {
                **along(site, "data", op.axis),
                "indices": indices_count,
                "least": op.least(extent),
            },
            units=outer * indices_count,
            work=ELEMENT_WORK * site.elements,
        )
    ]


@lower.register
def _gather_elements(op: ops.GatherElements, site: KernelSite) -> list[KernelCall]:
    x = site.shape("data")
    strides = strides_of(x)
    return [
        KernelCall(
            "gather_elements",
            (*site.node.inputs, site.node.output),
            {
                "bytes": site.itemsize("data"),
                "rank": len(x),
                "extents": site.output.shape,
                "strides": tuple(0 if a == op.axis else n for a, n in enumerate(strides)),
                "extent": x[op.axis],
                "stride": strides[op.axis],
            },
            units=site.elements,
            work=ELEMENT_WORK * site.elements,
        )
    ]
