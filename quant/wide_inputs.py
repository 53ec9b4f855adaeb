"""Inputs, and what first layers make of them, that get 16 bits in int8 as 8 would make much noise.

Raw features may lie within a few steps of a range that rare extremes make: of armkws_ds_cnn_s's
MFCCs, which reach from -247 to 30, nearly all lie within 40. No layer behind can mend what the
first rounding loses, and 16 bits there cost one buffer of twice the size and one layer's time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from edgeinfer.advice import give_width
from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from edgeinfer.quant.bounds import near_outputs
from edgeinfer.quant.calibration import Calibration, Run
from edgeinfer.quant.lowering import Lowering
from edgeinfer.quant.objective import Objective
from edgeinfer.quant.observers import OBSERVERS, minmax
from edgeinfer.quant.options import Options
from edgeinfer.quant.ranges import group_ranges
from edgeinfer.quant.schemes import Width
from edgeinfer.quant.search import judges
from edgeinfer.quant.value_types import ValueTypes
from edgeinfer.quant.widths import group_widths

__all__ = ["widen_inputs"]

# of the signal where outputs are judged, the noise above which an input may have 16 bits, and what
# a layer gives of such a one; and how much of it must be left then, or less
_MUCH, _MUCH_BEHIND = 0.005, 0.002
_LEFT = 0.7


def widen_inputs(
    graph: Graph,
    groups: Mapping[str, str],
    widths: dict[str, Width],
    seen: Calibration,
    options: Options,
    of_values: ValueTypes,
    lowering: Lowering,
    objective: Callable[[Sequence[Run]], Objective],
) -> list[str]:
    """Give 16 bits to each input whose 8 bits make three tenths of much noise, or more; and to what
    the first layer gives of such an input, where that makes three tenths of what is left.

    Ranges are those of ``minmax``: what a search cuts off an input for the sake of finer steps is
    lost as well. Not where 8 bits were asked for, nor where runs are too few or too long to judge.

    Parameters
    ----------
    graph, groups, seen, options, of_values, lowering
        As ``choose`` has them.
    objective : callable
        What the outputs of runs should be.
    widths : dict of str to str
        Of each group; changed.

    Returns
    -------
    list of str
        A note for the user on each value that has 16 bits now.
    """
    asked = group_widths(graph, groups, "int16", options.overrides)

    def lowered(tried: Mapping[str, Width]) -> Graph:
        ranges = group_ranges(graph, groups, tried, seen, minmax)
        return lowering.graph_of(of_values(ranges, tried))

    def may_be_wide(name: str) -> bool:
        return name in groups and widths[groups[name]] == "int8" != asked[groups[name]]

    narrow = list(filter(may_be_wide, graph.inputs))
    if not narrow:
        return []
    integer = lowered(widths)
    judging = judges(seen, integer)
    if judging.tries < len(OBSERVERS):
        return []
    judged = objective(judging.runs)
    noise = judged.noise(integer)
    notes: list[str] = []

    def widen(what: str, name: str, much: float) -> bool:
        nonlocal noise
        if noise.whole <= much or not may_be_wide(name):
            return False
        left = judged.noise(lowered({**widths, groups[name]: "int16"}))
        if not left.is_less_than(noise, _LEFT):
            return False
        widths[groups[name]], noise = "int16", left
        notes.append(_note(what, name))
        return True

    for name in narrow:
        if widen("input", name, _MUCH):
            for value in _behind_first_layers(graph, name):
                widen("value", value, _MUCH_BEHIND)
    return notes


def _note(what: str, name: str) -> str:
    return (
        f"{what} {name!r} has 16 bits: its rounding to 8 would make three tenths of the noise at "
        f"the outputs or more; to have 8, give {give_width(name, 'int8')}"
    )


def _behind_first_layers(graph: Graph, name: str) -> list[str]:
    """What the first layers give of the input ``name``, with what only moves elements before them;
    but for what gives an output, whose type is the caller's matter."""
    known, found, outer = {name}, [], near_outputs(graph)
    for node in graph.nodes:
        if node.inputs[0] not in known:
            continue
        if isinstance(node.op, ops.Conv | ops.Dense) and node.output not in outer:
            found.append(node.output)
        elif isinstance(node.op, ops.Moving):
            known.update(node.outputs)
    return found
