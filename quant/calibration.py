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
from edgeinfer.meaning.float_executor import execute
from edgeinfer.quant.never import indifferent_sides, without_never
from edgeinfer.quant.observers import Histogram
from edgeinfer.quant.outliers import Arrival, Farthest, Outlier

__all__ = ["Calibration", "Progress", "Run", "calibrate", "one_blas_thread"]

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
    never : dict of str to set of int
        By value that held such numbers, their signs.
    count : int
        How many runs were counted.
    kept : list of Run
        Some of them, drawn evenly from all, in order.
    outliers : list of Outlier
        The runs that were not counted.
    """

    histograms: dict[str, Histogram]
    never: dict[str, frozenset[int]] = field(default_factory=dict)
    count: int = 0
    kept: list[Run] = field(default_factory=list)
    outliers: list[Outlier] = field(default_factory=list)


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
        for run in farthest.take(Arrival(index, place, feed)):
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
        self._graph = graph
        self._sides = indifferent_sides(graph)
        self._keep = keep
        self._kept: dict[int, Run] = {}
        self._state: dict[str, np.ndarray] = {}

    def add(self, run: Arrival) -> None:
        """Execute and count one run."""

        def observe(name: str, array: np.ndarray) -> None:
            if name in self.seen.histograms:
                try:
                    self._observe(name, array)
                except QuantizationError as error:
                    raise QuantizationError(
                        f"value {name!r} is not finite on calibration sample {run.index}; "
                        "the float model overflows or divides by zero there"
                    ) from error

        with one_blas_thread():
            outputs = execute(self._graph, run.feed, state=self._state, observe=observe)
        self.seen.count += 1
        known = self._kept.get(run.place)
        if run.place < self._keep and (known is None or known.index < run.index):
            self._kept[run.place] = Run(run.index, run.feed, outputs)

    def result(self) -> Calibration:
        """All that was counted."""
        self.seen.kept = sorted(self._kept.values(), key=lambda run: run.index)
        return self.seen

    def _observe(self, name: str, array: np.ndarray) -> None:
        if name in self._sides:
            near = without_never(array, self._sides[name])
            if near.size < array.size:
                signs = {-1} if array.min() < near.min() else set()
                signs |= {1} if array.max() > near.max() else set()
                self.seen.never[name] = self.seen.never.get(name, frozenset()) | signs
            array = near
        self.seen.histograms[name].add(array)


def _count(graph: Graph, data: Data, samples: int | None) -> int | None:
    arrays = data.values() if isinstance(data, dict) else [data]
    first = next(iter(arrays), None)
    if isinstance(first, np.ndarray):
        return max(1, first.size // graph.types[graph.inputs[0]].elements)
    return samples
