"""Ranges into the ranges with the least error at the model's outputs, tried on the integer Graph.

No rule that looks at one value alone serves every model: cutting an input's rare extremes gives up
much of the input's energy, and may halve the error of the outputs or double it. So the rules
propose and calibration samples decide: first one rule for all values, then value by value in the
order of the flow, as far as a fixed budget of multiply-accumulates goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from edgeinfer.cost import cost
from edgeinfer.graph import Graph
from edgeinfer.quant.calibration import Calibration
from edgeinfer.quant.observers import OBSERVERS, Levels
from edgeinfer.session import Session

__all__ = ["MAX_RUNS", "search"]

Ranges = dict[str, tuple[float, float]]

# how many calibration runs judge a proposal, at most and at least
MAX_RUNS, _MIN_RUNS = 64, 4

# multiply-accumulates of all proposals together: seconds on one core
_BUDGET = 2 * 10**10

_SHRINKS = (0.85, 0.7, 0.5, 0.35, 0.25)

# a proposal must be this much better to be taken: less is the luck of the samples
_GAIN = 0.5


def search(
    calibration: Calibration,
    levels: Levels,
    build: Callable[[Ranges], Graph],
    order: list[str],
) -> Ranges:
    """The best ranges found.

    Parameters
    ----------
    calibration : Calibration
        Histograms of all values, and the runs that judge.
    levels : Levels
        What the ranges are divided into.
    build : callable
        From ranges to the integer Graph.
    order : list of str
        The values to refine, in the order of the flow.
    """
    proposals = {
        name: {rule: OBSERVERS[rule](h, levels) for rule in OBSERVERS}
        for name, h in calibration.histograms.items()
    }
    work = max(1, cost(build({n: p["minmax"] for n, p in proposals.items()})).macs)
    runs = min(len(calibration.feeds), max(_MIN_RUNS, min(MAX_RUNS, _BUDGET // (24 * work))))
    left = _BUDGET // (work * runs)

    def error(ranges: Ranges) -> float:
        return _output_error(build(ranges), calibration, runs)

    # what cuts nothing is the one to beat
    rules = sorted(OBSERVERS, key=lambda rule: rule != "minmax")
    whole = [{name: p[rule] for name, p in proposals.items()} for rule in rules]
    best = whole[0]
    least = error(best)
    for ranges in whole[1:]:
        e = error(ranges)
        if e < least * _GAIN:
            best, least = ranges, e
    left -= len(whole)
    for name, candidate in _refinements(order, proposals):
        if left <= 0:
            break
        if candidate == best[name]:
            continue
        left -= 1
        tried = {**best, name: candidate}
        e = error(tried)
        if e < least * _GAIN:
            best, least = tried, e
    return best


def _refinements(
    order: list[str], proposals: Mapping[str, Mapping[str, tuple[float, float]]]
) -> Iterator[tuple[str, tuple[float, float]]]:
    for name in order:
        low, high = proposals[name]["minmax"]
        yield from ((name, candidate) for candidate in proposals[name].values())
        yield from ((name, (low * share, high * share)) for share in _SHRINKS)


def _output_error(graph: Graph, calibration: Calibration, runs: int) -> float:
    """Noise over signal, summed over the outputs."""
    session = Session(graph)
    noise = dict.fromkeys(graph.outputs, 0.0)
    signal = dict.fromkeys(graph.outputs, 1e-30)
    for feed, expected in zip(calibration.feeds[:runs], calibration.outputs[:runs], strict=True):
        result = session.run(feed)
        for name in graph.outputs:
            y = result[name] if isinstance(result, dict) else result
            reference = expected[name].astype(np.float64)
            signal[name] += float((reference * reference).sum())
            noise[name] += float(((reference - y) ** 2).sum())
    return sum(noise[name] / signal[name] for name in graph.outputs)
