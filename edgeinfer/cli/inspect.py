"""``edgeinfer inspect``: a model into its layers and what each takes, before it is deployed."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeinfer.cli import screen
from edgeinfer.cli.command import Report, command
from edgeinfer.cli.models import Import, open_model
from edgeinfer.cli.options import FILE, import_options
from edgeinfer.errors import EdgeInferError, ModelError

if TYPE_CHECKING:
    from edgeinfer.graph import Graph, Preparation
    from edgeinfer.graph.cost import LayerCost

__all__ = ["inspect"]


@command(example="edgeinfer inspect digits.onnx")
@click.argument("file", type=FILE)
@import_options
def inspect(file: Path, how: Import) -> Report:
    """Show the layers of FILE, an .onnx, .tflite or .eqm, and what they cost.

    Bytes of flash and arena are those of the integer model; for a float model they are an
    estimate of what int8 would take, where quantize takes the model. A model that is quantized
    already is shown as convert makes it.
    """
    from edgeinfer.graph.cost import cost

    graph = _as_converted(open_model(file, how))
    refusal = None if graph.is_integer else _refusal(graph)
    total = cost(graph)
    arena, scratch = _memory(graph) if graph.is_integer else (total.peak, None)
    shown = [
        ("model", graph.name or file.stem),
        *(("input", f"{n}: {graph.types[n]}") for n in graph.inputs),
        *((f"images for {n}", _prepared(how)) for n, how in graph.preparation.items()),
        *(("output", f"{n}: {graph.types[n]}") for n in graph.outputs),
        *(("state", f"{s.input}, before {s.output}: {graph.types[s.input]}") for s in graph.states),
        *_likely_states(graph),
        ("MACs", f"{total.macs:,}"),
        ("parameters", f"{total.parameters:,}"),
    ]
    if refusal is None:
        shown.append(("flash", _size(total.flash, total.estimated)))
        shown.append(("arena", _size(arena, total.estimated)))
    if scratch is not None:
        shown.append(("scratch", f"{screen.kib(scratch)} for each thread, at most, on this CPU"))
    return Report(
        {
            "file": str(file),
            "name": graph.name,
            "inputs": [_value(graph, name) for name in graph.inputs],
            "outputs": [_value(graph, name) for name in graph.outputs],
            "states": [{"input": s.input, "output": s.output} for s in graph.states],
            "preparation": {n: asdict(how) for n, how in graph.preparation.items()},
            "labels": list(graph.labels),
            "provenance": dict(graph.provenance),
            "macs": total.macs,
            "parameters": total.parameters,
            "flash_bytes": None if refusal else total.flash,
            "arena_bytes": None if refusal else arena,
            "scratch_bytes": scratch,
            "estimated": total.estimated,
            "layers": [_described(layer) for layer in total.layers],
        },
        [
            screen.table(
                ("value", "operator", "shape", "MACs", "parameters", "flash"),
                [_row(layer) for layer in total.layers],
                left=2,
            ),
            "",
            *screen.pairs(shown),
        ],
        [] if refusal is None else [f"quantize will refuse this model: {refusal}"],
    )


def _likely_states(graph: Graph) -> list[tuple[str, str]]:
    """What the commands that import a float Graph could make a state."""
    if graph.is_integer:
        return []
    from edgeinfer.graph.likely_states import likely_states

    found = likely_states(graph).items()
    return [("likely state", f"--state {source}={result}") for source, result in found]


def _as_converted(graph: Graph) -> Graph:
    """What ``convert`` makes of ``graph``; itself where parts of it are not quantized."""
    from edgeinfer.quant import as_stated, states_integers

    if not graph.is_integer and states_integers(graph):
        with suppress(EdgeInferError):
            return as_stated(graph)
    return graph


def _refusal(graph: Graph) -> str | None:
    """What ``quantize`` would say against a float Graph."""
    from edgeinfer.quant.refusals import refuse_unsupported
    from edgeinfer.quant.stated import read_stated

    try:
        refuse_unsupported(read_stated(graph).graph)
    except ModelError as error:
        return str(error)
    return None


def _memory(graph: Graph) -> tuple[int, int]:
    from edgeinfer.cython_kernels.runtime import SUPPORTED
    from edgeinfer.runtime.planner import plan

    made = plan(graph, isa=SUPPORTED[0])
    return made.values_bytes, made.scratch_bytes


def _size(count: int, estimated: bool) -> str:
    return f"about {screen.kib(count)} in int8" if estimated else screen.kib(count)


def _prepared(how: Preparation) -> str:
    """How images become an input, in one line."""

    def listed(numbers: tuple[float, ...]) -> str:
        return ",".join(f"{number:g}" for number in numbers)

    size = "stretched" if how.size is None else f"shorter side {how.size}, middle cut out"
    return f"{how.channels}, {how.layout}, {size}, (pixel - {listed(how.mean)}) / {listed(how.std)}"


def _row(layer: LayerCost) -> tuple[str, ...]:
    return (
        layer.node.outputs[0],
        type(layer.node.op).__name__,
        screen.extents(layer.output),
        f"{layer.macs:,}",
        f"{layer.parameters:,}",
        f"{layer.flash:,}",
    )


def _described(layer: LayerCost) -> dict[str, object]:
    return {
        "value": layer.node.outputs[0],
        "node": layer.node.name,
        "operator": type(layer.node.op).__name__,
        "shape": list(layer.output),
        "macs": layer.macs,
        "parameters": layer.parameters,
        "flash_bytes": layer.flash,
    }


def _value(graph: Graph, name: str) -> dict[str, object]:
    kind = graph.types[name]
    q = kind.quantization
    return {
        "name": name,
        "shape": list(kind.shape),
        "dtype": kind.dtype,
        "scale": None if q is None else q.step,
        "zero_point": None if q is None else q.zero_point,
    }
