"""The NPU's core: buffer, feed, weights, array and accumulators, wired together."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.gateware.accumulators import Accumulators
from edgeinfer.hdl.gateware.array import Array
from edgeinfer.hdl.gateware.buffer import Buffer
from edgeinfer.hdl.gateware.convolve import ConvolveUnit
from edgeinfer.hdl.gateware.interface import (
    AccumulatorPort,
    BeatWrite,
    ReadRequest,
    UnitControl,
    WordWrite,
)
from edgeinfer.hdl.gateware.operand import Operand
from edgeinfer.hdl.gateware.weights import WeightsUnit

__all__ = ["Compute"]

_PATIENCE = 8
"""Cycles that a reader of the buffer waits for the array: more than a held fetch needs to show."""


class Compute(wiring.Component):
    """From the buffer to the accumulators.

    A fetch whose addresses reach the buffer in cycle t adds to the accumulators in
    ``t + FETCH_LATENCY + rows + 5``; a half is full a cycle after that of its last pixel.

    Parameters
    ----------
    config : NpuConfig

    Members
    -------
    convolve, weights : Out(UnitControl)
        Of the units CONVOLVE and WEIGHTS.
    residual, store : In(ReadRequest)
    result : In(WordWrite)
    load : In(BeatWrite)
        The buffer's other ports.
    weight_write : In(WordWrite)
        Of the weight memory: a word of all its banks.
    accumulators : In(AccumulatorPort)
    out_of_range : Out(1)
        In the cycle before, an address was beyond the buffer or the weight memory.
    """

    def __init__(self, config: NpuConfig) -> None:
        self.config = config
        bits = config.columns * config.width
        super().__init__(
            {
                "convolve": Out(UnitControl()),
                "weights": Out(UnitControl()),
                "residual": In(ReadRequest(config)),
                "store": In(ReadRequest(config)),
                "result": In(WordWrite(bits)),
                "load": In(BeatWrite(bits)),
                "weight_write": In(WordWrite(config.weight_port * bits)),
                "accumulators": In(AccumulatorPort(config)),
                "out_of_range": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """In the order in which data flow."""
        m = Module()
        m.submodules.convolve = convolve = ConvolveUnit(self.config)
        m.submodules.buffer = buffer = Buffer(self.config)
        m.submodules.operand = operand = Operand(self.config)
        m.submodules.weights = weights = WeightsUnit(self.config)
        m.submodules.array = array = Array(self.config)
        m.submodules.accumulators = accumulators = Accumulators(self.config)

        wiring.connect(m, wiring.flipped(self.convolve), convolve.control)
        wiring.connect(m, wiring.flipped(self.weights), weights.control)
        wiring.connect(m, wiring.flipped(self.weight_write), weights.write)
        wiring.connect(m, wiring.flipped(self.accumulators), accumulators.port)
        for name in ("residual", "store", "result", "load"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(buffer, name))

        # A pass over pixels of four words meets one bank in every cycle; the other readers would
        # wait until it is over: after some cycles they are left one.
        blocked = Signal()
        patience = Signal(range(_PATIENCE))
        m.d.comb += [
            blocked.eq(
                (self.residual.valid & ~self.residual.ready)
                | (self.store.valid & ~self.store.ready)
            ),
        ]
        m.d.sync += convolve.hold.eq(blocked & (patience == _PATIENCE - 1) & ~convolve.hold)
        with m.If(~blocked | convolve.hold):
            m.d.sync += patience.eq(0)
        with m.Else():
            m.d.sync += patience.eq(patience + 1)

        m.d.comb += [
            weights.start.eq(convolve.start),
            convolve.loaded.eq(weights.loaded),
            convolve.released.eq(accumulators.released),
            operand.token.eq(convolve.token),
            array.swap.eq(operand.swap),
            array.tag_in.eq(operand.tag),
            accumulators.sums.eq(array.sums),
            accumulators.tag.eq(array.tag_out),
            self.out_of_range.eq(buffer.out_of_range | weights.out_of_range),
        ]
        for source, sink in (
            *zip(convolve.fetch, buffer.fetch, strict=True),
            *zip(buffer.words, operand.words, strict=True),
            *zip(operand.rows, array.rows, strict=True),
            *zip(weights.rows, array.weights, strict=True),
        ):
            m.d.comb += sink.eq(source)
        return m
