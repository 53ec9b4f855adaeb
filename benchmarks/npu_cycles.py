"""Cycles of the zoo on the simulated NPU, beside Ethos-U55 as Vela estimates it, in one run.

    EDGEINFER_ZOO=DIR python benchmarks/npu_cycles.py [--configs 8x8 8x16] [ENTRY ...]

Prints Markdown. ``cycles`` is one inference from START to done with inputs, outputs and weights
on the chip (what does not fit streams); ``streamed`` has all weights behind AXI4; ``pruned`` is
without the channels that training left constant. Ethos-U: NPU cycles with Sram_Only; ``vela`` must
be on PATH (pip install ethos-u-vela), and the zoo must have the entry's .tflite.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

from edgeinfer.converters import from_onnx
from edgeinfer.graph import Graph
from edgeinfer.hdl.config import PRESETS
from edgeinfer.hdl.simulation.simulation import Report, Simulation
from edgeinfer.quant import prune_constant_channels, quantize

ENTRIES = (
    "ad_autoencoder",
    "kws_dscnn",
    "ic_resnet8",
    "vww_mobilenet",
    "armkws_ds_cnn_s",
    "cifar10_resnet20",
)
ETHOS = {32: "ethos-u55-32", 64: "ethos-u55-64", 128: "ethos-u55-128", 256: "ethos-u55-256"}


def vela(model: Path, macs: int) -> str:
    """NPU cycles of an Ethos-U55 with as many multipliers."""
    if not model.exists() or shutil.which("vela") is None or macs not in ETHOS:
        return "-"
    with tempfile.TemporaryDirectory() as folder:
        command = ["vela", str(model), "--accelerator-config", ETHOS[macs]]
        command += ["--memory-mode", "Sram_Only", "--output-dir", folder]
        subprocess.run(command, check=True, capture_output=True)
        (summary,) = Path(folder).glob("*_summary_*.csv")
        with summary.open() as file:
            (row,) = csv.DictReader(file)
    return f"{float(row['cycles_npu']):,.0f}"


def measured(graph: Graph, config: str, x, **options: bool) -> tuple[Report, float]:
    """The report of one inference that equals the CPU's in every value, and its seconds."""
    with Simulation(graph, config, **options) as simulation:
        start = time.perf_counter()
        simulation.run(x)
        seconds = time.perf_counter() - start
        wrong = simulation.mismatches()
        if wrong:
            raise SystemExit(str(wrong[0]))
        return simulation.report(), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("entries", nargs="*", default=ENTRIES)
    parser.add_argument("--configs", nargs="*", default=["8x8", "8x16"], choices=list(PRESETS))
    arguments = parser.parse_args()
    if "EDGEINFER_ZOO" not in os.environ:
        parser.error("EDGEINFER_ZOO must name the zoo's folder")
    sys.path.insert(0, os.environ["EDGEINFER_ZOO"])
    import zoo

    warnings.simplefilter("ignore")
    headings = ["entry", "config", "MMAC", "cycles", "MACs busy", "predicted", "streamed", "pruned"]
    headings += ["Ethos-U55", "ratio", "simulated in"]
    print("|", " | ".join(headings), "|")
    print("|" + "---|" * len(headings))
    for name in arguments.entries:
        entry = zoo.load(name)
        for config in arguments.configs:
            scheme = "int16" if config.endswith("-16") else "int8"
            graph = quantize(from_onnx(entry.model), entry.calib, scheme=scheme)
            x = entry.x[:1]
            report, seconds = measured(graph, config, x)
            streamed, _ = measured(graph, config, x, stream_weights=True)
            pruned, _ = measured(prune_constant_channels(graph), config, x)
            peer = "-"
            if scheme == "int8":
                file = Path(os.environ["EDGEINFER_ZOO"]) / f"{name}.int8.tflite"
                peer = vela(file, PRESETS[config].macs)
            ratio = "-"
            if peer != "-":
                ratio = f"{float(peer.replace(',', '')) / report.cycles:.2f}"
            cells = [
                name,
                config,
                f"{report.macs / 1e6:.2f}",
                f"{report.cycles:,}",
                f"{report.utilization:.1%}",
                f"{report.predicted:,}",
                f"{streamed.cycles:,}",
                f"{pruned.cycles:,}",
                peer,
                ratio,
                f"{seconds:.2f} s",
            ]
            print("|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
