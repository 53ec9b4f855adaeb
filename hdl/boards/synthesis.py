"""RTLIL into a netlist of one family's primitives, mostly by Yosys, and a count of them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeinfer.hdl.boards.families import FAMILIES
from edgeinfer.hdl.boards.family import Fpga
from edgeinfer.hdl.boards.tool import ToolError, run_tool
from edgeinfer.hdl.config import NpuConfig

__all__ = ["Resources", "check_multipliers", "counted", "run_yosys", "synthesize"]

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
    found = FAMILIES[family].multiplier_cells(resources.cells)
    if found != expected:
        raise ToolError(
            f"the netlist has {_listed(found)} where the configuration has {_listed(expected)}; "
            "this is Yosys's mistake or ours, and the netlist is not to be trusted"
        )


def _listed(multipliers: Mapping[str, int]) -> str:
    return " and ".join(f"{count} {name}" for name, count in sorted(multipliers.items())) or "none"
