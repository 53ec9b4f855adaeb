"""A float Graph, data and a goal into the widths to quantize it with, measured on integer Graphs.

calibration ──► noise of each group in 8 bits ──► a ladder of mixtures ──► each of them made and
measured as ``quantize`` makes it ──► the front ──► what the goal asks for
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

from edgeinfer.data.samples import Data
from edgeinfer.errors import InputError, UnsupportedError
from edgeinfer.graph import Graph
from edgeinfer.graph.cost import cost
from edgeinfer.pools import HERE, Pool
from edgeinfer.printable import printable
from edgeinfer.quant.calibration import Calibration, Progress
from edgeinfer.quant.choose_types import choose, observe, reference_types, widen
from edgeinfer.quant.goals import Clock
from edgeinfer.quant.last_layers import LastLayers, Outputs, judged_at
from edgeinfer.quant.lowering import Lowering
from edgeinfer.quant.mixtures.costs import Costs
from edgeinfer.quant.mixtures.front import Mixture, Point, by_latency
from edgeinfer.quant.mixtures.ladder import Wide, ladder, together
from edgeinfer.quant.mixtures.quality import least_microseconds, quality
from edgeinfer.quant.mixtures.sensitivity import sensitivities
from edgeinfer.quant.observers import OBSERVERS, minmax
from edgeinfer.quant.options import Options
from edgeinfer.quant.outputs import has_classes
from edgeinfer.quant.ranges import group_ranges
from edgeinfer.quant.refusals import refuse_unsupported
from edgeinfer.quant.rounding.choice import choose_rounding
from edgeinfer.quant.schemes import SCHEMES, Width
from edgeinfer.quant.sharing import shared_quantization
from edgeinfer.quant.value_types import ValueTypes
from edgeinfer.quant.widths import group_widths

__all__ = ["mix"]

_log = logging.getLogger(__name__)

# mixtures that are measured between int8 and each of the 16-bit schemes
_RUNGS = 6

_WIDE: Width = "int16"


def mix(graph: Graph, data: Data, options: Options) -> Mixture:
    """The mixtures of widths that were measured; ``options.goal`` says which is wanted.

    Raises
    ------
    UnsupportedError, QuantizationError, InputError
        As ``quantize`` does; or outputs are no classes where the goal counts them, or the Graph
        keeps states, so that no run can be judged by itself.
    """
    goal = options.goal
    assert goal is not None
    if graph.states:
        raise InputError(
            "scheme auto measures runs apart from each other, and this model keeps states; choose "
            "a scheme, and overrides"
        )
    if goal.max_drop is not None and not has_classes(graph):
        raise InputError(
            "max_drop counts samples whose class changes, and this model's output is not one "
            "number a class; give min_sqnr"
        )
    mixing = _Mixing.of(graph, data, options)
    rungs = mixing.rungs(options.progress, options.pool)
    left_out: list[str] = []
    if goal.clock is not None:
        rungs, left_out = mixing.runnable(rungs, goal.clock)
    points = []
    found = options.pool.map(mixing.measured, rungs, "measuring mixtures")
    for index, point in enumerate(found, start=1):
        # what calibration saw is here, and need not come back with every mixture
        known = replace(point, choice=replace(point.choice, seen=mixing.seen))
        points.append(mixing.timed(known, goal.clock) if goal.is_timed else known)
        if options.progress is not None:
            options.progress("measuring mixtures", index, len(rungs))
    if goal.clock is not None:
        points = _by_clock(points)
    return Mixture(by_latency(points), goal, len(mixing.free), tuple(left_out))


def _by_clock(points: Sequence[Point]) -> list[Point]:
    """With latencies by the goal's clock in the place of the model's."""
    least = min(point.time or 0.0 for point in points)
    return [replace(point, latency=(point.time or 0.0) / least) for point in points]


# scheme, overrides, and the groups that are wide by these
_Rung: TypeAlias = tuple[str, Mapping[str, str], Wide]


@dataclass(frozen=True)
class _Mixing:
    """One float Graph and what calibration saw of it, as often as other widths are tried."""

    graph: Graph
    options: Options
    groups: Mapping[str, str]
    seen: Calibration
    widths: Mapping[str, Width]
    free: Mapping[str, str]  # by representative, the pattern that names this group alone

    @classmethod
    def of(cls, graph: Graph, data: Data, options: Options) -> _Mixing:
        refuse_unsupported(graph, options.rounding)
        groups = shared_quantization(graph, average_pool=False)
        narrow = replace(options, scheme="int8", goal=None)
        # whoever measures a mixture does all of it
        alone = replace(narrow, progress=None, pool=HERE)
        seen = observe(graph, data, narrow, groups)
        widths = group_widths(graph, groups, "int8", options.overrides)
        widen(graph, groups, widths, seen, narrow)
        asked = group_widths(graph, groups, "int16", options.overrides)
        free = {
            root: name
            for root, name in _names(graph, groups).items()
            if widths[root] == "int8" and asked[root] == "int16"
        }
        return cls(graph, alone, groups, seen, widths, free)

    @cached_property
    def _lowering(self) -> Lowering:
        return Lowering(self.graph)

    @cached_property
    def _judged(self) -> LastLayers | Outputs:
        return judged_at(self.graph, reference_types(self.graph, self.groups, self.seen))

    def rungs(self, progress: Progress | None, pool: Pool) -> list[_Rung]:
        """The schemes, overrides and wide groups to measure, from int8 to int16."""
        every, none = frozenset(self.free), frozenset[str]()
        found: list[_Rung] = [("int8", dict(self.options.overrides), none)]
        for scheme in ("int16x8", "int16"):
            wides = [*self._between(scheme, progress, pool), every] if every else []
            found += [(*self._options_of(scheme, wide), wide) for wide in wides]
        return found

    def _between(self, scheme: str, progress: Progress | None, pool: Pool) -> list[Wide]:
        """What is worth measuring between int8 and ``scheme``."""
        weights = SCHEMES[scheme].weights
        build = _AllButOne(self, ValueTypes(self.graph, self.groups, self.seen, weights))

        def done(count: int, total: int) -> None:
            if progress is not None:
                progress(f"layers in {scheme}", count, total)

        judged = self._judged.objective
        least, noise = sensitivities(self.seen, list(self.free), build, judged, done, pool)
        for root in sorted(noise, key=lambda r: -noise[r]):
            lost = printable(self.free[root]), noise[root]
            _log.debug("%s: %s in 8 bits adds %.3g of the signal", scheme, *lost)
        units = together(self.graph, self.groups, self.free)
        return ladder(self._costs(weights), least, noise, units, _RUNGS)

    def _costs(self, weights: Width) -> Costs:
        return Costs(self.graph, self.groups, self.widths, weights)

    def _options_of(self, wider: str, wide: Wide) -> tuple[str, dict[str, str]]:
        """The scheme, and the fewer overrides, that give ``wide`` 16 bits and the others 8.

        Beside int8 the weights behind 16 bits have 8 too.
        """
        given = dict(self.options.overrides)
        narrow = self.free.keys() - wide
        if wider == "int16x8" and len(wide) <= len(narrow):
            return "int8", given | {self.free[r]: "int16" for r in self.free if r in wide}
        return wider, given | {self.free[r]: "int8" for r in self.free if r in narrow}

    def with_one_narrow(self, narrow: str | None, of_values: ValueTypes) -> Graph:
        """The integer Graph in which this group alone has 8 bits of those that may have 16."""
        return self._with_wide(self.free.keys() - {narrow}, of_values)

    def _with_wide(self, wide: Collection[str | None], of_values: ValueTypes) -> Graph:
        """The integer Graph in which these groups have 16 bits of those that may, its ranges and
        weights not searched."""
        widths = {**self.widths, **{root: _WIDE for root in self.free if root in wide}}
        rule = OBSERVERS.get(self.options.observer, minmax)
        ranges = group_ranges(self.graph, self.groups, widths, self.seen, rule)
        return self._lowering.graph_of(of_values(ranges, widths))

    def measured(self, rung: _Rung) -> Point:
        """What ``quantize`` makes of it, and how good that is; without what calibration saw."""
        scheme, overrides, wide = rung
        options = replace(self.options, scheme=scheme, overrides=overrides)
        choice = choose(self.graph, (), options, self.seen)
        rounded = choose_rounding(self.graph, choice, options)
        integer = Lowering(self.graph, weights=rounded.weights).graph_of(choice.types)
        trial = Lowering(self.graph, weights=rounded.trial).graph_of(choice.trial)
        found = cost(integer)
        took = self._costs(SCHEMES[scheme].weights).whole(wide)
        return Point(
            scheme,
            overrides,
            len(wide),
            took / self._costs("int8").whole(frozenset()),
            found.flash + found.peak,
            quality(self.graph, trial, self.seen),
            None,
            replace(choice, seen=Calibration({})),
            rounded,
        )

    def runnable(self, rungs: Sequence[_Rung], clock: Clock) -> tuple[list[_Rung], list[str]]:
        """Those that the clock's target can run; and why it cannot the others.

        Raises
        ------
        UnsupportedError
            It can run none.
        """
        can, reasons, first = [], [], None
        for rung in rungs:
            scheme, _, wide = rung
            of_values = ValueTypes(self.graph, self.groups, self.seen, SCHEMES[scheme].weights)
            try:
                clock(self._with_wide(wide, of_values))
            except UnsupportedError as error:
                first = first or error
                reasons.append(error.message)
            else:
                can.append(rung)
        if first is not None and not can:
            raise first
        return can, reasons

    def timed(self, point: Point, clock: Clock | None) -> Point:
        """``point`` with the time of a run: the clock's, or the least on this machine."""
        lowering = Lowering(self.graph, weights=point.rounded.weights)
        integer = lowering.graph_of(point.choice.types)
        if clock is not None:
            return replace(point, time=clock(integer))
        return replace(point, time=least_microseconds(integer, self.seen.kept[0].feed))


@dataclass(frozen=True)
class _AllButOne:
    """The integer Graph by the group that alone has 8 bits."""

    mixing: _Mixing
    of_values: ValueTypes

    def __call__(self, narrow: str | None) -> Graph:
        return self.mixing.with_one_narrow(narrow, self.of_values)


def _names(graph: Graph, groups: Mapping[str, str]) -> dict[str, str]:
    """By representative, a pattern that names this group and no other: of a group's values, or of
    the nodes that give them, the first."""
    members: dict[str, list[str]] = {root: [root] for root in groups.values()}
    for name, root in groups.items():
        members[root].append(name)
    for node in graph.nodes:
        for name in node.outputs:
            if name in groups:
                members[groups[name]].append(node.name)
    found = {}
    for root, names in members.items():
        for name in dict.fromkeys(names):
            widths = group_widths(graph, groups, "int8", {name: "int16"})
            if [r for r, width in widths.items() if width == "int16"] == [root]:
                found[root] = name
                break
    return found
