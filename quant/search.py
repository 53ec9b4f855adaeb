"""Ranges into the ranges with the least error at the model's outputs, tried on the integer Graph.

No rule that looks at one value alone serves every model: cutting an input's rare extremes gives up
much of the input's energy, and may halve the error of the outputs or double it. So the rules
propose and calibration samples decide: first one rule for all values, then value by value in the
order of the flow, as far as a fixed budget of multiply-accumulates goes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from edgeinfer.graph import Graph
from edgeinfer.graph.cost import cost
from edgeinfer.quant.calibration import Calibration, Progress
from edgeinfer.quant.ranges import Ranges
from edgeinfer.runtime.planner import KnownCalls
from edgeinfer.runtime.session import Session

__all__ = ["MAX_RUNS", "search"]

# how many calibration runs judge a proposal, at most and at least
MAX_RUNS, _MIN_RUNS = 128, 4

# multiply-accumulates of all proposals together: seconds on one core
_BUDGET = 4 * 10**10

# the budget is for so many proposals: fewer runs judge where a model is large, and even where it
# is small there is an end
_PROPOSALS, _MAX_PROPOSALS = 24, 128

_SHRINKS = (0.85, 0.7, 0.5, 0.35, 0.25)

# A proposal must leave this share of the noise or less to be taken, of its sum over the runs and
# of its geometric mean as well: less is the luck of a few samples. Measured on kws_dscnn: entropy's
# cuts halve the sum on the calibration samples, the mean stays, and unseen samples lose 7 dB.
_GAIN = 0.7


def search(
    calibration: Calibration,
    proposals: Mapping[str, Ranges],
    build: Callable[[Ranges], Graph],
    progress: Progress | None = None,
) -> Ranges:
    """The best ranges found.

    Parameters
    ----------
    calibration : Calibration
        The runs that judge.
    proposals : mapping of str to ranges
        What each rule proposes, in the order of the flow; ``minmax`` is the one to beat.
    build : callable
        From ranges to the integer Graph.
    progress : callable
        Called as ``progress("searching", tried, proposals)``.
    """
    best = proposals["minmax"]
    work = max(1, cost(build(best)).macs)
    affordable = _BUDGET // (_PROPOSALS * work)
    runs = min(len(calibration.kept), max(_MIN_RUNS, min(MAX_RUNS, affordable)))
    tries = min(_MAX_PROPOSALS, max(len(proposals), _BUDGET // (work * runs)))
    known = KnownCalls()
    least = _output_noise(build(best), calibration, runs, known)
    changes = list(itertools.islice(_changes(proposals), tries))
    for tried, change in enumerate(changes, start=1):
        if progress is not None:
            progress("searching", tried, len(changes))
        ranges = {**best, **change}
        if ranges == best:
            continue
        noise = _output_noise(build(ranges), calibration, runs, known)
        if _is_better(noise, least):
            best, least = ranges, noise
    return best


def _changes(proposals: Mapping[str, Ranges]) -> Iterator[Ranges]:
    """One rule for all values; then for each value each rule's range, and plain shrinkings."""
    yield from proposals.values()
    for name, (low, high) in proposals["minmax"].items():
        yield from ({name: ranges[name]} for ranges in proposals.values())
        yield from ({name: (low * share, high * share)} for share in _SHRINKS)


def _is_better(tried: np.ndarray, least: np.ndarray) -> bool:
    ratio = np.exp(np.log(tried / least).mean())
    return bool(tried.sum() < _GAIN * least.sum() and ratio < _GAIN)


def _output_noise(
    graph: Graph, calibration: Calibration, runs: int, known: KnownCalls
) -> np.ndarray:
    """For each run, noise over the mean signal, summed over the outputs; never 0."""
    session = Session.of_trusted(graph, known)
    noise = np.zeros((runs, len(graph.outputs)))
    signal = np.zeros((runs, len(graph.outputs)))
    for i in range(runs):
        result = session.run(calibration.kept[i].feed)
        for j, name in enumerate(graph.outputs):
            y = result[name] if isinstance(result, dict) else result
            reference = calibration.kept[i].outputs[name].astype(np.float64)
            signal[i, j] = (reference * reference).sum()
            noise[i, j] = ((reference - y) ** 2).sum()
    return np.asarray((noise / np.maximum(signal.mean(0), 1e-30)).sum(1) + 1e-9)
