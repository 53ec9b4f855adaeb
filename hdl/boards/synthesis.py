"""RTLIL into a netlist of one family's primitives, mostly by Yosys, and a count of them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeinfer.hdl.boards.board import Fpga
from edgeinfer.hdl.boards.gowin_places import places_beside_lookup_tables
from edgeinfer.hdl.boards.product_registers import absorb_product_registers
from edgeinfer.hdl.boards.tool import ToolError, run_tool
from edgeinfer.hdl.config import NpuConfig

__all__ = ["FAMILIES", "Resources", "check_multipliers", "counted", "run_yosys", "synthesize"]

_YOSYS = """
import sys
from pyosys import libyosys
design = libyosys.Design()
for command in sys.argv[1:]:
    libyosys.run_pass(command, design)
"""

_KEEP_REPLICAS = "setattr -set keep 1 a:keep=1 %ci1 c:* %i"
"""Yosys keeps the net of a ``pipeline.replica`` but merges the registers that drive it."""


@dataclass(frozen=True)
class Family:
    """How a family is synthesized and how its primitives count.

    Parameters
    ----------
    commands : tuple of str
        Of Yosys; ``{top}`` is the top module.
    lookup_tables, flip_flops, multipliers, memories : dict of str to int
        What each primitive takes of these, by a pattern that its name matches.
    finish : callable or None
        What is done to a module of the netlist after Yosys.
    other_places : callable or None
        Lookup tables' places that a module takes for anything else.
    cell : dict of int to str
        The primitive in a cell of the array, by the width of the NPU's elements.
    lane : dict of int to dict of str to int
        How many of which are in a lane, likewise.
    """

    commands: tuple[str, ...]
    lookup_tables: Mapping[str, float]
    flip_flops: Mapping[str, float]
    multipliers: Mapping[str, float]
    memories: Mapping[str, float]
    cell: Mapping[int, str]
    lane: Mapping[int, Mapping[str, int]]
    finish: Callable[[dict[str, Any]], object] | None = None
    other_places: Callable[[Mapping[str, Any]], int] | None = None

    def multiplier_cells(self, resources: Resources) -> dict[str, int]:
        """The primitives that multiply, and how many there are of each."""
        return {name: resources.cells[name] for name in self.multipliers if name in resources.cells}

    def expected_multiplier_cells(self, config: NpuConfig) -> dict[str, int]:
        """Those that an NPU has."""
        count = Counter({self.cell[config.width]: config.macs})
        for name, each in self.lane[config.width].items():
            count[name] += config.lanes * each
        return dict(count)

    def needed_multipliers(self, config: NpuConfig) -> float:
        """What these take of multipliers of 18 x 18 bits."""
        expected = self.expected_multiplier_cells(config)
        return sum(self.multipliers[name] * count for name, count in expected.items())


_SMALL = "+strash;ifraig;scorr;dc2;dch,-f;if,-a,-K,4;mfs2,-a;lutpack,-S,1"
"""A script for ABC that looks for few lookup tables of four inputs."""

FAMILIES = {
    "ecp5": Family(
        ("synth_ecp5 -top {top}",),
        {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6},
        {"TRELLIS_FF": 1},
        {"MULT18X18D": 1},
        {"DP16KD": 1},
        cell={8: "MULT18X18D", 16: "MULT18X18D"},
        lane={8: {"MULT18X18D": 3}, 16: {"MULT18X18D": 5}},
        finish=absorb_product_registers,
    ),
    "gowin": Family(
        (
            # a multiplexer made of several lookup tables wants them side by side, up to two tiles
            # of them, for which nextpnr's placer has to look long
            "synth_gowin -family gw2a -nowidelut -top {top} -run :map_gates",
            # an adder's bit takes a lookup table's place and its register another, a sum made of
            # lookup tables shares them; carries through more than 32 of these would be slow
            "techmap -map +/techmap.v t:$alu r:Y_WIDTH<=32 %i",
            "opt -full",
            "synth_gowin -family gw2a -nowidelut -top {top} -run map_gates:map_luts",
            # for area: the board's clock is slow
            f"abc -lut 4 -script {_SMALL}",
            "clean",
            "synth_gowin -family gw2a -nowidelut -top {top} -run map_cells:",
        ),
        # a memory of 16 words bars nextpnr from all else in its tile
        {"LUT[1-4]": 1, "ALU": 1, "RAM16SDP4": 8},
        {"DFF.*": 1},
        {"MULT9X9": 0.5, "MULT18X18": 1, "MULT36X36": 4},
        {"(SDP|DP|SP|ROM|pROM)X?9?B?": 1},
        cell={8: "MULT9X9", 16: "MULT18X18"},
        lane={8: {"MULT18X18": 3}, 16: {"MULT18X18": 3, "MULT9X9": 4}},
        other_places=places_beside_lookup_tables,
    ),
    # not -dsp: its pass ice40_dsp, which moves registers and sums into the multipliers, loses
    # products in Yosys 0.70
    "ice40": Family(
        (
            # it has no distributed memory to ask for: flip-flops, as its block memory has clocks
            "setattr -unset ram_style */m:*",
            "synth_ice40 -device u -top {top} -run begin:coarse",
            "opt_expr; opt_clean; opt -nodffe -nosdff; wreduce; peepopt; opt_clean",
            "memory_dff; alumacc -macc-only; maccmap -unmap; opt_clean; wreduce t:$mul",
            "techmap -map +/mul2dsp.v -map +/ice40/dsp_map.v -D DSP_A_MAXWIDTH=16 "
            "-D DSP_B_MAXWIDTH=16 -D DSP_A_MINWIDTH=2 -D DSP_B_MINWIDTH=2 -D DSP_Y_MINWIDTH=11 "
            "-D DSP_NAME=$__MUL16X16",
            "chtype -set $mul t:$__soft_mul",
            "synth_ice40 -device u -top {top} -run coarse:",
        ),
        {"SB_LUT4": 1},
        {"SB_DFF.*": 1},
        {"SB_MAC16": 1},
        {"SB_RAM40_4K.*": 1},
        cell={8: "SB_MAC16", 16: "SB_MAC16"},
        # 16 x 16 bits are too few for the product of sums
        lane={8: {"SB_MAC16": 5}, 16: {"SB_MAC16": 7}},
    ),
    "xc7": Family(
        ("synth_xilinx -family xc7 -flatten -top {top}",),
        {"LUT[1-6]": 1, "RAM32M": 4, "RAM64M": 4, "RAM32X1D": 2, "RAM64X1D": 2, "SRL.*": 1},
        {"FD.*": 1},
        {"DSP48E1": 1},
        {"RAMB36E1": 1, "RAMB18E1": 0.5},
        cell={8: "DSP48E1", 16: "DSP48E1"},
        lane={8: {"DSP48E1": 3}, 16: {"DSP48E1": 3}},
    ),
    "xcup": Family(
        ("synth_xilinx -family xcup -flatten -top {top}",),
        {"LUT[1-6]": 1, "RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8, "SRL.*": 1},
        {"FD.*": 1},
        {"DSP48E2": 1},
        {"RAMB36E2": 1, "RAMB18E2": 0.5},
        cell={8: "DSP48E2", 16: "DSP48E2"},
        lane={8: {"DSP48E2": 3}, 16: {"DSP48E2": 3}},
    ),
}
"""By name; of Xilinx's only resources are counted."""


