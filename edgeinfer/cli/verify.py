"""``edgeinfer verify``: an integer model through each target, and whether the bits are the same."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeinfer.advice import listed
from edgeinfer.cli import screen
from edgeinfer.cli.command import Report, command
from edgeinfer.cli.models import open_model
from edgeinfer.cli.options import FILE
from edgeinfer.errors import EdgeInferError, InputError

if TYPE_CHECKING:
    import numpy as np

    from edgeinfer.agreement import Agreement
    from edgeinfer.graph import Graph

__all__ = ["verify"]

_USUAL = "reference,kernels"


@command(example="edgeinfer verify digits.eqm --digest")
@click.argument("model", metavar="MODEL.eqm", type=FILE)
@click.option(
    "--against",
    metavar="NAMES",
    default=_USUAL,
    show_default=True,
    help="Of reference (NumPy), kernels (of every instruction set of this machine), c (what export "
    "writes, compiled here), npu (simulated), tflm and onnxruntime (with what export writes), tosa "
    "(TOSA's operators in Arm's reference model).",
)
@click.option("--data", metavar="DATA", type=FILE, help="Its samples; random integers without it.")
@click.option(
    "--samples",
    metavar="N",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="How many of them, or how many runs of random integers.",
)
@click.option("--config", metavar="NPU", default="8x8", show_default=True, help="Which NPU.")
@click.option("--digest", is_flag=True, help="Also print a SHA-256 over every layer's values.")
@click.option(
    "--shrink",
    metavar="FILE.npz",
    type=FILE,
    help="Look for the smallest input that shows the first difference; its integers go here.",
)
def verify(
    model: Path,
    against: str,
    data: Path | None,
    samples: int,
    config: str,
    digest: bool,
    shrink: Path | None,
) -> Report:
    """Compare every layer's values on each target with those of the Session.

    Exits with 1 where a value differs that is promised to be the same. Of tflm those layers are
    promised that a model of --rounding double has before its first function or Softmax; of
    onnxruntime, which computes floats, none; of tosa those that TOSA has operators for: the Session
    gives them what the others compute.
    """
    from edgeinfer import agreement
    from edgeinfer.files.atomic_write import check_writable

    if shrink is not None:
        check_writable(shrink, model)
    graph = open_model(model)
    if not graph.is_integer:
        raise InputError(f"{model} is a float model, of which no bits are promised: quantize it")
    runs = _runs(graph, data, samples)
    names = [name.strip() for name in against.split(",") if name.strip()]
    found = agreement.verify(graph, names, runs, config=config, shrink=shrink is not None)
    shown = None if shrink is None else _written(graph, found, shrink)
    seal = agreement.digest(graph, runs) if digest else None
    broken = [each.target for each in found if each.broken]
    if broken:
        told = _told(found) if shown is None else f"{_told(found)}; {shown}"
        raise EdgeInferError(f"{model} has other bits on {', '.join(broken)}: {told}")
    return Report(
        {
            "model": str(model),
            "runs": len(runs),
            "targets": [asdict(replace(each, smallest=None)) for each in found],
            "smallest": shown,
            "digest": seal,
        },
        [
            screen.table(
                ("target", "layers", "promised", "values", "differing", "largest", "first"),
                [_row(each) for each in found],
                left=1,
            ),
            *_absent(found),
            *([] if shown is None else ["", shown]),
            *([] if seal is None else ["", f"digest {seal}"]),
        ],
    )


def _runs(graph: Graph, data: Path | None, samples: int) -> list[dict[str, np.ndarray]]:
    """Raw inputs."""
    from edgeinfer.agreement import random_inputs
    from edgeinfer.data.loading import load_data
    from edgeinfer.data.samples import runs

    if data is None:
        return random_inputs(graph, samples)
    found = []
    for feeds in runs(graph, load_data(data, graph).samples, limit=samples):
        raw = {}
        for name, array in feeds.items():
            t = graph.types[name]
            raw[name] = array if t.quantization is None else t.quantization.quantize(array, t.dtype)
        found.append(raw)
    return found


def _written(graph: Graph, found: list[Agreement], shrink: Path) -> str:
    """The smallest input of the target that breaks its promise, or else that differs, in a file."""
    from edgeinfer.agreement import moved
    from edgeinfer.files.npz_file import write_npz

    for each in sorted(found, key=lambda each: not each.broken):
        if each.smallest is not None:
            write_npz(shrink, each.smallest)
            whole = sum(array.size for array in each.smallest.values())
            return (
                f"{shrink} shows it on {each.target}: of its {whole:,} integers "
                f"{moved(graph, each.smallest):,} are not at zero"
            )
    return "nothing differs: no input shows it"


def _row(each: Agreement) -> tuple[str, ...]:
    return (
        each.target,
        f"{each.layers:,}",
        f"{each.promised:,}",
        f"{each.values:,}",
        f"{each.differing:,}",
        f"{each.largest:,}",
        each.first or "",
    )


def _absent(found: list[Agreement]) -> list[str]:
    """The layers that a target has no operators for, a line for each reason."""
    lines = []
    for each in found:
        for reason in dict.fromkeys(each.absent.values()):
            names = [name for name, own in each.absent.items() if own == reason]
            lines.append(f"{each.target} lacks {listed(names)} ({reason})")
    return ["", *lines] if lines else []


def _told(found: list[Agreement]) -> str:
    return "; ".join(
        f"{each.broken:,} of {each.values:,} values, by {each.largest} at most, "
        f"first {each.first!r} in run {each.run}"
        for each in found
        if each.broken
    )
