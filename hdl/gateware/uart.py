"""A serial line of 8 data bits, no parity and one stop bit, as streams of bytes."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = ["UartReceiver", "UartTransmitter"]

_DATA_BITS = 8


class UartReceiver(wiring.Component):
    """Bytes from a line, each sampled in the middle of its bits.

    A byte whose stop bit is low is dropped, and the line must be high before the next one. There is
    no way to hold the line back: ``o`` must be taken before the next byte is complete, or that one
    is lost.

    Parameters
    ----------
    divisor : int
        Cycles of a bit, 4 or more.

    Members
    -------
    rx : In(1)
        The line, not in step with the clock; high at rest.
    o : Out(stream of 8 bits)
    """

    def __init__(self, divisor: int) -> None:
        self.divisor = divisor
        super().__init__({"rx": In(1), "o": Out(stream.Signature(_DATA_BITS))})

    def elaborate(self, platform: object) -> Module:
        """A start bit, then a sample every ``divisor`` cycles."""
        m = Module()
        rx = Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.rx, rx, init=1)
        wait, left = Signal(range(2 * self.divisor)), Signal(range(_DATA_BITS + 2))
        shifted, rested = Signal(_DATA_BITS), Signal()
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        with m.Elif(left != 0):
            m.d.sync += [left.eq(left - 1), wait.eq(self.divisor - 1)]
            with m.If(left == 1):
                # there is half a bit left in which the next start bit may fall
                m.d.sync += [self.o.payload.eq(shifted), self.o.valid.eq(rx), wait.eq(0)]
                m.d.sync += rested.eq(rx)
            with m.Else():
                m.d.sync += shifted.eq(Cat(shifted[1:], rx))
        with m.Elif(~rested):
            m.d.sync += rested.eq(rx)
        with m.Elif(~rx):
            m.d.sync += [
                left.eq(_DATA_BITS + 1),
                wait.eq(self.divisor + self.divisor // 2 - 1),
            ]
        return m


class UartTransmitter(wiring.Component):
    """Bytes onto a line.

    Parameters
    ----------
    divisor : int
        Cycles of a bit.

    Members
    -------
    i : In(stream of 8 bits)
    tx : Out(1)
        High at rest.
    """

    def __init__(self, divisor: int) -> None:
        self.divisor = divisor
        super().__init__({"i": In(stream.Signature(_DATA_BITS)), "tx": Out(1, init=1)})

    def elaborate(self, platform: object) -> Module:
        """The frame leaves a shift register that fills with ones, the line at rest."""
        m = Module()
        frame = Signal(_DATA_BITS + 2, init=-1)
        wait, left = Signal(range(self.divisor)), Signal(range(_DATA_BITS + 2))
        m.d.comb += [self.tx.eq(frame[0]), self.i.ready.eq((left == 0) & (wait == 0))]
        with m.If(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        with m.Elif(left != 0):
            m.d.sync += [
                frame.eq(Cat(frame[1:], Const(1, 1))),
                left.eq(left - 1),
                wait.eq(self.divisor - 1),
            ]
        with m.Elif(self.i.valid):
            m.d.sync += [
                frame.eq(Cat(Const(0, 1), self.i.payload, Const(1, 1))),
                left.eq(_DATA_BITS + 1),
                wait.eq(self.divisor - 1),
            ]
        return m
