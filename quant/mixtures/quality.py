"""How good a mixture is, on runs that its ranges do not know: decibels, classes that changed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgeinfer.graph import Graph
from edgeinfer.quant.calibration import Calibration, Run
from edgeinfer.quant.channel_groups import ChannelGroups
from edgeinfer.quant.compare import Difference
from edgeinfer.quant.objective import groups_of_outputs, outputs_of
from edgeinfer.quant.outputs import classes_of, has_classes, shares
from edgeinfer.runtime.planner import KnownCalls
from edgeinfer.runtime.session import Session

__all__ = ["Quality", "least_microseconds", "quality"]

# runs that are timed, at least, and for how long
_LEAST_TIMED, _SECONDS = 15, 0.2


@dataclass(frozen=True)
class Quality:
    """What was measured.

    Parameters
    ----------
    sqnr_db : float
        The ratio of signal to quantization noise of the worst output, or of the worst group of its
        channels (``channel_groups.py``), on runs that were held back or on all that calibration
        kept: the smaller.
    differing, samples : int
        How many of how many of their samples have another class than float32's; of none where
        outputs are no classes.
    all_differing, all_samples : int
        The same of all: a few samples tell no half per cent.
    """

    sqnr_db: float
    differing: int
    samples: int
    all_differing: int
    all_samples: int

    @property
    def drop(self) -> float:
        """The share of samples with another class, of those held back or of all: the larger."""
        return max(
            self.differing / max(1, self.samples), self.all_differing / max(1, self.all_samples)
        )


def quality(graph: Graph, trial: Graph, seen: Calibration) -> Quality:
    """Hold ``trial`` against the float ``graph``.

    Parameters
    ----------
    graph, trial : Graph
        A float Graph, and an integer one from ranges that ``seen.held_back`` had no part in.
    seen : Calibration
        Its ``kept`` runs judge where none were held back.
    """
    session, counts = Session.of_trusted(trial, KnownCalls()), has_classes(graph)
    judged = seen.held_back or seen.kept
    known = {run.index for run in judged}
    groups = groups_of_outputs(judged, shares(graph))
    found = _Differences(groups)
    differing, samples = _compared(session, judged, found, counts)
    sqnr_db = found.worst_db
    more, further = _compared(
        session, [run for run in seen.kept if run.index not in known], found, counts
    )
    return Quality(
        min(sqnr_db, found.worst_db), differing, samples, differing + more, samples + further
    )


class _Differences:
    """How far each group of channels of each output is from the float Graph's."""

    def __init__(self, groups: Mapping[str, ChannelGroups]) -> None:
        self._groups = groups
        self._found = {name: [Difference() for _ in range(len(g))] for name, g in groups.items()}

    def add(self, a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> None:
        """Take in one run's outputs."""
        for name, groups in self._groups.items():
            parts = groups.split(a[name]), groups.split(b[name])
            for difference, x, y in zip(self._found[name], *parts, strict=True):
                difference.add(x, y)

    @property
    def worst_db(self) -> float:
        """The least ratio of signal to noise."""
        return min(each.sqnr_db for of_output in self._found.values() for each in of_output)


def _compared(
    session: Session, runs: Sequence[Run], differences: _Differences, counts: bool
) -> tuple[int, int]:
    """Add the runs' differences; how many of how many samples have another class."""
    differing = samples = 0
    for run in runs:
        result = outputs_of(session, run.feed)
        differences.add(run.outputs, result)
        if counts:
            for name, y in run.outputs.items():
                floats, integers = classes_of(y), classes_of(result[name])
                differing += int((floats != integers).sum())
                samples += floats.size
    return differing, samples


def least_microseconds(graph: Graph, feed: Mapping[str, np.ndarray]) -> float:
    """The least time of many runs on one thread of this machine, in microseconds."""
    session = Session(graph)
    times: list[int] = []
    end = time.perf_counter() + _SECONDS
    while len(times) < _LEAST_TIMED or time.perf_counter() < end:
        begun = time.perf_counter_ns()
        session.run(feed)
        times.append(time.perf_counter_ns() - begun)
    return min(times) / 1e3
