"""A memory in two pieces, the first as deep as a power of two can be, where that saves blocks.

FPGAs' memory blocks are as deep as powers of two. A depth of 4,352 words in one piece becomes rows
of shallow, wide blocks with a multiplexer of nine inputs behind every bit; in pieces of 4,096 and
256 words it takes as many blocks, a multiplexer of two, and far fewer wires. 768 words are one
piece: they take as many blocks as 1,024 do, in two pieces as well.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["DeepMemory"]

_SHALLOWEST = 512
"""Words of the blocks as wide as they can be, of most FPGAs."""


class DeepMemory(wiring.Component):
    """One read and one write port; a word that is read while it is written is the old one.

    Parameters
    ----------
    bits, depth : int

    Members
    -------
    read_enable : In(1)
        On unless it is driven.
    read_address : In
    read_data : Out
        A cycle after its address.
    write_enable, write_address, write_data : In
    """

    def __init__(self, bits: int, depth: int) -> None:
        self.bits, self.depth = bits, depth
        super().__init__(
            {
                "read_enable": In(1, init=1),
                "read_address": In(range(depth)),
                "read_data": Out(bits),
                "write_enable": In(1),
                "write_address": In(range(depth)),
                "write_data": In(bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """The highest bit of an address chooses the piece."""
        m = Module()
        deepest = _first_piece(self.depth)
        low = (deepest - 1).bit_length()
        found = []
        for index, start in enumerate(range(0, self.depth, deepest)):
            depth = min(deepest, self.depth - start)
            m.submodules[f"piece_{index}"] = piece = Memory(shape=self.bits, depth=depth, init=[])
            read, write = piece.read_port(), piece.write_port()
            m.d.comb += [
                read.en.eq(self.read_enable),
                read.addr.eq(self.read_address[:low]),
                write.en.eq(self.write_enable & (self.write_address[low:] == index)),
                write.addr.eq(self.write_address[:low]),
                write.data.eq(self.write_data),
            ]
            found.append(read.data)
        in_rest = Signal()
        with m.If(self.read_enable):
            m.d.sync += in_rest.eq(self.read_address[low:] != 0)
        m.d.comb += self.read_data.eq(Mux(in_rest, found[-1], found[0]))
        return m


def _first_piece(depth: int) -> int:
    """As deep as the whole memory can need, or half of that where the rest then takes less."""
    whole = 1 << (depth - 1).bit_length()
    half = whole // 2
    rest = max(_SHALLOWEST, 1 << (depth - half - 1).bit_length())
    return half if half + rest < whole else whole
