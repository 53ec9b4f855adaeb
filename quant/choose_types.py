"""A float Graph and data into the integer type of every value: its width and its range."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from edgeinfer.data.samples import Data
from edgeinfer.errors import InputError
from edgeinfer.graph import Graph
from edgeinfer.quant.bounds import Range, Ranges
from edgeinfer.quant.calibration import MOST_HELD_BACK, Calibration, calibrate
from edgeinfer.quant.expectations import check_expectations, unlike_expected
from edgeinfer.quant.integer_types import IntegerTypes
from edgeinfer.quant.last_layers import judged_at
from edgeinfer.quant.lowering import Lowering
from edgeinfer.quant.observers import OBSERVERS, Observer, minmax
from edgeinfer.quant.options import AUTO, Options
from edgeinfer.quant.outputs import uncut_groups, uneven_outputs
from edgeinfer.quant.ranges import group_ranges
from edgeinfer.quant.refusals import refuse_unsupported
from edgeinfer.quant.schemes import SCHEMES, Width
from edgeinfer.quant.search import MAX_RUNS, search, spared
from edgeinfer.quant.sharing import shared_quantization
from edgeinfer.quant.value_types import ValueTypes
from edgeinfer.quant.wide_inputs import widen_inputs
from edgeinfer.quant.widths import group_widths, wide_groups

__all__ = ["Choice", "choose", "choose_types", "observe", "reference_types", "widen"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """What was chosen, and what it can be judged by.

    Parameters
    ----------
    types : IntegerTypes
        From all samples.
    trial : IntegerTypes
        The same from the samples that are not held back: it is new to the others, as ``types`` is
        to samples yet to come.
    reference : IntegerTypes
        Those of a Graph in 16 bits, weights and all, which stands for the floats.
    seen : Calibration
        What calibration saw.
    notes : list of str
        What was decided that a user should know of.
    """

    types: IntegerTypes
    trial: IntegerTypes
    reference: IntegerTypes
    seen: Calibration
    notes: list[str]


def choose_types(graph: Graph, data: Data, options: Options | None = None) -> IntegerTypes:
    """The integer types of all values of ``graph``.

    Parameters and errors are ``quantize``'s, its options in one, but for the scheme ``auto``:
    ``quantize`` turns that into another first.
    """
    options = options or Options()
    if options.scheme == AUTO:
        raise InputError(f"scheme {AUTO} is quantize's: types are chosen for one scheme")
    return choose(graph, data, options).types


def choose(graph: Graph, data: Data, options: Options, seen: Calibration | None = None) -> Choice:
    """The types, and what they were chosen from.

    ``seen`` is what calibration saw of the same values, where that is known: no data is read then.
    """
    bits, rounding = SCHEMES[options.scheme], options.rounding
    rule = OBSERVERS.get(options.observer)
    refuse_unsupported(graph, rounding)
    groups = shared_quantization(graph, average_pool=rounding == "double")
    widths = group_widths(graph, groups, bits.activations, options.overrides)
    if rounding == "double" and "int16" in widths.values():
        raise InputError("rounding 'double' is for int8 only, in every layer")
    # 16 bits need no cutting, and a run that depends on those before it is no judge by itself
    searching = rule is None and "int8" in widths.values() and not graph.states
    if seen is None:
        seen = observe(graph, data, options, groups)
    wide = sum(width == "int16" for width in widths.values())
    _log.info(
        "calibrated %r by %d runs: %d scales, %d of them of 16 bits",
        graph.name,
        seen.count,
        len(widths),
        wide,
    )
    notes = unlike_expected(options.expected_ranges, seen.histograms)
    if rounding == "single":
        notes += widen(graph, groups, widths, seen, options)
    of_values = ValueTypes(graph, groups, seen, bits.weights)
    lowering = Lowering(graph, rounding=rounding)
    reference = reference_types(graph, groups, seen)
    if searching:
        objective = judged_at(graph, reference).objective
        if rounding == "single":
            notes += widen_inputs(
                graph, groups, widths, seen, options, of_values, lowering, objective
            )

    def types(ranges: Ranges) -> IntegerTypes:
        return of_values(ranges, widths)

    whole = group_ranges(graph, groups, widths, seen, minmax)
    fitted = whole
    if seen.held_back:
        without = replace(seen, histograms=seen.fitted)
        fitted = group_ranges(graph, groups, widths, without, minmax)
    uncut = uncut_groups(graph, groups)

    def ranges_by(propose: Observer) -> Ranges:
        found = whole if propose is minmax else group_ranges(graph, groups, widths, seen, propose)
        return {root: whole[root] if root in uncut else range_ for root, range_ in found.items()}

    def without_held_back(found: Ranges) -> Ranges:
        return {root: _within(range_, fitted[root]) for root, range_ in found.items()}

    ranges = ranges_by(rule or minmax)
    build = _Build(lowering, of_values, widths, ranges)
    if searching:
        proposals = {
            name: {
                root: range_
                for root, range_ in ranges_by(propose).items()
                if widths[root] == "int8" and root not in uncut
            }
            for name, propose in OBSERVERS.items()
        }
        judging = build, replace(build, limits=fitted), objective
        found = search(seen, proposals, *judging, options.progress, options.pool)
        ranges = {**ranges, **found}
    elif ranges != whole and not graph.states:
        objective = judged_at(graph, reference).objective
        ranges, kept = spared(seen, whole, ranges, build, objective)
        notes += [
            f"the range of {root!r} is not cut as {options.observer} would: that takes the largest "
            "values of an output, or the least"
            for root in kept
        ]
    trial = without_held_back(ranges) if seen.held_back else ranges
    return Choice(types(ranges), types(trial), reference, seen, notes)


def reference_types(graph: Graph, groups: Mapping[str, str], seen: Calibration) -> IntegerTypes:
    """The types in 16 bits, weights and all, that stand for the floats of the runs in ``seen``."""
    widths: dict[str, Width] = dict.fromkeys(groups.values(), "int16")
    ranges = group_ranges(graph, groups, widths, seen, minmax)
    of_values = ValueTypes(graph, groups, seen, "int16", has_spare=False)
    return replace(of_values(ranges, widths), weights="int16")


def observe(
    graph: Graph,
    data: Data,
    options: Options,
    groups: Mapping[str, str],
    *,
    searching: bool = False,
) -> Calibration:
    """What calibration sees; it keeps more runs where ranges or weights are chosen by them, or
    where something else is searched.

    Raises
    ------
    InputError
        The data does not fit the inputs, or lies outside of what is expected of them.
    """
    check_expectations(graph, options.expected_ranges)
    judging = searching or options.observer != "minmax" or options.rounding_weights != "nearest"
    seen = calibrate(
        graph,
        data,
        set(groups),
        samples=options.samples,
        seed=options.seed,
        keep=MAX_RUNS if judging else MOST_HELD_BACK,
        progress=options.progress,
        pool=options.pool,
    )
    # before all the work that comes of it
    unlike_expected(options.expected_ranges, seen.histograms)
    return seen


def widen(
    graph: Graph,
    groups: Mapping[str, str],
    widths: dict[str, Width],
    seen: Calibration,
    options: Options,
) -> list[str]:
    """Give 16 bits to what needs them in every scheme, and to outputs of which 8 would lose a part,
    unless 8 were asked for; says which outputs."""
    # a width that was asked for is the same whatever the others are
    asked = group_widths(graph, groups, "int16", options.overrides)
    for root in wide_groups(graph, groups):
        if asked[root] != "int8":
            widths[root] = "int16"
    notes = []
    for root, note in uneven_outputs(graph, groups, seen).items():
        if widths[root] == "int8" and asked[root] != "int8":
            widths[root] = "int16"
            notes.append(note)
    return notes


@dataclass(frozen=True)
class _Build:
    """The integer Graph by the ranges of some groups; ``ranges`` has those of all others, and they
    reach no farther than ``limits``, if there are any."""

    lowering: Lowering
    of_values: ValueTypes
    widths: Mapping[str, Width]
    ranges: Ranges
    limits: Ranges | None = None

    def __call__(self, tried: Ranges) -> Graph:
        found = {**self.ranges, **tried}
        if self.limits is not None:
            found = {root: _within(range_, self.limits[root]) for root, range_ in found.items()}
        return self.lowering.graph_of(self.of_values(found, self.widths))


def _within(a: Range, b: Range) -> Range:
    return max(a[0], b[0]), min(a[1], b[1])
