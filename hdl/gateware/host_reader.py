"""Host memory's read channels, shared by the instruction fetch and the load unit."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from edgeinfer.hdl.gateware.axi import INCREMENT, AxiRead
from edgeinfer.hdl.gateware.bursts import Bursts, stretch_layout

__all__ = ["HostReader"]

_OUTSTANDING = 4
"""Bursts on their way: they hide the memory's latency."""

_BEATS = 4
"""Beats between the bus and its clients, so that neither side waits for the other's logic."""


class HostReader(wiring.Component):
    """Two clients ask for stretches and get their beats in order.

    The fetch's bursts go first; it must have room for what it asks for, since its beats may stand
    before the load unit's. The load unit may hold its beats back.

    Parameters
    ----------
    bus_bytes : int

    Members
    -------
    fetch, load : In(stream of stretch_layout)
    fetched, loaded : Out(stream of a beat)
    bus : Out(AxiRead)
    stop : In(1)
        What has been asked for and is not yet on the bus is forgotten.
    busy : Out(1)
        Bursts are left to ask for, or beats are on their way.
    failed : Out(1)
        A beat of this cycle came with an error.
    """

    def __init__(self, bus_bytes: int) -> None:
        self.bus_bytes = bus_bytes
        beat = stream.Signature(8 * bus_bytes)
        super().__init__(
            {
                "fetch": In(stream.Signature(stretch_layout)),
                "load": In(stream.Signature(stretch_layout)),
                "fetched": Out(beat),
                "loaded": Out(beat),
                "bus": Out(AxiRead(bus_bytes)),
                "stop": In(1),
                "busy": Out(1),
                "failed": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Bursts of both clients, and whose each one on its way is."""
        m = Module()
        bus = self.bus
        m.submodules.fetch_bursts = fetch = Bursts(self.bus_bytes)
        m.submodules.load_bursts = load = Bursts(self.bus_bytes)
        m.submodules.order = order = SyncFIFOBuffered(width=1, depth=_OUTSTANDING)
        m.submodules.beats = beats = SyncFIFOBuffered(width=len(bus.rdata) + 1, depth=_BEATS)
        wiring.connect(m, wiring.flipped(self.fetch), fetch.i)
        wiring.connect(m, wiring.flipped(self.load), load.i)
        m.d.comb += [fetch.stop.eq(self.stop), load.stop.eq(self.stop)]

        is_load = ~fetch.o.valid
        burst = Mux(is_load, load.o.payload.as_value(), fetch.o.payload.as_value())
        burst = type(fetch.o.payload)(fetch.o.payload.shape(), burst)
        taken, ready = Signal(), Signal()
        m.d.comb += [
            ready.eq((~bus.arvalid | bus.arready) & order.w_rdy),
            taken.eq((fetch.o.valid | load.o.valid) & ready),
            bus.arsize.eq(self.bus_bytes.bit_length() - 1),
            bus.arburst.eq(INCREMENT),
            fetch.o.ready.eq(ready),
            load.o.ready.eq(ready & is_load),
            order.w_en.eq(taken),
            order.w_data.eq(is_load),
        ]
        # an address stays until the bus has taken it
        with m.If(bus.arready):
            m.d.sync += bus.arvalid.eq(0)
        with m.If(taken):
            m.d.sync += [
                bus.arvalid.eq(1),
                bus.araddr.eq(burst.address),
                bus.arlen.eq(burst.length),
            ]
        # each beat knows its client, so that both see at once whether it is theirs
        of_load = beats.r_data[-1]
        m.d.comb += [
            bus.rready.eq(beats.w_rdy & order.r_rdy),
            beats.w_en.eq(bus.rvalid & order.r_rdy),
            beats.w_data.eq(Cat(bus.rdata, order.r_data)),
            order.r_en.eq(bus.rvalid & bus.rready & bus.rlast),
            self.fetched.payload.eq(beats.r_data),
            self.loaded.payload.eq(beats.r_data),
            self.fetched.valid.eq(beats.r_rdy & ~of_load),
            self.loaded.valid.eq(beats.r_rdy & of_load),
            beats.r_en.eq(Mux(of_load, self.loaded.ready, self.fetched.ready)),
            self.busy.eq(fetch.o.valid | load.o.valid | (order.level != 0) | (beats.level != 0)),
            self.failed.eq(bus.rvalid & bus.rready & bus.rresp[1]),
        ]
        return m
