"""How far a value reached in each run, and how far it may in runs yet to come."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from edgeinfer.arithmetic import elementary, pointwise
from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from edgeinfer.quant.bounds import function_bounds
from edgeinfer.quant.observers import Histogram

__all__ = ["Reaches", "growth", "of_two_tails"]

# of numbers that are normally distributed one in 10,000 lies so many deviations above the middle
_DEVIATIONS = 3.7

# fewer runs say nothing of those to come
_FEWEST_RUNS = 8


@dataclass
class Reaches:
    """A value's largest magnitude in each run; runs of zeros have none."""

    magnitudes: list[float] = field(default_factory=list)

    def add(self, x: np.ndarray) -> None:
        """Count one run."""
        reach = max(float(x.max()), -float(x.min())) if x.size else 0.0
        if reach > 0:
            self.magnitudes.append(reach)

    def merge(self, other: Reaches) -> None:
        """Count the runs that ``other`` has counted."""
        self.magnitudes += other.magnitudes

    def tail(self) -> tuple[float, float, int]:
        """The largest reach, and by how much the squares of the farthest quarter of all, or of
        three, exceed that of the next one, in the mean; and how many they are. After one run it is
        a quarter of its square."""
        if not self.magnitudes:
            return 0.0, 0.0, 0
        ordered = np.sort(self.magnitudes)[::-1]
        largest, squares = float(ordered[0]), ordered**2
        if len(ordered) == 1:
            return largest, largest**2 / 4, 1
        count = max(len(ordered) // 4, min(3, len(ordered) - 1))
        return largest, float((squares[:count] - squares[count]).mean()), count

    @property
    def likely(self) -> float:
        """The reach beyond which one run in 10,000 goes, or 0 where that is not known.

        Of a logarithm that is normally distributed. Where it is not, its deviation upwards and that
        to both sides differ, and the lesser counts.
        """
        if len(self.magnitudes) < _FEWEST_RUNS:
            return 0.0
        # in one order, whatever that of the runs was
        from_middle = elementary.log(np.sort(self.magnitudes))
        middle = float(np.median(from_middle))
        from_middle -= middle
        upwards = from_middle[from_middle > 0]
        if not upwards.size:
            return float(elementary.exp(middle))
        deviation = min(float(from_middle.std()), math.sqrt(float((upwards**2).mean())))
        reach = float(elementary.exp(middle + _DEVIATIONS * deviation))
        return min(reach, float(np.finfo(np.float32).max))


def of_two_tails(graph: Graph) -> set[str]:
    """The values that are products of two values, sums of such, quotients, or means of such, and
    what a layer makes of them.

    Where one of the two is once twice as large as usual, so may the other be. What they are is seen
    in few of the runs, and clipping it is all the error there is. A factor that is within bounds,
    as a gate's are, has no such tail.
    """
    bounded = {node.output for node in graph.nodes if function_bounds(node.op) is not None}
    found: set[str] = set()
    for node in graph.nodes:
        kept = isinstance(
            node.op, ops.Selecting | ops.Reducing | ops.AveragePool | ops.Resize | ops.Weighted
        )
        product = isinstance(node.op, ops.Mul) and not any(
            name in graph.constants or name in bounded for name in node.operands
        )
        quotient = isinstance(node.op, ops.MatMul | ops.Div)
        if product or quotient or (kept and node.inputs[0] in found):
            found.update(node.outputs)
    return found


def growth(op: ops.Operator, seen: Histogram, times: float) -> float:
    """How many times as far as it was seen to reach a function's result does, where what it takes,
    which was ``seen``, reaches ``times`` as far; 1 for other operators."""
    if not isinstance(op, ops.Pointwise):
        return 1.0
    ends = np.array([seen.low, seen.high])
    with np.errstate(all="ignore"):
        known, beyond = (
            np.abs(pointwise.evaluate(op.expression, end)) for end in (ends, times * ends)
        )
    if not (np.isfinite(known).all() and np.isfinite(beyond).all() and known.max() > 0):
        return 1.0
    return float(max(1.0, beyond.max() / known.max()))
