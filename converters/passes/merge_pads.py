"""Turns a Pad into pads of the window that follows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import singledispatch

import numpy as np

from edgeinfer.converters.passes.rewriter import Rewriter, looks_for
from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops

__all__ = ["merge_pads"]

_LOWEST = float(np.finfo(np.float32).min)


@looks_for(ops.Pad)
def merge_pads(graph: Graph) -> Graph:
    """window(Pad(x)) = window of x with larger pads, where the padding means the same.

    A Conv pads with 0. An AveragePool does where it counts its pads, and it must have none of its
    own that it does not count. A MaxPool's pads never win: nor does the lowest float32, nor a 0
    beside values that a clamp keeps from being negative.
    """
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        x = rewriter.current(node.inputs[0])
        pad = rewriter.producer(x)
        merged = None
        if pad is not None and isinstance(pad.op, ops.Pad) and _is_spatial(pad.op):
            merged = _merged(node.op, pad.op, _floor(rewriter, pad.inputs[0]))
        if merged is None or pad is None:
            rewriter.copy(node)
        else:
            rewriter.write(node, merged, (pad.inputs[0], *node.inputs[1:]), node.outputs[0])
    return rewriter.finish()


def _is_spatial(pad: ops.Pad) -> bool:
    edges = (*pad.before, *pad.after)
    return pad.mode == "constant" and len(edges) == 8 and not any(edges[i] for i in (0, 3, 4, 7))


def _floor(rewriter: Rewriter, value: str) -> float:
    """A number that ``value`` is known not to be below."""
    producer = rewriter.producer(value)
    if producer is not None and isinstance(producer.op, ops.Clamped):
        return producer.op.lo
    return -np.inf


def _added(pads: Sequence[int], pad: ops.Pad) -> tuple[int, int, int, int]:
    top, left, bottom, right = pads
    _, above, before, _ = pad.before
    _, below, after, _ = pad.after
    return (top + above, left + before, bottom + below, right + after)


@singledispatch
def _merged(op: ops.Operator, pad: ops.Pad, floor: float) -> ops.Operator | None:
    """The operator with the Pad in its pads; None where that is not the same."""
    return None


@_merged.register
def _conv(op: ops.Conv, pad: ops.Pad, floor: float) -> ops.Operator | None:
    return replace(op, pads=_added(op.pads, pad)) if pad.value == 0 else None


@_merged.register
def _average_pool(op: ops.AveragePool, pad: ops.Pad, floor: float) -> ops.Operator | None:
    pads = _added(op.pads, pad)
    counted = op.count_include_pad or not (any(op.pads) or any(op.ceil_pads))
    if pad.value != 0 or not counted or not _smaller(pads, op.kernel):
        return None
    return replace(op, pads=pads, count_include_pad=True)


@_merged.register
def _max_pool(op: ops.MaxPool, pad: ops.Pad, floor: float) -> ops.Operator | None:
    pads = _added(op.pads, pad)
    reach = tuple((k - 1) * d + 1 for k, d in zip(op.kernel, op.dilations, strict=True))
    never_wins = pad.value <= _LOWEST or pad.value <= floor
    return replace(op, pads=pads) if never_wins and _smaller(pads, reach) else None


def _smaller(pads: Sequence[int], reach: Sequence[int]) -> bool:
    return all(n < reach[i % 2] for i, n in enumerate(pads))
