"""What a board's FPGA holds: clock, serial line and NPU, with the pins' constraints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Elaboratable, Module
from amaranth.lib import io

from edgeinfer.errors import InputError
from edgeinfer.hdl.boards.clocks import clock_domain, pll
from edgeinfer.hdl.boards.families import bitstreams
from edgeinfer.hdl.boards.family import TOP, Board
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.gateware.names import plain_rtlil
from edgeinfer.hdl.gateware.serial_npu import SerialNpu

__all__ = ["LEAST_CYCLES_PER_BIT", "LEAST_MEMORY", "Design", "describe"]

LEAST_MEMORY = 8192
"""Bytes in place of a host's, for models that need none: the line carries them in pieces."""

LEAST_CYCLES_PER_BIT = 16
"""Of the serial line: the receiver may be a cycle off, and both clocks by some percent."""


def describe(config: NpuConfig, memory_bytes: int, hertz: int) -> bytes:
    """What the board says of itself: the configuration, its memory, its clock."""
    return f"{config.text};memory_bytes={memory_bytes};hertz={hertz}".encode()


@dataclass(frozen=True)
class Design:
    """An NPU for a board.

    Parameters
    ----------
    board : Board
    config : NpuConfig
    memory_bytes : int
        Of block memory for the host's.
    clock : float
        MHz that are asked for.
    baud : int
        Of the serial line.
    """

    board: Board
    config: NpuConfig
    memory_bytes: int
    clock: float
    baud: int

    @property
    def megahertz(self) -> float:
        """What the PLL makes of ``clock``."""
        limits = bitstreams(self.board.fpga).pll_limits
        chosen = pll(limits, self.board.oscillator, self.clock)
        return self.clock if chosen is None else chosen.megahertz

    @property
    def divisor(self) -> int:
        """Cycles of a bit on the serial line.

        Raises
        ------
        InputError
            The clock is too slow for the line.
        """
        cycles = round(1e6 * self.megahertz / self.baud)
        if cycles < LEAST_CYCLES_PER_BIT:
            raise InputError(
                f"{self.baud} baud are too many for {self.megahertz:g} MHz; "
                f"at most {1e6 * self.megahertz / LEAST_CYCLES_PER_BIT:.0f}"
            )
        return cycles

    def files(self) -> dict[str, str]:
        """The design as RTLIL, and the constraints of its pins, by the names of the files.

        Raises
        ------
        InputError
            No PLL makes the clock, or it is too slow for the serial line.
        """
        top = _Top(self, self.divisor)
        platform = self.board.new_platform()
        plan = platform.prepare(top, TOP)
        wanted = (".il", ".lpf", ".cst")
        files = {
            name: content if isinstance(content, str) else content.decode()
            for name, content in plan.files.items()
            if name.endswith(wanted)
        }
        source = f"{TOP}.il"
        return files | {source: plain_rtlil(files[source])}


class _Top(Elaboratable):
    """Pins, clock and NPU."""

    def __init__(self, design: Design, divisor: int) -> None:
        self.design, self.divisor = design, divisor

    def elaborate(self, platform: Any) -> Module:
        """The serial line is a resource of each board."""
        m = Module()
        design = self.design
        family = bitstreams(design.board.fpga)
        chosen = pll(family.pll_limits, design.board.oscillator, design.clock)
        pin = platform.request(platform.default_clk, dir="-")
        m.submodules.clock_pin = clock_pin = io.Buffer("i", pin)
        clock_domain(m, clock_pin.i, chosen, family.pll)
        m.submodules.serial_npu = npu = SerialNpu(
            design.config,
            design.memory_bytes,
            self.divisor,
            describe(design.config, design.memory_bytes, round(1e6 * design.megahertz)),
        )
        pins = {each.name: "-" for each in platform.lookup("uart", 0).ios}
        line = platform.request("uart", 0, dir=pins)
        m.submodules.rx_pin = rx_pin = io.Buffer("i", line.rx)
        m.submodules.tx_pin = tx_pin = io.Buffer("o", line.tx)
        m.d.comb += [npu.rx.eq(rx_pin.i), tx_pin.o.eq(npu.tx)]
        return m