@dataclass(frozen=True)
class Resources:
    """What a netlist takes.

    Parameters
    ----------
    lookup_tables, flip_flops : int
        On a GW2A the first are the places for lookup tables, whatever takes them.
    multipliers : float
        Of 18 x 18 bits; halves where a family has smaller ones.
    memories : float
        Blocks; halves likewise.
    cells : dict of str to int
        Every primitive.
    """

    lookup_tables: int
    flip_flops: int
    multipliers: float
    memories: float
    cells: Mapping[str, int]

    def beside(self, fpga: Fpga) -> list[tuple[str, float, int]]:
        """Each kind, what the netlist takes of it, and what ``fpga`` has."""
        return [
            ("lookup tables", self.lookup_tables, fpga.lookup_tables),
            ("flip-flops", self.flip_flops, fpga.flip_flops),
            ("multipliers", self.multipliers, fpga.multipliers),
            ("block memories", self.memories, fpga.memories),
        ]


def run_yosys(
    commands: Sequence[str],
    folder: Path,
    log: str,
    *,
    progress: Callable[[int], None] = lambda passes: None,
) -> None:
    """Run commands of Yosys in ``folder``; ``progress`` is told how many passes have begun.

    Raises
    ------
    MissingExtraError
        pyosys is not installed.
    ToolError
        Yosys has failed.
    """
    passes = 0

    def watch(line: str) -> None:
        nonlocal passes
        if ". Executing " in line:
            passes += 1
            progress(passes)

    run_tool("pyosys", _YOSYS, commands, folder, log, watch=watch)


