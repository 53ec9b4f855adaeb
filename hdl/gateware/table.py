"""The lookup table: an element a lane into the function's value there, or between two knots."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory, ReadPort
from amaranth.lib.wiring import In, Out

from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.gateware.interface import WordWrite

__all__ = ["Table", "table_latency"]

_PAIR = data.StructLayout({"knot": signed(16), "slope": signed(16)})


def table_latency(config: NpuConfig) -> int:
    """Cycles from an element to its value: 1, or 3 where the value is interpolated."""
    return 1 if config.width == 8 else 3


class Table(wiring.Component):
    """A function of one element, for a new element of every lane each cycle.

    With 8-bit elements entry ``q + 128`` is the value at ``q``. With 16 bits there are 512 pairs of
    a knot and the difference of the next knot from it, and the value is that of
    ``fixedpoint.interpolate_16``. Each lane has a copy, as each lane reads in each cycle. An
    element that is at ``i`` in cycle t has its value at ``o`` in ``t + table_latency(config)``;
    nothing stalls. Writes beyond the table are dropped.

    Parameters
    ----------
    config : NpuConfig

    Members
    -------
    write : In(WordWrite)
        ``bus_bytes`` of the table, the lowest entry (or pair, the knot first) in the lowest bits.
    i, o : In, Out
        One signed element a lane.
    out_of_range : Out(1)
        In the cycle before, a write had an address beyond the table.
    """

    def __init__(self, config: NpuConfig) -> None:
        self.config = config
        elements = data.ArrayLayout(signed(config.width), config.lanes)
        super().__init__(
            {
                "write": In(WordWrite(8 * config.bus_bytes)),
                "i": In(elements),
                "o": Out(elements),
                "out_of_range": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """A copy a lane; rows are as wide as they are written, and hold several entries."""
        m = Module()
        bytes_in_all = 256 if self.config.width == 8 else 512 * _PAIR.size // 8
        rows = bytes_in_all // self.config.bus_bytes
        fits = self.write.address < rows
        m.d.sync += self.out_of_range.eq(self.write.enable & ~fits)
        for lane in range(self.config.lanes):
            memory = Memory(shape=8 * self.config.bus_bytes, depth=rows, init=[])
            m.submodules[f"lane_{lane}"] = memory
            write = memory.write_port()
            m.d.comb += [
                write.en.eq(self.write.enable & fits),
                write.addr.eq(self.write.address),
                write.data.eq(self.write.data),
            ]
            read = memory.read_port()
            if self.config.width == 8:
                self._look_up(m, read, lane)
            else:
                self._interpolate(m, read, lane)
        return m

    def _look_up(self, m: Module, read: ReadPort, lane: int) -> None:
        # 1: read; the entry of the row is chosen behind it
        entry = self.i[lane] ^ 0x80
        m.d.comb += self.o[lane].eq(self._read_entry(m, read, entry[:8], 8))

    def _interpolate(self, m: Module, read: ReadPort, lane: int) -> None:
        q = self.i[lane]
        fractions = [Signal(7, name=f"fraction_{lane}_{stage}") for stage in (1, 2)]
        m.d.sync += [fractions[0].eq(q[:7]), fractions[1].eq(fractions[0])]

        # 1: read
        entry = (q >> 7)[:9] ^ 0x100
        found = self._read_entry(m, read, entry, _PAIR.size)

        # 2: the pair
        pair = Signal(_PAIR, name=f"pair_{lane}")
        m.d.sync += pair.eq(found)

        # 3: product; the sum follows behind it
        knot = Signal(signed(16), name=f"knot_{lane}")
        product = Signal(signed(24), name=f"product_{lane}")
        m.d.sync += [knot.eq(pair.knot), product.eq(pair.slope * fractions[1])]
        m.d.comb += self.o[lane].eq(knot + ((product + 64) >> 7))

    def _read_entry(self, m: Module, read: ReadPort, entry: Value, bits: int) -> Value:
        """The entry of ``bits``, one cycle later."""
        in_row = (8 * self.config.bus_bytes // bits).bit_length() - 1
        place = Signal(in_row)
        m.d.sync += place.eq(entry[:in_row])
        m.d.comb += read.addr.eq(entry[in_row:])
        return read.data.word_select(place, bits)
