"""Runs of a model, timed and held against labels and another model, for evaluate and demo."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from edgeinfer.cli.models import Run, runner
from edgeinfer.data.samples import is_batched, samples_in
from edgeinfer.errors import InputError
from edgeinfer.metrics import Task, UndefinedMetricError, metrics_for
from edgeinfer.pools import HERE, Pool

if TYPE_CHECKING:
    from edgeinfer.graph import Graph
    from edgeinfer.quant import Difference

__all__ = ["Evaluation", "Measured", "measure"]

_Feed: TypeAlias = dict[str, np.ndarray]


@dataclass(frozen=True)
class _Made:
    """What one run of a model gave, and in how many seconds."""

    outputs: dict[str, np.ndarray]
    seconds: float


@dataclass(frozen=True)
class _Models:
    """A job: what each model makes of some feeds, one after another."""

    graphs: tuple[Graph, ...]
    threads: int

    def __reduce__(self) -> tuple[Any, ...]:
        # whoever works makes sessions of its own
        return type(self), (self.graphs, self.threads)

    @cached_property
    def _runners(self) -> list[Run]:
        return [runner(graph, threads=self.threads) for graph in self.graphs]

    def __call__(self, feeds: Sequence[_Feed]) -> list[list[_Made]]:
        found: list[list[_Made]] = []
        for feed in feeds:
            found.append([])
            for run in self._runners:
                start = time.perf_counter()
                outputs = run(feed)
                found[-1].append(_Made(outputs, time.perf_counter() - start))
        return found


class Measured:
    """One model at work: how long its runs took, and what its first output is worth.

    Parameters
    ----------
    graph : Graph
        The model.
    task : Task
        What the labels are to its first output.
    metrics : sequence of str
        Names of metrics; the task's own, if there are none.
    """

    def __init__(self, graph: Graph, task: Task, metrics: Sequence[str]) -> None:
        self._graph = graph
        self._task = task
        self._metrics = metrics_for(task, metrics)
        self._seconds: list[float] = []
        self._batched = is_batched(graph, graph.outputs[0])

    @property
    def latency(self) -> float:
        """The median duration of a run, in seconds."""
        return statistics.median(self._seconds)

    def results(self) -> tuple[dict[str, Any], list[str]]:
        """What the metrics found, None where the samples do not tell, and why they do not."""
        found: dict[str, Any] = {}
        reasons = []
        for metric in self._metrics:
            try:
                found |= metric.result()
            except UndefinedMetricError as error:
                found[metric.name] = None
                reasons.append(str(error))
        return found, reasons

    def first(self, outputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The first of a run's outputs, with the samples along the first axis."""
        given = outputs[self._graph.outputs[0]]
        return given if self._batched else given[None]

    def add(self, feed: _Feed, made: _Made, samples: slice) -> None:
        """Take in one run, and hold it against the truth about ``samples``."""
        self._seconds.append(made.seconds)
        given = self.first(made.outputs)
        taken = feed[self._graph.inputs[0]].reshape(len(given), -1)
        # without labels there are only readings that do not look at them
        truth = given if self._task.truth is None else self._task.truth[samples]
        for metric in self._metrics:
            metric.add(*self._task.readings[metric.family](truth, given, taken))


@dataclass
class Evaluation:
    """What one model, or one beside a reference, gave on a set of samples.

    Parameters
    ----------
    model, reference : Measured
        Each model's runs.
    samples : int
        How many samples ran.
    differences : dict of str to Difference
        Of each output from the reference's.
    """

    model: Measured
    reference: Measured | None = None
    samples: int = 0
    differences: dict[str, Difference] = field(default_factory=dict)
    _equal: int = 0
    _compared: int = 0

    @property
    def agreement(self) -> float | None:
        """The share of samples that both models put into the same class; None without classes."""
        return self._equal / self._compared if self._compared else None

    def hold(self, expected: Mapping[str, np.ndarray], given: Mapping[str, np.ndarray]) -> None:
        """Take in the outputs of one run of both models."""
        from edgeinfer.quant import Difference

        for name in given:
            if name in expected and given[name].size == expected[name].size:
                self.differences.setdefault(name, Difference()).add(expected[name], given[name])

    def count(self, expected: np.ndarray, given: np.ndarray) -> None:
        """Take in the classes that both models gave the same samples."""
        self._equal += int((expected == given).sum())
        self._compared += given.size


def measure(
    graph: Graph,
    feeds: Iterable[Mapping[str, np.ndarray]],
    *,
    task: Task,
    metrics: Sequence[str] = (),
    reference: Graph | None = None,
    threads: int = 1,
    pool: Pool = HERE,
) -> Evaluation:
    """Run each of ``feeds`` through ``graph``, and through ``reference`` where there is one.

    Parameters
    ----------
    task : Task
        What the labels of all feeds' samples are to the first output.
    metrics : sequence of str
        Names of metrics; the task's own, if there are none.
    threads : int
        Threads that share one run of an integer model.
    pool : Pool
        Who runs the models; not those that keep states, whose feeds are one sequence.

    Raises
    ------
    InputError
        A metric does not fit, or the first outputs of the two models have different shapes.
    """
    found = Evaluation(Measured(graph, task, metrics))
    graphs = [graph]
    if reference is not None:
        _check_alike(graph, reference)
        found.reference = Measured(reference, task, metrics)
        graphs.append(reference)
    workers = HERE if any(each.states for each in graphs) else pool
    count = samples_in(graph)
    for feed, made in _run(_Models(tuple(graphs), threads), feeds, workers):
        samples = slice(found.samples, found.samples + count)
        found.samples += count
        found.model.add(feed, made[0], samples)
        if found.reference is not None:
            found.reference.add(feed, made[1], samples)
            outputs, expected = (each.outputs for each in made)
            found.hold(expected, outputs)
            if task.best is not None:
                a, b = found.reference.first(expected), found.model.first(outputs)
                found.count(task.best(a), task.best(b))
    return found


def _run(
    models: _Models, feeds: Iterable[Mapping[str, np.ndarray]], pool: Pool
) -> Iterator[tuple[_Feed, list[_Made]]]:
    """Each feed, and what the models made of it."""
    # whoever gives the arrays may use them again
    copies = ({name: array.copy() for name, array in feed.items()} for feed in feeds)
    for some, found in pool.map_some(models, copies, "evaluating"):
        yield from zip(some, found, strict=True)


def _check_alike(graph: Graph, reference: Graph) -> None:
    a, b = (g.types[g.outputs[0]].shape for g in (reference, graph))
    if a != b:
        raise InputError(
            f"the models' first outputs differ: {reference.outputs[0]!r} has shape {list(a)}, "
            f"{graph.outputs[0]!r} has shape {list(b)}"
        )
