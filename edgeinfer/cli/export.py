"""``edgeinfer export``: an integer model into the format of another tool."""

from __future__ import annotations

from pathlib import Path

import click

from edgeinfer.cli.command import Report, command
from edgeinfer.cli.models import file_bytes, open_model
from edgeinfer.cli.options import FILE
from edgeinfer.errors import OutputError
from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops

__all__ = ["export"]

# by target, how its files end
_ENDS = {"qdq": ".onnx", "tflite": ".tflite"}


@command(example="edgeinfer export digits.eqm --to qdq -o digits_int8.onnx")
@click.argument("model", metavar="MODEL.eqm", type=FILE)
@click.option(
    "--to",
    "target",
    type=click.Choice(list(_ENDS)),
    required=True,
    help="qdq is ONNX with QuantizeLinear and DequantizeLinear, whose integers are those of "
    "MODEL.eqm: onnxruntime computes each layer's to within a step, and edgeinfer convert makes "
    "the same model of it again. tflite is TensorFlow Lite's integer operators: of a model that "
    "was quantized with --rounding double TensorFlow Lite Micro computes the same bits for "
    "convolutions, dense layers, sums, products and pools, and functions to within a step.",
)
@click.option("-o", "--out", "output", metavar="OUT", type=FILE, required=True)
def export(model: Path, target: str, output: Path) -> Report:
    """Write an integer model in the format of another tool."""
    from edgeinfer.files.atomic_write import atomic_write, check_writable

    end = _ENDS[target]
    if output.suffix.lower() != end:
        raise OutputError(f"cannot write {output}: --to {target} writes {end} files")
    check_writable(output, model)
    graph = open_model(model)
    content, count, what = _as_tflite(graph) if target == "tflite" else _as_qdq(graph)
    atomic_write(output, content)
    sizes = {"model": file_bytes(model), "output": len(content)}
    lines = [f"wrote {output}: {count} {what}, {len(content):,} bytes"]
    if target == "tflite" and _rounds_once(graph):
        lines.append(
            "TensorFlow Lite Micro rounds twice where this model rounds once, and is off by a step "
            "here and there; quantize with --rounding double for the same bits"
        )
    return Report(
        {
            "model": str(model),
            "output": str(output),
            "target": target,
            "nodes": count,
            "bytes": sizes,
        },
        [*lines],
    )


def _as_qdq(graph: Graph) -> tuple[bytes, int, str]:
    from edgeinfer.converters.qdq import to_qdq

    made = to_qdq(graph)
    return made.SerializeToString(deterministic=True), len(made.graph.node), "nodes of ONNX"


def _as_tflite(graph: Graph) -> tuple[bytes, int, str]:
    from edgeinfer.converters import to_tflite
    from edgeinfer.converters.tflite.reading import parse

    content = to_tflite(graph)
    return content, len(parse(content, "it").operators), "operators of TensorFlow Lite"


def _rounds_once(graph: Graph) -> bool:
    return any(
        isinstance(node.op, ops.Requantizing) and node.op.rounding == "single"
        for node in graph.nodes
    )
