"""``edgeinfer compare``: two models and data into the error of each layer, the worst first."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from edgeinfer.cli import screen
from edgeinfer.cli.command import Report, command
from edgeinfer.cli.models import open_pair
from edgeinfer.cli.options import (
    FILE,
    html_option,
    image_options,
    samples_option,
    threads_option,
)
from edgeinfer.cli.profiling import layer_times

if TYPE_CHECKING:
    from edgeinfer.quant import LayerError

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
@html_option
@samples_option()
@threads_option
@image_options
def compare(
    a: Path,
    b: Path,
    data: Path,
    worst: int,
    html: Path | None,
    samples: int | None,
    threads: int,
    **images: Any,
) -> Report:
    """Compare models A and B layer by layer.

    Either is an .onnx or an .eqm, float or quantized. Layers are matched by name; the SQNR takes
    A's values as the signal and what B differs by as the noise. In JSON it is null for layers
    without any difference.
    """
    from edgeinfer.data import ImageOptions, load_data
    from edgeinfer.files.atomic_write import atomic_write, check_writable
    from edgeinfer.quant import compare as layer_errors
    from edgeinfer.quant.observers import Histogram

    if html is not None:
        from edgeinfer.cli.pages import comparison_page

        check_writable(html, a, b, data)
    first, second = open_pair(a, b)
    # an .onnx does not say how its input is prepared
    knowing = second if second.preparation else first
    dataset = load_data(
        data, knowing, ImageOptions(**images), samples=samples, seed=None if samples is None else 0
    )
    count = dataset.count_within(samples)
    seen: defaultdict[str, Histogram] = defaultdict(Histogram)

    def observe(name: str, floats: np.ndarray, _: np.ndarray) -> None:
        seen[name].add(floats[np.isfinite(floats)])

    with screen.tracked("comparing", first, dataset, samples) as feeds:
        errors = layer_errors(
            first,
            second,
            feeds,
            num_threads=threads,
            observe=None if html is None else observe,
        )
    if html is not None:
        facts = [
            ("signal", str(a)),
            ("compared with it", str(b)),
            ("samples", f"{count}, of {data}"),
        ]
        times = layer_times(second, dataset, threads)
        title = f"{b.name} beside {a.name}"
        atomic_write(html, comparison_page(title, facts, errors, seen, second, times))
    hidden = len(errors) - len(errors[: worst or None])
    return Report(
        {
            "a": str(a),
            "b": str(b),
            "samples": count,
            "layers": [_described(error) for error in errors],
        },
        [
            screen.table(
                ("value", "operator", "SQNR dB", "largest error"),
                [_row(error) for error in errors[: worst or None]],
                left=2,
            ),
            "",
            f"{count} samples" + (f"; {hidden} better layers are not shown" if hidden else ""),
            *([] if html is None else [f"wrote {html}"]),
        ],
    )


def _described(error: LayerError) -> dict[str, Any]:
    return {
        "value": error.value,
        "node": error.node,
        "operator": error.operator,
        "sqnr_db": error.sqnr_db,
        "largest_error": error.largest,
        "is_output": error.is_output,
    }


def _row(error: LayerError) -> tuple[str, ...]:
    operator = error.operator + (" (output)" if error.is_output else "")
    return error.value, operator, screen.decibels(error.sqnr_db), f"{error.largest:.4g}"
