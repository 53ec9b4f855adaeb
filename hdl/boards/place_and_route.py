"""A netlist into a bitstream: nextpnr places and routes it, a family's packer writes the bits."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeinfer.errors import InputError
from edgeinfer.hdl.boards.families import bitstreams
from edgeinfer.hdl.boards.family import Board, calls
from edgeinfer.hdl.boards.tool import ToolError, run_tool
from edgeinfer.hdl.processes import QUOTED, run

__all__ = [
    "Routed",
    "native_nextpnr",
    "pack",
    "place_and_route",
    "routing_progress",
    "tool_packages",
]

_HELP_SECONDS = 60.0
_HELP_LINES = 1000


def tool_packages(board: Board, nextpnr: str | None) -> tuple[str, ...]:
    """The packages whose tools make a bitstream for ``board``; ``nextpnr`` stands for its own."""
    tools = bitstreams(board.fpga).tools
    return (tools.packer,) if nextpnr is not None else (tools.package, tools.packer)


def native_nextpnr(board: Board, program: str) -> str:
    """The whole path of ``program``, a nextpnr for the family of ``board``.

    Raises
    ------
    InputError
        There is no such program, or it is none for the board: its help lacks an option.
    """
    found = shutil.which(program)
    if found is None:
        raise InputError(f"cannot run {program}: there is no such program")
    # it runs in another folder
    path = str(Path(found).absolute())
    lines = _help(path)
    # of the family, and of the device, which an ECP5's nextpnr without the device's data lacks
    for option in (bitstreams(board.fpga).tools.constraints[0], board.place_and_route[0]):
        if not any(option in line.split() for line in lines):
            said = lines[-1].strip()[:QUOTED] if lines else "nothing"
            raise InputError(
                f"{program} is no nextpnr for {board.name}: its --help has no {option}; it ends "
                f"with: {said}"
            )
    return path


def _help(program: str) -> list[str]:
    """The first lines that ``program`` says of itself; it may be anything."""
    lines: list[str] = []

    def heard(line: str) -> None:
        lines.append(line)
        if len(lines) == _HELP_LINES:
            raise EOFError

    with suppress(EOFError):
        run([program, "--help"], seconds=_HELP_SECONDS, watch=heard)
    return lines


@dataclass(frozen=True)
class Routed:
    """What place and route came to.

    Parameters
    ----------
    fmax : float
        MHz at which the NPU's clock may run.
    used : dict of str to (int, int)
        For each kind of the FPGA's elements how many are used, and how many there are.
    """

    fmax: float
    used: Mapping[str, tuple[int, int]]


def place_and_route(
    board: Board,
    clock: float,
    folder: Path,
    *,
    seed: int = 1,
    nextpnr: str | None = None,
    watch: Callable[[str], None] = lambda line: None,
) -> Routed:
    """Place and route ``netlist.json`` in ``folder``, with ``nextpnr`` or that of PyPI.

    Raises
    ------
    InputError
        ``nextpnr`` cannot be run.
    MissingExtraError
        nextpnr is not installed.
    ToolError
        It has failed: what does not fit it says itself.
    """
    tools = bitstreams(board.fpga).tools
    run_tool(
        tools.package,
        calls(tools.package, tools.function),
        [
            *board.place_and_route,
            *tools.constraints,
            *tools.placer,
            *tools.output,
            "--json",
            "netlist.json",
            "--freq",
            f"{clock:g}",
            "--seed",
            f"{seed}",
            "--timing-allow-fail",
            "--report",
            "timing.json",
        ],
        folder,
        "route.log",
        program=nextpnr,
        watch=watch,
    )
    try:
        return _reported(json.loads((folder / "timing.json").read_text()))
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        name = nextpnr or tools.package
        raise ToolError(f"{name} has left no timing report; is it nextpnr?") from error


def _reported(report: Any) -> Routed:
    # the oscillator's own domain holds nothing but the PLL
    fmax = min(float(each["achieved"]) for each in report["fmax"].values())
    if not 0 < fmax < math.inf:
        raise ValueError("no clock")
    return Routed(
        fmax,
        {
            name: (int(each["used"]), int(each["available"]))
            for name, each in report["utilization"].items()
            # nextpnr also counts cells of its own, of which the FPGA has none
            if each["used"] and each["available"]
        },
    )


def pack(board: Board, folder: Path) -> str:
    """Write the bitstream of what was routed in ``folder``; its file's name.

    Raises
    ------
    MissingExtraError
        The packer is not installed.
    ToolError
        It has failed.
    """
    tools = bitstreams(board.fpga).tools
    run_tool(tools.packer, tools.packer_code, tools.pack, folder, "pack.log")
    return tools.bitstream


def routing_progress(line: str) -> tuple[int, int] | None:
    """Arcs that are routed, and all, from a line of nextpnr's router; None from any other."""
    found = re.match(r"Info: +\d+ \| +\d+ +(\d+) \| +\d+ +\d+ \| +(\d+)\|", line)
    if not found:
        return None
    routed, left = map(int, found.groups())
    return routed, routed + left
