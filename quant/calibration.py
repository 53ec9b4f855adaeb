"""A float Graph and calibration data into histograms of its values, and a few runs to judge by."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from edgeinfer.data.samples import Data, runs
from edgeinfer.errors import MissingExtraError, QuantizationError
from edgeinfer.graph import Graph
from edgeinfer.meaning.float_executor import Executor
from edgeinfer.quant.never import FarNumbers, fillings, indifferent_sides, near_and_far
from edgeinfer.quant.observers import Histogram
from edgeinfer.quant.outliers import Arrival, Farthest, Outlier
from edgeinfer.quant.reaches import Reaches

__all__ = [
    "MOST_HELD_BACK",
    "Calibration",
    "Progress",
    "Run",
    "calibrate",
    "evenly",
    "one_blas_thread",
]

# every fifth run judges what the others calibrate, so many of them at most
_HELD_BACK = 5
MOST_HELD_BACK = 32

# called as work is done: with its stage, how much of it, and of how much where that is known
Progress: TypeAlias = Callable[[str, int, int | None], None]


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
        Some of them, drawn evenly from all, in order.
    held_back : list of Run
        Runs that ``fitted`` does not know, spread evenly over all: to judge by. Of fewer than five
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

    The runs of a Graph with states are one sequence, in the order of the data. One run at a time,
    so memory is bounded by the model's and by ``keep`` runs' inputs and outputs. Of an array,
    ``samples`` are drawn by ``seed``; of a stream, the first ``samples`` are taken. A run whose
    input lies far beyond all others' is not counted (``outliers.py``).

    Raises
    ------
    QuantizationError
        A value is not finite on some sample.
    InputError
        The data does not fit the graph's inputs, or is empty.
    """
    chosen = _draw(data, samples, seed)
    total = _count(graph, chosen, samples)
    counting = _Counting(graph, values, keep)
    farthest = Farthest(in_sequence=bool(graph.states))
    rng = np.random.default_rng(seed)
    for index, feed in enumerate(runs(graph, chosen, limit=samples)):
        # a reservoir: every run so far is kept with the same probability
        place = index if index < keep else int(rng.integers(index + 1))
        held_back = index % _HELD_BACK == _HELD_BACK - 1
        # whoever gives the data may use its arrays again
        own = {name: array.copy() for name, array in feed.items()}
        for run in farthest.take(Arrival(index, place, held_back, own)):
            counting.add(run)
        if progress is not None:
            progress("calibrating", index + 1, total)
    near, counting.seen.outliers = farthest.divided()
    for run in near:
        counting.add(run)
    return counting.result()


class _Counting:
    """Runs through the float Graph, counted."""

    def __init__(self, graph: Graph, values: Collection[str], keep: int) -> None:
        self.seen = Calibration({name: Histogram() for name in values})
        self.seen.fitted = {name: Histogram() for name in values}
        self.seen.reaches = {name: Reaches() for name in values}
        self._first: dict[str, np.ndarray] = {}
        self._differing: set[str] = set()
        self._stride = 1
        self._executor = Executor(graph)
        self._sides = indifferent_sides(graph)
        self._keep = keep
        self._kept: dict[int, Run] = {}
        self._state: dict[str, np.ndarray] = {}
        self._far: dict[str, FarNumbers] = {}
        self._fillings = fillings(graph, self._sides)

    def add(self, run: Arrival) -> None:
        """Execute and count one run."""

        def observe(name: str, array: np.ndarray) -> None:
            if name in self.seen.histograms:
                try:
                    self._observe(name, array, run.is_held_back)
                except QuantizationError as error:
                    raise QuantizationError(
                        f"value {name!r} is not finite on calibration sample {run.index}; "
                        "the float model overflows or divides by zero there"
                    ) from error

        with one_blas_thread():
            outputs = self._executor.run(run.feed, state=self._state, observe=observe)
        self.seen.count += 1
        for name, array in run.feed.items():
            if not np.array_equal(self._first.setdefault(name, array), array):
                self._differing.add(name)
        if run.is_held_back:
            self._hold_back(Run(run.index, run.feed, outputs))
        known = self._kept.get(run.place)
        if run.place < self._keep and (known is None or known.index < run.index):
            self._kept[run.place] = Run(run.index, run.feed, outputs)

    def _hold_back(self, run: Run) -> None:
        """Keep the run to judge by; of more than can be kept, every second, fourth and so on."""
        held = self.seen.held_back
        if run.index // _HELD_BACK % self._stride == 0:
            held.append(run)
        if len(held) > 2 * MOST_HELD_BACK:
            self._stride *= 2
            held[:] = [r for r in held if r.index // _HELD_BACK % self._stride == 0]

    def result(self) -> Calibration:
        """All that was counted."""
        self.seen.kept = sorted(self._kept.values(), key=lambda run: run.index)
        self.seen.held_back = evenly(
            sorted(self.seen.held_back, key=lambda run: run.index), MOST_HELD_BACK
        )
        for name, far in self._far.items():
            signs = far.settle(self.seen.fitted[name], self.seen.histograms[name])
            if signs:
                self.seen.never[name] = signs
        for name in set(self._fillings) & set(self.seen.fitted):
            filling, known = self._fillings[name], self.seen.never.get(name, frozenset())
            signs = filling.settle(self.seen.fitted[name], self.seen.histograms[name])
            if signs:
                self.seen.never[name] = known | signs
        for name, fitted in self.seen.fitted.items():
            self.seen.histograms[name].merge(fitted)
        if self.seen.count > 1:
            self.seen.fixed_inputs = set(self._first) - self._differing
        return self.seen

    def _observe(self, name: str, array: np.ndarray, is_held_back: bool) -> None:
        if name in self._fillings:
            array = self._fillings[name].without(array, is_held_back)
        if name in self._sides:
            array, far = near_and_far(array, self._sides[name])
            if far.size:
                self._far.setdefault(name, FarNumbers()).add(far, is_held_back)
            if not array.size:
                return
        if not is_held_back:
            self.seen.reaches[name].add(array)
        (self.seen.histograms if is_held_back else self.seen.fitted)[name].add(array)


def _count(graph: Graph, data: Data, samples: int | None) -> int | None:
    arrays = data.values() if isinstance(data, dict) else [data]
    first = next(iter(arrays), None)
    if isinstance(first, np.ndarray):
        return max(1, first.size // graph.types[graph.inputs[0]].elements)
    return samples
