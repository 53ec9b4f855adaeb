"""A stream of runs without the one or two whose input lies far beyond all others'.

One sample that a sensor spoilt must not decide the ranges of a hundred others. What only a value
inside the model shows is no reason: the one sample that holds an object is what a detector is
calibrated for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Arrival", "Farthest", "Outlier"]

# how many times as far as all others an outlier reaches
_BEYOND = 3.0

# one run in so many may be one, and so many in all
_OTHERS, _MOST = 20, 2


@dataclass(frozen=True)
class Arrival:
    """A run before it is executed.

    Parameters
    ----------
    index : int
        Its place in the data.
    place : int
        Its place among the runs that are kept, where that is one.
    is_held_back : bool
        It is there to judge by, not only to calibrate.
    feed : dict of str to numpy.ndarray
        Its inputs.
    """

    index: int
    place: int
    is_held_back: bool
    feed: dict[str, np.ndarray]

    def reach(self, name: str) -> float:
        """The largest magnitude of an input; 0 of one that has no floats."""
        array = self.feed[name]
        return float(np.abs(array).max()) if array.dtype == np.float32 else 0.0


@dataclass(frozen=True)
class Outlier:
    """A run that is not to be counted.

    Parameters
    ----------
    index : int
        Its place in the data.
    input : str
        The input that lies beyond all others'.
    times : float
        How many times as far.
    """

    index: int
    input: str
    times: float


class Farthest:
    """The runs with the farthest inputs, which wait until it is known whether others come near.

    So many at most wait as may be outliers, so a stream of data is never held. Where each run
    follows from the one before, ``in_sequence``, none waits.
    """

    def __init__(self, *, in_sequence: bool = False) -> None:
        # one more, so that what the outliers are held against is known
        self._room = 0 if in_sequence else _MOST + 1
        self._arrived = 0
        self._waiting: dict[str, list[Arrival]] = {}

    def take(self, run: Arrival) -> list[Arrival]:
        """Let ``run`` wait, and give back the runs that no longer do."""
        self._arrived += 1
        before = {**self._all(), run.index: run}
        for name in run.feed:
            queue = [*self._waiting.get(name, []), run]
            queue.sort(key=lambda r: (-r.reach(name), r.index))
            self._waiting[name] = queue[: self._room]
        after = self._all()
        return [r for index, r in sorted(before.items()) if index not in after]

    def divided(self) -> tuple[list[Arrival], list[Outlier]]:
        """The runs that still wait and are to be counted, and those that are not."""
        allowed = min(_MOST, self._arrived // _OTHERS)
        found: dict[int, Outlier] = {}
        for name, queue in self._waiting.items():
            reach = [run.reach(name) for run in queue]
            for count in range(1, min(allowed, len(queue) - 1) + 1):
                if reach[count - 1] > _BEYOND * reach[count] > 0:
                    for run in queue[:count]:
                        times = run.reach(name) / reach[count]
                        found.setdefault(run.index, Outlier(run.index, name, times))
        near = [run for index, run in sorted(self._all().items()) if index not in found]
        return near, [found[index] for index in sorted(found)]

    def _all(self) -> dict[int, Arrival]:
        return {run.index: run for queue in self._waiting.values() for run in queue}
