"""On which sides of 0 a value's readers do not ask how far a far number lies.

A Softmax's excluded scores and a maximum's fillings only have to stay below the others.
"""

from __future__ import annotations

import math
from functools import singledispatch

import numpy as np

from edgeinfer.arithmetic import pointwise
from edgeinfer.graph import operators as ops
from edgeinfer.graph.graph import Graph

__all__ = ["indifferent_sides", "settled_sides", "slope_far_out"]

# which signs of far numbers an operator's result does not depend on the distance of
_LOW, _HIGH = frozenset({-1}), frozenset({1})
_NEITHER, _BOTH = frozenset[int](), _LOW | _HIGH


def indifferent_sides(graph: Graph) -> dict[str, frozenset[int]]:
    """By value, on which sides of 0 (-1, 1) no reader asks how far a far number lies."""
    sides = {name: _BOTH for name, kind in graph.types.items() if kind.dtype == "float32"}
    sides.update(dict.fromkeys(graph.results, _NEITHER))
    for node in reversed(graph.nodes):
        given = _BOTH
        for name in node.outputs:
            given = given & sides.get(name, _BOTH)
        for place, name in enumerate(node.inputs):
            if name in sides:
                sides[name] = sides[name] & _ignored(node.op, place, given)
    return {name: found for name, found in sides.items() if found}


@singledispatch
def _ignored(op: ops.Operator, place: int, given: frozenset[int]) -> frozenset[int]:
    """The sides whose distance ``op`` ignores in one input, if its readers ignore ``given``."""
    return _NEITHER


@_ignored.register(ops.ArgMax)
@_ignored.register(ops.Maximum)
@_ignored.register(ops.MaxPool)
@_ignored.register(ops.ReduceMax)
@_ignored.register(ops.Softmax)
def _largest(op: ops.Operator, place: int, given: frozenset[int]) -> frozenset[int]:
    return _LOW


@_ignored.register
def _top(op: ops.TopIndices, place: int, given: frozenset[int]) -> frozenset[int]:
    return _LOW if op.largest else _HIGH


@_ignored.register
def _suppressed(op: ops.NonMaxSuppression, place: int, given: frozenset[int]) -> frozenset[int]:
    return _LOW if place == 1 else _NEITHER


@_ignored.register(ops.Minimum)
@_ignored.register(ops.ReduceMin)
def _smallest(op: ops.Operator, place: int, given: frozenset[int]) -> frozenset[int]:
    return _HIGH


@_ignored.register(ops.Add)
@_ignored.register(ops.Moving)
def _passed_on(op: ops.Operator, place: int, given: frozenset[int]) -> frozenset[int]:
    return given


@_ignored.register
def _where(op: ops.Where, place: int, given: frozenset[int]) -> frozenset[int]:
    return given if place else _NEITHER


@_ignored.register
def _sub(op: ops.Sub, place: int, given: frozenset[int]) -> frozenset[int]:
    return given if place == 0 else frozenset(-side for side in given)


@_ignored.register
def _pointwise(op: ops.Pointwise, place: int, given: frozenset[int]) -> frozenset[int]:
    """Where the function has settled long before the largest numbers, or is linear."""
    slopes = {side: slope_far_out(op, side) for side in _BOTH}
    passed = [side for side, slope in slopes.items() if side * int(np.sign(slope)) in given]
    return settled_sides(op) | frozenset(passed)


def settled_sides(op: ops.Pointwise) -> frozenset[int]:
    """The sides (-1, 1) on which the function is constant from 10,000 on."""
    found = []
    for side in _BOTH:
        near, far = pointwise.evaluate(op.expression, np.array([1e4, 1e30]) * side)
        if math.isfinite(far) and abs(near - far) <= 1e-6 * abs(far):
            found.append(side)
    return frozenset(found)


def slope_far_out(op: ops.Pointwise, side: int) -> float:
    """That of the function far out on a side, where it is linear; else 0."""
    near, far = pointwise.evaluate(op.expression, np.array([1e10, 1e20]) * side)
    is_linear = math.isfinite(far) and far != 0 and abs(near * 1e10 / far - 1) < 1e-6
    return float(far / (1e20 * side)) if is_linear else 0.0
