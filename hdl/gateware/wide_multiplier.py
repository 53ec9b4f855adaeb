"""Two numbers of 34 bits into their product, in stages that an FPGA's multipliers take part in."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from edgeinfer.hdl.gateware.pipeline import later

__all__ = ["MULTIPLIER_BITS", "WideMultiplier"]

MULTIPLIER_BITS = 34

_HALF_BITS = 17


class WideMultiplier(wiring.Component):
    """``a b`` after ``MULTIPLIER_LATENCY`` cycles, of new ones in each; four FPGA multipliers.

    Members
    -------
    a, b : In(signed(34))
    product : Out(signed(68))
    """

    def __init__(self) -> None:
        factor = In(signed(MULTIPLIER_BITS))
        super().__init__({"a": factor, "b": factor, "product": Out(signed(2 * MULTIPLIER_BITS))})

    def elaborate(self, platform: object) -> Module:
        """Factors, products of their halves, the inner ones' sum, all."""
        m = Module()
        a, b = later(m, self.a, "a"), later(m, self.b, "b")
        a0, a1 = a[:_HALF_BITS], a[_HALF_BITS:].as_signed()
        b0, b1 = b[:_HALF_BITS], b[_HALF_BITS:].as_signed()
        low, high = later(m, a0 * b0, "low"), later(m, a1 * b1, "high")
        left, right = later(m, a1 * b0, "left"), later(m, a0 * b1, "right")
        outer = later(m, Cat(low, high).as_signed(), "outer")
        inner = later(m, left + right, "inner")
        product = (outer + (inner << _HALF_BITS))[: 2 * MULTIPLIER_BITS].as_signed()
        m.d.comb += self.product.eq(later(m, product, "sum"))
        return m
