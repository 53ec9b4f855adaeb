"""From all in 8 bits to all in 16, and back: the mixtures that are worth measuring.

Noise is taken to add up and latency is the model's (``costs.py``), so a rung costs nothing. On the
way up the next is what removes most noise for the time it adds; on the way down, what saves most
time for the noise it adds. What only pays together goes together: all that one node takes and
gives, and all that sums join, as a residual network's summands and sums.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TypeAlias

from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from edgeinfer.quant.mixtures.costs import Costs

__all__ = ["Wide", "ladder", "together"]

Wide = frozenset[str]
"""The groups that have 16 bits where int8 would give them 8."""

# a mixture, and how long it takes
_Rung: TypeAlias = tuple[Wide, float]

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
    known |= dict(_up(costs, noise, units))
    known |= dict(_down(costs, noise, units))

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


def _up(costs: Costs, noise: Mapping[str, float], units: Collection[Wide]) -> Iterator[_Rung]:
    """From 8 bits everywhere: most noise away for the time it adds comes first."""

    def worth(moved: Wide, more: float) -> float:
        return sum(noise[root] for root in moved) / max(more, _NOTHING)

    return _climb(costs, frozenset(), lambda unit, wide: unit - wide, units, worth)


def _down(costs: Costs, noise: Mapping[str, float], units: Collection[Wide]) -> Iterator[_Rung]:
    """From 16 bits everywhere: most time saved for the noise it adds comes first."""

    def worth(moved: Wide, more: float) -> float:
        lost = sum(noise[root] for root in moved)
        # what saves nothing waits, the least noise first
        return -more / max(lost, 1e-30) if -more > _NOTHING else -lost

    return _climb(costs, frozenset(noise), lambda unit, wide: unit & wide, units, worth)


def _climb(
    costs: Costs,
    wide: Wide,
    movable: Callable[[Wide, Wide], Wide],
    units: Collection[Wide],
    worth: Callable[[Wide, float], float],
) -> Iterator[_Rung]:
    """Rung after rung, the unit of most ``worth`` by what is ``movable`` of it and the time that
    this adds, until nothing is."""
    time = costs.whole(wide)
    while True:
        best: tuple[float, Wide, float] | None = None
        for unit in units:
            moved = movable(unit, wide)
            if not moved:
                continue
            more = costs.change(wide, wide ^ moved, set(moved))
            found = worth(moved, more)
            if best is None or found > best[0]:
                best = found, wide ^ moved, more
        if best is None:
            return
        wide, time = best[1], time + best[2]
        yield wide, time
