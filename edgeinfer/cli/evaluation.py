"""Runs of a model, timed and held against another model's: what evaluate and demo report."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edgeinfer.cli.models import Run, runner, scores_in

if TYPE_CHECKING:
    from edgeinfer.graph import Graph
    from edgeinfer.quant import Difference

__all__ = ["Evaluation", "measure", "share"]


@dataclass
class Evaluation:
    """What one model, or one beside a reference, gave on a set of samples.

    Parameters
    ----------
    classes, reference_classes : list of int
        The class of the largest score of the first output, sample by sample.
    seconds, reference_seconds : list of float
        The duration of each run.
    differences : dict of str to Difference
        Of each output from the reference's.
    """

    classes: list[int] = field(default_factory=list)
    reference_classes: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    reference_seconds: list[float] = field(default_factory=list)
    differences: dict[str, Difference] = field(default_factory=dict)

    @property
    def latency(self) -> float:
        """The median duration of a run, in seconds."""
        return statistics.median(self.seconds)

    @property
    def reference_latency(self) -> float:
        """The median duration of a run of the reference, in seconds."""
        return statistics.median(self.reference_seconds)

    @property
    def agreement(self) -> float:
        """The share of samples that both models put into the same class."""
        return share(self.classes, self.reference_classes)


def share(a: list[int], b: list[int]) -> float:
    """The share of places in which two lists are equal."""
    return sum(x == y for x, y in zip(a, b, strict=True)) / len(a)


def measure(
    graph: Graph,
    feeds: Iterable[Mapping[str, np.ndarray]],
    *,
    reference: Graph | None = None,
    threads: int = 1,
) -> Evaluation:
    """Run each of ``feeds`` through ``graph``, and through ``reference`` where there is one."""
    run = runner(graph, threads=threads)
    run_reference = None if reference is None else runner(reference, threads=threads)
    found = Evaluation()
    for feed in feeds:
        start = time.perf_counter()
        outputs = run(feed)
        found.seconds.append(time.perf_counter() - start)
        found.classes += _classes(graph, outputs)
        if reference is not None and run_reference is not None:
            _add(found, reference, run_reference, feed, outputs)
    return found


def _add(
    found: Evaluation,
    reference: Graph,
    run: Run,
    feed: Mapping[str, np.ndarray],
    outputs: Mapping[str, np.ndarray],
) -> None:
    from edgeinfer.quant import Difference

    start = time.perf_counter()
    expected = run(feed)
    found.reference_seconds.append(time.perf_counter() - start)
    found.reference_classes += _classes(reference, expected)
    for name, output in outputs.items():
        if name in expected and expected[name].size == output.size:
            found.differences.setdefault(name, Difference()).add(expected[name], output)


def _classes(graph: Graph, outputs: Mapping[str, np.ndarray]) -> list[int]:
    """For each sample of a run, the class with the largest score, or the class that it says."""
    scores = outputs[graph.outputs[0]]
    rows = scores.reshape(-1, scores_in(graph))
    if rows.shape[1] == 1 and rows.dtype.kind == "i":
        return [int(row[0]) for row in rows]
    return [int(c) for c in rows.argmax(1)]
