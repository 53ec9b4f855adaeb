"""The NPU's registers behind AXI4-Lite: control, status, counters."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from edgeinfer.hdl import isa
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.gateware.axi import HOST_ADDRESS_BITS, AxiLite

__all__ = ["COUNTERS", "ID", "REGISTERS", "Registers", "Status", "config_word", "identity"]

_VERSION = 1
_REDUCTIONS = 1 << 15
ID = int.from_bytes(b"EI", "big") << 16 | _VERSION
"""Of an NPU without reductions."""

REGISTERS = {
    "ID": 0x00,
    "CONFIG": 0x04,
    "CONTROL": 0x08,
    "STATUS": 0x0C,
    "BASE": 0x10,
    "BASE_HIGH": 0x14,
    "PROGRAM": 0x18,
    "LENGTH": 0x1C,
    "WATCHDOG": 0x20,
    "FAULT_AT": 0x24,
}
"""Byte offsets."""

COUNTERS = 0x40
"""Cycles of the last run; then for each unit the cycles in which it was busy, and waiting."""


@dataclass(frozen=True)
class Status:
    """How a run has ended, as STATUS says.

    Parameters
    ----------
    done : bool
    fault : int
        A ``sequencer.Fault``; other hardware than this version's may say other numbers.
    """

    done: bool
    fault: int

    @classmethod
    def of(cls, word: int) -> Status:
        """What the register reads as ``word`` for."""
        return cls(bool(word & 2), word >> 8 & 15)


def identity(config: NpuConfig) -> int:
    """What ID reads as: whether there are reductions too, for which CONFIG has no bit left."""
    return ID | (_REDUCTIONS if config.reductions else 0)


def config_word(config: NpuConfig) -> int:
    """What CONFIG reads as: all that a program depends on.

    Not the memories' sizes: a program may run on an NPU with larger ones, and faults on one whose
    memory it would leave.
    """
    fields = (  # value and bits, from the lowest
        (config.rows - 1, 8),
        (config.weight_port - 1, 8),
        (_log2(config.columns), 4),
        (_log2(config.lanes), 4),
        (_log2(config.accumulator_depth), 4),
        (_log2(config.bus_bytes // 4), 2),
        (config.width == 16, 1),
        (config.tables, 1),
    )
    word = at = 0
    for value, bits in fields:
        word |= int(value) << at
        at += bits
    return word


def _log2(power: int) -> int:
    return power.bit_length() - 1


class Registers(wiring.Component):
    """One access at a time; a write answers when both its address and its data have come.

    What is written while a run is busy is for the next one, but for WATCHDOG and CONTROL.

    Parameters
    ----------
    config : NpuConfig

    Members
    -------
    bus : In(AxiLite)
    interrupt : Out(1)
        Done, where the interrupt is enabled.
    start, clear, stop : Out(1)
        High for a cycle.
    base, program : Out
        Addresses in host memory.
    length, watchdog : Out(32)
    busy, done : In(1)
    fault : In(4)
    fault_at : In(32)
    active, waiting : In
        A bit for each unit.
    """

    def __init__(self, config: NpuConfig) -> None:
        self.config = config
        units = len(isa.Unit)
        super().__init__(
            {
                "bus": In(AxiLite()),
                "interrupt": Out(1),
                "start": Out(1),
                "clear": Out(1),
                "stop": Out(1),
                "base": Out(HOST_ADDRESS_BITS),
                "program": Out(HOST_ADDRESS_BITS),
                "length": Out(32),
                "watchdog": Out(32),
                "busy": In(1),
                "done": In(1),
                "fault": In(4),
                "fault_at": In(32),
                "active": In(units),
                "waiting": In(units),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Written registers, counters, and the two channels of the bus."""
        m = Module()
        config, bus = self.config, self.bus
        base, program = Signal(64), Signal(32)
        enabled = Signal()
        m.d.comb += [
            self.program.eq(base + program),
            self.interrupt.eq(enabled & self.done),
        ]
        with m.If(self.start & ~self.busy):
            m.d.sync += self.base.eq(base)
        counters = self._counters(m)

        address, data, strobes = Signal(8), Signal(32), Signal(4)
        has_address, has_data = Signal(), Signal()
        write = Signal()
        m.d.comb += [
            bus.awready.eq(~has_address & ~bus.bvalid),
            bus.wready.eq(~has_data & ~bus.bvalid),
            write.eq(has_address & has_data),
        ]
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [address.eq(bus.awaddr), has_address.eq(1)]
        with m.If(bus.wvalid & bus.wready):
            m.d.sync += [data.eq(bus.wdata), strobes.eq(bus.wstrb), has_data.eq(1)]
        with m.If(bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        with m.If(write):
            m.d.sync += [has_address.eq(0), has_data.eq(0), bus.bvalid.eq(1)]

        def written(register: Signal) -> None:
            for i in range(4):
                with m.If(strobes[i]):
                    m.d.sync += register.word_select(i, 8).eq(data.word_select(i, 8))

        with m.If(write), m.Switch(address):
            with m.Case(REGISTERS["CONTROL"]):
                m.d.comb += [
                    self.start.eq(strobes[0] & data[0]),
                    self.clear.eq(strobes[0] & data[2]),
                    self.stop.eq(strobes[0] & data[3]),
                ]
                with m.If(strobes[0]):
                    m.d.sync += enabled.eq(data[1])
            for name, register in (
                ("BASE", base[:32]),
                ("BASE_HIGH", base[32:]),
                ("PROGRAM", program),
                ("LENGTH", self.length),
                ("WATCHDOG", self.watchdog),
            ):
                with m.Case(REGISTERS[name]):
                    written(register)

        readable = {
            "ID": Const(identity(config), 32),
            "CONFIG": Const(config_word(config), 32),
            "CONTROL": enabled << 1,
            "STATUS": Cat(self.busy, self.done, Const(0, 6), self.fault),
            "BASE": base[:32],
            "BASE_HIGH": base[32:],
            "PROGRAM": program,
            "LENGTH": self.length,
            "WATCHDOG": self.watchdog,
            "FAULT_AT": self.fault_at,
        }
        m.d.comb += bus.arready.eq(~bus.rvalid)
        with m.If(bus.rready):
            m.d.sync += bus.rvalid.eq(0)
        with m.If(bus.arvalid & bus.arready):
            m.d.sync += [bus.rvalid.eq(1), bus.rdata.eq(0)]
            with m.Switch(bus.araddr):
                for name, value in readable.items():
                    with m.Case(REGISTERS[name]):
                        m.d.sync += bus.rdata.eq(value)
                for index, counter in enumerate(counters):
                    with m.Case(COUNTERS + 4 * index):
                        m.d.sync += bus.rdata.eq(counter)
        return m

    def _counters(self, m: Module) -> list[Signal]:
        """The cycles of a run, and of each unit in it."""
        names = ["cycles"]
        counted = [self.busy]
        for unit in isa.Unit:
            names += [f"{unit.name.lower()}_active", f"{unit.name.lower()}_waiting"]
            counted += [self.active[unit], self.waiting[unit]]
        counters = [Signal(32, name=name) for name in names]
        begin = self.start & ~self.busy
        for counter, condition in zip(counters, counted, strict=True):
            # a cycle late: the conditions come from far
            counts = Signal(name=f"{counter.name}_counts")
            m.d.sync += counts.eq(self.busy & condition)
            with m.If(begin):
                m.d.sync += counter.eq(0)
            with m.Elif(counts):
                m.d.sync += counter.eq(counter + 1)
        return counters
