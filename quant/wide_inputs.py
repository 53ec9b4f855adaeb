"""Inputs that get 16 bits in int8, as 8 would make three tenths of the outputs' noise.

Raw features may lie within a few steps of a range that rare extremes make: of armkws_ds_cnn_s's
MFCCs, which reach from -247 to 30, nearly all lie within 40. No layer behind can mend what the
first rounding loses, and 16 bits there cost one buffer of twice the size and one layer's time.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgeinfer.advice import give_width
from edgeinfer.graph import Graph
from edgeinfer.quant.calibration import Calibration
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

# of the outputs' signal, the noise above which an input may have 16 bits: 20 dB
_MUCH = 0.01

# and how much of it must be left with 16 bits, or less
_LEFT = 0.7


def widen_inputs(
    graph: Graph,
    groups: Mapping[str, str],
    widths: dict[str, Width],
    seen: Calibration,
    options: Options,
    of_values: ValueTypes,
    lowering: Lowering,
) -> list[str]:
    """Give 16 bits to each input whose 8 bits make three tenths of much noise, or more.

    Ranges are those of ``minmax``: what a search cuts off an input for the sake of finer steps is
    lost as well. Not where 8 bits were asked for, nor where runs are too few or too long to judge.

    Parameters
    ----------
    graph, groups, seen, options, of_values, lowering
        As ``choose`` has them.
    widths : dict of str to str
        Of each group; changed.

    Returns
    -------
    list of str
        A note for the user on each input that has 16 bits now.
    """
    asked = group_widths(graph, groups, "int16", options.overrides)

    def lowered(tried: Mapping[str, Width]) -> Graph:
        ranges = group_ranges(graph, groups, tried, seen, minmax)
        return lowering.graph_of(of_values(ranges, tried))

    narrow = [
        name
        for name in graph.inputs
        if name in groups and widths[groups[name]] == "int8" != asked[groups[name]]
    ]
    if not narrow:
        return []
    integer = lowered(widths)
    judging = judges(seen, integer)
    if judging.tries < len(OBSERVERS):
        return []
    objective = Objective(judging.runs)
    noise = objective.noise(integer)
    notes = []
    for name in narrow:
        root = groups[name]
        if noise.whole <= _MUCH or widths[root] == "int16":
            continue
        left = objective.noise(lowered({**widths, root: "int16"}))
        if left.is_less_than(noise, _LEFT):
            widths[root], noise = "int16", left
            notes.append(
                f"input {name!r} has 16 bits: its rounding to 8 would make three tenths of the "
                f"noise at the outputs or more; to have 8, give {give_width(name, 'int8')}"
            )
    return notes
