"""``edgeinfer demo``: the packaged digits model through import, quantization and the runtime."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import RenderableType

from edgeinfer.cli import peers, screen
from edgeinfer.cli.command import Report, command
from edgeinfer.cli.evaluation import Evaluation, measure
from edgeinfer.cli.models import import_model, runner
from edgeinfer.cli.options import FILE

__all__ = ["demo"]

_SHADES = " ░▒▓█"
_WHITE = 16  # the largest pixel
_CALLS = 1000  # to find a latency


@command(example="edgeinfer demo -o .")
@click.option(
    "-o",
    "--output",
    metavar="FOLDER",
    type=FILE,
    help="Also put the model, its data and the result there, to try the other commands on.",
)
def demo(output: Path | None) -> Report:
    """Quantize and run a small digits model that comes with edgeinfer."""
    from edgeinfer.data import load_data
    from edgeinfer.data.samples import runs
    from edgeinfer.demo import CALIBRATION, MODEL, TEST
    from edgeinfer.files.atomic_write import atomic_write, check_writable
    from edgeinfer.files.model_file import from_bytes, to_bytes
    from edgeinfer.metrics import task_of
    from edgeinfer.quant import quantize
    from edgeinfer.runtime.session import Session

    if output is not None:
        check_writable(output / "digits.eqm")
    floats = import_model(MODEL)
    content = to_bytes(quantize(floats, load_data(CALIBRATION, floats).samples))
    integers = from_bytes(content)
    if output is not None:
        for source in (MODEL, CALIBRATION, TEST):
            atomic_write(output / source.name, source.read_bytes())
        atomic_write(output / "digits.eqm", content)

    test = load_data(TEST, floats)
    assert isinstance(test.samples, dict)
    task = task_of(floats, test.labels)
    assert task.truth is not None and task.best is not None
    feeds = runs(integers, test.samples)
    numbers = _numbers(measure(integers, feeds, task=task, reference=floats), integers.outputs[0])
    numbers["float32"]["file_bytes"] = MODEL.stat().st_size
    numbers["int8"]["file_bytes"] = len(content)
    first = next(runs(integers, test.samples))
    numbers["float32"]["latency_us"] = None
    if peers.missing("onnxruntime") is None:
        bound = peers.RUNTIMES["onnxruntime"](MODEL, first, 1, False, None)
        numbers["float32"]["latency_us"] = _latency(bound.run)
    session = Session(integers)
    numbers["int8"]["arena_bytes"] = session.arena_bytes
    x = first[floats.inputs[0]]
    out = session.run(x)
    numbers["int8"]["latency_us"] = _latency(lambda: session.run(x, out))
    float32, int8 = (int(task.best(runner(g)(first)[g.outputs[0]])[0]) for g in (floats, integers))
    label = int(task.truth[0])
    image = test.samples[floats.inputs[0]][0].reshape(8, 8)
    return Report(
        numbers | {"digit": {"label": label, "prediction": int8}},
        [
            f"{numbers['samples']} handwritten digits that neither training nor calibration saw",
            "",
            _table(numbers),
            "",
            *_drawing(image, label, int8, float32),
            *([] if output is None else _next_steps(output)),
        ],
    )


def _numbers(found: Evaluation, output: str) -> dict[str, Any]:
    assert found.reference is not None
    return {
        "samples": found.samples,
        "float32": found.reference.results()[0],
        "int8": found.model.results()[0],
        "agreement": found.agreement,
        "sqnr_db": found.differences[output].sqnr_db,
    }


def _latency(run: Callable[[], object]) -> float:
    """Microseconds of a call, the median of many, one right after the other."""
    seconds = []
    for _ in range(_CALLS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds) * 1e6


def _table(numbers: dict[str, Any]) -> RenderableType:
    floats, integers = numbers["float32"], numbers["int8"]
    rows = [
        ("accuracy, top-1", f"{floats['top1']:.2%}", f"{integers['top1']:.2%}"),
        ("agreement with float32", "", f"{numbers['agreement']:.2%}"),
        ("SQNR of the scores", "", f"{numbers['sqnr_db']:.1f} dB"),
        ("model file", screen.kib(floats["file_bytes"]), screen.kib(integers["file_bytes"])),
        ("arena", "", screen.kib(integers["arena_bytes"])),
    ]
    latency = screen.milliseconds(integers["latency_us"] / 1e6)
    if floats["latency_us"] is None:
        rows.append(("latency", "", latency))
    else:
        peer = screen.milliseconds(floats["latency_us"] / 1e6)
        rows.append(("latency (float32 in onnxruntime)", peer, latency))
    return screen.table(("", "float32", "int8"), rows)


def _drawing(image: np.ndarray, label: int, int8: int, float32: int) -> list[str]:
    shades = (image.astype(int) * (len(_SHADES) - 1) + _WHITE // 2) // _WHITE
    # two characters a pixel: a terminal's cells are twice as high as wide
    lines = ["".join(_SHADES[s] * 2 for s in row) for row in shades]
    beside = ["", "", f"labelled  {label}", f"float32   {float32}", f"int8      {int8}"]
    beside += [""] * (len(lines) - len(beside))
    return [f"  {line}   {note}".rstrip() for line, note in zip(lines, beside, strict=True)]


def _next_steps(folder: Path) -> list[str]:
    return [
        "",
        f"wrote digits.onnx, digits.eqm, digits_calib.npz, digits_test.npz to {folder}",
        "now try: edgeinfer compare digits.onnx digits.eqm --data digits_test.npz",
    ]
