"""``edgeinfer evaluate``: a model and data into its accuracy, beside another model's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from edgeinfer.cli import screen
from edgeinfer.cli.command import Report, command
from edgeinfer.cli.evaluation import Evaluation, measure, share
from edgeinfer.cli.models import open_model, open_pair, scores_in
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

__all__ = ["evaluate"]


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

    if against is None:
        graph, reference = open_model(model), None
    else:
        graph, reference = open_pair(model, against)
    dataset = load_data(data, graph, preprocessing(**images), seed=None if samples is None else 0)
    if dataset.labels is None and reference is None:
        raise InputError(f"{data} has no labels, so there is nothing to evaluate without --against")
    labels, warnings = _labels(data, graph, dataset, needed=reference is None)
    with screen.tracked("evaluating", graph, dataset, samples) as feeds:
        found = measure(graph, feeds, reference=reference, threads=threads)
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
        ratios = {name: d.sqnr_db for name, d in found.differences.items()}
        data["outputs"] = [{"name": name, "sqnr_db": ratio} for name, ratio in ratios.items()]
        shown += [
            (f"SQNR of {screen.fitted(name)}", f"{screen.decibels(ratio)} dB")
            for name, ratio in ratios.items()
        ]
    data["latency_us"] = found.latency * 1e6
    shown.append(("latency, median", screen.milliseconds(found.latency)))
    return Report(data, [screen.pairs(shown)], warnings)
