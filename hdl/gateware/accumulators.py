"""The accumulators: two halves, one gathering the array's sums while the lanes read the other."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.gateware.interface import AccumulatorPort

__all__ = ["HALVES", "Accumulators", "sums_layout", "tag_layout"]

HALVES = 2


def tag_layout(config: NpuConfig) -> data.StructLayout:
    """What the array's sums of one fetch are for.

    ``emit``: they count. ``first``: they start the pixel. ``maximum``: the greater one is kept.
    ``half`` and ``address``: the pixel. ``last``: with it the half is complete.
    """
    return data.StructLayout(
        {
            "emit": 1,
            "first": 1,
            "last": 1,
            "maximum": 1,
            "half": 1,
            "address": range(config.accumulator_depth),
        }
    )


def sums_layout(config: NpuConfig) -> data.ArrayLayout:
    """One exact sum of ``rows`` products for each column."""
    bits = 2 * config.width + config.rows.bit_length() - 1
    return data.ArrayLayout(signed(bits), config.columns)


class Accumulators(wiring.Component):
    """``acc[a] = (first ? 0 : acc[a]) + sum``, or the greater of both; wraps at its width.

    A tag comes one cycle before its sums. Sums that come in cycle u are written in u + 1; none ever
    wait, and any two may meet the same address. A half is full from the cycle after that write on,
    and free again with ``port.release``; halves are read in the order in which they were filled.
    The reader's address is answered in the next cycle, also that of the cycle of ``release``.

    The memories are read without a clock, so that they become distributed memory and neither the
    sum nor the comparison has a block memory's access time before it.

    Parameters
    ----------
    config : NpuConfig

    Members
    -------
    sums : In(sums_layout)
    tag : In(tag_layout)
        What the sums of the next cycle are for; nothing while ``emit`` is low. A half that is full
        must not be written.
    port : In(AccumulatorPort)
    released : Out(1)
        High for a cycle for each half that is free again.
    """

    def __init__(self, config: NpuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "sums": In(sums_layout(config)),
                "tag": In(tag_layout(config)),
                "port": In(AccumulatorPort(config)),
                "released": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Stage 1 reads with the tag, stage 2 adds the sums, stage 3 writes."""
        m = Module()
        config = self.config
        word = data.ArrayLayout(signed(config.accumulator_bits), config.columns)
        tag = self.tag
        tag_2, tag_3 = (Signal(tag_layout(config), name=f"tag_{i}") for i in (2, 3))
        old, total, answer = (
            Signal(word, name=n, reset_less=True) for n in ("old", "total", "answer")
        )
        follows = Signal()
        reading = Signal()

        # stage 1: a half has one read port, for the sums until it is full and for the lanes then
        held = []
        for half in range(HALVES):
            memory = Memory(shape=word, depth=config.accumulator_depth, init=[])
            m.submodules[f"half_{half}"] = memory
            read, write = memory.read_port(domain="comb"), memory.write_port()
            gathers = tag.emit & (tag.half == half)
            m.d.comb += [
                read.addr.eq(Mux(gathers, tag.address, self.port.address)),
                write.en.eq(tag_3.emit & (tag_3.half == half)),
                write.addr.eq(tag_3.address),
                write.data.eq(total),
            ]
            held.append(read.data)

        def meets(other: data.View) -> Value:
            return other.emit & (other.half == tag.half) & (other.address == tag.address)

        # what leaves the first sum as it is
        bits = config.accumulator_bits
        least = Const(-1 << (bits - 1), signed(bits))
        neutral = Cat(Mux(tag.maximum, least, 0)[:bits] for _ in range(config.columns))
        # the sum before the last one is only being written
        memory_or_total = Mux(meets(tag_3), total, Mux(tag.half, held[1], held[0]))
        m.d.sync += [
            tag_2.eq(tag),
            tag_3.eq(tag_2),
            old.eq(Mux(tag.first, neutral, memory_or_total)),
            follows.eq(meets(tag_2) & ~tag.first),
            answer.eq(Mux(reading, held[1], held[0])),
        ]
        m.d.comb += self.port.data.eq(answer)

        # stage 2
        for column in range(config.columns):
            before = Mux(follows, total[column], old[column])
            new = self.sums[column]
            greater = Mux(new > before, new, before)
            m.d.sync += total[column].eq(Mux(tag_2.maximum, greater, before + new))

        # stage 3
        filled = Signal(range(HALVES + 1))
        completes = tag_3.emit & tag_3.last
        m.d.sync += filled.eq(filled + completes - self.port.release)
        m.d.comb += [self.port.full.eq(filled != 0), self.released.eq(self.port.release)]
        with m.If(self.port.release):
            m.d.sync += reading.eq(~reading)
        return m
