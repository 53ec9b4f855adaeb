"""The families of FPGAs, one file each, and their boards."""

from __future__ import annotations

from edgeinfer.errors import InputError
from edgeinfer.hdl.boards.families.ecp5 import ECP5
from edgeinfer.hdl.boards.families.gowin import GOWIN
from edgeinfer.hdl.boards.families.ice40 import ICE40
from edgeinfer.hdl.boards.families.xilinx import XC7, XCUP
from edgeinfer.hdl.boards.family import Bitstreams, Board, Family, Fpga

__all__ = ["BOARDS", "FAMILIES", "bitstreams", "board_named"]

FAMILIES: dict[str, Family] = {
    "ecp5": ECP5,
    "gowin": GOWIN,
    "ice40": ICE40,
    "xc7": XC7,
    "xcup": XCUP,
}
"""By name."""

BOARDS = {board.name: board for family in FAMILIES.values() for board in family.boards}
"""By name."""


def board_named(name: str) -> Board:
    """The board ``name``.

    Raises
    ------
    InputError
        It is not known.
    """
    if name not in BOARDS:
        raise InputError(f"there is no board {name!r}; choose from {', '.join(BOARDS)}")
    return BOARDS[name]


def bitstreams(fpga: Fpga) -> Bitstreams:
    """How bitstreams are made for ``fpga``, which a board has."""
    made = FAMILIES[fpga.family].bitstreams
    assert made is not None, f"no bitstreams are made for {fpga.family}"
    return made
