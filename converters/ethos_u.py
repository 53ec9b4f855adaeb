"""An integer Graph compiled for an Arm Ethos-U, by Arm's compiler (Vela) from its .tflite file."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgeinfer.converters import to_tflite
from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Graph

__all__ = ["CONFIGURATIONS", "Compiled", "compile_for_ethos_u"]

CONFIGURATIONS = (
    *(f"ethos-u55-{macs}" for macs in (32, 64, 128, 256)),
    *(f"ethos-u65-{macs}" for macs in (256, 512)),
    *(f"ethos-u85-{macs}" for macs in (128, 256, 512, 1024, 2048)),
)
"""The names of Vela's configurations, which end with their multipliers."""

_OPERATORS = re.compile(r"^(CPU|NPU) operators = (\d+)", re.MULTILINE)
_OUTSIDE = ("dram", "on_chip_flash", "off_chip_flash")
_KIB = 1024
_SHOWN = 300


@dataclass(frozen=True)
class Compiled:
    """What Vela made, and what it says of it.

    Parameters
    ----------
    content : bytes
        The .tflite file, in which one operator of Ethos-U's stands for all that it runs.
    on_npu, on_cpu : int
        How many of Vela's operators run where.
    cycles : int
        Of one inference on the NPU, as Vela estimates them.
    seconds : float
        What these and the CPU's memory take, at the clock that Vela assumes.
    sram_bytes, outside_bytes : int
        What it takes of the SRAM, and of flash and DRAM.
    """

    content: bytes
    on_npu: int
    on_cpu: int
    cycles: int
    seconds: float
    sram_bytes: int
    outside_bytes: int


def compile_for_ethos_u(graph: Graph, configuration: str) -> Compiled:
    """``graph`` for the Ethos-U of this ``configuration``, one of ``CONFIGURATIONS``.

    Raises
    ------
    UnsupportedError
        TensorFlow Lite has no integer operator for some, or Vela does not compile the file.
    InputError
        It is a float Graph, or keeps states.
    """
    content = to_tflite(graph)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(content)
        done = subprocess.run(
            [
                *(sys.executable, "-c", "from ethosu.vela.vela import main; main()", path),
                *("--accelerator-config", configuration, "--output-dir", folder),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        made = Path(folder) / "model_vela.tflite"
        summaries = list(Path(folder).glob("model_summary_*.csv"))
        if done.returncode or not made.is_file() or len(summaries) != 1:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["nothing"]
            raise UnsupportedError(f"Vela does not compile the model: {said[-1][:_SHOWN]}")
        with summaries[0].open(encoding="utf-8", newline="") as file:
            (row,) = csv.DictReader(file)
        counts = dict(_OPERATORS.findall(done.stdout))
        return Compiled(
            made.read_bytes(),
            int(counts.get("NPU", 0)),
            int(counts.get("CPU", 0)),
            round(float(row["cycles_npu"])),
            float(row["inference_time"]),
            round(float(row["sram_memory_used"]) * _KIB),
            round(sum(float(row[f"{each}_memory_used"]) for each in _OUTSIDE) * _KIB),
        )
