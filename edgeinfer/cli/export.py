"""``edgeinfer export``: an integer model into the format of another tool."""

from __future__ import annotations

from pathlib import Path

import click

from edgeinfer.cli.command import Report, command
from edgeinfer.cli.models import file_bytes, open_model
from edgeinfer.cli.options import FILE
from edgeinfer.errors import OutputError

__all__ = ["export"]

# by target, how its files end
_ENDS = {"qdq": ".onnx"}


@command(example="edgeinfer export digits.eqm --to qdq -o digits_int8.onnx")
@click.argument("model", metavar="MODEL.eqm", type=FILE)
@click.option(
    "--to",
    "target",
    type=click.Choice(list(_ENDS)),
    required=True,
    help="qdq is ONNX with QuantizeLinear and DequantizeLinear, whose integers are those of "
    "MODEL.eqm: onnxruntime computes each layer's to within a step, and edgeinfer convert makes "
    "the same model of it again.",
)
@click.option("-o", "--out", "output", metavar="OUT", type=FILE, required=True)
def export(model: Path, target: str, output: Path) -> Report:
    """Write an integer model in the format of another tool."""
    from edgeinfer.converters.qdq import to_qdq
    from edgeinfer.files.atomic_write import atomic_write, check_writable

    end = _ENDS[target]
    if output.suffix.lower() != end:
        raise OutputError(f"cannot write {output}: --to {target} writes {end} files")
    check_writable(output, model)
    graph = open_model(model)
    made = to_qdq(graph)
    content = made.SerializeToString(deterministic=True)
    atomic_write(output, content)
    sizes = {"model": file_bytes(model), "output": len(content)}
    return Report(
        {
            "model": str(model),
            "output": str(output),
            "target": target,
            "nodes": len(made.graph.node),
            "bytes": sizes,
        },
        [f"wrote {output}: {len(made.graph.node)} nodes of ONNX, {len(content):,} bytes"],
    )
