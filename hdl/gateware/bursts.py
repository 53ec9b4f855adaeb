"""A stretch of host memory into bursts of the bus."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from edgeinfer.hdl.gateware.axi import BURST, HOST_ADDRESS_BITS

__all__ = ["BEATS_BITS", "Bursts", "burst_layout", "stretch_layout"]

BEATS_BITS = 20
"""Of the number of beats in a stretch: the widest line of an instruction."""

stretch_layout = data.StructLayout(
    {"address": unsigned(HOST_ADDRESS_BITS), "beats": unsigned(BEATS_BITS)}
)
"""Beats from a byte address on, a multiple of the bus's width; never none."""

burst_layout = data.StructLayout(
    {"address": unsigned(HOST_ADDRESS_BITS), "length": unsigned(4), "last": 1}
)
"""A burst; ``length`` is its beats less one, ``last`` ends the stretch."""


class Bursts(wiring.Component):
    """Cuts where the address is a multiple of ``BURST`` beats, so that no burst crosses 4 KiB.

    A burst a cycle; the next stretch is taken with the last burst of the one before. Bits of an
    address within a beat are dropped.

    Parameters
    ----------
    bus_bytes : int

    Members
    -------
    i : In(stream of stretch_layout)
    o : Out(stream of burst_layout)
    stop : In(1)
        What is left of the stretch is forgotten, and the burst that is shown; none is taken.
    """

    def __init__(self, bus_bytes: int) -> None:
        self.bus_bytes = bus_bytes
        super().__init__(
            {
                "i": In(stream.Signature(stretch_layout)),
                "o": Out(stream.Signature(burst_layout)),
                "stop": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """What is left of the stretch is held in registers."""
        m = Module()
        low = self.bus_bytes.bit_length() - 1
        bits = BURST.bit_length() - 1
        address, left = Signal(HOST_ADDRESS_BITS), Signal(BEATS_BITS)
        room, beats = Signal(bits + 1), Signal(bits + 1)
        taken, rest = Signal(), Signal(BEATS_BITS)
        # a register: who waits for the stretch's end is not to wait for a comparison too
        last = Signal()

        def is_last(beats: Value, room: Value | int) -> Value:
            return ~beats[bits + 1 :].any() & (beats[: bits + 1] <= room)

        m.d.comb += [
            room.eq(BURST - address[low : low + bits]),
            rest.eq(left - room),
            beats.eq(Mux(last, left, room)),
            self.o.payload.address.eq(Cat(Const(0, low), address[low:])),
            self.o.payload.length.eq(beats - 1),
            self.o.payload.last.eq(last),
            taken.eq(self.o.valid & self.o.ready),
            self.i.ready.eq((~self.o.valid | (taken & last)) & ~self.stop),
        ]
        with m.If(taken):
            # behind the last burst nobody asks for them; behind another the address is aligned
            m.d.sync += [
                address.eq(address + (room << low)),
                left.eq(rest),
                last.eq(is_last(rest, BURST)),
                self.o.valid.eq(~last),
            ]
        with m.If(self.i.valid & self.i.ready):
            first = BURST - self.i.payload.address[low : low + bits]
            m.d.sync += [
                address.eq(self.i.payload.address),
                left.eq(self.i.payload.beats),
                last.eq(is_last(self.i.payload.beats, first)),
                self.o.valid.eq(1),
            ]
        with m.If(self.stop):
            m.d.sync += self.o.valid.eq(0)
        return m
