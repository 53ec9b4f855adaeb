"""A board's block memory behind AXI4: the memory of an NPU that has no host's."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory, ReadPort, WritePort
from amaranth.lib.wiring import In

from edgeinfer.hdl.gateware.axi import AxiRead, AxiWrite
from edgeinfer.hdl.gateware.pipeline import later
from edgeinfer.hdl.gateware.serial_bridge import WORD_BYTES, WordBus

__all__ = ["BoardMemory"]

_SLAVE_ERROR = 2


class BoardMemory(wiring.Component):
    """Answers one burst of each direction at a time, a beat a cycle.

    Whole beats are written; bursts of other types than INCR are not known. A burst that begins
    beyond the memory is answered with errors. ``words`` has its access between two bursts.

    Parameters
    ----------
    size : int
        Bytes; a power of two.
    bus_bytes : int
        Of a beat; a multiple of 4.

    Members
    -------
    read, write : In(AxiRead), In(AxiWrite)
    words : In(WordBus)
        Addresses are taken modulo the size.
    """

    def __init__(self, size: int, bus_bytes: int) -> None:
        self.size, self.bus_bytes = size, bus_bytes
        self._lane_bits = (bus_bytes // WORD_BYTES).bit_length() - 1
        self._beat_bits = bus_bytes.bit_length() - 1
        super().__init__(
            {
                "read": In(AxiRead(bus_bytes)),
                "write": In(AxiWrite(bus_bytes)),
                "words": In(WordBus()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """A memory for each word of a beat, so that one of them can be written alone."""
        m = Module()
        reads: list[ReadPort] = []
        writes: list[WritePort] = []
        for lane in range(self.bus_bytes // WORD_BYTES):
            memory = Memory(shape=8 * WORD_BYTES, depth=self.size // self.bus_bytes, init=[])
            m.submodules[f"lane_{lane}"] = memory
            reads.append(memory.read_port())
            writes.append(memory.write_port())
        self._read(m, reads)
        self._write(m, writes)
        return m

    def _read(self, m: Module, ports: list[ReadPort]) -> None:
        bus, words = self.read, self.words
        row, left = Signal(range(self.size // self.bus_bytes)), Signal(9)
        asked, failed = Signal(), Signal()
        wanted = words.valid & ~words.write
        between = (left == 0) & ~bus.rvalid
        fetches = (left != 0) & (~bus.rvalid | bus.rready)
        for port in ports:
            m.d.comb += [
                port.addr.eq(Mux(left != 0, row, words.address[self._lane_bits :])),
                port.en.eq(fetches | between),
            ]
        beat = Cat(port.data for port in ports)
        lane = words.address[: self._lane_bits]
        m.d.comb += [
            bus.rdata.eq(beat),
            bus.rresp.eq(Mux(failed, _SLAVE_ERROR, 0)),
            words.read_data.eq(later(m, beat.word_select(lane, 8 * WORD_BYTES), "read_data")),
        ]
        answers = Signal()
        m.d.sync += [
            asked.eq(wanted & between & ~asked & ~answers),
            answers.eq(asked),
            bus.arready.eq(bus.arvalid & ~bus.arready & between & ~wanted),
        ]
        with m.If(bus.rready):
            m.d.sync += bus.rvalid.eq(0)
        with m.If(fetches):
            m.d.sync += [
                bus.rvalid.eq(1),
                bus.rlast.eq(left == 1),
                row.eq(row + 1),
                left.eq(left - 1),
            ]
        with m.If(bus.arvalid & bus.arready):
            m.d.sync += [
                row.eq(bus.araddr[self._beat_bits :]),
                left.eq(bus.arlen + 1),
                failed.eq(bus.araddr >= self.size),
            ]
        with m.If(~words.write):
            m.d.comb += words.ready.eq(answers)

    def _write(self, m: Module, ports: list[WritePort]) -> None:
        bus, words = self.write, self.words
        row = Signal(range(self.size // self.bus_bytes))
        active, failed = Signal(), Signal()
        wanted = words.valid & words.write
        lane = words.address[: self._lane_bits]
        for index, port in enumerate(ports):
            beat = bus.wdata.word_select(index, 8 * WORD_BYTES)
            m.d.comb += [
                port.addr.eq(Mux(active, row, words.address[self._lane_bits :])),
                port.data.eq(Mux(active, beat, words.write_data)),
                port.en.eq(Mux(active, bus.wvalid & ~failed, wanted & (lane == index))),
            ]
        m.d.comb += [
            bus.awready.eq(~active & ~bus.bvalid & ~wanted),
            bus.wready.eq(active),
            bus.bresp.eq(Mux(failed, _SLAVE_ERROR, 0)),
        ]
        with m.If(words.write):
            m.d.comb += words.ready.eq(~active)
        with m.If(bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [
                active.eq(1),
                row.eq(bus.awaddr[self._beat_bits :]),
                failed.eq(bus.awaddr >= self.size),
            ]
        with m.If(active & bus.wvalid):
            m.d.sync += row.eq(row + 1)
            with m.If(bus.wlast):
                m.d.sync += [active.eq(0), bus.bvalid.eq(1)]
