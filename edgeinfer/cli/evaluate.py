"""``edgeinfer evaluate``: a model and data into its accuracy, beside another model's."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from edgeinfer.cli import screen
from edgeinfer.cli.command import Report, command
from edgeinfer.cli.models import Run, open_model, open_pair, runner, scores_in
from edgeinfer.cli.options import (
    FILE,
    preprocessing,
    preprocessing_options,
    samples_option,
    threads_option,
)
from edgeinfer.errors import InputError

if TYPE_CHECKING:
    from edgeinfer.data import DataSet
    from edgeinfer.graph import Graph

__all__ = ["Evaluation", "evaluate", "measure"]


@dataclass
class Evaluation:
    """What one model, or one beside a reference, gave on a set of samples.

    Parameters
    ----------
    classes, reference_classes : list of int
        The class of the largest score of the first output, sample by sample.
    seconds, reference_seconds : list of float
        The duration of each run.
    signal, noise : dict of str to float
        For each output, sums of the reference's squares and of the squared differences from it.
    """

    classes: list[int] = field(default_factory=list)
    reference_classes: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    reference_seconds: list[float] = field(default_factory=list)
    signal: dict[str, float] = field(default_factory=dict)
    noise: dict[str, float] = field(default_factory=dict)

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

    def sqnr_db(self, output: str) -> float:
        """Signal-to-quantization-noise ratio of an output, in dB."""
        from edgeinfer.quant import LayerError

        return LayerError(output, "", "", self.signal[output], self.noise[output]).sqnr_db


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
    start = time.perf_counter()
    expected = run(feed)
    found.reference_seconds.append(time.perf_counter() - start)
    found.reference_classes += _classes(reference, expected)
    for name, output in outputs.items():
        if name in expected and expected[name].size == output.size:
            x = expected[name].astype(np.float64).ravel()
            difference = x - output.astype(np.float64).ravel()
            found.signal[name] = found.signal.get(name, 0.0) + float(x @ x)
            found.noise[name] = found.noise.get(name, 0.0) + float(difference @ difference)


def _classes(graph: Graph, outputs: Mapping[str, np.ndarray]) -> list[int]:
    """For each sample of a run, the class with the largest score, or the class that it says."""
    scores = outputs[graph.outputs[0]]
    rows = scores.reshape(-1, scores_in(graph))
    if rows.shape[1] == 1 and rows.dtype.kind == "i":
        return [int(row[0]) for row in rows]
    return [int(c) for c in rows.argmax(1)]


@command(example="edgeinfer evaluate digits.eqm --data digits_test.npz --against digits.onnx")
@click.argument("model", metavar="MODEL.eqm", type=FILE)
@click.option("--data", metavar="DATA", type=FILE, required=True, help="Samples, with labels.")
@click.option("--against", metavar="MODEL.onnx", type=FILE, help="The float model to agree with.")
@samples_option
@threads_option
@preprocessing_options
def evaluate(
    model: Path,
    data: Path,
    against: Path | None,
    samples: int | None,
    threads: int,
    **images: Any,
) -> Report:
    """Measure the accuracy of MODEL.eqm.

    Top-1 accuracy where DATA has labels (under y, or subfolders of images); with --against,
    agreement with the float model and the SQNR of each output in dB (null in JSON where there is
    no difference).
    """
    from edgeinfer.data import load_data
    from edgeinfer.samples import runs

    if against is None:
        graph, reference = open_model(model), None
    else:
        graph, reference = open_pair(model, against)
    dataset = load_data(data, graph, preprocessing(**images), seed=None if samples is None else 0)
    if dataset.labels is None and reference is None:
        raise InputError(f"{data} has no labels, so there is nothing to evaluate without --against")
    labels, warnings = _labels(data, graph, dataset, needed=reference is None)
    total = dataset.count if samples is None else min(samples, dataset.count)
    feeds = runs(graph, dataset.samples, limit=samples)
    with screen.tracked("evaluating", feeds, total) as tracked:
        found = measure(graph, tracked, reference=reference, threads=threads)
    return _report(model, against, found, labels, warnings, has_classes=_has_classes(graph))


def _has_classes(graph: Graph) -> bool:
    """Whether the largest score means something; an autoencoder gives back what it takes."""
    return graph.types[graph.outputs[0]].elements != graph.types[graph.inputs[0]].elements


def _labels(
    path: Path, graph: Graph, dataset: DataSet, *, needed: bool
) -> tuple[np.ndarray | None, list[str]]:
    """The labels, or why they cannot be used."""
    scored = dataset.count * graph.types[graph.outputs[0]].elements // scores_in(graph)
    if dataset.labels is None or len(dataset.labels) == scored:
        return dataset.labels, []
    message = f"{path} holds {len(dataset.labels)} labels for {scored} samples"
    if needed:
        raise InputError(message)
    return None, [f"{message}, so they are not used"]


def _report(
    model: Path,
    against: Path | None,
    found: Evaluation,
    labels: np.ndarray | None,
    warnings: list[str],
    *,
    has_classes: bool,
) -> Report:
    data: dict[str, Any] = {"model": str(model), "samples": len(found.classes)}
    shown: list[tuple[str, str]] = [("samples", str(len(found.classes)))]
    if labels is not None:
        expected = [int(label) for label in labels[: len(found.classes)]]
        data["top1"] = share(found.classes, expected)
        shown.append(("top-1 accuracy", f"{data['top1']:.4f}"))
        if against is not None:
            data["top1_against"] = share(found.reference_classes, expected)
            shown.append((f"  of {against.name}", f"{data['top1_against']:.4f}"))
    if against is not None:
        data["against"] = str(against)
        if has_classes:
            data["agreement"] = found.agreement
            shown.append((f"agreement with {against.name}", f"{found.agreement:.4f}"))
        data["outputs"] = [{"name": n, "sqnr_db": found.sqnr_db(n)} for n in found.signal]
        shown += [
            (f"SQNR of {screen.fitted(n)}", f"{screen.decibels(found.sqnr_db(n))} dB")
            for n in found.signal
        ]
    data["latency_us"] = found.latency * 1e6
    shown.append(("latency, median", screen.milliseconds(found.latency)))
    return Report(data, [screen.pairs(shown)], warnings)
