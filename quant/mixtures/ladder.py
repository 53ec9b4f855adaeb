"""From all in 8 bits to all in 16, and back: the mixtures that are worth measuring.

Noise is taken to add up and latency is the model's (``costs.py``), so a rung costs nothing. On the
way up the next is what removes most noise for the time it adds; on the way down, what saves most
time for the noise it adds. What only pays together goes together: all that one node takes and
gives, and all that sums join, as a residual network's summands and sums.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping

from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from edgeinfer.quant.mixtures.costs import Costs

__all__ = ["Wide", "ladder", "together"]

Wide = frozenset[str]
"""The groups that have 16 bits where int8 would give them 8."""

# what a step adds at least, in nanoseconds: one that costs nothing is taken first
_NOTHING = 1.0

# a rung that gains less than this over a cheaper one is none, in dB
_LEAST_GAIN = 0.1


def together(graph: Graph, groups: Mapping[str, str], free: Collection[str]) -> list[Wide]:
    """Sets of groups that may change their width together, each once, in the order of the flow."""
    units = [frozenset({root}) for root in free]
    joined: dict[str, Wide] = {}
    for node in graph.nodes:
        names = (*node.operands, *node.outputs)
        unit = frozenset(groups[n] for n in names if n in groups and groups[n] in free)
        units.append(unit)
        taken = [name for name in node.operands if name in groups]
        if isinstance(node.op, ops.Broadcasting | ops.Joining) and len(taken) > 1:
            whole = unit.union(*(joined.get(root, frozenset()) for root in unit))
            joined.update(dict.fromkeys(whole, whole))
    units += joined.values()
    return [unit for unit in dict.fromkeys(units) if unit]


def ladder(
    costs: Costs,
    least: float,
    noise: Mapping[str, float],
    units: Collection[Wide],
    count: int,
) -> list[Wide]:
    """At most ``count`` mixtures that none is predicted to beat, without the two ends.

    Parameters
    ----------
    costs : Costs
        How long a mixture takes.
    least : float
        The noise where all have 16 bits.
    noise : mapping of str to float
        How much more there is with each group in 8.
    units : collection of sets
        What may change together.
    count : int
        How many to give, spread evenly over the decibels between the ends.
    """
    every = frozenset(noise)
    none: Wide = frozenset()
    known = {none: costs.whole(none), every: costs.whole(every)}
    known |= dict(_up(costs, noise, units, known[none]))
    known |= dict(_down(costs, noise, units, known[every]))

    def decibels(wide: Wide) -> float:
        left = least + sum(each for root, each in noise.items() if root not in wide)
        return -10 * math.log10(max(left, 1e-30))

    front: list[Wide] = []
    for wide in sorted(known, key=lambda w: (known[w], -decibels(w), len(w), sorted(w))):
        if not front or decibels(wide) > decibels(front[-1]) + _LEAST_GAIN:
            front.append(wide)
    inner = [wide for wide in front if wide not in (none, every)]
    if len(inner) <= count:
        return inner
    low, high = decibels(inner[0]), decibels(inner[-1])
    targets = [low + (high - low) * i / max(1, count - 1) for i in range(count)]
    near = (min(inner, key=lambda w: abs(decibels(w) - target)) for target in targets)
    return list(dict.fromkeys(near))


def _up(
    costs: Costs, noise: Mapping[str, float], units: Collection[Wide], start: float
) -> Iterator[tuple[Wide, float]]:
    wide: Wide = frozenset()
    while len(wide) < len(noise):
        best: tuple[float, Wide, float] | None = None
        for unit in units:
            added = unit - wide
            if not added:
                continue
            more = costs.change(wide, wide | added, set(added))
            worth = sum(noise[root] for root in added) / max(more, _NOTHING)
            if best is None or worth > best[0]:
                best = worth, wide | added, more
        assert best is not None
        wide, start = best[1], start + best[2]
        yield wide, start


def _down(
    costs: Costs, noise: Mapping[str, float], units: Collection[Wide], start: float
) -> Iterator[tuple[Wide, float]]:
    wide = frozenset(noise)
    while wide:
        best: tuple[float, Wide, float] | None = None
        for unit in units:
            taken = unit & wide
            if not taken:
                continue
            saved = -costs.change(wide, wide - taken, set(taken))
            lost = sum(noise[root] for root in taken)
            # what saves nothing waits, the least noise first
            worth = saved / max(lost, 1e-30) if saved > _NOTHING else -lost
            if best is None or worth > best[0]:
                best = worth, wide - taken, saved
        assert best is not None
        wide, start = best[1], start - best[2]
        yield wide, start
