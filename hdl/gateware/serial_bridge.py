"""Serial packets into reads and writes of words.

"Behind a serial line" in docs/npu-instructions.md defines them.
"""

from __future__ import annotations

from enum import IntEnum

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.crc.catalog import CRC16_IBM_3740
from amaranth.lib.wiring import In, Out

__all__ = ["ACCEPTED", "HEADER_BYTES", "REFUSED", "WORD_BYTES", "Opcode", "SerialBridge", "WordBus"]

WORD_BYTES = 4

ADDRESS_BITS = 32
COUNT_BITS = 16

HEADER_BYTES = 7
"""Of a request: opcode, address and count, the least significant byte first."""

ACCEPTED, REFUSED = 0x06, 0x15
"""First byte of a reply: it was done, or the request's check did not agree."""


class Opcode(IntEnum):
    """First byte of a request; any other is passed over."""

    READ_MEMORY = 0xB0
    WRITE_MEMORY = 0xB1
    READ_REGISTERS = 0xB2
    WRITE_REGISTERS = 0xB3
    READ_DESCRIPTION = 0xB4


class Space(IntEnum):
    """Opcodes' bits 1 and 2."""

    MEMORY = 0
    REGISTERS = 1
    DESCRIPTION = 2


class WordBus(wiring.Signature):
    """Words of 32 bits, one access at a time.

    Members
    -------
    valid, ready : Out(1), In(1)
        The access, and its end; nothing changes in between.
    write : Out(1)
    address : Out(30)
        In words.
    write_data : Out(32)
    read_data : In(32)
        With ``ready``.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "ready": In(1),
                "write": Out(1),
                "address": Out(ADDRESS_BITS - 2),
                "write_data": Out(8 * WORD_BYTES),
                "read_data": In(8 * WORD_BYTES),
            }
        )


class SerialBridge(wiring.Component):
    """Answers one request after another.

    A request is a header, the words of a write, and a CRC-16/IBM-3740 of all these bytes, its
    most significant byte first. The reply is ``ACCEPTED`` or ``REFUSED``, the words of a read that
    was accepted, and a CRC of these. A word of memory is written when it has come; one of the
    registers only when the check agrees, so that a damaged request starts nothing. Requests to
    write registers have one word.

    Parameters
    ----------
    patience : int
        Cycles without a byte after which an unfinished request is forgotten, so that a line that
        loses bytes comes into step again.

    Members
    -------
    i, o : In(stream of 8 bits), Out(stream of 8 bits)
        ``i`` is always taken at once, but for bytes that come before the reply has left.
    memory, registers, description : Out(WordBus)
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "o": Out(stream.Signature(8)),
                "memory": Out(WordBus()),
                "registers": Out(WordBus()),
                "description": Out(WordBus()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """A state for each part of request and reply."""
        m = Module()
        m.submodules.crc = crc = CRC16_IBM_3740(data_width=8).create()
        header = Signal(8 * HEADER_BYTES)
        opcode, word_address, left = header[:8], header[10:40], header[40:]
        write, space = opcode[0], opcode[1:3]
        index = Signal(range(HEADER_BYTES))
        word = Signal(8 * WORD_BYTES)
        agrees = Signal()

        # one of the spaces answers
        access, ready, read_data = Signal(), Signal(), Signal(8 * WORD_BYTES)
        for number, bus in (
            (Space.MEMORY, self.memory),
            (Space.REGISTERS, self.registers),
            (Space.DESCRIPTION, self.description),
        ):
            m.d.comb += [
                bus.valid.eq(access & (space == number)),
                bus.write.eq(write),
                bus.address.eq(word_address),
                bus.write_data.eq(word),
            ]
            with m.If(space == number):
                m.d.comb += [ready.eq(bus.ready), read_data.eq(bus.read_data)]

        idle = Signal(range(self.patience + 1))
        m.d.sync += idle.eq(Mux(self.i.valid, 0, idle + 1))
        forget = idle == self.patience

        taken = self.i.valid & self.i.ready
        advance = Cat(opcode, Const(0, 2), (word_address + 1)[:-1], (left - 1)[:COUNT_BITS])
        takes_a_byte = [
            self.i.ready.eq(1),
            crc.data.eq(self.i.payload),
            crc.valid.eq(taken),
        ]
        known = [each.value for each in Opcode]
        with m.FSM():
            with m.State("OPCODE"):
                m.d.comb += [self.i.ready.eq(1), crc.start.eq(1), crc.data.eq(self.i.payload)]
                m.d.sync += index.eq(HEADER_BYTES - 2)
                with m.If(taken & self.i.payload.matches(*known)):
                    m.d.comb += crc.valid.eq(1)
                    m.d.sync += header.eq(Cat(header[8:], self.i.payload))
                    m.next = "HEADER"
            with m.State("HEADER"):
                m.d.comb += takes_a_byte
                with m.If(taken):
                    m.d.sync += [header.eq(Cat(header[8:], self.i.payload)), index.eq(index - 1)]
                    with m.If(index == 0):
                        # the opcode has just moved to its place
                        m.next = "ROUTE"
                with m.Elif(forget):
                    m.next = "OPCODE"
            with m.State("ROUTE"):
                m.d.sync += index.eq(Mux(write, WORD_BYTES - 1, 1))
                with m.If(write):
                    m.next = "DATA"
                with m.Else():
                    m.next = "CHECK"
            with m.State("DATA"):
                m.d.comb += takes_a_byte
                with m.If(taken):
                    m.d.sync += [word.eq(Cat(word[8:], self.i.payload)), index.eq(index - 1)]
                    with m.If(index == 0):
                        m.d.sync += index.eq(1)
                        with m.If(space == Space.MEMORY):
                            m.next = "STORE"
                        with m.Else():
                            m.next = "CHECK"
                with m.Elif(forget):
                    m.next = "OPCODE"
            with m.State("STORE"):
                m.d.comb += access.eq(1)
                with m.If(ready):
                    m.d.sync += header.eq(advance)
                    with m.If(left == 1):
                        m.next = "CHECK"
                    with m.Else():
                        m.d.sync += index.eq(WORD_BYTES - 1)
                        m.next = "DATA"
            with m.State("CHECK"):
                m.d.comb += takes_a_byte
                with m.If(taken):
                    m.d.sync += index.eq(index - 1)
                    with m.If(index == 0):
                        m.next = "CHECKED"
                with m.Elif(forget):
                    m.next = "OPCODE"
            with m.State("CHECKED"):
                m.d.sync += agrees.eq(crc.match_detected)
                with m.If(crc.match_detected & write & (space == Space.REGISTERS)):
                    m.d.comb += access.eq(1)
                    with m.If(ready):
                        m.next = "STATUS"
                with m.Else():
                    m.next = "STATUS"
            with m.State("STATUS"):
                m.d.comb += [
                    self.o.valid.eq(1),
                    self.o.payload.eq(Mux(agrees, ACCEPTED, REFUSED)),
                    crc.data.eq(self.o.payload),
                    crc.start.eq(1),
                    crc.valid.eq(self.o.ready),
                ]
                m.d.sync += index.eq(1)
                with m.If(self.o.ready):
                    with m.If(agrees & ~write & (left != 0)):
                        m.next = "FETCH"
                    with m.Else():
                        m.next = "SIGN"
            with m.State("FETCH"):
                m.d.comb += access.eq(1)
                with m.If(ready):
                    m.d.sync += [
                        word.eq(read_data),
                        header.eq(advance),
                        index.eq(WORD_BYTES - 1),
                    ]
                    m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += [
                    self.o.valid.eq(1),
                    self.o.payload.eq(word[:8]),
                    crc.data.eq(self.o.payload),
                    crc.valid.eq(self.o.ready),
                ]
                with m.If(self.o.ready):
                    m.d.sync += [word.eq(word >> 8), index.eq(index - 1)]
                    with m.If(index == 0):
                        m.d.sync += index.eq(1)
                        with m.If(left == 0):
                            m.next = "SIGN"
                        with m.Else():
                            m.next = "FETCH"
            with m.State("SIGN"):
                m.d.comb += [
                    self.o.valid.eq(1),
                    self.o.payload.eq(Mux(index[0], crc.crc[8:], crc.crc[:8])),
                ]
                with m.If(self.o.ready):
                    m.d.sync += index.eq(index - 1)
                    with m.If(index == 0):
                        m.next = "OPCODE"
        return m
