"""The STORE unit: lines of the buffer into host memory."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from edgeinfer.hdl import isa
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.gateware.axi import HOST_ADDRESS_BITS, INCREMENT, AxiWrite
from edgeinfer.hdl.gateware.buffer import READ_LATENCY
from edgeinfer.hdl.gateware.bursts import BEATS_BITS, Bursts
from edgeinfer.hdl.gateware.interface import ReadRequest, UnitControl, fields_of
from edgeinfer.hdl.gateware.walks import LINES, LineWalk

__all__ = ["StoreUnit"]

_WORDS = 8
"""Words that are read ahead of the bus: more than are on their way from the buffer."""

_BURSTS = 4
"""Bursts whose response may be missing."""


class StoreUnit(wiring.Component):
    """Executes WRITE_HOST, one instruction after the other.

    A beat a cycle while bus and buffer allow it. An instruction is complete when the bus has
    answered its last burst; the next one is taken then. A burst's data do not wait for its address
    to be taken, which AXI forbids.

    Parameters
    ----------
    config : NpuConfig

    Members
    -------
    control : Out(UnitControl)
    base : In
        The host's base address.
    read : Out(ReadRequest)
        Of the buffer.
    bus : Out(AxiWrite)
    stop : In(1)
        What is not yet on the bus is forgotten; the bursts that are end with any data. Held until
        the unit is not busy.
    failed : Out(1)
        The bus answered with an error in this cycle.
    """

    def __init__(self, config: NpuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "control": Out(UnitControl()),
                "base": In(HOST_ADDRESS_BITS),
                "read": Out(ReadRequest(config)),
                "bus": Out(AxiWrite(config.bus_bytes)),
                "stop": In(1),
                "failed": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Bursts' addresses, words from the buffer, beats onto the bus."""
        m = Module()
        bus = self.bus
        layout = fields_of(isa.WriteHost)
        active, words_out, beats_out = Signal(), Signal(), Signal()
        following = data.View(layout, self.control.command.payload[: layout.size])
        begin, done, dropped = Signal(), Signal(), Signal()
        m.d.comb += [
            self.control.command.ready.eq(~active),
            begin.eq(self.control.command.valid & ~active),
            dropped.eq(self.stop & (done | ~active)),
        ]

        m.submodules.lengths = lengths = SyncFIFOBuffered(width=4, depth=_BURSTS)
        words = SyncFIFOBuffered(width=8 * self.config.word_bytes, depth=_WORDS)
        m.submodules.words = ResetInserter(dropped)(words)
        asking, unanswered = self._addresses(m, begin, following, lengths)
        self._words(m, begin, following, words, words_out, dropped)
        self._beats(m, begin, lengths, words, beats_out)

        m.d.comb += done.eq(
            active & ~asking & (words_out | self.stop) & beats_out & (unanswered == 0)
        )
        with m.If(begin):
            m.d.sync += active.eq(1)
        with m.Elif(done):
            m.d.sync += active.eq(0)
        m.d.comb += [
            self.control.completed.eq(done),
            self.control.busy.eq(active),
            self.control.waiting.eq(active & ~(bus.wvalid & bus.wready)),
            bus.bready.eq(1),
            self.failed.eq(bus.bvalid & bus.bresp[1]),
        ]
        return m

    def _addresses(
        self, m: Module, begin: Value, following: data.View, lengths: SyncFIFOBuffered
    ) -> tuple[Value, Value]:
        """Put bursts' addresses onto the bus; whether some are left, how many are unanswered."""
        config, bus = self.config, self.bus
        m.submodules.bursts = bursts = Bursts(config.bus_bytes)
        beats, step = Signal(BEATS_BITS), Signal.like(following.host_step)
        address, lines = Signal(HOST_ADDRESS_BITS), Signal.like(following.lines)
        asking = Signal()
        unanswered, answerable = Signal(range(2 * _BURSTS)), Signal(init=1)
        with m.If(begin):
            m.d.sync += [
                asking.eq(1),
                address.eq(self.base + following.host),
                beats.eq((following.words + 1) * (config.word_bytes // config.bus_bytes)),
                step.eq(following.host_step),
                lines.eq(following.lines),
            ]
        with m.Elif(asking & bursts.i.ready):
            m.d.sync += [
                address.eq(address + step),
                lines.eq(lines - 1),
                asking.eq(lines != 0),
            ]
        with m.If(self.stop):
            m.d.sync += asking.eq(0)
        taken = bursts.o.valid & bursts.o.ready
        with m.If(bus.awready):
            m.d.sync += bus.awvalid.eq(0)
        with m.If(taken):
            m.d.sync += [
                bus.awvalid.eq(1),
                bus.awaddr.eq(bursts.o.payload.address),
                bus.awlen.eq(bursts.o.payload.length),
            ]
        m.d.comb += [
            bursts.stop.eq(self.stop),
            bursts.i.valid.eq(asking),
            bursts.i.payload.address.eq(address),
            bursts.i.payload.beats.eq(beats),
            bus.awsize.eq(config.bus_bytes.bit_length() - 1),
            bus.awburst.eq(INCREMENT),
            bursts.o.ready.eq((~bus.awvalid | bus.awready) & lengths.w_rdy & answerable),
            lengths.w_en.eq(taken),
            lengths.w_data.eq(bursts.o.payload.length),
        ]
        left = (unanswered + taken - (bus.bvalid & bus.bready))[: len(unanswered)]
        m.d.sync += [unanswered.eq(left), answerable.eq(left < _BURSTS)]
        return asking | bursts.o.valid, unanswered

    def _words(
        self,
        m: Module,
        begin: Value,
        following: data.View,
        words: SyncFIFOBuffered,
        out: Signal,
        dropped: Signal,
    ) -> None:
        """Read words into a queue; ``out`` when all have been asked for, none while ``dropped``."""
        walk = LineWalk()
        m.submodules.walk = ResetInserter(dropped)(walk)
        arrives = Signal(READ_LATENCY)
        room = Signal(range(_WORDS + 1), init=_WORDS)
        taken = self.read.valid & self.read.ready
        m.d.comb += [
            walk.i.valid.eq(begin),
            *(walk.i.payload[name].eq(following[name]) for name in LINES.members),
            walk.o.ready.eq((room != 0) & self.read.ready),
            self.read.valid.eq(walk.o.valid & (room != 0)),
            self.read.address.eq(walk.o.payload.address),
            words.w_en.eq(arrives[-1]),
            words.w_data.eq(self.read.data),
            out.eq(~walk.o.valid & ~arrives.any() & ~words.r_rdy),
        ]
        m.d.sync += arrives.eq(Cat(taken, arrives))
        m.d.sync += room.eq(room + words.r_en - taken)
        with m.If(dropped):
            m.d.sync += [arrives.eq(0), room.eq(_WORDS)]

    def _beats(
        self,
        m: Module,
        begin: Value,
        lengths: SyncFIFOBuffered,
        words: SyncFIFOBuffered,
        out: Signal,
    ) -> None:
        """Put words onto the bus, lowest beat first; ``out`` when no burst is under way."""
        bus = self.bus
        beats = self.config.word_bytes // self.config.bus_bytes
        beat, left = Signal(range(beats)), Signal(4)
        active = Signal()
        taken = bus.wvalid & bus.wready
        end = taken & (left == 0)
        m.d.comb += [
            bus.wvalid.eq(active & words.r_rdy),
            bus.wdata.eq(words.r_data.word_select(beat, len(bus.wdata))),
            bus.wstrb.eq(-1),
            bus.wlast.eq(left == 0),
            words.r_en.eq(taken & (beat == beats - 1)),
            lengths.r_en.eq(~active | end),
            out.eq(~active & ~lengths.r_rdy),
        ]
        with m.If(taken):
            m.d.sync += [left.eq(left - 1), beat.eq(Mux(beat == beats - 1, 0, beat + 1))]
        with m.If(lengths.r_en):
            m.d.sync += [active.eq(lengths.r_rdy), left.eq(lengths.r_data)]
        with m.If(begin):
            m.d.sync += beat.eq(0)
