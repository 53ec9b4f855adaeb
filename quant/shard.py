"""Samples through the float Graph: what is kept of them, which adds up over any shards of the data.

Whoever sees some of the samples has a ``Shard``; merged, shards are what one would be that saw all
of them, to the last bit, and that makes a ``Calibration``.
"""

from __future__ import annotations

import bisect
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from edgeinfer.errors import MissingExtraError, QuantizationError
from edgeinfer.graph import Graph
from edgeinfer.meaning.float_executor import Executor
from edgeinfer.quant.counted import Counted
from edgeinfer.quant.observers import Histogram
from edgeinfer.quant.reaches import Reaches
from edgeinfer.quant.waiting import Arrival, Outlier, Waiting

__all__ = ["MOST_HELD_BACK", "Calibration", "Due", "Run", "Shard", "one_blas_thread"]

# every fifth run judges what the others calibrate, so many of them at most
_HELD_BACK = 5
MOST_HELD_BACK = 32

# so many runs are sampled for the summary that a file keeps, at most
_SAMPLED = 128

# so many wait until it is known whether they do, and two of them may turn out to be outliers
_WAITING = _HELD_BACK * MOST_HELD_BACK + 2


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
    sampled : list of Run
        As ``kept``, as many with any options.
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
    sampled: list[Run] = field(default_factory=list)
    fixed_inputs: set[str] = field(default_factory=set)
    outliers: list[Outlier] = field(default_factory=list)

    @property
    def kept_to_fit(self) -> list[Run]:
        """Those of the kept runs that are not held back; all, where there are no such ones."""
        held = {run.index for run in self.held_back}
        return [run for run in self.kept if run.index not in held] or self.kept


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


@dataclass(frozen=True)
class Due:
    """A run that is to be executed.

    Parameters
    ----------
    run : Arrival
        Its inputs.
    is_held_back, is_kept : bool
        What it is there for beside being counted.
    """

    run: Arrival
    is_held_back: bool = False
    is_kept: bool = False


class _Floats:
    """A Graph with its weights made ready once, for whoever executes it next in this process."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def __reduce__(self) -> tuple[type[_Floats], tuple[Graph]]:
        return _Floats, (self._graph,)

    @cached_property
    def executor(self) -> Executor:
        """What executes it."""
        return Executor(self._graph)


class Shard:
    """What calibration sees of some of the data, or of all of it.

    Parameters
    ----------
    graph : Graph
        The float Graph.
    values : collection of str
        Those that are counted.
    keep : int
        How many runs are kept, at most.
    floats : _Floats, optional
        The Graph as another shard of this process executes it.
    """

    def __init__(
        self, graph: Graph, values: Collection[str], keep: int, floats: _Floats | None = None
    ) -> None:
        self._graph, self._values, self._keep = graph, frozenset(values), keep
        self._floats = floats or _Floats(graph)
        self._counted = Counted.of(graph, values)
        self._masks = frozenset(graph.inputs) & self._counted.sides.keys()
        # runs of a sequence do not wait: each follows from the one before
        self._state: dict[str, np.ndarray] | None = {} if graph.states else None
        self._waiting = Waiting(max(keep, _WAITING))
        self._outliers: list[Outlier] = []
        self._kept, self._held_back = _Least(max(keep, _SAMPLED)), _Least(MOST_HELD_BACK)

    def another(self) -> Shard:
        """One that has seen nothing yet."""
        return Shard(self._graph, self._values, self._keep, self._floats)

    def take(self, index: int, feed: Mapping[str, np.ndarray]) -> list[Due]:
        """Take in the run of place ``index`` in the data, and give those that wait no longer.

        The arrays may be used again afterwards.
        """
        copied = {name: array.copy() for name, array in feed.items()}
        run = Arrival(index, copied, masks=self._masks)
        if self._state is not None:
            return [Due(run, index % _HELD_BACK == _HELD_BACK - 1, True)]
        return [Due(other) for other in self._waiting.take(run)]

    def rest(self) -> list[Due]:
        """All that still waits, but for outliers."""
        least, others, outliers = self._waiting.divided()
        self._outliers += outliers
        self._waiting = Waiting(0)
        held = min(MOST_HELD_BACK, len(least) // _HELD_BACK)
        kept = max(held, self._keep, _SAMPLED)
        due = [Due(run, place < held, place < kept) for place, run in enumerate(least)]
        return due + [Due(run) for run in others]

    def take_in(self, item: Due) -> None:
        """Execute a run, and count it as often as it came.

        Raises
        ------
        QuantizationError
            A value is not finite.
        """
        outputs = self._count_run(item.run, item.is_held_back)
        found = Run(item.run.index, dict(item.run.feed), outputs)
        if item.is_kept:
            self._kept.add(item.run.key, found)
        if item.is_held_back:
            self._held_back.add(item.run.key, found)

    def merge(self, other: Shard) -> None:
        """Take in what ``other`` has, which saw other samples for the same Graph.

        Raises
        ------
        ValueError
            The Graph keeps states: its data is one sequence.
        """
        if self._state is not None:
            raise ValueError("the runs of a model that keeps states are one sequence")
        self._counted.merge(other._counted)
        self._kept.merge(other._kept)
        self._held_back.merge(other._held_back)
        for run in self._waiting.merge(other._waiting):
            self.take_in(Due(run))

    def calibration(self) -> Calibration:
        """All that was seen, with what still waits; the shard is used up."""
        for due in self.rest():
            self.take_in(due)
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
            kept=self._kept.runs[: self._keep],
            sampled=self._kept.runs,
            held_back=self._held_back.runs,
            fixed_inputs=counted.fixed_inputs,
            outliers=self._outliers,
        )

    def _count_run(self, run: Arrival, is_held_back: bool) -> dict[str, np.ndarray]:
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
                outputs = self._floats.executor.run(run.feed, state=self._state, observe=observe)
            self._counted.add_run(run.digests)
        return outputs


class _Least:
    """The runs of the least keys, so many of them."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._found: list[tuple[bytes, int, Run]] = []

    def add(self, key: bytes, run: Run) -> None:
        """Keep ``run``, and forget the one that is now too many."""
        bisect.insort(self._found, (key, run.index, run))
        del self._found[self._count :]

    def merge(self, other: _Least) -> None:
        """Keep what ``other`` has kept, too."""
        for key, _, run in other._found:
            self.add(key, run)

    @property
    def runs(self) -> list[Run]:
        """In the order of their keys."""
        return [run for _, _, run in self._found]
