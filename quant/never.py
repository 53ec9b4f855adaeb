"""Numbers that only stand for "never": beyond all others, and no reader asks how far.

A Pad with the lowest float before a maximum, or a mask of -1e9 added before a Softmax: such a
number has to stay below the others, and its distance decides nothing. As part of a range it would
take every step from the numbers that matter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgeinfer.arithmetic import elementary, pointwise
from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops
from edgeinfer.graph.indifference import settled_sides, slope_far_out
from edgeinfer.quant.observers import Histogram
from edgeinfer.quant.schemes import Width

__all__ = ["FarNumbers", "Filling", "Never", "fillings", "near_and_far"]

_NEITHER = frozenset[int]()

# A number that stands for never is this many times beyond all that are not.
_BEYOND = 64

# beside nothing but 0, as in a mask that a run computes, it has this magnitude at least, and so it
# has where a run holds nothing else, as scores of which a mask excludes all
_ALONE = 5000.0

# exp(-8) is less than a tenth of an 8-bit Softmax's step, exp(-12) a fifth of a 16-bit one's
_SOFTMAX_MARGIN: Mapping[Width, float] = {"int8": 8.0, "int16": 12.0}

# an index of a maximum needs a step between never and the lowest
_ORDER_MARGIN = 1 / 32


def near_and_far(x: np.ndarray, sides: frozenset[int]) -> tuple[np.ndarray, np.ndarray]:
    """The elements of ``x``, and apart those far beyond the rest on one of ``sides``.

    Where there is no rest, all may be apart: other runs tell whether they are far.
    """
    x = x.ravel()
    near = np.ones(x.size, bool)
    magnitudes = np.abs(x)
    while near.any():
        reach = magnitudes[near].max()
        far = near & (magnitudes >= reach / 2)
        rest = magnitudes[near & ~far]
        nearest = float(rest.max()) * _BEYOND if rest.size else 0.0
        if (nearest or _ALONE) > float(reach):
            break
        if not all(int(side) in sides for side in np.unique(np.sign(x[far]))):
            break
        near &= ~far
    return (x, x[:0]) if near.all() else (x[near], x[~near])


class FarNumbers:
    """What lay far beyond the rest of its run, kept apart until all runs are known.

    Of four numbers one is soon 64 times beyond the others. It stands for never only where it is so
    far beyond those of all other runs too.
    """

    def __init__(self) -> None:
        # by exponent and sign, first the runs to calibrate by, then those held back
        self._counted: dict[tuple[int, int], tuple[Histogram, Histogram]] = {}

    def add(self, x: np.ndarray, is_held_back: bool) -> None:
        """Count the numbers of one run, none of which is 0."""
        limit = np.finfo(np.float32).max
        x = np.clip(x, -limit, limit)
        exponents, signs = np.frexp(x)[1], np.sign(x)
        for exponent, sign in {*zip(exponents.tolist(), signs.astype(int).tolist(), strict=True)}:
            counted = self._counted.setdefault((exponent, sign), (Histogram(), Histogram()))
            counted[is_held_back].add(x[(exponents == exponent) & (signs == sign)])

    def merge(self, other: FarNumbers) -> None:
        """Count what ``other`` has counted."""
        for key, theirs in other._counted.items():
            counted = self._counted.setdefault(key, (Histogram(), Histogram()))
            for own, more in zip(counted, theirs, strict=True):
                own.merge(more)

    def settle(self, fitted: Histogram, held_back: Histogram) -> frozenset[int]:
        """Give back to both what is not far beyond all of them; the signs of what is."""
        for key in sorted(self._counted):
            counted = self._counted[key]
            least = min(min(abs(h.low), abs(h.high)) for h in counted)
            # what went was up to half as far as the farthest
            if not fitted.total or 2 * least < _BEYOND * max(fitted.reach, held_back.reach):
                fitted.merge(counted[0])
                held_back.merge(counted[1])
                del self._counted[key]
        return frozenset(sign for _, sign in self._counted)


def fillings(graph: Graph, sides: Mapping[str, frozenset[int]]) -> dict[str, Filling]:
    """By value, the number that a Pad filled it with, on a side where its distance is not asked."""
    numbers: dict[str, float] = {}
    for node in graph.nodes:
        name = node.outputs[0]
        if isinstance(node.op, ops.Pad) and node.op.mode == "constant":
            numbers[name] = node.op.value
        elif isinstance(node.op, ops.Moving) and node.inputs[0] in numbers:
            numbers[name] = numbers[node.inputs[0]]
    return {
        name: Filling(number)
        for name, number in numbers.items()
        if number and int(math.copysign(1, number)) in sides.get(name, _NEITHER)
    }


class Filling:
    """The number that a Pad filled a value with, kept apart until all runs are known.

    It stands for never however near it lies, where it is beyond all others on its side of 0.
    """

    def __init__(self, number: float) -> None:
        self._number = np.float32(number)
        self._counted = Histogram(), Histogram()

    def without(self, x: np.ndarray, is_held_back: bool) -> np.ndarray:
        """The other elements of ``x``, when those that are the number are counted."""
        filled = x == self._number
        self._counted[is_held_back].add(x[filled])
        return x[~filled]

    def merge(self, other: Filling) -> None:
        """Count what ``other`` has counted, which is of the same number."""
        for own, more in zip(self._counted, other._counted, strict=True):
            own.merge(more)

    def settle(self, fitted: Histogram, held_back: Histogram) -> frozenset[int]:
        """Give it back to both if some go as far, and else its sign."""
        low, high = min(fitted.low, held_back.low), max(fitted.high, held_back.high)
        if self._number < min(low, 0) or self._number > max(high, 0):
            return frozenset({int(np.sign(self._number))})
        fitted.merge(self._counted[0])
        held_back.merge(self._counted[1])
        return _NEITHER


@dataclass(frozen=True)
class Never:
    """How far below and above the numbers that matter a value must reach, to keep never apart.

    Parameters
    ----------
    graph : Graph
        The float Graph.
    holders : mapping of str to set of int
        By value, on which sides calibration met numbers that stand for never.
    spans : mapping of str to float
        By value, how far its other numbers lie apart.
    """

    graph: Graph
    holders: Mapping[str, frozenset[int]]
    spans: Mapping[str, float]

    def widened(self, name: str, low: float, high: float, width: Width) -> tuple[float, float]:
        """The range in which never saturates, for a value of ``width`` whose others need this."""
        sides = self.holders.get(name, _NEITHER)
        if not sides:
            return low, high
        margin = self._margin(name, width) + (high - low) * _ORDER_MARGIN
        return low - margin * (-1 in sides), high + margin * (1 in sides)

    def _margin(self, name: str, width: Width) -> float:
        """The largest distance that a reader, or a reader of what moves it on, needs."""
        found = 0.0
        for node in self.graph.nodes:
            if name in node.inputs:
                found = max(found, self._margin_at(node, width))
        return found

    def _margin_at(self, node: Node, width: Width) -> float:
        if isinstance(node.op, ops.Softmax):
            # each of those that are never adds a little to the sum
            shape = self.graph.types[node.output].shape
            return _SOFTMAX_MARGIN[width] + float(elementary.log(shape[node.op.axis]))
        if isinstance(node.op, ops.Pointwise):
            behind = max(self._margin(name, width) for name in node.outputs)
            slopes = [abs(slope) for side in (-1, 1) if (slope := slope_far_out(node.op, side))]
            return max([_settling(node.op), *(behind / slope for slope in slopes)])
        if isinstance(node.op, ops.Add | ops.Sub):
            # a sum with the largest of the other is never too, beside one with its smallest
            beside = max((self.spans[a] for a in node.operands if a in self.spans), default=0.0)
            return beside + max(self._margin(output, width) for output in node.outputs)
        if isinstance(node.op, ops.Moving | ops.Where):
            return max(self._margin(name, width) for name in node.outputs)
        return 0.0


def _settling(op: ops.Pointwise) -> float:
    """From which distance on the function is within 1/1024 of what it settles to."""
    distances = elementary.power(2.0, np.arange(-16, 61) / 4)
    needed = 0.0
    for side in settled_sides(op):
        y = pointwise.evaluate(op.expression, side * distances)
        end = pointwise.evaluate(op.expression, np.array([side * 1e30]))[0]
        unsettled = np.flatnonzero(np.abs(y - end) > max(abs(end), 1.0) / 1024)
        if unsettled.size:
            needed = max(needed, float(distances[min(unsettled[-1] + 1, distances.size - 1)]))
    return needed
