"""``edgeinfer hdl run``: a model on an NPU behind a serial line."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from edgeinfer.cli import screen
from edgeinfer.cli.command import Report, command
from edgeinfer.cli.hdl.comparison import Comparison
from edgeinfer.cli.hdl.options import baud_option
from edgeinfer.cli.models import open_integer_model
from edgeinfer.cli.options import FILE, image_options, samples_option

__all__ = ["run"]


@command(example="edgeinfer hdl run digits.eqm --port /dev/ttyUSB0 --data digits_test.npz")
@click.argument("model", metavar="MODEL.eqm", type=FILE)
@click.option("--port", metavar="PORT", required=True, help="The board's serial line.")
@baud_option
@click.option("--data", metavar="DATA", type=FILE, required=True, help="What to run.")
@samples_option(default=1)
@image_options
def run(model: Path, port: str, baud: int, data: Path, samples: int, **images: Any) -> Report:
    """Run MODEL.eqm on a board over its serial line.

    The board has a bitstream of edgeinfer hdl build. The model's outputs are compared with the
    CPU's; a difference ends with exit code 1.
    """
    from edgeinfer.data import ImageOptions, load_data
    from edgeinfer.hdl.boards import BoardNpu, Link, open_line

    graph = open_integer_model(model)
    dataset = load_data(data, graph, ImageOptions(**images), samples=samples)
    with closing(open_line(port, baud)) as line:
        npu = BoardNpu(Link(line, port), graph)
        begun = time.perf_counter()
        with screen.tracked("running", graph, dataset, samples) as feeds:
            comparison = Comparison.of(npu, feeds)
        carried = comparison.samples / (time.perf_counter() - begun)
    described = npu.description
    rate = described.hertz / npu.cycles
    return Report(
        {
            "model": str(model),
            "port": port,
            "config": described.config.text,
            "clock_mhz": described.hertz / 1e6,
            "cycles": npu.cycles,
            "inferences_per_second": rate,
            "samples_per_second": carried,
        }
        | comparison.data,
        [
            *screen.pairs(
                [
                    ("board", f"{described.config.name} at {described.hertz / 1e6:g} MHz"),
                    ("cycles", f"{npu.cycles:,}, which is {rate:,.0f} inferences a second"),
                    ("line", f"{carried:,.1f} samples a second, carried and compared"),
                    comparison.line("output"),
                ]
            )
        ],
        failure=comparison.failure,
    )
