"""``edgeinfer hdl export``: a model and its NPU as Verilog, drivers and a test bench."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeinfer.cli import screen
from edgeinfer.cli.command import Report, command
from edgeinfer.cli.hdl.options import config_option
from edgeinfer.cli.models import open_integer_model
from edgeinfer.cli.options import FILE, image_options
from edgeinfer.graph import Graph
from edgeinfer.printable import one_line

if TYPE_CHECKING:
    import numpy as np

__all__ = ["export", "write_npu"]


@command(example="edgeinfer hdl export digits.eqm --config 8x16 -o digits_npu")
@click.argument("model", metavar="MODEL.eqm", type=FILE)
@config_option
@click.option("-o", "--output", metavar="DIR", type=FILE, required=True, help="A new folder.")
@click.option("--data", metavar="DATA", type=FILE, help="The test bench runs its first sample.")
@image_options
def export(model: Path, config: str, output: Path, data: Path | None, **images: Any) -> Report:
    """Write Verilog, drivers and a test bench for MODEL.eqm.

    Without --data the test bench runs an inference on random integers. The README in the folder
    says how to check and how to integrate it.
    """
    from edgeinfer.data import ImageOptions, load_data
    from edgeinfer.data.samples import runs
    from edgeinfer.files.new_folder import check_new_folder

    check_new_folder(output)
    graph = open_integer_model(model)
    sample = None
    if data is not None:
        dataset = load_data(data, graph, ImageOptions(**images), samples=1)
        sample = next(runs(graph, dataset.samples, limit=1))
    return write_npu(graph, config, model, output, sample)


def write_npu(
    graph: Graph,
    config: str,
    model: Path,
    output: Path,
    sample: Mapping[str, np.ndarray] | None = None,
) -> Report:
    """``graph`` and its NPU in the new folder ``output``; ``model`` is the file it came from."""
    from edgeinfer.files.new_folder import write_new_folder
    from edgeinfer.hdl.config import configuration
    from edgeinfer.hdl.export import export as files_of

    chosen = configuration(config)
    with screen.progress() as done:
        done("generating", 0, None)
        files = files_of(graph, chosen, name=one_line(model.stem), sample=sample)
    write_new_folder(output, files)
    return Report(
        {
            "model": str(model),
            "config": chosen.text,
            "output": str(output),
            "files": {name: len(content) for name, content in files.items()},
        },
        [
            screen.table(
                ("file", "bytes"),
                [(name, f"{len(content):,}") for name, content in files.items()],
                left=1,
            ),
            "",
            f"wrote {output}; {output / 'README.md'} says how to go on",
        ],
    )
