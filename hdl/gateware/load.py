"""The LOAD unit: lines of host memory into the memories of the NPU."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from edgeinfer.hdl import isa
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.gateware.axi import HOST_ADDRESS_BITS
from edgeinfer.hdl.gateware.bursts import BEATS_BITS, stretch_layout
from edgeinfer.hdl.gateware.constant_factor import times
from edgeinfer.hdl.gateware.interface import (
    ADDRESS_BITS,
    BeatWrite,
    UnitControl,
    WordWrite,
    fields_of,
)
from edgeinfer.hdl.gateware.pipeline import later
from edgeinfer.hdl.gateware.walks import LINES, LineWalk

__all__ = ["LoadUnit"]

_AHEAD = 2
"""Instructions whose lines are asked for while an earlier one's beats arrive."""

_PLACES = 4
"""Places in memory that are known before their word has come."""

_WORDS = 4
"""Words that wait for the buffer, so that the bus does not wait for its banks' logic."""


class LoadUnit(wiring.Component):
    """Executes READ_HOST.

    Asks for a line a cycle and puts each word together from its beats, lowest first; a beat a cycle
    as long as the buffer takes its words; a word for another memory waits until the buffer has all
    of its own, so that instructions complete in their order. The lines of the next instruction are
    asked for while those of the last arrive.

    Parameters
    ----------
    config : NpuConfig

    Members
    -------
    control : Out(UnitControl)
        ``completed`` when an instruction's last word is in its memory, or just being written.
    base : In
        The host's base address.
    request : Out(stream of stretch_layout)
    beats : In(stream of a beat)
    buffer : Out(BeatWrite)
    weights, parameters, table : Out(WordWrite)
    """

    def __init__(self, config: NpuConfig) -> None:
        self.config = config
        self.sizes = {memory: isa.host_word_bytes(memory, config) for memory in isa.Memory}
        super().__init__(
            {
                "control": Out(UnitControl()),
                "base": In(HOST_ADDRESS_BITS),
                "request": Out(stream.Signature(stretch_layout)),
                "beats": In(stream.Signature(8 * config.bus_bytes)),
                "buffer": Out(BeatWrite(8 * config.word_bytes)),
                "weights": Out(WordWrite(8 * self.sizes[isa.Memory.WEIGHTS])),
                "parameters": Out(WordWrite(8 * config.lanes * config.parameter_bytes)),
                "table": Out(WordWrite(8 * config.bus_bytes)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """A requester, and a receiver that follows it through a queue."""
        m = Module()
        layout = fields_of(isa.ReadHost)
        m.submodules.accepted = accepted = SyncFIFOBuffered(width=layout.size, depth=_AHEAD)
        self._ask(m, layout, accepted)
        idle = self._receive(m, layout, accepted)
        m.d.comb += self.control.busy.eq(~idle | accepted.r_rdy | self.request.valid)
        return m

    def _beats(self, memory: Value, words: Value) -> Value:
        """Beats of ``words`` words of ``memory``."""
        bus = self.config.bus_bytes
        return Array(times(words, size // bus) for size in self.sizes.values())[memory]

    def _ask(self, m: Module, layout: data.StructLayout, accepted: SyncFIFOBuffered) -> None:
        command = data.View(layout, self.control.command.payload[: layout.size])
        beats, step = Signal(BEATS_BITS), Signal.like(command.host_step)
        address, lines = Signal(HOST_ADDRESS_BITS), Signal.like(command.lines)
        asking = Signal()
        m.d.comb += [
            self.request.valid.eq(asking),
            self.request.payload.address.eq(address),
            self.request.payload.beats.eq(beats),
            self.control.command.ready.eq(~asking & accepted.w_rdy),
            accepted.w_en.eq(self.control.command.valid & self.control.command.ready),
            accepted.w_data.eq(command),
        ]
        with m.If(accepted.w_en):
            m.d.sync += [
                asking.eq(1),
                address.eq(self.base + command.host),
                beats.eq(self._beats(command.memory, command.words + 1)),
                step.eq(command.host_step),
                lines.eq(command.lines),
            ]
        with m.Elif(self.request.valid & self.request.ready):
            m.d.sync += [
                address.eq(address + step),
                lines.eq(lines - 1),
                asking.eq(lines != 0),
            ]

    def _receive(self, m: Module, layout: data.StructLayout, accepted: SyncFIFOBuffered) -> Value:
        """Put words together and write them; high while there is nothing to receive."""
        bus = self.config.bus_bytes
        most = max(self.sizes.values()) // bus

        # where the words go, ahead of their beats
        m.submodules.walk = walk = LineWalk()
        following = data.View(layout, accepted.r_data)
        memory = Signal(isa.Memory)
        m.d.comb += [
            walk.i.valid.eq(accepted.r_rdy),
            *(walk.i.payload[name].eq(following[name]) for name in LINES.members),
            accepted.r_en.eq(walk.i.ready),
        ]
        with m.If(walk.i.valid & walk.i.ready):
            m.d.sync += memory.eq(following.memory)
        place = data.StructLayout(
            {
                "memory": isa.Memory,
                "to_buffer": 1,
                "address": ADDRESS_BITS,
                "end": 1,
                "beats": range(most),
            }
        )
        m.submodules.places = places = SyncFIFOBuffered(width=place.size, depth=_PLACES)
        walked, at = Signal(place), data.View(place, places.r_data)
        beats = Array(size // bus - 1 for size in self.sizes.values())
        m.d.comb += [
            walked.memory.eq(memory),
            walked.to_buffer.eq(memory == isa.Memory.BUFFER),
            walked.address.eq(walk.o.payload.address),
            walked.end.eq(walk.o.payload.end),
            walked.beats.eq(beats[memory]),
            places.w_data.eq(walked),
            places.w_en.eq(walk.o.valid),
            walk.o.ready.eq(places.w_rdy),
        ]

        # beats into words
        beat, last_beat, taken = Signal(range(most)), Signal(), Signal()
        held = Signal(8 * bus * (most - 1) if most > 1 else 1)
        gathered = Cat(held, self.beats.payload) if most > 1 else self.beats.payload
        m.d.comb += [last_beat.eq(beat == at.beats), places.r_en.eq(taken & last_beat)]
        with m.If(taken):
            m.d.sync += beat.eq(Mux(last_beat, 0, beat + 1))
            if most > 1:
                m.d.sync += held.eq(gathered[8 * bus :])

        # the buffer's words may have to wait; the others follow when none does, in their order
        pending = data.StructLayout(
            {"word": 8 * self.config.word_bytes, "at": ADDRESS_BITS, "end": 1}
        )
        m.submodules.words = words = SyncFIFOBuffered(width=pending.size, depth=_WORDS)
        incoming, waiting = Signal(pending), data.View(pending, words.r_data)
        has_room, is_empty = Signal(init=1), Signal(init=1)
        m.d.sync += [
            has_room.eq(words.level + words.w_en < _WORDS),
            is_empty.eq((words.level == 0) & ~words.w_en),
        ]
        m.d.comb += [
            # a word's first beat waits as its last one would: there is less to look at
            self.beats.ready.eq(places.r_rdy & Mux(at.to_buffer, has_room, is_empty)),
            taken.eq(self.beats.valid & self.beats.ready),
            incoming.word.eq(self._word(isa.Memory.BUFFER, gathered)),
            incoming.at.eq(at.address),
            incoming.end.eq(at.end),
            words.w_data.eq(incoming),
            words.w_en.eq(taken & last_beat & at.to_buffer),
            words.r_en.eq(self.buffer.ready),
            self.buffer.valid.eq(words.r_rdy),
            self.buffer.address.eq(waiting.at),
            self.buffer.data.eq(waiting.word),
        ]
        written = Signal()
        m.d.sync += written.eq(taken & last_beat & ~at.to_buffer)
        to, whole = later(m, at, "to"), later(m, gathered, "whole")
        for which, port in (
            (isa.Memory.WEIGHTS, self.weights),
            (isa.Memory.PARAMETERS, self.parameters),
            (isa.Memory.TABLE, self.table),
        ):
            m.d.comb += [
                port.enable.eq(written & (to.memory == which)),
                port.address.eq(to.address),
                port.data.eq(self._word(which, whole)[: len(port.data)]),
            ]
        m.d.sync += self.control.completed.eq(
            (written & to.end) | (self.buffer.valid & self.buffer.ready & waiting.end)
        )

        receiving = walk.o.valid | (places.level != 0)
        moves = taken | written | (self.buffer.valid & self.buffer.ready)
        m.d.comb += self.control.waiting.eq((receiving | (words.level != 0)) & ~moves)
        return ~receiving & ~written & (words.level == 0) & ~self.control.completed

    def _word(self, memory: isa.Memory, beats: Value) -> Value:
        """A word of ``memory``, lowest beat first; earlier beats have moved down to it."""
        return beats[len(beats) - 8 * self.sizes[memory] :]
