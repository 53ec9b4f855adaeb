"""Samples for a Graph, with what is known about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgeinfer.data.samples import Data, keep_likely_states
from edgeinfer.errors import InputError
from edgeinfer.graph import Graph, Preparation

__all__ = ["DataSet", "SampleFiles", "class_numbers", "only_input"]


@dataclass(frozen=True)
class DataSet:
    """Samples for a Graph, to be iterated as often as needed.

    Parameters
    ----------
    samples : Data
        What ``edgeinfer.quant.quantize`` and ``edgeinfer.data.samples.runs`` take.
    count : int
        How many runs of the Graph they feed.
    labels : numpy.ndarray or None
        What is right for each sample: its class, or numbers; with the samples along the first
        axis.
    classes : tuple of str
        Names of the classes that ``labels`` number, in order; empty where the data has none.
    names : tuple of str
        The file of each sample; empty where a sample is no file of its own.
    preparation : mapping of str to Preparation
        How images become an input, by its name; empty for other data.
    """

    samples: Data
    count: int
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    preparation: Mapping[str, Preparation] = field(default_factory=dict)

    def count_within(self, limit: int | None) -> int:
        """How many of the runs there are up to ``limit``; all, where that is None."""
        return self.count if limit is None else min(limit, self.count)


class SampleFiles:
    """Files of one sample each, which are decoded while they are iterated, run after run.

    Parameters
    ----------
    paths : sequence of Path
        The files, in order.
    graph : Graph
        Of one input.
    decode : callable
        A file into one sample, of the input's shape without the batch.

    Raises
    ------
    InputError
        The model's batch does not divide the files.
    """

    def __init__(
        self, paths: Sequence[Path], graph: Graph, decode: Callable[[Path], np.ndarray]
    ) -> None:
        self._name = only_input(graph)
        self._batch = graph.types[self._name].shape[0]
        if len(paths) % self._batch:
            raise InputError(
                f"the model takes batches of {self._batch}, which do not divide {len(paths)} files"
            )
        self._paths = tuple(paths)
        self._decode = decode

    def __len__(self) -> int:
        return len(self._paths) // self._batch

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        for start in range(0, len(self._paths), self._batch):
            some = self._paths[start : start + self._batch]
            yield {self._name: np.stack([self._decode(path) for path in some])}


def only_input(graph: Graph) -> str:
    """The name of the only input, whose first axis is the batch.

    Raises
    ------
    InputError
        There are several, or it is a scalar.
    """
    if len(graph.inputs) != 1:
        raise InputError(
            f"such data feeds one input, but the model has {len(graph.inputs)}; give an .npz"
            f"{keep_likely_states(graph, 1)}"
        )
    (name,) = graph.inputs
    if not graph.types[name].shape:
        raise InputError(f"input {name!r} is one number, without an axis for samples")
    return name


def class_numbers(names: Sequence[str], known: Sequence[str]) -> dict[str, int]:
    """The number of each class of these ``names``: its place among them, sorted.

    Where the model's own ``known`` labels have one of them, they number the classes.

    Raises
    ------
    InputError
        The model knows some of the names, but not all.
    """
    chosen = sorted(set(names))
    if set(chosen) & set(known):
        unknown = [name for name in chosen if name not in known]
        if unknown:
            raise InputError(f"{unknown[0]!r} is not one of the model's labels")
        chosen = list(known)
    return {name: number for number, name in enumerate(chosen)}
