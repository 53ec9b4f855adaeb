"""Turns a ReLU or Clip into bounds of the operator before it."""

from __future__ import annotations

import math
from dataclasses import replace

from edgeinfer.arithmetic.pointwise import Expression
from edgeinfer.converters.passes.rewriter import Rewriter, looks_for
from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops

__all__ = ["fuse_clamps"]


@looks_for(ops.Clamped, ops.Pointwise)
def fuse_clamps(graph: Graph) -> Graph:
    """clip(Clamped(x), lo, hi) = Clamped(x) with the tighter bounds, where nothing else takes it.

    The value keeps the name of the clip's result.
    """
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        x = rewriter.current(node.inputs[0])
        layer = rewriter.producer(x)
        bounds = _bounds(node.op.expression) if isinstance(node.op, ops.Pointwise) else None
        if (
            bounds is None
            or layer is None
            or not isinstance(layer.op, ops.Clamped)
            or not rewriter.only_use(x)
        ):
            rewriter.copy(node)
            continue
        lo, hi = _clamp((layer.op.lo, layer.op.hi), bounds)
        rewriter.replace(x, replace(layer.op, lo=lo, hi=hi), layer.inputs, node.outputs[0])
    return rewriter.finish()


def _clamp(inner: tuple[float, float], outer: tuple[float, float]) -> tuple[float, float]:
    """Bounds of clip(clip(x, *inner), *outer)."""
    lo, hi = (min(max(bound, outer[0]), outer[1]) for bound in inner)
    return lo, hi


def _bounds(e: Expression) -> tuple[float, float] | None:
    """The bounds of an expression that clips x and does nothing else."""
    if e == "x":
        return -math.inf, math.inf
    if not isinstance(e, tuple):
        return None
    function, first, *rest = e
    if function in ("max", "min") and isinstance(first, float):
        first, rest = rest[0], [first]
    if not all(isinstance(bound, float) for bound in rest):
        return None
    inner = _bounds(first)
    if inner is None:
        return None
    match function:
        case "relu":
            return _clamp(inner, (0.0, math.inf))
        case "clip":
            return _clamp(inner, (rest[0], rest[1]))
        case "max":
            return _clamp(inner, (rest[0], math.inf))
        case "min":
            return _clamp(inner, (-math.inf, rest[0]))
    return None
