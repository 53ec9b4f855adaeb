"""The boards that a bitstream can be built for, and what their FPGAs hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from edgeinfer.errors import InputError

__all__ = ["BOARDS", "FPGAS", "Board", "Fpga", "board_named"]


@dataclass(frozen=True)
class Fpga:
    """A device and the options of the tools for it.

    Parameters
    ----------
    name : str
    family : str
        As in ``synthesis.FAMILIES``; bitstreams there are for ``ecp5``, ``gowin`` and ``ice40``.
    lookup_tables, flip_flops, multipliers, memories : int
        What it has: LUTs of four inputs (six of Xilinx's), multipliers of 18 x 18 bits (16 x 16 on
        iCE40), block memories.
    """

    name: str
    family: str
    lookup_tables: int
    flip_flops: int
    multipliers: int
    memories: int


_ECP5_85 = Fpga("LFE5U-85F", "ecp5", 83_640, 83_640, 156, 208)
_ECP5_25 = Fpga("LFE5U-25F", "ecp5", 24_288, 24_288, 28, 56)
_GW2A_18 = Fpga("GW2AR-18C", "gowin", 20_736, 15_552, 48, 46)
_UP5K = Fpga("iCE40UP5K", "ice40", 5_280, 5_280, 8, 30)

FPGAS = (
    _ECP5_85,
    _ECP5_25,
    _GW2A_18,
    _UP5K,
    # of the data sheets DS180 and DS891
    Fpga("XC7A35T", "xc7", 20_800, 41_600, 90, 50),
    Fpga("XC7Z020", "xc7", 53_200, 106_400, 220, 140),
    Fpga("XCZU3EG", "xcup", 70_560, 141_120, 360, 216),
)
"""Devices that a netlist's resources are compared with."""


@dataclass(frozen=True)
class Board:
    """A board.

    Parameters
    ----------
    name : str
    title : str
        As its maker calls it.
    fpga : Fpga
    platform : str
        Module and class of its Amaranth platform.
    place_and_route : tuple of str
        Options of nextpnr that choose device, package and speed.
    oscillator : float
        MHz, at the FPGA's clock pin.
    clock : float
        MHz of the NPU unless the user says otherwise.
    serial : str
        Where the serial line is.
    program : str
        A command that loads ``npu.<suffix>``.
    """

    name: str
    title: str
    fpga: Fpga
    platform: str
    place_and_route: tuple[str, ...]
    oscillator: float
    clock: float
    serial: str
    program: str

    def new_platform(self) -> Any:
        """Its Amaranth platform; one serves one build."""
        module, _, name = self.platform.partition(":")
        make: Callable[[], Any] = getattr(import_module(module), name)
        return make()


BOARDS = {
    each.name: each
    for each in (
        Board(
            name="ulx3s-85f",
            title="Radiona ULX3S with an LFE5U-85F",
            fpga=_ECP5_85,
            platform="amaranth_boards.ulx3s:ULX3S_85F_Platform",
            place_and_route=("--85k", "--package", "CABGA381", "--speed", "6"),
            oscillator=25.0,
            clock=60.0,
            serial="the USB socket US1",
            program="openFPGALoader --board ulx3s npu.bit",
        ),
        Board(
            name="ecpix5-85f",
            title="LambdaConcept ECPIX-5 with an LFE5UM5G-85F",
            fpga=_ECP5_85,
            platform="amaranth_boards.ecpix5:ECPIX585Platform",
            place_and_route=("--um5g-85k", "--package", "CABGA554", "--speed", "8"),
            oscillator=100.0,
            clock=60.0,
            serial="the second port of the USB debugger",
            program="openFPGALoader --board ecpix5 npu.bit",
        ),
        Board(
            name="orangecrab-25f",
            title="OrangeCrab r0.2 with an LFE5U-25F",
            fpga=_ECP5_25,
            platform="edgeinfer.hdl.boards.platforms:OrangeCrab25F",
            place_and_route=("--25k", "--package", "CSFBGA285", "--speed", "8"),
            oscillator=48.0,
            clock=60.0,
            serial="pins 0 (receives) and 1 (transmits), 3.3 V, through an adapter",
            program="dfu-util --alt 0 --download npu.bit",
        ),
        Board(
            name="tangnano20k",
            title="Sipeed Tang Nano 20K with a GW2AR-18C",
            fpga=_GW2A_18,
            platform="edgeinfer.hdl.boards.platforms:TangNano20K",
            place_and_route=("--device", "GW2AR-LV18QN88C8/I7", "--vopt", "family=GW2A-18C"),
            oscillator=27.0,
            clock=27.0,
            serial="the USB socket",
            program="openFPGALoader --board tangnano20k npu.fs",
        ),
        Board(
            name="icebreaker",
            title="1BitSquared iCEBreaker with an iCE40UP5K",
            fpga=_UP5K,
            platform="amaranth_boards.icebreaker:ICEBreakerPlatform",
            place_and_route=("--up5k", "--package", "sg48"),
            oscillator=12.0,
            clock=12.0,
            serial="the second port of the USB socket",
            program="openFPGALoader --board ice40_generic npu.bin",
        ),
    )
}
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
