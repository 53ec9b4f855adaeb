"""What NPUs take of each FPGA family after synthesis, and the MLPerf Tiny models that each holds.

    EDGEINFER_ZOO=DIR python benchmarks/npu_resources.py [--families ecp5 gowin] [--write]

Prints Markdown. ``--write`` puts the rows of these families into hdl/boards/measured.json, which
``edgeinfer hdl build`` takes its advice from. A model is held if its inference runs without host
memory. Takes one to three minutes for each row.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

from zoo_folder import load

from edgeinfer.converters import from_onnx
from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Graph
from edgeinfer.hdl.boards import fitting
from edgeinfer.hdl.boards.alone import synthesize_alone
from edgeinfer.hdl.boards.families import FAMILIES
from edgeinfer.hdl.boards.synthesis import Resources
from edgeinfer.hdl.compiler import compile
from edgeinfer.hdl.config import NpuConfig, configuration
from edgeinfer.quant import quantize

MODELS = {"AD": "ad_autoencoder", "KWS": "kws_dscnn", "IC": "ic_resnet8", "VWW": "vww_mobilenet"}
SMALLEST = (
    "2x4,lanes=1,accumulator_depth=8,buffer_bytes=4096,weight_bytes=4096,parameter_rows=64,"
    "weight_port=1,bus_bytes=4,tables=0"
)
KEYWORDS = "4x4,lanes=2,buffer_bytes=16384,weight_bytes=36864,parameter_rows=320,bus_bytes=4"
"""All of KWS in as little memory as it takes; explore --dsp 22 --bram 60 finds its sizes."""
KEYWORDS_ONE_LANE = (
    "4x4,lanes=1,accumulator_depth=8,buffer_bytes=16384,weight_bytes=36864,parameter_rows=640,"
    "weight_port=1,bus_bytes=4,tables=0"
)
"""The same in as little logic as it takes."""
CONFIGS = {
    "ecp5": (SMALLEST, "4x4", KEYWORDS, "4x8,lanes=2", "8x8", "8x16"),
    "gowin": (SMALLEST, KEYWORDS_ONE_LANE),
    "ice40": (SMALLEST,),
    "xc7": ("4x4", "8x8", "8x16", "16x16"),
    "xcup": ("8x16", "16x16"),
}


def quantized(models: dict[str, str]) -> dict[str, Graph]:
    """Entries of the zoo by other names, quantized."""
    warnings.simplefilter("ignore")
    entries = {short: load(name) for short, name in models.items()}
    return {s: quantize(from_onnx(entry.model), entry.calib) for s, entry in entries.items()}


def held(graphs: dict[str, Graph], config: NpuConfig) -> list[str]:
    """The models whose inference asks for nothing of host memory."""
    found = []
    for name, graph in graphs.items():
        try:
            program = compile(graph, config).program
        except UnsupportedError:
            continue
        if not program.streams:
            found.append(name)
    return found


def measured(family: str, config: NpuConfig) -> Resources:
    with tempfile.TemporaryDirectory() as folder:
        return synthesize_alone(config, family, Path(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", nargs="*", default=list(FAMILIES), choices=list(FAMILIES))
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    graphs = quantized(MODELS)
    headings = ["family", "config", "LUTs", "flip-flops", "multipliers", "memories", "holds"]
    print("|", " | ".join(headings), "|")
    print("|" + "---|" * len(headings))
    for family in arguments.families:
        rows = [row(family, configuration(text), text, graphs) for text in CONFIGS[family]]
        if arguments.write:
            write(family, rows)


def row(family: str, config: NpuConfig, text: str, graphs: dict[str, Graph]) -> dict[str, object]:
    found, models = measured(family, config), held(graphs, config)
    cells: Sequence[str] = [
        family,
        config.name,
        f"{found.lookup_tables:,}",
        f"{found.flip_flops:,}",
        f"{found.multipliers:g}",
        f"{found.memories:g}",
        ", ".join(models) or "-",
    ]
    print("|", " | ".join(cells), "|", flush=True)
    return {
        "config": text,
        "macs": config.macs,
        "lookup_tables": found.lookup_tables,
        "flip_flops": found.flip_flops,
        "multipliers": found.multipliers,
        "memories": found.memories,
        "models": models,
    }


def write(family: str, rows: list[dict[str, object]]) -> None:
    path = Path(fitting.__file__).with_name("measured.json")
    document = json.loads(path.read_text()) | {family: rows}
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
