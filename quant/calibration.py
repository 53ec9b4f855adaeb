"""A float Graph and calibration data into histograms of its values, and a few runs to judge by."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator
from typing import TypeAlias

import numpy as np

from edgeinfer.data.samples import Data, runs
from edgeinfer.graph import Graph
from edgeinfer.pools import HERE, Pool
from edgeinfer.quant.shard import MOST_HELD_BACK, Calibration, Due, Run, Shard, one_blas_thread

__all__ = [
    "MOST_HELD_BACK",
    "Calibration",
    "Progress",
    "Run",
    "calibrate",
    "evenly",
    "one_blas_thread",
]

# called as work is done: with its stage, how much of it, and of how much where that is known
Progress: TypeAlias = Callable[[str, int, int | None], None]


def evenly(runs_seen: list[Run], count: int) -> list[Run]:
    """At most ``count`` of the runs, spread over all."""
    places = np.linspace(0, len(runs_seen) - 1, min(count, len(runs_seen)))
    return [runs_seen[int(place)] for place in np.rint(places)]


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
    pool: Pool = HERE,
) -> Calibration:
    """Run ``data`` through ``graph`` in floats and count what each of ``values`` holds.

    What comes of it does not depend on the order of the data; but the runs of a Graph with states
    are one sequence. One run at a time, so memory is bounded by the model's and by some runs'
    inputs and outputs. Of an array, ``samples`` are drawn by ``seed``; of a stream, the first
    ``samples`` are taken. A run whose input lies far beyond all others' is not counted
    (``waiting.py``). ``pool`` executes the runs, but for those of a sequence.

    Raises
    ------
    QuantizationError
        A value is not finite on some sample.
    InputError
        The data does not fit the graph's inputs, or is empty; or the pool's workers have gone.
    """
    chosen = _draw(data, samples, seed)
    total = _count(graph, chosen, samples)
    shard, count = Shard(graph, values, keep), itertools.count(1)

    def arriving() -> Iterator[Due]:
        for index, feed in enumerate(runs(graph, chosen, limit=samples)):
            yield from shard.take(index, feed)
        yield from shard.rest()

    # the runs of a sequence follow from each other
    workers = HERE if graph.states else pool
    for due in workers.gather(shard, arriving(), "calibrating"):
        for _ in range(due.run.times):
            if progress is not None:
                progress("calibrating", next(count), total)
    return shard.calibration()


def _count(graph: Graph, data: Data, samples: int | None) -> int | None:
    arrays = data.values() if isinstance(data, dict) else [data]
    first = next(iter(arrays), None)
    if isinstance(first, np.ndarray):
        return max(1, first.size // graph.types[graph.inputs[0]].elements)
    return samples
