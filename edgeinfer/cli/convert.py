"""``edgeinfer convert``: a model of another format into a model file, imported and simplified.

Of a float model that is one of floats; a model that is quantized already becomes the integers that
it states, without data.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from edgeinfer.cli.command import Report, command
from edgeinfer.cli.models import Import, check_output, file_bytes, import_model
from edgeinfer.cli.options import FILE, import_options
from edgeinfer.errors import InputError

__all__ = ["convert"]


@command(example="edgeinfer convert digits.onnx -o digits_float.eqm")
@click.argument("model", metavar="MODEL", type=FILE)
@click.option("-o", "--out", "output", metavar="OUT.eqm", type=FILE, required=True)
@click.option(
    "--rounding",
    type=click.Choice(["single", "double"]),
    help="Of a model that is quantized already: once (single, the default), or twice, with "
    "TensorFlow Lite Micro's bits (double, int8 only).",
)
@import_options
def convert(
    model: Path, output: Path, rounding: Literal["single", "double"] | None, how: Import
) -> Report:
    """Import and simplify MODEL, an .onnx or a .tflite file, still in floats.

    A model that is quantized already, a .tflite of integers or an .onnx with QuantizeLinear and
    DequantizeLinear, becomes integer as it states, without data.
    """
    from edgeinfer.files.atomic_write import atomic_write, check_writable
    from edgeinfer.files.model_file import to_bytes
    from edgeinfer.quant import as_stated, states_integers

    check_writable(output, model)
    check_output(output)
    graph = import_model(model, how)
    if states_integers(graph):
        graph = as_stated(graph, rounding=rounding or "single")
    elif rounding is not None:
        raise InputError(f"{model} is a float model: --rounding is for one that has integers")
    kind = "integers, as the model states them" if graph.is_integer else "floats"
    content = to_bytes(graph)
    atomic_write(output, content)
    sizes = {"model": file_bytes(model), "output": len(content)}
    return Report(
        {"model": str(model), "output": str(output), "layers": len(graph.nodes), "bytes": sizes},
        [f"wrote {output}: {len(graph.nodes)} layers in {kind}, {len(content):,} bytes"],
    )
