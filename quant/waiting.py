"""Runs that wait before they are executed, until it is known what they are for.

Two things are known of a run only when all have come. Whether it is one of the few that judge, or
are kept: those are the ones whose inputs have the least digests, so that they do not depend on the
order of the data, nor on the part of it that one machine sees. And whether it is an outlier, one of
the one or two whose input lies far beyond all others': one sample that a sensor spoilt must not
decide the ranges of a hundred others. What only a value inside the model shows is no reason: the
one sample that holds an object is what a detector is calibrated for.

So as many wait as may be one or the other, and a stream of data is never held.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

__all__ = ["Arrival", "Outlier", "Waiting"]

# how many times as far as all others an outlier reaches; and where the number that it reaches comes
# again in the same run, as silence does in a logarithm of loudness, though not another unit's white
_BEYOND, _BEYOND_AGAIN = 3.0, 10.0

# one run in so many may be one, and so many in all
_OTHERS, _MOST = 20, 2

# one more, so that what the outliers are held against is known
_FARTHEST = _MOST + 1


@dataclass
class Arrival:
    """A run before it is executed.

    Parameters
    ----------
    index : int
        Its place in the data, or the first one where it came several times.
    feed : dict of str to numpy.ndarray
        Its inputs.
    times : int
        How many times they came.
    masks : set of str
        The inputs of which nobody asks how far they reach.
    digests : dict of str to bytes
        One of each input.
    key : bytes
        One of all inputs: the same run has the same, whatever its place.
    reaches : dict of str to float
        The largest magnitude of each input that has floats and is no mask; 0 of the others.
    """

    index: int
    feed: Mapping[str, np.ndarray]
    times: int = 1
    masks: frozenset[str] = frozenset()
    digests: dict[str, bytes] = field(init=False)
    key: bytes = field(init=False)
    reaches: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        self.digests = {name: _digest(array) for name, array in self.feed.items()}
        named = [part for name in sorted(self.feed) for part in (name.encode(), self.digests[name])]
        self.key = blake2b(b"\0".join(named), digest_size=16).digest()
        self.reaches = {
            name: 0.0 if name in self.masks else _reach(array) for name, array in self.feed.items()
        }

    def reaches_again(self, name: str) -> bool:
        """Whether an input has its largest magnitude more than once."""
        return int((np.abs(self.feed[name]) == self.reaches[name]).sum()) > 1


def _reach(array: np.ndarray) -> float:
    return float(np.abs(array).max()) if array.dtype == np.float32 and array.size else 0.0


def _digest(array: np.ndarray) -> bytes:
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return blake2b(little.tobytes(), digest_size=16).digest()


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


class Waiting:
    """The runs with the least keys, and with the farthest inputs.

    Which ones depends on what came, not on its order; so two that saw parts of the data make one
    that saw all of it.

    Parameters
    ----------
    least : int
        How many of those with the least keys.
    """

    def __init__(self, least: int) -> None:
        self._least = least
        self._arrived = 0
        self._runs: dict[bytes, Arrival] = {}

    def take(self, run: Arrival) -> list[Arrival]:
        """Let ``run`` wait, and give back the runs that no longer do."""
        self._arrived += run.times
        self._join(run)
        return self._leaving()

    def merge(self, other: Waiting) -> list[Arrival]:
        """Let wait what waits in ``other`` too, and give back the runs that no longer do."""
        self._arrived += other._arrived
        for run in other._runs.values():
            self._join(run)
        return self._leaving()

    def divided(self) -> tuple[list[Arrival], list[Arrival], list[Outlier]]:
        """What waits at the end: the runs with the least keys, by these; the others that are to be
        counted; and those that are not."""
        allowed = min(_MOST, self._arrived // _OTHERS)
        found: dict[bytes, Outlier] = {}
        for name in self._inputs():
            queue = [run for run in self._farthest(name) for _ in range(run.times)]
            reach = [run.reaches[name] for run in queue]
            for count in range(1, min(allowed, len(queue) - 1) + 1):
                beyond = _BEYOND_AGAIN if queue[count - 1].reaches_again(name) else _BEYOND
                if reach[count - 1] > beyond * reach[count] > 0:
                    for run in queue[:count]:
                        times = run.reaches[name] / reach[count]
                        found.setdefault(run.key, Outlier(run.index, name, times))
        least = [self._runs[key] for key in sorted(self._runs)[: self._least] if key not in found]
        chosen = {run.key for run in least} | found.keys()
        others = [self._runs[key] for key in sorted(self._runs) if key not in chosen]
        return least, others, sorted(found.values(), key=lambda outlier: outlier.index)

    def _join(self, run: Arrival) -> None:
        known = self._runs.setdefault(run.key, run)
        if known is not run:
            known.index = min(known.index, run.index)
            known.times += run.times

    def _inputs(self) -> list[str]:
        return sorted({name for run in self._runs.values() for name in run.feed})

    def _farthest(self, name: str) -> list[Arrival]:
        """The runs of which that input reaches farthest: so few that outliers may be among them."""
        queue: list[Arrival] = []
        count = 0
        for run in sorted(self._runs.values(), key=lambda r: (-r.reaches[name], r.key)):
            if count >= _FARTHEST:
                break
            queue.append(run)
            count += run.times
        return queue

    def _leaving(self) -> list[Arrival]:
        if len(self._runs) <= self._least:
            return []
        staying = set(sorted(self._runs)[: self._least])
        for name in self._inputs():
            staying.update(run.key for run in self._farthest(name))
        return [self._runs.pop(key) for key in sorted(self._runs) if key not in staying]
