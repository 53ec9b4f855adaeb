"""``edgeinfer hdl resources``: what an NPU takes of an FPGA family, by synthesis."""

from __future__ import annotations

from dataclasses import asdict

import click

from edgeinfer.cli import screen
from edgeinfer.cli.command import Report, command
from edgeinfer.cli.hdl.options import config_option

__all__ = ["resources"]

_FAMILIES = ("ecp5", "gowin", "ice40", "xc7", "xcup")


@command(example="edgeinfer hdl resources --config 8x16 --family xc7")
@config_option
@click.option(
    "--family",
    type=click.Choice(_FAMILIES),
    required=True,
    help="Lattice ECP5 and iCE40 UltraPlus, Gowin GW2A, Xilinx 7 series and UltraScale+.",
)
def resources(config: str, family: str) -> Report:
    """Synthesize an NPU with Yosys and count what it takes.

    The NPU is behind a serial line with 8 KiB for host memory, as on a board. Takes a minute or
    two. For Xilinx's families it is an estimate: their own tools pack otherwise.
    """
    from edgeinfer.hdl.boards.alone import synthesize_alone
    from edgeinfer.hdl.boards.families import FAMILIES
    from edgeinfer.hdl.boards.work_folder import work_folder
    from edgeinfer.hdl.config import configuration

    chosen = configuration(config)
    with screen.progress() as done, work_folder() as folder:
        found = synthesize_alone(
            chosen,
            family,
            folder,
            progress=lambda passes: done("synthesizing", passes, None),
        )
    devices = FAMILIES[family].fpgas
    compared = zip(*(found.beside(fpga) for fpga in devices), strict=True)
    rows = [
        (kind[0][0], f"{kind[0][1]:,.0f}", *(f"{used / of:.0%}" for _, used, of in kind))
        for kind in compared
    ]
    return Report(
        {"config": chosen.text, "family": family, **asdict(found)},
        [
            screen.table(
                (chosen.name, "used", *(f"of {fpga.name}" for fpga in devices)), rows, left=1
            )
        ],
    )
