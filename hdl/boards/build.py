"""An exported folder into a board's bitstream, with a report of its size and its speed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeinfer.errors import InputError, UnsupportedError
from edgeinfer.hdl.boards.design import LEAST_MEMORY, Design
from edgeinfer.hdl.boards.exported_model import ExportedModel
from edgeinfer.hdl.boards.families import FAMILIES
from edgeinfer.hdl.boards.family import TOP, Board, Fpga
from edgeinfer.hdl.boards.fitting import (
    check_fit,
    check_memories_fit,
    check_multipliers_fit,
    memory_beside,
)
from edgeinfer.hdl.boards.place_and_route import (
    Routed,
    native_nextpnr,
    pack,
    place_and_route,
    routing_progress,
    tool_packages,
)
from edgeinfer.hdl.boards.synthesis import Resources, check_multipliers, synthesize
from edgeinfer.hdl.boards.tool import check_installed
from edgeinfer.hdl.boards.work_folder import work_folder

__all__ = ["Build", "build", "realize", "report"]

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Build:
    """A bitstream.

    Parameters
    ----------
    design : Design
    model : ExportedModel
    resources : Resources
        Of the netlist.
    routed : Routed
    bitstream : str
        Its file's name.
    files : dict of str to bytes
        The bitstream, the report, the logs.
    """

    design: Design
    model: ExportedModel
    resources: Resources
    routed: Routed
    bitstream: str
    files: dict[str, bytes]

    @property
    def multiplier_cells(self) -> int:
        """Primitives that multiply, of whatever size."""
        family = FAMILIES[self.design.board.fpga.family]
        return sum(family.multiplier_cells(self.resources.cells).values())

    def rate(self, megahertz: float) -> float:
        """Inferences a second."""
        return 1e6 * megahertz / self.model.cycles


def build(
    folder: Path,
    board: Board,
    *,
    clock: float | None = None,
    baud: int = 1_000_000,
    memory_bytes: int | None = None,
    seed: int = 1,
    nextpnr: str | None = None,
    progress: Progress = lambda stage, count, total: None,
) -> Build:
    """Build the exported NPU in ``folder`` for ``board``.

    Parameters
    ----------
    folder : Path
    board : Board
    clock : float or None
        MHz of the NPU; None takes the board's.
    baud : int
        Of the serial line.
    memory_bytes : int or None
        Of block memory for the host's, a power of two; None takes what the model needs.
    seed : int
        Of the placer: another one gives another Fmax.
    nextpnr : str or None
        An executable in place of PyPI's, which is slower by the cost of WebAssembly.
    progress : callable
        Told the stage, how much of it is done, and of how much.

    Raises
    ------
    InputError
        The folder is none, or an option does not fit the board.
    UnsupportedError
        The NPU does not fit the FPGA, or not the clock.
    MissingExtraError
        A tool is not installed.
    ToolError
        One fails.
    OutputError
        There is no room for temporary files.
    """
    if nextpnr is not None:
        nextpnr = native_nextpnr(board, nextpnr)
    if memory_bytes is not None and memory_bytes & (memory_bytes - 1):
        raise InputError(f"the board's memory must be a power of two, not {memory_bytes:,} bytes")
    model = ExportedModel.read(folder)
    memory = _memory(model, board.fpga, memory_bytes)
    check_installed("amaranth_boards", "pyosys", *tool_packages(board, nextpnr))
    model.check_verilog(folder)
    design = Design(board, model.config, memory, clock or board.clock, baud)
    with work_folder() as work:
        resources, routed = realize(design, work, seed=seed, nextpnr=nextpnr, progress=progress)
        if routed.fmax < design.megahertz:
            slower = f"build it with --clock {int(routed.fmax)} or less, or " * (routed.fmax >= 1)
            raise UnsupportedError(
                f"routed, the NPU runs at {routed.fmax:.1f} MHz and not at "
                f"{design.megahertz:g}; {slower}try another --seed"
            )
        bitstream = pack(board, work)
        files = {
            name: (work / name).read_bytes()
            for name in (bitstream, "synthesis.log", "route.log", "timing.json")
        }
    made = Build(design, model, resources, routed, bitstream, files)
    files["report.json"] = (json.dumps(report(made), indent=1) + "\n").encode()
    return made


def _memory(model: ExportedModel, fpga: Fpga, asked: int | None) -> int:
    """Bytes of block memory for the host's; a refusal where the NPU has no place beside them."""
    check_multipliers_fit(fpga, model.config)
    if asked is None:
        needed = max(LEAST_MEMORY, 1 << (model.memory_bytes - 1).bit_length())
        check_memories_fit(fpga, model.config, needed)
        return needed
    if asked < model.memory_bytes:
        raise InputError(
            f"an inference of {model.name} takes {model.memory_bytes:,} bytes of host memory, and "
            f"{asked:,} are asked for"
        )
    check_memories_fit(fpga, model.config, model.memory_bytes)
    left = memory_beside(fpga, model.config)
    if asked > left:
        raise InputError(
            f"{asked:,} bytes of host memory are asked for, and {model.config.name} leaves "
            f"{left:,} of the block memory of {fpga.name}"
        )
    return asked


def realize(
    design: Design,
    work: Path,
    *,
    seed: int = 1,
    nextpnr: str | None = None,
    progress: Progress = lambda stage, count, total: None,
) -> tuple[Resources, Routed]:
    """Generate, synthesize, place and route ``design`` in ``work``, whatever its clock comes to.

    Raises
    ------
    UnsupportedError
        It does not fit the FPGA.
    MissingExtraError
        A tool is not installed.
    ToolError
        One fails.
    """
    progress("generating", 0, None)
    for file, content in design.files().items():
        (work / file).write_text(content)
    progress("generating", 1, 1)
    resources = _synthesized(design, work, progress)
    return resources, _routed(design, work, seed, nextpnr, progress)


def report(made: Build) -> dict[str, Any]:
    """What ``report.json`` holds."""
    design = made.design
    return {
        "board": design.board.name,
        "fpga": design.board.fpga.name,
        "model": made.model.name,
        "config": design.config.text,
        "memory_bytes": design.memory_bytes,
        "baud": design.baud,
        "clock_mhz": design.megahertz,
        "fmax_mhz": made.routed.fmax,
        "cycles": made.model.cycles,
        "inferences_per_second": made.rate(design.megahertz),
        "inferences_per_second_at_fmax": made.rate(made.routed.fmax),
        "resources": asdict(made.resources),
        "used": {name: list(each) for name, each in made.routed.used.items()},
        "bitstream": made.bitstream,
    }


def _synthesized(design: Design, work: Path, progress: Progress) -> Resources:
    fpga = design.board.fpga
    resources = synthesize(
        fpga.family,
        TOP,
        f"{TOP}.il",
        work,
        progress=lambda passes: progress("synthesizing", passes, None),
    )
    check_multipliers(fpga.family, design.config, resources)
    check_fit(fpga, design.config, resources)
    return resources


def _routed(
    design: Design, work: Path, seed: int, nextpnr: str | None, progress: Progress
) -> Routed:
    placing = 0

    def watch(line: str) -> None:
        nonlocal placing
        routing = routing_progress(line)
        if routing is not None:
            progress("routing", *routing)
        elif "at iteration" in line or "iter=" in line:
            placing += 1
            progress("placing", placing, None)

    return place_and_route(
        design.board, design.megahertz, work, seed=seed, nextpnr=nextpnr, watch=watch
    )
