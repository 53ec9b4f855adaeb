"""Walks over words in memory, a word a cycle: the lines of a transfer, the pixels of groups."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from edgeinfer.hdl import isa
from edgeinfer.hdl.gateware.interface import ADDRESS_BITS, fields_of

__all__ = ["GROUPS", "LINES", "GroupWalk", "LineWalk", "Turns"]


def _fields(instruction: type[isa.Instruction], *names: str) -> data.StructLayout:
    members = fields_of(instruction).members
    return data.StructLayout({name: members[name] for name in names})


LINES = _fields(isa.ReadHost, "address", "words", "lines", "step")
"""Of READ_HOST and WRITE_HOST alike."""

GROUPS = _fields(isa.Activate, "base", "rows", "columns", "groups")
"""Of ACTIVATE; ``base`` may be the result's or the second operand's."""


class Turns:
    """How many turns of a loop are left, less one.

    That it is in its last turn is a register: much follows from it in the same cycle.

    Parameters
    ----------
    m : Module
    name : str
    bits : int
        Of the number of turns, less one.
    """

    def __init__(self, m: Module, name: str, bits: int) -> None:
        self._m = m
        self._left = Signal(bits, name=f"{name}_left", reset_less=True)
        self.last = Signal(name=f"{name}_last", reset_less=True)

    def begin(self, count: Value) -> None:
        """All turns are left: ``count``, less one."""
        self._m.d.sync += [self._left.eq(count), self.last.eq(count == 0)]

    def next(self) -> None:
        """A turn is over."""
        self._m.d.sync += [self._left.eq(self._left - 1), self.last.eq(self._left == 1)]


class LineWalk(wiring.Component):
    """The addresses of a transfer's words: for line, for word.

    The first is there a cycle after the transfer was taken; the next transfer is taken with the
    last.

    Members
    -------
    i : In(stream of LINES)
    o : Out(stream of an address and whether it is the last)
    """

    def __init__(self) -> None:
        place = data.StructLayout({"address": ADDRESS_BITS, "end": 1})
        super().__init__({"i": In(stream.Signature(LINES)), "o": Out(stream.Signature(place))})

    def elaborate(self, platform: object) -> Module:
        """Two nested loops, and the address at which the outer one began."""
        m = Module()
        i, o = self.i, self.o
        lines, words = (
            Turns(m, name, len(getattr(i.payload, name))) for name in ("lines", "words")
        )
        transfer = Signal(LINES, reset_less=True)
        line = Signal(ADDRESS_BITS, reset_less=True)
        address = Signal(ADDRESS_BITS, reset_less=True)
        moves = o.valid & o.ready
        m.d.comb += [
            o.payload.address.eq(address),
            o.payload.end.eq(lines.last & words.last),
            i.ready.eq(~o.valid | (o.ready & o.payload.end)),
        ]
        with m.If(i.valid & i.ready):
            lines.begin(i.payload.lines)
            words.begin(i.payload.words)
            m.d.sync += [place.eq(i.payload.address) for place in (line, address)]
            m.d.sync += [transfer.eq(i.payload), o.valid.eq(1)]
        with m.Elif(moves & words.last):
            lines.next()
            words.begin(transfer.words)
            m.d.sync += [place.eq(line + transfer.step) for place in (line, address)]
            m.d.sync += o.valid.eq(~lines.last)
        with m.Elif(moves):
            words.next()
            m.d.sync += address.eq(address + 1)
        return m


class GroupWalk(wiring.Component):
    """The addresses of an ACTIVATE's words: for group, for row, for column.

    The first is there a cycle after the ACTIVATE was taken; the next one is taken with the last.

    Members
    -------
    i : In(stream of GROUPS)
    row_step, column_step : In(16)
        Constant as long as ``o`` is valid.
    o : Out(stream of an address and whether it is the last of its group)
    """

    def __init__(self) -> None:
        place = data.StructLayout({"address": ADDRESS_BITS, "group_end": 1})
        super().__init__(
            {
                "i": In(stream.Signature(GROUPS)),
                "row_step": In(16),
                "column_step": In(16),
                "o": Out(stream.Signature(place)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Three nested loops, and the addresses at which the outer two began."""
        m = Module()
        i, o = self.i, self.o
        groups, rows, columns = (
            Turns(m, name, len(getattr(i.payload, name))) for name in ("groups", "rows", "columns")
        )
        turns = Signal(GROUPS, reset_less=True)
        of_group = Signal(ADDRESS_BITS, reset_less=True)
        of_row = Signal(ADDRESS_BITS, reset_less=True)
        address = Signal(ADDRESS_BITS, reset_less=True)
        moves = o.valid & o.ready
        m.d.comb += [
            o.payload.address.eq(address),
            o.payload.group_end.eq(columns.last & rows.last),
            i.ready.eq(~o.valid | (o.ready & o.payload.group_end & groups.last)),
        ]
        with m.If(i.valid & i.ready):
            groups.begin(i.payload.groups)
            rows.begin(i.payload.rows)
            columns.begin(i.payload.columns)
            m.d.sync += [place.eq(i.payload.base) for place in (of_group, of_row, address)]
            m.d.sync += [turns.eq(i.payload), o.valid.eq(1)]
        with m.Elif(moves & o.payload.group_end):
            groups.next()
            rows.begin(turns.rows)
            columns.begin(turns.columns)
            m.d.sync += [place.eq(of_group + 1) for place in (of_group, of_row, address)]
            m.d.sync += o.valid.eq(~groups.last)
        with m.Elif(moves & columns.last):
            rows.next()
            columns.begin(turns.columns)
            m.d.sync += [place.eq(of_row + self.row_step) for place in (of_row, address)]
        with m.Elif(moves):
            columns.next()
            m.d.sync += address.eq(address + self.column_step)
        return m
