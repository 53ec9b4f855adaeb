"""The ranges that a user states for inputs, held against what calibration saw of them.

Samples that were prepared in another way than the model takes them, not scaled, scaled twice or of
another range, calibrate without an error and make a model that is wrong on all others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from edgeinfer.errors import InputError
from edgeinfer.graph import Graph
from edgeinfer.quant.bounds import Range
from edgeinfer.quant.observers import Histogram

__all__ = ["check_expectations", "unlike_expected"]

# what lies beyond an end by less of the range is that end, written down in fewer digits
_BESIDE = 2.0**-8

# samples that span less of the range than this are hardly what the model will see
_SMALL = 0.25


def check_expectations(graph: Graph, expected: Mapping[str, Range]) -> None:
    """Whether ranges are stated for inputs of floats, and are ranges.

    Raises
    ------
    InputError
        There is no such input, it takes no floats, or its range is none.
    """
    for name, (low, high) in expected.items():
        if name not in graph.inputs:
            inputs = ", ".join(map(repr, graph.inputs))
            raise InputError(f"a range is given for {name!r}, but the model's inputs are {inputs}")
        kind = graph.types[name].dtype
        if kind != "float32":
            raise InputError(f"a range is given for input {name!r}, which takes {kind}, not floats")
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise InputError(
                f"the range of input {name!r} must go from a number to a larger one, not from "
                f"{low:g} to {high:g}"
            )


def unlike_expected(expected: Mapping[str, Range], seen: Mapping[str, Histogram]) -> list[str]:
    """What a user should know of samples that use little of a range.

    Parameters
    ----------
    expected : mapping of str to (float, float)
        By input.
    seen : mapping of str to Histogram
        What calibration saw, of these inputs at least.

    Raises
    ------
    InputError
        Samples lie outside of a range.
    """
    found = []
    for name, (low, high) in expected.items():
        least, most = seen[name].low, seen[name].high
        reaches = f"calibration samples go from {least:g} to {most:g} at input {name!r}"
        beside = _BESIDE * (high - low)
        if least < low - beside or most > high + beside:
            raise InputError(
                f"{reaches}, outside of the {low:g} to {high:g} that are expected; prepare them as "
                "the model takes its inputs"
            )
        share = (most - least) / (high - low)
        if share < _SMALL:
            found.append(
                f"{reaches}, {100 * share:.2g} % of the {low:g} to {high:g} that are expected; "
                "prepare them as the model takes its inputs, or give samples that vary more"
            )
    return found
