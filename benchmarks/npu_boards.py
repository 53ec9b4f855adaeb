"""How fast NPUs are on boards, placed and routed, and how many inferences a second that makes.

    EDGEINFER_ZOO=DIR python benchmarks/npu_boards.py [--only ulx3s-85f] [--config 8x8]

Prints Markdown. The clock that is asked for drives placer and router; the one that is reached is
nextpnr's, in the slow corner. Rates are of that clock and of the cycles that the simulated NPU
takes with every value equal to the CPU's; a model that would need more of the board's memory has
none. A row takes ten minutes to some hours and half a gigabyte to two.
"""

from __future__ import annotations

import argparse
import functools
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from npu_inference import inference
from npu_resources import KEYWORDS, KEYWORDS_ONE_LANE, quantized
from zoo_folder import folder

from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Graph
from edgeinfer.hdl.boards.build import realize
from edgeinfer.hdl.boards.design import LEAST_MEMORY, Design
from edgeinfer.hdl.boards.families import BOARDS
from edgeinfer.hdl.compiler import compile
from edgeinfer.hdl.compiler.host_image import inference_memory
from edgeinfer.hdl.config import configuration

MODELS = {"KWS": "kws_dscnn", "VWW": "vww_mobilenet"}
ROUTABLE = "8x16,weight_bytes=262144"
"""What has been routed on an ECP5-85F; all of MLPerf Tiny but AD is on the chip."""


@dataclass(frozen=True)
class Case:
    """A board, a configuration, the MHz that are asked for."""

    board: str
    config: str
    clock: float


CASES = (
    Case("ulx3s-85f", "4x4", 100),
    Case("ulx3s-85f", "8x8", 100),
    Case("ulx3s-85f", ROUTABLE, 80),
    Case("ulx3s-85f", "8x16", 80),
    Case("ecpix5-85f", "8x8", 125),
    Case("ecpix5-85f", ROUTABLE, 100),
    Case("ecpix5-85f", "8x16", 100),
    Case("orangecrab-25f", KEYWORDS, 80),
    Case("tangnano20k", KEYWORDS_ONE_LANE, 27),
)


@functools.cache
def models() -> dict[str, Graph]:
    return quantized(MODELS)


@functools.cache
def cycles(config: str, model: str) -> int | None:
    """Of one inference on the simulated NPU; None where it needs more than the board's memory."""
    graph = models()[model]
    try:
        program = compile(graph, configuration(config)).program
    except UnsupportedError:
        return None
    if len(inference_memory(program)[0]) > LEAST_MEMORY:
        return None
    rng = np.random.default_rng(0)
    inputs = {n: rng.integers(-128, 128, graph.types[n].shape, np.int8) for n in graph.inputs}
    report, _ = inference(graph, config, inputs)
    return report.cycles


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=list(BOARDS), choices=list(BOARDS))
    parser.add_argument("--config", help="Only rows of this configuration.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nextpnr", help="A native one in place of PyPI's.")
    arguments = parser.parse_args()
    folder()
    headings = ["board", "config", "LUTs", "flip-flops", "multipliers", "memories"]
    headings += ["asked", "reached", *(f"{model} a second" for model in MODELS), "built in"]
    print("|", " | ".join(headings), "|")
    print("|" + "---|" * len(headings))
    for case in CASES:
        if case.board in arguments.only and arguments.config in (None, case.config):
            print("|", " | ".join(row(case, arguments.seed, arguments.nextpnr)), "|", flush=True)


def row(case: Case, seed: int, nextpnr: str | None) -> list[str]:
    board, config = BOARDS[case.board], configuration(case.config)
    design = Design(board, config, LEAST_MEMORY, case.clock, 1_000_000)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as work:
        resources, routed = realize(design, Path(work), seed=seed, nextpnr=nextpnr)
    minutes = (time.perf_counter() - start) / 60
    fpga = board.fpga
    taken = [cycles(case.config, model) for model in MODELS]
    return [
        f"{board.name} ({fpga.name})",
        case.config,
        f"{resources.lookup_tables:,} of {fpga.lookup_tables:,}",
        f"{resources.flip_flops:,}",
        f"{resources.multipliers:g} of {fpga.multipliers}",
        f"{resources.memories:g} of {fpga.memories}",
        f"{design.megahertz:g}",
        f"{routed.fmax:.1f} MHz",
        *("-" if each is None else f"{1e6 * routed.fmax / each:,.0f}" for each in taken),
        f"{minutes:.0f} min",
    ]


if __name__ == "__main__":
    main()
