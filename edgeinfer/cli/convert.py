"""``edgeinfer convert``: an ONNX model into a float model file, imported and simplified."""

from __future__ import annotations

from pathlib import Path

import click

from edgeinfer.cli.command import Report, command
from edgeinfer.cli.models import Import, check_output, file_bytes, import_onnx
from edgeinfer.cli.options import FILE, import_options

__all__ = ["convert"]


@command(example="edgeinfer convert digits.onnx -o digits_float.eqm")
@click.argument("model", metavar="MODEL.onnx", type=FILE)
@click.option("-o", "--out", "output", metavar="FLOAT.eqm", type=FILE, required=True)
@import_options
def convert(model: Path, output: Path, how: Import) -> Report:
    """Import and simplify MODEL.onnx, still in floats."""
    from edgeinfer.files.atomic_write import atomic_write, check_writable
    from edgeinfer.files.model_file import to_bytes

    check_writable(output, model)
    check_output(output)
    graph = import_onnx(model, how)
    content = to_bytes(graph)
    atomic_write(output, content)
    sizes = {"model": file_bytes(model), "output": len(content)}
    return Report(
        {"model": str(model), "output": str(output), "layers": len(graph.nodes), "bytes": sizes},
        [f"wrote {output}: {len(graph.nodes)} layers in floats, {len(content):,} bytes"],
    )
