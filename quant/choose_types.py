"""A float Graph and data into the integer type of every value: its width and its range."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from edgeinfer.data.samples import Data
from edgeinfer.errors import InputError
from edgeinfer.graph import ABSENT, Graph, Quantization, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.quant.bounds import Range, Ranges, bounded_groups, magnitude
from edgeinfer.quant.calibration import MOST_HELD_BACK, Calibration, calibrate
from edgeinfer.quant.integer_types import IntegerTypes
from edgeinfer.quant.knots import with_knots_at_bends
from edgeinfer.quant.lowering import Lowering
from edgeinfer.quant.observers import OBSERVERS, Observer, minmax
from edgeinfer.quant.options import Options
from edgeinfer.quant.outputs import uncut_groups, uneven_outputs
from edgeinfer.quant.ranges import group_ranges
from edgeinfer.quant.reaches import growth, of_two_tails
from edgeinfer.quant.refusals import refuse_unsupported
from edgeinfer.quant.schemes import SCHEMES, Width, activation_type, fixed_output, headroom
from edgeinfer.quant.search import MAX_RUNS, search
from edgeinfer.quant.sharing import shared_quantization
from edgeinfer.quant.widths import denominators, group_widths, wide_groups

__all__ = ["Choice", "choose", "choose_types"]

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
    seen : Calibration
        What calibration saw.
    notes : list of str
        What was decided that a user should know of.
    """

    types: IntegerTypes
    trial: IntegerTypes
    seen: Calibration
    notes: list[str]


def choose_types(graph: Graph, data: Data, options: Options | None = None) -> IntegerTypes:
    """The integer types of all values of ``graph``.

    Parameters and errors are ``quantize``'s, its options in one.
    """
    return choose(graph, data, options or Options()).types


def choose(graph: Graph, data: Data, options: Options) -> Choice:
    """The types, and what they were chosen from."""
    bits, rounding = SCHEMES[options.scheme], options.rounding
    rule = OBSERVERS.get(options.observer)
    refuse_unsupported(graph, rounding)
    groups = shared_quantization(graph, average_pool=rounding == "double")
    widths = group_widths(graph, groups, bits.activations, options.overrides)
    if rounding == "double" and "int16" in widths.values():
        raise InputError("rounding 'double' is for int8 only, in every layer")
    # 16 bits need no cutting, and a run that depends on those before it is no judge by itself
    searching = rule is None and "int8" in widths.values() and not graph.states
    seen = calibrate(
        graph,
        data,
        set(groups),
        samples=options.samples,
        seed=options.seed,
        keep=MAX_RUNS if searching else MOST_HELD_BACK,
        progress=options.progress,
    )
    wide = sum(width == "int16" for width in widths.values())
    _log.info(
        "calibrated %r by %d runs: %d scales, %d of them of 16 bits",
        graph.name,
        seen.count,
        len(widths),
        wide,
    )
    notes = _widen(graph, groups, widths, seen, options) if rounding == "single" else []
    domains = {name: (h.low, h.high) for name, h in seen.histograms.items()}
    fixed = _prescribed(graph, groups, widths)
    divisors = denominators(graph, groups)
    # a denominator's least numbers would lose what its largest gained
    likely = {
        name: seen.reaches[name].likely
        for name in of_two_tails(graph) & groups.keys()
        if groups[name] not in divisors
    }

    def types(ranges: Ranges) -> IntegerTypes:
        spare = _spare(graph, groups, widths, ranges, likely, seen)
        typed = _typed(graph, groups, widths, ranges, fixed, spare)
        return IntegerTypes(typed, bits.weights, domains)

    def ranges_by(propose: Observer) -> Ranges:
        return group_ranges(graph, groups, widths, seen, propose)

    ranges = ranges_by(rule or minmax)
    if searching:
        whole = uncut_groups(graph, groups)
        proposals = {
            name: {
                root: range_
                for root, range_ in ranges_by(propose).items()
                if widths[root] == "int8" and root not in whole
            }
            for name, propose in OBSERVERS.items()
        }
        lowering = Lowering(graph, rounding=rounding)

        def build(tried: Ranges) -> Graph:
            return lowering.graph_of(types({**ranges, **tried}))

        ranges = {**ranges, **search(seen, proposals, build, options.progress)}
    trial = ranges
    if seen.held_back:
        fitted = replace(seen, histograms=seen.fitted)
        known = group_ranges(graph, groups, widths, fitted, minmax)
        trial = {root: _within(range_, known[root]) for root, range_ in ranges.items()}
    return Choice(types(ranges), types(trial), seen, notes)


def _widen(
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


def _within(a: Range, b: Range) -> Range:
    return max(a[0], b[0]), min(a[1], b[1])


def _prescribed(
    graph: Graph, groups: Mapping[str, str], widths: Mapping[str, Width]
) -> dict[str, Quantization]:
    """The quantization of each group that the contract leaves no choice, by its representative."""
    fixed = {}
    for node in graph.nodes:
        for root in {groups[name] for name in node.outputs if name in groups}:
            prescribed = fixed_output(node.op, widths[root])
            if prescribed is not None:
                fixed[root] = prescribed
    return fixed


def _spare(
    graph: Graph,
    groups: Mapping[str, str],
    widths: Mapping[str, Width],
    ranges: Ranges,
    likely: Mapping[str, float],
    seen: Calibration,
) -> dict[str, float]:
    """How many times its range each group covers in 16 bits, by its representative."""
    beyond = dict.fromkeys(ranges, 0.0)
    for name, reach in likely.items():
        root = groups[name]
        # what was seen and is not covered is not wanted
        known = max(magnitude(ranges[root]), seen.histograms[name].reach)
        beyond[root] = max(beyond[root], reach / known)
    for node in graph.nodes:
        x = node.inputs[0] if isinstance(node.op, ops.Pointwise) else ABSENT
        if x in groups and widths[groups[x]] == "int16":
            root = groups[node.output]
            times = growth(node.op, seen.histograms[x], headroom(seen.count, beyond[groups[x]]))
            beyond[root] = max(beyond[root], times)
    return {root: headroom(seen.count, share) for root, share in beyond.items()}


def _typed(
    graph: Graph,
    groups: Mapping[str, str],
    widths: Mapping[str, Width],
    ranges: Ranges,
    fixed: Mapping[str, Quantization],
    spare: Mapping[str, float],
) -> dict[str, TensorType]:
    """The integer type of every value that is not constant."""
    types: dict[str, TensorType] = {}
    limits = bounded_groups(graph, groups)
    for name, kind in graph.types.items():
        if name in graph.constants:
            continue
        if name not in groups:
            types[name] = kind
            continue
        root = groups[name]
        # beyond a function's bounds nothing comes
        ends = magnitude(limits[root]) / magnitude(ranges[root]) if root in limits else math.inf
        margin = max(1.0, min(spare[root], ends))
        t = activation_type(kind.shape, *ranges[root], widths[root], margin)
        types[name] = replace(t, quantization=fixed.get(root, t.quantization))
    return with_knots_at_bends(graph, groups, types, set(fixed))
