"""``edgeinfer evaluate``: a model and data into its accuracy, beside another model's."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from rich.console import RenderableType

from edgeinfer.cli import screen
from edgeinfer.cli.cluster import dask_option, pool_at
from edgeinfer.cli.command import Report, command
from edgeinfer.cli.evaluation import Evaluation, measure
from edgeinfer.cli.models import open_model, open_pair, scores_in, with_first_output
from edgeinfer.cli.options import (
    FILE,
    html_option,
    image_options,
    samples_option,
    threads_option,
)
from edgeinfer.cli.profiling import layer_times
from edgeinfer.cli.saturation import Saturation
from edgeinfer.data.samples import samples_in
from edgeinfer.errors import InputError
from edgeinfer.metrics import METRICS, Task, task_of

if TYPE_CHECKING:
    from edgeinfer.data import DataSet
    from edgeinfer.graph import Graph

__all__ = ["evaluate"]


_NAMES = {
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "r2": "R²",
    "mean_iou": "mean IoU",
    "reconstruction": "reconstruction error, mean square",
}
_OF_ANY_SIZE = {"mae", "rmse", "r2", "reconstruction"}
_MISTAKES = 10  # that the screen shows; JSON holds the whole matrix


@command(example="edgeinfer evaluate digits.eqm --data digits_test.npz --against digits.onnx")
@click.argument("model", metavar="MODEL.eqm", type=FILE)
@click.option("--data", metavar="DATA", type=FILE, required=True, help="Samples, with labels.")
@click.option("--against", metavar="MODEL.onnx", type=FILE, help="The float model to agree with.")
@click.option(
    "--metric",
    "metrics",
    metavar="NAME",
    multiple=True,
    help=f"What to measure, repeatable: {', '.join(METRICS)}. Default: what the labels suggest.",
)
@click.option(
    "--output",
    metavar="NAME",
    help="The output that the labels are about. Default: the first.",
)
@html_option
@samples_option()
@threads_option
@image_options
@dask_option("Run the samples")
def evaluate(
    model: Path,
    data: Path,
    against: Path | None,
    metrics: tuple[str, ...],
    output: str | None,
    html: Path | None,
    samples: int | None,
    threads: int,
    dask: str | None,
    **images: Any,
) -> Report:
    """Measure how good MODEL.eqm is.

    The labels of DATA (under y, or subfolders of files) tell what an output should be: classes,
    maps of classes, 0 and 1, or numbers. A model that gives back its input needs none.
    With --against, also the agreement with the float model and the SQNR of each output in dB
    (null in JSON where there is no difference).
    """
    from edgeinfer.data import ImageOptions, load_data
    from edgeinfer.files.atomic_write import atomic_write, check_writable

    if html is not None:
        from edgeinfer.cli.pages import evaluation_page

        check_writable(html, model, data, *([] if against is None else [against]))
    if against is None:
        graph, reference = open_model(model), None
    else:
        graph, reference = open_pair(model, against)
    if output is not None:
        graph = with_first_output(graph, output)
        reference = None if reference is None else with_first_output(reference, output)
    dataset = load_data(
        data, graph, ImageOptions(**images), samples=samples, seed=None if samples is None else 0
    )
    task, warnings = _task(data, graph, dataset, needed=reference is None or bool(metrics))
    if reference is None and not (metrics or task.defaults):
        raise InputError(f"{data} has no labels, so there is nothing to evaluate without --against")
    if html is not None and "classes" in task.readings:
        metrics = (*(metrics or task.defaults), "confusion")
    saturation = Saturation(graph)
    with pool_at(dask) as pool, screen.tracked("evaluating", graph, dataset, samples) as feeds:
        found = measure(
            graph,
            saturation.watch(feeds),
            task=task,
            metrics=metrics,
            reference=reference,
            threads=threads,
            pool=pool,
        )
    results, undefined = found.model.results()
    written = []
    classes = graph.labels or dataset.classes
    where = "" if dask is None else " on the workers"
    numbers, shown = _findings(model, against, found, results, where)
    if html is not None:
        times = layer_times(graph, dataset, threads)
        facts = [("model", str(model)), ("data", str(data)), *shown]
        atomic_write(html, evaluation_page(model.name, facts, results, classes, graph, times))
        written = ["", f"wrote {html}"]
    return Report(
        numbers,
        [*_tables(results, classes), *screen.pairs(shown), *written],
        [*warnings, *undefined, *saturation.warnings()],
    )


def _task(path: Path, graph: Graph, dataset: DataSet, *, needed: bool) -> tuple[Task, list[str]]:
    """What the labels are to the model, and why they cannot be used."""
    labels, count = dataset.labels, dataset.count * samples_in(graph)
    try:
        held = None if labels is None else len(np.atleast_1d(labels))
        if held not in (None, count):
            raise InputError(f"{path} holds {held} labels for {count} samples")
        try:
            return task_of(graph, labels), _doubts(path, graph, dataset)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
    except InputError as error:
        if needed:
            raise
        return task_of(graph, None), [f"{error}, so they are not used"]


def _doubts(path: Path, graph: Graph, dataset: DataSet) -> list[str]:
    """Warnings where names were numbered, but perhaps not as the model numbers its classes."""
    names, scored = dataset.classes, scores_in(graph)
    advice = "give the model its classes by edgeinfer quantize --labels"
    if graph.labels:
        return []
    doubts = []
    if 0 < len(names) < scored:
        doubts.append(
            f"{path} names {len(names)} of {scored} classes, which are taken for the first ones, "
            f"sorted; {advice}"
        )
    if all(map(str.isdecimal, names)):
        doubts += [
            f"{path} calls its classes by numbers, which are sorted as text, {a} before {b}; "
            f"{advice}"
            for a, b in pairwise(names)
            if int(a) > int(b)
        ][:1]
    return doubts


def _findings(
    model: Path, against: Path | None, found: Evaluation, results: dict[str, Any], where: str
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """What was found, as JSON and as names and values for readers."""
    data: dict[str, Any] = {"model": str(model), "samples": found.samples}
    shown: list[tuple[str, str]] = [("samples", str(found.samples))]
    beside = {} if found.reference is None else found.reference.results()[0]
    data |= results | {f"{name}_against": value for name, value in beside.items()}
    for name, value in results.items():
        if isinstance(value, float):
            shown.append((_name(name), _number(name, value)))
            if against is not None:
                shown.append((f"  of {screen.fitted(against.name)}", _number(name, beside[name])))
    if against is not None:
        data["against"] = str(against)
        if found.agreement is not None:
            data["agreement"] = found.agreement
            name = screen.fitted(against.name)
            shown.append((f"agreement with {name}", f"{found.agreement:.4f}"))
        ratios = {name: d.sqnr_db for name, d in found.differences.items()}
        data["outputs"] = [{"name": name, "sqnr_db": ratio} for name, ratio in ratios.items()]
        shown += [
            (f"SQNR of {screen.fitted(name)}", screen.in_decibels(ratio))
            for name, ratio in ratios.items()
        ]
    data["latency_us"] = found.model.latency * 1e6
    shown.append((f"latency{where}, median", screen.milliseconds(found.model.latency)))
    return data, shown


def _name(metric: str) -> str:
    if metric.startswith("top"):
        return f"top-{metric[3:]} accuracy"
    return _NAMES[metric]


def _number(metric: str, value: float) -> str:
    """Shares of 1 in full, errors in what unit ever to four digits."""
    return f"{value:.4g}" if metric in _OF_ANY_SIZE else f"{value:.4f}"


def _tables(results: dict[str, Any], labels: Sequence[str]) -> list[RenderableType]:
    """What is a number for each class, or for each pair."""

    def named(number: int) -> str:
        return labels[number] if number < len(labels) else str(number)

    tables: list[RenderableType] = []
    if "iou" in results:
        rows = [
            (named(i), "never seen" if share is None else f"{share:.4f}")
            for i, share in enumerate(results["iou"])
        ]
        tables += [screen.table(("class", "IoU"), rows), ""]
    if "confusion" in results:
        pairs = [
            (count, right, taken)
            for right, row in enumerate(results["confusion"])
            for taken, count in enumerate(row)
            if count and right != taken
        ]
        mistakes = [
            (named(right), named(taken), f"{count}")
            for count, right, taken in sorted(pairs, key=lambda p: (-p[0], *p[1:]))[:_MISTAKES]
        ]
        if mistakes:
            tables += [screen.table(("class", "taken for", "times"), mistakes, left=2), ""]
        else:
            tables += ["no class was taken for another", ""]
    return tables
