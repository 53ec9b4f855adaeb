"""A float Graph and calibration data into a histogram of every value that needs a range."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeAlias

import numpy as np

from edgeinfer.errors import QuantizationError
from edgeinfer.float_executor import execute
from edgeinfer.graph import Graph
from edgeinfer.quant.observers import Histogram
from edgeinfer.samples import Data, runs

__all__ = ["Progress", "calibrate", "choose"]

# called after each run with how many are done, and how many there will be where that is known
Progress: TypeAlias = Callable[[int, int | None], None]


def choose(data: Data, samples: int | None, seed: int) -> Data:
    """``samples`` of an array's or dict's samples, drawn by ``seed``; a stream is left as it is."""
    if samples is None:
        return data
    if isinstance(data, np.ndarray):
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
    progress: Progress | None = None,
) -> dict[str, Histogram]:
    """Run ``data`` through ``graph`` in floats and count what each of ``values`` holds.

    One run at a time, so memory is bounded by the model's. Of an array, ``samples`` are drawn by
    ``seed``; of a stream, the first ``samples`` are taken.

    Raises
    ------
    QuantizationError
        A value is not finite on some sample.
    InputError
        The data does not fit the graph's inputs, or is empty.
    """
    histograms = {name: Histogram() for name in values}

    def observe(name: str, array: np.ndarray) -> None:
        if name in histograms:
            try:
                histograms[name].add(array)
            except QuantizationError as error:
                raise QuantizationError(
                    f"value {name!r} is not finite on calibration sample {done}; "
                    "the float model overflows or divides by zero there"
                ) from error

    chosen = choose(data, samples, seed)
    total = _count(graph, chosen, samples)
    for done, feed in enumerate(runs(graph, chosen, limit=samples)):
        execute(graph, feed, observe=observe)
        if progress is not None:
            progress(done + 1, total)
    return histograms


def _count(graph: Graph, data: Data, samples: int | None) -> int | None:
    arrays = data.values() if isinstance(data, dict) else [data]
    first = next(iter(arrays), None)
    if isinstance(first, np.ndarray) and graph.inputs:
        return max(1, first.size // graph.types[graph.inputs[0]].elements)
    return samples
