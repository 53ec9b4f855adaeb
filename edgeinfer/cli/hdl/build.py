"""``edgeinfer hdl build``: an exported NPU into a board's bitstream."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeinfer.cli import screen
from edgeinfer.cli.command import Report, command
from edgeinfer.cli.hdl.options import Megahertz, baud_option
from edgeinfer.cli.options import FILE
from edgeinfer.errors import InputError
from edgeinfer.files.input_file import is_folder

if TYPE_CHECKING:
    from edgeinfer.hdl.boards.build import Build

__all__ = ["build"]


@command(example="edgeinfer hdl build digits_npu --board ulx3s-85f")
@click.argument("folder", metavar="DIR", type=FILE)
@click.option(
    "--board",
    "name",
    metavar="NAME",
    required=True,
    help="ulx3s-85f, ecpix5-85f, orangecrab-25f or tangnano20k.",
)
@click.option("-o", "--output", metavar="OUT", type=FILE, help="A new folder; otherwise DIR/NAME.")
@click.option(
    "--clock",
    metavar="MHZ",
    type=Megahertz(1, 1000),
    help="Of the NPU; otherwise 60 on an ECP5, else the board's oscillator's.",
)
@baud_option
@click.option(
    "--memory",
    metavar="KIB",
    type=click.IntRange(1, 1 << 20),
    help="Block memory in place of a host's, a power of two; otherwise what the model needs.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=1,
    show_default=True,
    help="Of the placer; another one gives another clock.",
)
@click.option(
    "--nextpnr",
    metavar="PROGRAM",
    help="A native nextpnr for the board's family, two to three times as fast as PyPI's.",
)
def build(
    folder: Path,
    name: str,
    output: Path | None,
    clock: float | None,
    baud: int,
    memory: int | None,
    seed: int,
    nextpnr: str | None,
) -> Report:
    """Make a board's bitstream from an exported folder.

    On the board the NPU is behind a serial line; edgeinfer hdl run runs models on it. Place and
    route takes minutes for a small NPU and hours for 8x16, less with a native --nextpnr. Nothing is
    written unless it all succeeds.
    """
    from edgeinfer.files.new_folder import check_new_folder, write_new_folder
    from edgeinfer.hdl.boards import board_named
    from edgeinfer.hdl.boards.build import build as built
    from edgeinfer.hdl.boards.build import report

    board = board_named(name)
    if not is_folder(folder):
        raise InputError(f"there is no folder {folder}; make one with: edgeinfer hdl export")
    target = folder / board.name if output is None else output
    check_new_folder(target)
    with screen.stages() as done:
        made = built(
            folder,
            board,
            clock=clock,
            baud=baud,
            memory_bytes=None if memory is None else 1024 * memory,
            seed=seed,
            nextpnr=nextpnr,
            progress=done,
        )
    write_new_folder(target, made.files)
    return Report(
        report(made) | {"output": str(target)},
        [
            screen.table(
                ("resource", "used", "of", "share"),
                [
                    (kind, f"{used:,}", f"{there:,}", f"{used / there:.0%}")
                    for kind, (used, there) in sorted(made.routed.used.items())
                ],
                left=1,
            ),
            "",
            *screen.pairs(_summary(made)),
            "",
            f"wrote {target}; load it with",
            f"  cd {target} && {board.program}",
            f"then, the serial line being {board.serial}:",
            "  edgeinfer hdl run MODEL.eqm --port PORT --data DATA",
        ],
    )


def _summary(made: Build) -> list[tuple[str, str]]:
    design = made.design
    clock, fmax = design.megahertz, made.routed.fmax
    return [
        ("board", design.board.title),
        ("NPU", f"{design.config.name}, {design.memory_bytes // 1024} KiB for host memory"),
        (
            "multipliers",
            f"{made.multiplier_cells}: {design.config.macs} in the array, the others in the lanes",
        ),
        ("clock", f"{clock:g} MHz; it would run at {fmax:.1f}"),
        (
            made.model.name,
            f"{made.model.cycles:,} cycles, {made.rate(clock):,.0f} inferences a second "
            f"({made.rate(fmax):,.0f} at {fmax:.1f} MHz)",
        ),
        ("serial line", f"{design.baud} baud"),
    ]
