"""``edgeinfer export``: an integer model into the format of another tool."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from edgeinfer.cli import screen
from edgeinfer.cli.command import Report, command
from edgeinfer.cli.models import file_bytes, open_model
from edgeinfer.cli.options import FILE
from edgeinfer.errors import EdgeInferError, InputError, MissingExtraError, OutputError
from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops

__all__ = ["export"]

# by target, how its files end; those of a folder have no end
_ENDS = {"c": "", "ethos-u": ".tflite", "npu": "", "qdq": ".onnx", "tflite": ".tflite"}
# by target that has several, the one that is meant without --config
_USUAL = {"ethos-u": "ethos-u55-128", "npu": "8x8"}


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
    "convolutions, dense layers, sums, products and pools, and functions to within a step. ethos-u "
    "is what Arm's compiler, Vela, makes of that for an Ethos-U. c is a folder of C99 for devices "
    "without an operating system, and npu a folder with the generated NPU in Verilog and drivers: "
    "both compute the same bits of every model.",
)
@click.option(
    "--config",
    metavar="NAME",
    help=f"With --to ethos-u: which one, {_USUAL['ethos-u']} without it; ethos-u65-256, "
    f"ethos-u85-512 ... With --to npu: a preset or a size, {_USUAL['npu']} without it.",
)
@click.option(
    "--name",
    metavar="NAME",
    help="With --to c: how its files and identifiers begin; without it as MODEL.eqm is called.",
)
@click.option(
    "-o",
    "--out",
    "output",
    metavar="OUT",
    type=FILE,
    required=True,
    help="A file or a new folder.",
)
def export(model: Path, target: str, config: str | None, name: str | None, output: Path) -> Report:
    """Write an integer model in the format of another tool."""
    from edgeinfer.files.atomic_write import atomic_write, check_writable
    from edgeinfer.files.new_folder import check_new_folder

    end = _ENDS[target]
    if not end:
        check_new_folder(output)
    elif output.suffix.lower() != end:
        raise OutputError(f"cannot write {output}: --to {target} writes {end} files")
    else:
        check_writable(output, model)
    if config is not None and target not in _USUAL:
        raise InputError(f"--config chooses an Ethos-U or an NPU, and --to {target} has none")
    if name is not None and target != "c":
        raise InputError(f"--name is what identifiers of C begin with, and --to {target} has none")
    if name == "":
        raise InputError("--name is empty, and identifiers of C must begin with something")
    graph = open_model(model)
    if target == "ethos-u":
        return _for_ethos_u(graph, config or _USUAL[target], model, output)
    if target == "npu":
        from edgeinfer.cli.hdl.export import write_npu

        return write_npu(graph, config or _USUAL[target], model, output)
    if target == "c":
        return _as_c(graph, name or model.stem, model, output)
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


def _as_c(graph: Graph, name: str, model: Path, output: Path) -> Report:
    from edgeinfer.converters.c99 import printed
    from edgeinfer.files.new_folder import write_new_folder

    made = printed(graph, name)
    write_new_folder(output, made.files)
    shown = [
        ("RAM", f"{made.ram_bytes:,} bytes, and some of the stack"),
        ("constants", f"{made.constant_bytes:,} bytes"),
        ("code", f"{len(made.kernels)} kernels, {len(made.plan.steps)} steps"),
        ("names", f"begin with {made.name}_ and {made.name.upper()}_"),
    ]
    return Report(
        {
            "model": str(model),
            "output": str(output),
            "target": "c",
            "name": made.name,
            "ram_bytes": made.ram_bytes,
            "constant_bytes": made.constant_bytes,
            "kernels": list(made.kernels),
            "files": {path: len(content) for path, content in made.files.items()},
        },
        [
            *screen.pairs(shown),
            "",
            f"wrote {output}; {output / 'README.md'} says how to compile and to check it",
        ],
    )


def _for_ethos_u(graph: Graph, config: str, model: Path, output: Path) -> Report:
    from edgeinfer.files.atomic_write import atomic_write

    try:
        __import__("ethosu.vela")
    except ModuleNotFoundError:
        raise MissingExtraError("ethosu", "ethos-u") from None
    from edgeinfer.converters.ethos_u import CONFIGURATIONS, compile_for_ethos_u

    if config not in CONFIGURATIONS:
        raise InputError(f"{config!r} is none of Vela's: {', '.join(CONFIGURATIONS)}")
    made = compile_for_ethos_u(graph, config)
    ours = _generated_npu(graph, int(config.rpartition("-")[2]))
    atomic_write(output, made.content)
    shown = [
        ("operators", f"{made.on_npu} on the {config}, {made.on_cpu} on the CPU"),
        ("cycles", f"{made.cycles:,}, as Vela estimates them"),
        ("inference", f"{made.seconds * 1e6:,.0f} µs at the clock that it assumes"),
        ("SRAM", screen.kib(made.sram_bytes)),
        ("flash, DRAM", screen.kib(made.outside_bytes)),
    ]
    if ours is not None:
        shown.append(("beside it", f"{ours[1]:,} cycles on the generated NPU {ours[0]}"))
    return Report(
        {
            "model": str(model),
            "output": str(output),
            "target": "ethos-u",
            "config": config,
            "operators": {"npu": made.on_npu, "cpu": made.on_cpu},
            "cycles": made.cycles,
            "seconds": made.seconds,
            "sram_bytes": made.sram_bytes,
            "outside_bytes": made.outside_bytes,
            "generated_npu": None if ours is None else {"config": ours[0], "cycles": ours[1]},
            "bytes": {"model": file_bytes(model), "output": len(made.content)},
        },
        [f"wrote {output}: {len(made.content):,} bytes", "", *screen.pairs(shown)],
    )


def _generated_npu(graph: Graph, macs: int) -> tuple[str, int] | None:
    """The generated NPU with as many multipliers, and its predicted cycles; None where it has not
    the model's operators, or there is none of this size."""
    from edgeinfer.hdl.compiler import compile
    from edgeinfer.hdl.config import PRESETS

    for config in PRESETS.values():
        if config.macs == macs:
            with suppress(EdgeInferError):
                return config.name, compile(graph, config).program.prediction.cycles
    return None


def _rounds_once(graph: Graph) -> bool:
    return any(
        isinstance(node.op, ops.Requantizing) and node.op.rounding == "single"
        for node in graph.nodes
    )
