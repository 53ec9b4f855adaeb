"""The accumulators: two halves, one gathering the array's sums while the lanes read the other."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.gateware.interface import AccumulatorPort
from edgeinfer.hdl.gateware.pipeline import later, replica

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


def _control_layout(config: NpuConfig) -> data.StructLayout:
    """What each column must know in the next cycle, of tags that are in its stages then.

    Stage 1: ``read``, the words to read; ``reads``, the half that the lanes read; ``half``,
    ``first`` and ``maximum`` of the tag; ``written``, that the sum before the last one is of the
    same pixel. Stage 2: ``follows``, that the last one is; ``greater``, that the greater one is
    kept. Stage 3: ``write``, the half that takes the sum, and ``at``, its word.
    """
    address = range(config.accumulator_depth)
    return data.StructLayout(
        {
            "read": data.ArrayLayout(address, HALVES),
            "reads": 1,
            "half": 1,
            "first": 1,
            "maximum": 1,
            "written": 1,
            "follows": 1,
            "greater": 1,
            "write": HALVES,
            "at": address,
        }
    )


class _Column(wiring.Component):
    """One column of both halves, beside its own copy of what all columns are told.

    Stage 1 reads, stage 2 adds the sum, stage 3 writes.

    Members
    -------
    control : In(_control_layout)
    sum : In(signed)
        In stage 2.
    answer : Out(signed)
        Of the half that the lanes read, two cycles after its ``control.read``.
    """

    def __init__(self, config: NpuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "control": In(_control_layout(config)),
                "sum": In(sums_layout(config).elem_shape),
                "answer": Out(signed(config.accumulator_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Memories without a clock for reading: an addition stands in the next stage."""
        m = Module()
        # a write that a reset leaves here is to a half that begins with ``first``
        control: data.View = replica(m, self.control, "control")
        bits = self.config.accumulator_bits
        total = Signal(signed(bits), reset_less=True)
        held = []
        for half in range(HALVES):
            memory = Memory(
                shape=signed(bits),
                depth=self.config.accumulator_depth,
                init=[],
                attrs={"ram_style": "distributed"},
            )
            m.submodules[f"half_{half}"] = memory
            read, write = memory.read_port(domain="comb"), memory.write_port()
            m.d.comb += [
                read.addr.eq(control.read[half]),
                write.en.eq(control.write[half]),
                write.addr.eq(control.at),
                write.data.eq(total),
            ]
            held.append(read.data)
        m.d.comb += self.answer.eq(later(m, Mux(control.reads, held[1], held[0]), "answer"))

        # what leaves the first sum as it is
        neutral = Mux(control.maximum, Const(-1 << (bits - 1), signed(bits)), 0)
        # the sum before the last one is only being written
        sofar = Mux(control.written, total, Mux(control.half, held[1], held[0]))
        old = later(m, Mux(control.first, neutral, sofar)[:bits].as_signed(), "old")

        before = Mux(control.follows, total, old)
        # two comparisons side by side: one behind the choice would be late
        exceeds = Mux(control.follows, self.sum > total, self.sum > old)
        greater = Mux(exceeds, self.sum, before)
        m.d.sync += total.eq(Mux(control.greater, greater, before + self.sum))
        return m


class Accumulators(wiring.Component):
    """``acc[a] = (first ? 0 : acc[a]) + sum``, or the greater of both; wraps at its width.

    A tag comes two cycles before its sums. Sums that come in cycle u are written in u + 1; none
    ever wait, and any two may meet the same address. A half is full from the cycle after that write
    on, and free again with ``port.release``; halves are read in the order in which they were
    filled. The reader's address is answered two cycles later, also that of the cycle of
    ``release``.

    Parameters
    ----------
    config : NpuConfig

    Members
    -------
    sums : In(sums_layout)
    tag : In(tag_layout)
        What the sums of two cycles later are for; nothing while ``emit`` is low. A half that is
        full must not be written.
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
        """What follows from the tags, for all columns alike."""
        m = Module()
        config, tag = self.config, self.tag
        tag_1, tag_2 = (Signal(tag_layout(config), name=f"tag_{i}") for i in (1, 2))
        m.d.sync += [tag_1.eq(tag), tag_2.eq(tag_1)]

        def meet(one: data.View, other: data.View) -> Value:
            return other.emit & (other.half == one.half) & (other.address == one.address)

        control = Signal(_control_layout(config))
        reading = Signal()
        m.d.comb += [
            control.reads.eq(reading),
            control.half.eq(tag.half),
            control.first.eq(tag.first),
            control.maximum.eq(tag.maximum),
            control.written.eq(meet(tag, tag_2)),
            control.follows.eq(meet(tag_1, tag_2) & ~tag_1.first),
            control.greater.eq(tag_1.maximum),
            control.at.eq(tag_2.address),
        ]
        for half in range(HALVES):
            # a half has one read port, for the sums until it is full and for the lanes then
            gathers = tag.emit & (tag.half == half)
            m.d.comb += [
                control.read[half].eq(Mux(gathers, tag.address, self.port.address)),
                control.write[half].eq(tag_2.emit & (tag_2.half == half)),
            ]
        for c in range(config.columns):
            m.submodules[f"column_{c}"] = column = _Column(config)
            m.d.comb += [
                column.control.eq(control),
                column.sum.eq(self.sums[c]),
                self.port.data[c].eq(column.answer),
            ]

        filled = Signal(range(HALVES + 1))
        completes = Signal()
        m.d.sync += completes.eq(tag_2.emit & tag_2.last)
        following = (filled + completes - self.port.release)[: len(filled)]
        m.d.sync += [filled.eq(following), self.port.full.eq(following != 0)]
        m.d.comb += self.released.eq(self.port.release)
        with m.If(self.port.release):
            m.d.sync += reading.eq(~reading)
        return m