def synthesize(
    family: str,
    top: str,
    source: str,
    folder: Path,
    *,
    progress: Callable[[int], None] = lambda passes: None,
) -> Resources:
    """Make ``netlist.json`` in ``folder`` from its RTLIL file ``source``.

    Raises
    ------
    MissingExtraError
        pyosys is not installed.
    ToolError
        Yosys has failed.
    """
    chosen = FAMILIES[family]
    run_yosys(
        [
            f"read_rtlil {source}",
            _KEEP_REPLICAS,
            *(command.format(top=top) for command in chosen.commands),
            "write_json netlist.json",
        ],
        folder,
        "synthesis.log",
        progress=progress,
    )
    path = folder / "netlist.json"
    netlist = json.loads(path.read_text())
    module = netlist["modules"][top]
    if chosen.finish is not None:
        chosen.finish(module)
        path.write_text(json.dumps(netlist))
    return counted(family, module)


def counted(family: str, module: Mapping[str, Any]) -> Resources:
    """What a flat ``module`` of Yosys's JSON takes.

    Raises
    ------
    ToolError
        It has no cells.
    """
    cells = Counter(
        cell["type"] for cell in module["cells"].values() if not cell["type"].startswith("$")
    )
    if not cells:
        raise ToolError("Yosys has counted no cells")
    chosen = FAMILIES[family]

    def total(weights: Mapping[str, float]) -> float:
        return sum(
            weight * count
            for pattern, weight in weights.items()
            for name, count in cells.items()
            if re.fullmatch(pattern, name)
        )

    other_places = chosen.other_places(module) if chosen.other_places else 0
    return Resources(
        lookup_tables=round(total(chosen.lookup_tables)) + other_places,
        flip_flops=round(total(chosen.flip_flops)),
        multipliers=total(chosen.multipliers),
        memories=total(chosen.memories),
        cells=dict(sorted(cells.items())),
    )


def check_multipliers(family: str, config: NpuConfig, resources: Resources) -> None:
    """Refuse a netlist with other multipliers than the configuration has.

    Raises
    ------
    ToolError
        Yosys has lost some, or made some of logic.
    """
    expected = FAMILIES[family].expected_multiplier_cells(config)
    found = FAMILIES[family].multiplier_cells(resources)
    if found != expected:
        raise ToolError(
            f"the netlist has {_listed(found)} where the configuration has {_listed(expected)}; "
            "this is Yosys's mistake or ours, and the netlist is not to be trusted"
        )


def _listed(multipliers: Mapping[str, int]) -> str:
    return " and ".join(f"{count} {name}" for name, count in sorted(multipliers.items())) or "none"
