"""An NPU with block memory for a host's, behind a serial line: what a board holds."""

from __future__ import annotations

from amaranth.hdl import Const, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.gateware.axi import AxiLite, connect_pins
from edgeinfer.hdl.gateware.board_memory import BoardMemory
from edgeinfer.hdl.gateware.npu import Npu
from edgeinfer.hdl.gateware.serial_bridge import WORD_BYTES, SerialBridge, WordBus
from edgeinfer.hdl.gateware.uart import UartReceiver, UartTransmitter

__all__ = ["DESCRIPTION_BYTES", "SerialNpu"]

DESCRIPTION_BYTES = 256
"""Of the text that says what the NPU is, filled up with zeros."""

_PATIENCE_BYTES = 10_000
"""Times that a byte takes: after such a pause an unfinished request is forgotten."""


class SerialNpu(wiring.Component):
    """The NPU, its memory, and a bridge to both.

    Parameters
    ----------
    config : NpuConfig
    memory_bytes : int
        Of the block memory that stands for the host's; a power of two.
    divisor : int
        Cycles of a bit on the serial line.
    description : bytes
        What the bridge says of the NPU; ``DESCRIPTION_BYTES`` at most.

    Members
    -------
    rx, tx : In(1), Out(1)
    """

    def __init__(
        self, config: NpuConfig, memory_bytes: int, divisor: int, description: bytes
    ) -> None:
        if len(description) > DESCRIPTION_BYTES:
            raise ValueError(f"the description has {len(description)} bytes")
        self.config, self.memory_bytes = config, memory_bytes
        self.divisor, self.description = divisor, description
        super().__init__({"rx": In(1), "tx": Out(1, init=1)})

    def elaborate(self, platform: object) -> Module:
        """Line, bridge, memory, NPU."""
        m = Module()
        bus_bytes = self.config.bus_bytes
        m.submodules.receiver = receiver = UartReceiver(self.divisor)
        m.submodules.transmitter = transmitter = UartTransmitter(self.divisor)
        m.submodules.bridge = bridge = SerialBridge(10 * _PATIENCE_BYTES * self.divisor)
        m.submodules.memory = memory = BoardMemory(self.memory_bytes, bus_bytes)
        m.submodules.registers = registers = _RegisterWords()
        m.submodules.npu = npu = Npu(self.config)
        m.d.comb += [receiver.rx.eq(self.rx), self.tx.eq(transmitter.tx)]
        wiring.connect(m, receiver.o, bridge.i)
        wiring.connect(m, bridge.o, transmitter.i)
        wiring.connect(m, bridge.memory, memory.words)
        wiring.connect(m, bridge.registers, registers.words)
        connect_pins(m, npu, "s_axil", registers.bus)
        connect_pins(m, npu, "m_axi", memory.read)
        connect_pins(m, npu, "m_axi", memory.write)

        text = Const(int.from_bytes(self.description, "little"), 8 * DESCRIPTION_BYTES)
        described = bridge.description
        index = described.address[: (DESCRIPTION_BYTES // WORD_BYTES).bit_length() - 1]
        m.d.comb += [
            described.ready.eq(described.valid),
            described.read_data.eq(text.word_select(index, 8 * WORD_BYTES)),
        ]
        return m


class _RegisterWords(wiring.Component):
    """Words into accesses of AXI4-Lite.

    Members
    -------
    words : In(WordBus)
    bus : Out(AxiLite)
    """

    def __init__(self) -> None:
        super().__init__({"words": In(WordBus()), "bus": Out(AxiLite())})

    def elaborate(self, platform: object) -> Module:
        """The address and the data of a write stay until each has been taken."""
        m = Module()
        words, bus = self.words, self.bus
        address = words.address[: len(bus.araddr) - 2] << 2
        m.d.comb += [
            bus.araddr.eq(address),
            bus.awaddr.eq(address),
            bus.wdata.eq(words.write_data),
            bus.wstrb.eq(-1),
            words.read_data.eq(bus.rdata),
        ]
        with m.FSM():
            with m.State("IDLE"), m.If(words.valid):
                with m.If(words.write):
                    m.d.sync += [bus.awvalid.eq(1), bus.wvalid.eq(1)]
                with m.Else():
                    m.d.sync += bus.arvalid.eq(1)
                m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += [
                    bus.rready.eq(1),
                    bus.bready.eq(1),
                    words.ready.eq(bus.rvalid | bus.bvalid),
                ]
                with m.If(words.ready):
                    m.next = "IDLE"
        for valid, ready in (
            (bus.arvalid, bus.arready),
            (bus.awvalid, bus.awready),
            (bus.wvalid, bus.wready),
        ):
            with m.If(valid & ready):
                m.d.sync += valid.eq(0)
        return m
