"""A float Graph and calibration data into histograms of its values, and a few runs to judge by."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from edgeinfer.data.samples import Data, runs
from edgeinfer.errors import MissingExtraError, QuantizationError
from edgeinfer.graph import Graph
from edgeinfer.meaning.float_executor import execute
from edgeinfer.quant.observers import Histogram

__all__ = ["Calibration", "Progress", "calibrate", "one_blas_thread"]

# called as work is done: with its stage, how much of it, and of how much where that is known
Progress: TypeAlias = Callable[[str, int, int | None], None]


@dataclass
class Calibration:
    """What calibration saw.

    Parameters
    ----------
    histograms : dict of str to Histogram
        Of every value asked for.
    feeds, outputs : list of dict
        Inputs and float outputs of some runs, drawn evenly from all of them.
    """

    histograms: dict[str, Histogram]
    feeds: list[dict[str, np.ndarray]]
    outputs: list[dict[str, np.ndarray]]


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
    so memory is bounded by the model's and by ``keep`` runs' inputs and
    outputs. Of an array, ``samples`` are drawn by ``seed``; of a stream, the first ``samples``
    are taken.

    Raises
    ------
    QuantizationError
        A value is not finite on some sample.
    InputError
        The data does not fit the graph's inputs, or is empty.
    """
    seen = Calibration({name: Histogram() for name in values}, [], [])
    done = 0

    def observe(name: str, array: np.ndarray) -> None:
        if name not in seen.histograms:
            return
        try:
            seen.histograms[name].add(array)
        except QuantizationError as error:
            raise QuantizationError(
                f"value {name!r} is not finite on calibration sample {done}; "
                "the float model overflows or divides by zero there"
            ) from error

    chosen = _draw(data, samples, seed)
    total = _count(graph, chosen, samples)
    rng = np.random.default_rng(seed)
    state: dict[str, np.ndarray] = {}
    for feed in runs(graph, chosen, limit=samples):
        with one_blas_thread():
            outputs = execute(graph, feed, state=state, observe=observe)
        # a reservoir: every run so far is kept with the same probability
        place = done if done < keep else int(rng.integers(done + 1))
        if place == len(seen.feeds) < keep:
            seen.feeds.append({})
            seen.outputs.append({})
        if place < keep:
            seen.feeds[place] = {name: array.copy() for name, array in feed.items()}
            seen.outputs[place] = outputs
        done += 1
        if progress is not None:
            progress("calibrating", done, total)
    return seen


def _count(graph: Graph, data: Data, samples: int | None) -> int | None:
    arrays = data.values() if isinstance(data, dict) else [data]
    first = next(iter(arrays), None)
    if isinstance(first, np.ndarray):
        return max(1, first.size // graph.types[graph.inputs[0]].elements)
    return samples
