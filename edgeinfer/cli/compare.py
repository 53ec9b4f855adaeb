"""``edgeinfer compare``: two models and data into the error of each layer, the worst first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgeinfer.cli import screen
from edgeinfer.cli.command import Report, command
from edgeinfer.cli.models import open_pair
from edgeinfer.cli.options import (
    FILE,
    image_options,
    samples_option,
    threads_option,
)

__all__ = ["compare"]


@command(example="edgeinfer compare digits.onnx digits.eqm --data digits_test.npz --samples 50")
@click.argument("a", type=FILE)
@click.argument("b", type=FILE)
@click.option("--data", metavar="DATA", type=FILE, required=True, help="Samples to run.")
@click.option(
    "--worst",
    metavar="N",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    help="How many layers to show; 0 shows all. JSON always holds all.",
)
@samples_option
@threads_option
@image_options
def compare(
    a: Path, b: Path, data: Path, worst: int, samples: int | None, threads: int, **images: Any
) -> Report:
    """Compare models A and B layer by layer.

    Either is an .onnx or an .eqm, float or quantized. Layers are matched by name; the SQNR takes
    A's values as the signal and what B differs by as the noise. In JSON it is null for layers
    without any difference.
    """
    from edgeinfer.data import ImageOptions, load_data
    from edgeinfer.quant import compare as layer_errors

    first, second = open_pair(a, b)
    # an .onnx does not say how its input is prepared
    knowing = second if second.preparation else first
    dataset = load_data(data, knowing, ImageOptions(**images), seed=None if samples is None else 0)
    count = dataset.count_within(samples)
    with screen.tracked("comparing", first, dataset, samples) as feeds:
        errors = layer_errors(first, second, feeds, num_threads=threads)
    shown = errors[: worst or None]
    rows = [
        (
            e.value,
            e.operator + (" (output)" if e.is_output else ""),
            screen.decibels(e.sqnr_db),
            f"{e.largest:.4g}",
        )
        for e in shown
    ]
    hidden = len(errors) - len(shown)
    return Report(
        {
            "a": str(a),
            "b": str(b),
            "samples": count,
            "layers": [
                {
                    "value": e.value,
                    "node": e.node,
                    "operator": e.operator,
                    "sqnr_db": e.sqnr_db,
                    "largest_error": e.largest,
                    "is_output": e.is_output,
                }
                for e in errors
            ],
        },
        [
            screen.table(("value", "operator", "SQNR dB", "largest error"), rows, left=2),
            f"\n{count} samples" + (f"; {hidden} better layers are not shown" if hidden else ""),
        ],
    )
