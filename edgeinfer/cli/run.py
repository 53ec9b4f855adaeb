"""``edgeinfer run``: a model and data into outputs, printed and in an ``.npz``."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import click
import numpy as np

from edgeinfer.cli import screen
from edgeinfer.cli.command import Report, command
from edgeinfer.cli.models import open_model, read_labels, runner
from edgeinfer.cli.options import (
    FILE,
    preprocessing,
    preprocessing_options,
    samples_option,
    threads_option,
)
from edgeinfer.errors import InputError

__all__ = ["run"]

_SHOWN = 10  # samples on the screen; JSON and -o hold all


@command(example="edgeinfer run digits.eqm --input digits_test.npz --top 3 -o scores.npz")
@click.argument("model", metavar="MODEL.eqm", type=FILE)
@click.option("--input", "data", metavar="DATA", type=FILE, required=True, help="What to run.")
@click.option("-o", "--output", metavar="OUT.npz", type=FILE, help="Write all outputs, by name.")
@click.option("--labels", type=FILE, help="Names of the classes, one a line.")
@click.option(
    "--top",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="How many of the best classes to print for a sample.",
)
@samples_option
@threads_option
@preprocessing_options
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

    DATA is an .npz with an array for each input by its name, an .npy, an image or a folder of
    images. The best classes of the first output are printed.
    """
    from edgeinfer.atomic_write import atomic_write, check_writable
    from edgeinfer.data import load_data
    from edgeinfer.samples import runs

    if output is not None:
        check_writable(output)
    graph = open_model(model)
    names = graph.labels if labels is None else read_labels(labels)
    dataset = load_data(data, graph, preprocessing(**images))
    execute = runner(graph, threads=threads)
    gathered: dict[str, list[np.ndarray]] = {name: [] for name in graph.outputs}
    total = dataset.count if samples is None else min(samples, dataset.count)
    with screen.progress("running", total) as done:
        for count, feed in enumerate(runs(graph, dataset.samples, limit=samples)):
            for name, array in execute(feed).items():
                gathered[name].append(array)
            done(count + 1)
    outputs = {name: _joined(arrays) for name, arrays in gathered.items()}
    if output is not None:
        file = io.BytesIO()
        np.savez(file, **outputs)  # type: ignore[arg-type]
        atomic_write(output, file.getvalue())
    return _report(model, output, outputs, names, top)


def _joined(arrays: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(arrays) if arrays[0].ndim else np.stack(arrays)


def _report(
    model: Path,
    output: Path | None,
    outputs: dict[str, np.ndarray],
    labels: tuple[str, ...],
    top: int,
) -> Report:
    first = next(iter(outputs.values()))
    scores = first.reshape(len(first), -1)
    if labels and len(labels) != scores.shape[1]:
        raise InputError(f"there are {len(labels)} labels for {scores.shape[1]} classes")
    best = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    predictions = [
        [
            {"class": int(c), "label": labels[c] if labels else None, "score": float(row[c])}
            for c in ranking
        ]
        for row, ranking in zip(scores, best, strict=True)
    ]
    rows = [
        (str(i), *(f"{p['label'] or p['class']} {p['score']:.4g}" for p in ranking))
        for i, ranking in enumerate(predictions[:_SHOWN])
    ]
    headings = ("sample", *(f"#{i + 1}" for i in range(best.shape[1])))
    hidden = len(predictions) - len(rows)
    return Report(
        {
            "model": str(model),
            "output": None if output is None else str(output),
            "outputs": [{"name": n, "shape": list(a.shape)} for n, a in outputs.items()],
            "predictions": predictions,
        },
        [
            screen.table(headings, rows),
            *([f"{hidden} more samples"] if hidden else []),
            *([f"wrote {output}"] if output is not None else []),
        ],
    )
