"""``edgeinfer run``: a model and data into outputs, printed and in an ``.npz``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from rich.console import RenderableType

from edgeinfer.cli import screen
from edgeinfer.cli.command import Report, command
from edgeinfer.cli.models import open_model, read_labels, runner, scores_in
from edgeinfer.cli.options import (
    FILE,
    image_options,
    samples_option,
    threads_option,
)
from edgeinfer.cli.saturation import Saturation
from edgeinfer.data.samples import is_batched, samples_in
from edgeinfer.metrics import has_classes

if TYPE_CHECKING:
    from edgeinfer.graph import Graph

__all__ = ["run"]

_SHOWN = 10  # samples on the screen; JSON and -o hold all
_LABEL_WIDTH = 24
_FILES = "files"  # in OUT.npz, unless an output has that name


@command(example="edgeinfer run digits.eqm --data digits_test.npz --top 3 -o scores.npz")
@click.argument("model", metavar="MODEL.eqm", type=FILE)
@click.option("--data", metavar="DATA", type=FILE, required=True, help="What to run.")
@click.option("-o", "--output", metavar="OUT.npz", type=FILE, help="Write all outputs, by name.")
@click.option("--labels", metavar="FILE", type=FILE, help="Names of the classes, one a line.")
@click.option(
    "--top",
    metavar="N",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="How many of the best classes to print for a sample.",
)
@samples_option()
@threads_option
@image_options
def run(
    model: Path,
    data: Path,
    output: Path | None,
    labels: Path | None,
    top: int,
    samples: int | None,
    threads: int,
    **images: Any,
) -> Report:
    """Run MODEL.eqm on DATA.

    DATA is as edgeinfer quantize takes it. The best classes of the first output are printed, where
    it scores classes; OUT.npz holds all outputs by name, and the files of the samples under files.
    """
    from edgeinfer.data import ImageOptions, load_data
    from edgeinfer.files.atomic_write import check_writable
    from edgeinfer.files.npz_file import write_npz

    if output is not None:
        check_writable(output, model, data)
    graph = open_model(model)
    names = graph.labels if labels is None else read_labels(labels, graph)
    dataset = load_data(data, graph, ImageOptions(**images), samples=samples)
    execute = runner(graph, threads=threads)
    gathered: dict[str, list[np.ndarray]] = {name: [] for name in graph.outputs}
    saturation = Saturation(graph)
    with screen.tracked("running", graph, dataset, samples) as feeds:
        for feed in saturation.watch(feeds):
            for name, array in execute(feed).items():
                gathered[name].append(array)
    outputs = {name: _joined(graph, name, arrays) for name, arrays in gathered.items()}
    files = dataset.names[: len(gathered[graph.outputs[0]]) * samples_in(graph)]
    if output is not None:
        named = {_FILES: np.array(files)} if files and _FILES not in outputs else {}
        write_npz(output, {**outputs, **named})
    predictions = _predictions(graph, outputs[graph.outputs[0]], names, top)
    return Report(
        {
            "model": str(model),
            "output": None if output is None else str(output),
            "outputs": [{"name": n, "shape": list(a.shape)} for n, a in outputs.items()],
            "files": list(files),
            "predictions": predictions,
        },
        [
            *(_ranking(predictions, files) if predictions else _summary(outputs)),
            *([] if output is None else ["", f"wrote {output}"]),
        ],
        saturation.warnings(),
    )


def _joined(graph: Graph, name: str, arrays: list[np.ndarray]) -> np.ndarray:
    """What all runs gave, with the samples along the first axis."""
    return np.concatenate(arrays) if is_batched(graph, name) else np.stack(arrays)


def _predictions(
    graph: Graph, scores: np.ndarray, labels: tuple[str, ...], top: int
) -> list[list[dict[str, Any]]]:
    """The best classes of each sample; none where the output is not one score a class."""
    classes = scores_in(graph)
    if classes == 1 or not (labels or has_classes(graph)):
        return []
    rows = scores.reshape(-1, classes)
    best = np.argsort(-rows, axis=1, kind="stable")[:, :top]
    return [
        [
            {"class": int(c), "label": labels[c] if labels else None, "score": float(row[c])}
            for c in ranking
        ]
        for row, ranking in zip(rows, best, strict=True)
    ]


def _ranking(predictions: list[list[dict[str, Any]]], files: Sequence[str]) -> list[RenderableType]:
    shown = predictions[:_SHOWN]
    names = [screen.fitted(files[i]) if files else str(i) for i in range(len(shown))]
    headings = ["sample"]
    columns: list[Sequence[str]] = [names]
    room = screen.width() - max(map(len, ("sample", *names)))
    for rank, column in enumerate(zip(*shown, strict=True), start=1):
        cells = [f"{_named(p)} ({p['score']:.3g})" for p in column]
        room -= max(map(len, cells)) + 3
        if room < 0:
            break
        headings.append(f"#{rank}")
        columns.append(cells)
    hidden = len(predictions) - len(shown)
    return [
        screen.table(headings, list(zip(*columns, strict=True))),
        *(["", f"{hidden} more samples"] if hidden else []),
    ]


def _named(prediction: dict[str, Any]) -> str:
    label = prediction["label"] or str(prediction["class"])
    return label if len(label) <= _LABEL_WIDTH else f"{label[: _LABEL_WIDTH - 1]}…"


def _summary(outputs: dict[str, np.ndarray]) -> list[RenderableType]:
    rows = [
        (
            name,
            screen.extents(array.shape),
            *(f"{v:.4g}" for v in (array.min(), array.mean(), array.max())),
        )
        for name, array in outputs.items()
    ]
    return [screen.table(("output", "shape", "lowest", "mean", "highest"), rows)]
