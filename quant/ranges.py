"""What was seen of each value into the range that its integers must cover: one rule for all.

A range is what the observer takes of what calibration saw, and beside that:

- what a bounded function gives an output, such as a Sigmoid, has its bounds (``bounds.py``), and
  truth values have 0 and 1 wherever they are;
- a value of few elements in 8 bits reaches farther than was seen (``headroom.py``);
- numbers that stand for "never" (``never.py``) are kept below the others, and no farther;
- a summand need reach no farther than its sum can hold;
- what a recurrent layer gives has the range of the constant that it begins with, too;
- a value that was 0 throughout gets the range of what it is computed from: nothing is known of it;
- no range is finer than what it is computed from could resolve.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Set

import numpy as np

from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops
from edgeinfer.quant.bounds import (
    Range,
    Ranges,
    bounded_groups,
    bounded_outputs,
    hull,
    magnitude,
    truth_values,
)
from edgeinfer.quant.calibration import Calibration
from edgeinfer.quant.headroom import headroom
from edgeinfer.quant.never import Never
from edgeinfer.quant.observers import Observer, minmax
from edgeinfer.quant.schemes import Width, levels

__all__ = ["group_ranges", "reaches_far_beyond", "useful_range"]

# a summand that reaches this many times beyond what its sum can hold is cut
_FAR = 64.0

# the finest range of a value, as a share of the reach of what it is computed from
_FINEST = 2.0**-20


def group_ranges(
    graph: Graph,
    groups: Mapping[str, str],
    widths: Mapping[str, Width],
    seen: Calibration,
    rule: Observer,
) -> Ranges:
    """The range of each group, by its representative; ``low <= 0 <= high``, and never both 0."""
    spans = {name: h.high - h.low for name, h in seen.histograms.items()}
    never = Never(graph, seen.never, spans)
    ranges: Ranges = {}
    for name, root in groups.items():
        found = never.widened(
            name, *rule(seen.histograms[name], levels(widths[root])), widths[root]
        )
        ranges[root] = hull(ranges.get(root, (0.0, 0.0)), found)
    for name in truth_values(graph):
        if name in groups:
            ranges[groups[name]] = hull(ranges[groups[name]], (0.0, 1.0))
    if rule is minmax:
        _give_headroom(graph, groups, _open_ended(graph, groups, widths), seen, ranges)
    for root, bounds in (*bounded_outputs(graph, groups).items(), *_first(graph, groups)):
        ranges[root] = hull(ranges[root], bounds)
    for name, found in _useful(graph, groups, ranges).items():
        ranges[name] = found
    _give_steps(graph, groups, ranges)
    return ranges


def _open_ended(graph: Graph, groups: Mapping[str, str], widths: Mapping[str, Width]) -> set[str]:
    """The groups of 8 bits whose values may reach farther than was seen."""
    bounded = bounded_groups(graph, groups).keys() | {groups.get(n) for n in truth_values(graph)}
    return {root for root, width in widths.items() if width == "int8" and root not in bounded}


def _give_headroom(
    graph: Graph,
    groups: Mapping[str, str],
    open_ended: Set[str],
    seen: Calibration,
    ranges: Ranges,
) -> None:
    """To each value of an ``open_ended`` group as much more range than was seen as it needs.

    What a Softmax takes saturates there, and where states are kept all rounding comes back.
    """
    if graph.states:
        return
    scores = {n.inputs[0] for n in graph.nodes if isinstance(n.op, ops.Softmax)}
    producers = graph.producers()
    for name in (*graph.inputs, *(name for node in graph.nodes for name in node.outputs)):
        root = groups.get(name)
        if root is None or root not in open_ended or name in scores:
            continue
        known = seen.histograms[name]
        least, most = _limits(producers.get(name), groups, ranges)
        step = (known.high - known.low) / 255
        times = headroom(seen.reaches[name], graph.types[name].elements, step)
        ranges[root] = hull(
            ranges[root], (max(times * known.low, least), min(times * known.high, most))
        )


def _limits(node: Node | None, groups: Mapping[str, str], ranges: Ranges) -> Range:
    """Beyond what ``node`` gives nothing: it clamps, or its mean is within the range of x."""
    match node:
        case Node(op=ops.AveragePool() | ops.ReduceMean(), inputs=(x, *_)):
            return ranges[groups[x]]
        case Node(op=ops.Clamped(lo=lo, hi=hi)):
            return lo, hi
    return -math.inf, math.inf


def _first(graph: Graph, groups: Mapping[str, str]) -> Iterator[tuple[str, Range]]:
    """By group, the range of the constants that recurrent layers begin with."""
    for node in graph.nodes:
        if isinstance(node.op, ops.Recurrent):
            for role, output in zip(node.op.firsts, node.outputs, strict=True):
                array = graph.constants.get(node.input(role))
                if array is not None:
                    yield groups[output], (float(array.min()), float(array.max()))


def useful_range(total: Range, other: Range, place: int, *, subtract: bool) -> Range:
    """Where operand ``place`` of a sum or difference that lies in ``total`` can make it differ.

    Beyond, whatever ``other`` holds, the result leaves ``total``.
    """
    if subtract and place == 1:
        # b = a - total
        total = -total[1], -total[0]
    if subtract:
        other = -other[1], -other[0]
    return min(total[0] - other[1], 0.0), max(total[1] - other[0], 0.0)


def reaches_far_beyond(useful: Range, found: Range) -> bool:
    """Whether so much of ``found`` is useless that it would leave the rest no steps."""
    return magnitude(found) > _FAR * magnitude(useful) > 0


def _useful(graph: Graph, groups: Mapping[str, str], ranges: Ranges) -> Ranges:
    """Narrower ranges of groups that sums alone take, and that reach far beyond these."""
    needed: dict[str, Range | None] = dict.fromkeys(graph.results)
    for node in graph.nodes:
        summands = isinstance(node.op, ops.Add | ops.Sub)
        for place, name in enumerate(node.operands):
            if name not in groups:
                continue
            root = groups[name]
            if not summands:
                # what moves on within the group is asked of its readers there
                if not all(groups.get(output) == root for output in node.outputs):
                    needed[root] = None
                continue
            wanted = _wanted(graph, groups, ranges, node, place)
            known = needed.get(root, (0.0, 0.0))
            needed[root] = None if known is None else hull(known, wanted)
    for name in graph.results:
        needed[groups.get(name, name)] = None
    narrower = {}
    for root, range_ in needed.items():
        if range_ is not None and reaches_far_beyond(range_, ranges[root]):
            low, high = ranges[root]
            narrower[root] = (max(low, range_[0]), min(high, range_[1]))
    return narrower


def _wanted(
    graph: Graph, groups: Mapping[str, str], ranges: Ranges, node: Node, place: int
) -> Range:
    other = node.inputs[1 - place]
    if other in groups:
        beside = ranges[groups[other]]
    else:
        array = graph.constants[other]
        beside = float(array.min()), float(array.max())
    total = ranges[groups[node.output]]
    return useful_range(total, beside, place, subtract=isinstance(node.op, ops.Sub))


def _give_steps(graph: Graph, groups: Mapping[str, str], ranges: Ranges) -> None:
    """Widen what is 0, or too fine for what it is computed from, in the order of the flow."""
    for name in graph.sources:
        if name in groups and magnitude(ranges[groups[name]]) == 0:
            ranges[groups[name]] = (0.0, 1.0)
    for node in graph.nodes:
        for name in node.outputs:
            if name not in groups:
                continue
            root = groups[name]
            taken = _reach_taken(graph, groups, ranges, node)
            own = magnitude(ranges[root])
            if own == 0:
                ranges[root] = (0.0, taken)
            elif own < taken * _FINEST and not isinstance(
                node.op, ops.Pointwise | ops.Recurrent | ops.Softmax
            ):
                # a table may go from any scale to any other, and shares have one of their own
                low, high = ranges[root]
                widening = taken * _FINEST / own
                ranges[root] = (low * widening, high * widening)


def _reach_taken(graph: Graph, groups: Mapping[str, str], ranges: Ranges, node: Node) -> float:
    """How far a result of ``node`` might reach, about; never 0."""
    reaches = [
        magnitude(ranges[groups[name]]) if name in groups else _largest(graph, name)
        for name in node.operands
        if graph.types[name].dtype == "float32"
    ]
    if isinstance(node.op, ops.Normalization):
        # however far x reaches, its share of the root of its squares is 1 at most
        count = math.prod(graph.types[node.input("x")].shape[axis] for axis in node.op.axes)
        found = math.sqrt(count) * reaches[1] + max(reaches[2:], default=0.0)
    elif isinstance(node.op, ops.Weighted | ops.Mul):
        found = reaches[0] * reaches[1]
    else:
        # a constant may be a bound that nothing reaches
        computed = [magnitude(ranges[groups[name]]) for name in node.operands if name in groups]
        found = max(computed, default=max(reaches, default=0.0))
    # of what is 0 by its weights nothing is known either
    return min(found, float(np.finfo(np.float32).max)) or 1.0


def _largest(graph: Graph, name: str) -> float:
    return float(np.abs(graph.constants[name]).max())
