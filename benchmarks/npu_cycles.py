"""Cycles of the zoo on the simulated NPU, beside Ethos-U55 as Vela estimates it, in one run.

    EDGEINFER_ZOO=DIR python benchmarks/npu_cycles.py [--configs 8x8] [--tflite DIR] [ENTRY ...]

Prints Markdown. ``cycles`` is one inference from START to done with inputs, outputs and weights
on the chip (what does not fit streams); ``streamed`` has all weights behind AXI4; ``pruned`` is
without the channels that training left constant. Ethos-U: NPU cycles with Sram_Only; ``vela`` must
be on PATH (pip install ethos-u-vela), and the entry's int8 model as ENTRY.int8.tflite in the zoo or
in ``--tflite DIR``; onnx2tf 1.29 (``-oiqt``) makes those that the zoo does not have. Vela leaves
resnet20's two strided slices to a CPU and does not count them; the NPU's cycles have them.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

from npu_inference import inference
from zoo_folder import folder, load

from edgeinfer.converters import from_onnx
from edgeinfer.hdl.config import PRESETS
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


def vela(models: Sequence[Path], macs: int) -> int | None:
    """NPU cycles of an Ethos-U55 with as many multipliers; None where they cannot be had."""
    if not models or shutil.which("vela") is None or macs not in ETHOS:
        return None
    with tempfile.TemporaryDirectory() as work:
        command = ["vela", str(models[0]), "--accelerator-config", ETHOS[macs]]
        command += ["--memory-mode", "Sram_Only", "--output-dir", work]
        subprocess.run(command, check=True, capture_output=True)
        (summary,) = Path(work).glob("*_summary_*.csv")
        with summary.open() as file:
            (row,) = csv.DictReader(file)
    return round(float(row["cycles_npu"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("entries", nargs="*", default=ENTRIES)
    parser.add_argument("--configs", nargs="*", default=["8x8", "8x16"], choices=list(PRESETS))
    parser.add_argument(
        "--scheme",
        choices=["int8", "int16x8", "int16"],
        help="Without it int16 where multipliers have 16 bits, else int8; recurrent layers in int8 "
        "need them as well: --configs 8x8-16 --scheme int8 mnist_lstm.",
    )
    parser.add_argument("--tflite", type=Path, help="Where there are more int8 models for Vela.")
    arguments = parser.parse_args()
    folders = [each for each in (folder(), arguments.tflite) if each is not None]
    warnings.simplefilter("ignore")
    headings = ["entry", "config", "MMAC", "cycles", "MACs busy", "predicted", "streamed", "pruned"]
    headings += ["Ethos-U55", "ratio", "simulated in"]
    print("|", " | ".join(headings), "|")
    print("|" + "---|" * len(headings))
    for name in arguments.entries:
        entry = load(name)
        for config in arguments.configs:
            scheme = arguments.scheme or ("int16" if config.endswith("-16") else "int8")
            # an input of 16 bits would leave the first layer to the host
            overrides = {} if config.endswith("-16") else {entry.input: "int8"}
            graph = quantize(
                from_onnx(entry.model), entry.calib, scheme=scheme, overrides=overrides
            )
            x = entry.x[:1]
            report, seconds = inference(graph, config, x)
            streamed, _ = inference(graph, config, x, stream_weights=True)
            pruned, _ = inference(prune_constant_channels(graph), config, x)
            peer = None
            if scheme == "int8":
                files = [each / f"{name}.int8.tflite" for each in folders]
                peer = vela([file for file in files if file.exists()], PRESETS[config].macs)
            cells = [
                name,
                config,
                f"{report.macs / 1e6:.2f}",
                f"{report.cycles:,}",
                f"{report.utilization:.1%}",
                f"{report.predicted:,}",
                f"{streamed.cycles:,}",
                f"{pruned.cycles:,}",
                "-" if peer is None else f"{peer:,}",
                "-" if peer is None else f"{peer / report.cycles:.2f}",
                f"{seconds:.2f} s",
            ]
            print("|", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
