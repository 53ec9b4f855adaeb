"""A float Graph and calibration data into histograms of its values, and a few runs to judge by."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import numpy as np

from edgeinfer.data.samples import Data, runs
from edgeinfer.errors import MissingExtraError, QuantizationError
from edgeinfer.graph import Graph
from edgeinfer.meaning.float_executor import Executor
from edgeinfer.quant.counted import Counted
from edgeinfer.quant.observers import Histogram
from edgeinfer.quant.reaches import Reaches
from edgeinfer.quant.waiting import Arrival, Outlier, Waiting

__all__ = [
    "MOST_HELD_BACK",
    "Calibration",
    "Part",
    "Progress",
    "Run",
    "calibrate",
    "evenly",
    "one_blas_thread",
]

# every fifth run judges what the others calibrate, so many of them at most
_HELD_BACK = 5
MOST_HELD_BACK = 32

# so many wait until it is known whether they do, and two of them may turn out to be outliers
_WAITING = _HELD_BACK * MOST_HELD_BACK + 2

# called as work is done: with its stage, how much of it, and of how much where that is known
Progress: TypeAlias = Callable[[str, int, int | None], None]

# called after each run that was executed
Executed: TypeAlias = Callable[[], None]


def _ignore() -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Run:
    """One run of calibration.

    Parameters
    ----------
    index : int
        Its place in the data.
    feed, outputs : dict of str to numpy.ndarray
        Inputs and float outputs.
    """

    index: int
    feed: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]


@dataclass
class Calibration:
    """What calibration saw.

    Parameters
    ----------
    histograms : dict of str to Histogram
        Of every value asked for, without numbers that stand for never.
    fitted : dict of str to Histogram
        The same without the runs that are held back.
    reaches : dict of str to Reaches
        How far each reached in each run that is not held back.
    never : dict of str to set of int
        By value that held such numbers, their signs.
    count : int
        How many runs were counted.
    kept : list of Run
        Some of them, those with the least digests, by these: as if drawn, and whatever the order
        of the data. A run that came several times is among them once.
    held_back : list of Run
        Those of them that ``fitted`` does not know: to judge by. Of fewer than five different ones
        there are none.
    fixed_inputs : set of str
        The inputs that were the same in every run, of two or more.
    outliers : list of Outlier
        The runs that were not counted.
    """

    histograms: dict[str, Histogram]
    fitted: dict[str, Histogram] = field(default_factory=dict)
    reaches: dict[str, Reaches] = field(default_factory=dict)
    never: dict[str, frozenset[int]] = field(default_factory=dict)
    count: int = 0
    kept: list[Run] = field(default_factory=list)
    held_back: list[Run] = field(default_factory=list)
    fixed_inputs: set[str] = field(default_factory=set)
    outliers: list[Outlier] = field(default_factory=list)


def evenly(runs_seen: list[Run], count: int) -> list[Run]:
    """At most ``count`` of the runs, spread over all."""
    places = np.linspace(0, len(runs_seen) - 1, min(count, len(runs_seen)))
    return [runs_seen[int(place)] for place in np.rint(places)]


def one_blas_thread() -> AbstractContextManager[object]:
    """NumPy's products on one thread meanwhile.

    A second one waits for the first in layers as small as a device's: it makes the same run four
    times the work. And sums of one thread have the same bits whatever the number of cores.

    Raises
    ------
    MissingExtraError
        threadpoolctl is not installed.
    """
    try:
        from threadpoolctl import threadpool_limits
    except ModuleNotFoundError:
        raise MissingExtraError("threadpoolctl", "convert") from None
    limits: AbstractContextManager[object] = threadpool_limits(1, "blas")
    return limits


def _draw(data: Data, samples: int | None, seed: int) -> Data:
    """``samples`` of an array's or dict's samples, drawn by ``seed``; a stream is left as it is."""
    if samples is None:
        return data
    if isinstance(data, np.ndarray) and data.ndim:
        return data[_indices(len(data), samples, seed)]
    if isinstance(data, dict) and data:
        drawn = _indices(min(map(len, data.values())), samples, seed)
        return {name: array[drawn] for name, array in data.items()}
    return data


def _indices(count: int, samples: int, seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).permutation(count)[:samples]
    return np.sort(drawn)


def calibrate(
    graph: Graph,
    data: Data,
    values: Collection[str],
    *,
    samples: int | None = None,
    seed: int = 0,
    keep: int = 0,
    progress: Progress | None = None,
) -> Calibration:
    """Run ``data`` through ``graph`` in floats and count what each of ``values`` holds.

    What comes of it does not depend on the order of the data; but the runs of a Graph with states
    are one sequence. One run at a time, so memory is bounded by the model's and by some runs'
    inputs and outputs. Of an array, ``samples`` are drawn by ``seed``; of a stream, the first
    ``samples`` are taken. A run whose input lies far beyond all others' is not counted
    (``waiting.py``).

    Raises
    ------
    QuantizationError
        A value is not finite on some sample.
    InputError
        The data does not fit the graph's inputs, or is empty.
    """
    chosen = _draw(data, samples, seed)
    total = _count(graph, chosen, samples)
    part = Part(graph, values, keep)

    def tell() -> None:
        if progress is not None:
            progress("calibrating", part.executed, total)

    for index, feed in enumerate(runs(graph, chosen, limit=samples)):
        part.take(index, feed, tell)
    return part.calibration(tell)


class Part:
    """What calibration sees of a part of the data, or of all of it.

    Parameters
    ----------
    graph : Graph
        The float Graph.
    values : collection of str
        Those that are counted.
    keep : int
        How many runs are kept, at most.
    """

    def __init__(self, graph: Graph, values: Collection[str], keep: int) -> None:
        self.executed = 0
        self._graph = graph
        self._counted = Counted.of(graph, values)
        # runs of a sequence do not wait: each follows from the one before
        self._state: dict[str, np.ndarray] | None = {} if graph.states else None
        self._waiting = Waiting(max(keep, _WAITING))
        self._keep = keep
        self._kept, self._held_back = _Least(keep), _Least(MOST_HELD_BACK)

    def __getstate__(self) -> dict[str, object]:
        # whoever goes on makes the weights ready again
        return {name: value for name, value in vars(self).items() if name != "_executor"}

    @cached_property
    def _executor(self) -> Executor:
        return Executor(self._graph)

    def take(
        self, index: int, feed: Mapping[str, np.ndarray], executed: Executed = _ignore
    ) -> None:
        """Take in the run of place ``index`` in the data.

        Its arrays may be used again afterwards; ``executed`` is called after each run that is
        executed, be it this one or another.
        """
        run = Arrival(index, {name: array.copy() for name, array in feed.items()})
        if self._state is not None:
            is_held_back = index % _HELD_BACK == _HELD_BACK - 1
            self._keep_run(run, self._count_run(run, is_held_back, executed), is_held_back)
            return
        for other in self._waiting.take(run):
            self._count_run(other, False, executed)

    def merge(self, other: Part, executed: Executed = _ignore) -> None:
        """Take in what ``other`` has, a part of the same data for the same Graph.

        Raises
        ------
        ValueError
            The Graph keeps states: its data is one sequence.
        """
        if self._state is not None:
            raise ValueError("the runs of a model that keeps states are one sequence")
        self._counted.merge(other._counted)
        self.executed += other.executed
        for run in self._waiting.merge(other._waiting):
            self._count_run(run, False, executed)

    def calibration(self, executed: Executed = _ignore) -> Calibration:
        """All that was seen; the part is used up."""
        least, others, outliers = self._waiting.divided()
        held = min(MOST_HELD_BACK, len(least) // _HELD_BACK)
        for place, run in enumerate(least):
            outputs = self._count_run(run, place < held, executed)
            if place < max(held, self._keep):
                self._keep_run(run, outputs, place < held)
        for run in others:
            self._count_run(run, False, executed)
        counted = self._counted
        never = counted.settled()
        for name, fitted in counted.fitted.items():
            counted.held_back[name].merge(fitted)
        return Calibration(
            histograms=counted.held_back,
            fitted=counted.fitted,
            reaches=counted.reaches,
            never=never,
            count=counted.count,
            kept=self._kept.runs,
            held_back=self._held_back.runs,
            fixed_inputs=counted.fixed_inputs,
            outliers=outliers,
        )

    def _count_run(
        self, run: Arrival, is_held_back: bool, executed: Executed
    ) -> dict[str, np.ndarray]:
        """Execute and count a run as often as it came, and give its outputs."""

        def observe(name: str, array: np.ndarray) -> None:
            try:
                self._counted.add(name, array, is_held_back)
            except QuantizationError as error:
                raise QuantizationError(
                    f"value {name!r} is not finite on calibration sample {run.index}; "
                    "the float model overflows or divides by zero there"
                ) from error

        for _ in range(run.times):
            with one_blas_thread():
                outputs = self._executor.run(run.feed, state=self._state, observe=observe)
            self._counted.add_run(run.digests)
            self.executed += 1
            executed()
        return outputs

    def _keep_run(self, run: Arrival, outputs: dict[str, np.ndarray], is_held_back: bool) -> None:
        found = Run(run.index, dict(run.feed), outputs)
        self._kept.add(run.key, found)
        if is_held_back:
            self._held_back.add(run.key, found)


class _Least:
    """The runs of the least keys, so many of them."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._found: list[tuple[bytes, int, Run]] = []

    def add(self, key: bytes, run: Run) -> None:
        """Keep ``run``, and forget the one that is now too many."""
        bisect.insort(self._found, (key, run.index, run))
        del self._found[self._count :]

    @property
    def runs(self) -> list[Run]:
        """In the order of their keys."""
        return [run for _, _, run in self._found]


def _count(graph: Graph, data: Data, samples: int | None) -> int | None:
    arrays = data.values() if isinstance(data, dict) else [data]
    first = next(iter(arrays), None)
    if isinstance(first, np.ndarray):
        return max(1, first.size // graph.types[graph.inputs[0]].elements)
    return samples
