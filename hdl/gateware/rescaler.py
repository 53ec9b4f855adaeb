"""One lane's arithmetic: an operand, a multiplier and a shift into a rounded, clamped element."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.gateware.pipeline import later

__all__ = ["RESCALER_LATENCY", "VALUE_LATENCY", "Rescaler", "result_layout", "step_layout"]

RESCALER_LATENCY = 7
"""Cycles from a step to its element."""

VALUE_LATENCY = 5
"""Cycles from a step to its value, which is known before the element."""

_HALF_BITS = 16
"""Of the lower half of an operand and of a multiplier."""

_PRODUCT_BITS = 64
"""Of a proven product and its rounding term: ``docs/arithmetic.md``, "int64 is enough"."""

_BOUND_BITS = 17
"""Of the difference of two 16-bit numbers."""


def step_layout(config: NpuConfig) -> data.StructLayout:
    """What a lane computes from: ``clamp(R(operand, multiplier, shift) + zero_point, lo, hi)``.

    ``shift`` is 0, which rounds nothing, or as in the contract. ``double`` rounds twice (R2); it
    asks for a multiplier that is not negative.
    """
    return data.StructLayout(
        {
            "operand": signed(config.accumulator_bits),
            "multiplier": signed(32),
            "shift": unsigned(6),
            "double": unsigned(1),
            "zero_point": signed(16),
            "lo": signed(config.width),
            "hi": signed(config.width),
        }
    )


def result_layout(config: NpuConfig) -> data.StructLayout:
    """``element``: the clamped result. ``value``: R alone, modulo the accumulators' width."""
    return data.StructLayout(
        {"element": signed(config.width), "value": signed(config.accumulator_bits)}
    )


class Rescaler(wiring.Component):
    """``fixedpoint.requantize``, bit for bit, for one number a cycle.

    A step that is at ``i`` in cycle t has its element at ``o`` in ``t + RESCALER_LATENCY`` and its
    value in ``t + VALUE_LATENCY``. Nothing stalls it, and every cycle is a step: who gives the
    steps knows which of them count.

    The product is Karatsuba's: with ``a = a1 2^16 + a0`` and ``b`` likewise, the products a1 b1,
    a0 b0 and (a1 + a0) (b1 + b0) suffice. For an operand of 32 bits each fits an FPGA's multiplier
    of 18 x 18 bits, so that a lane takes three of them instead of four.

    The multiplications have a stage, and so have the 64-bit addition, the shift, the comparisons
    and the clamp. The zero point is not added to the wide number that is compared: the bounds less
    the zero point, known a stage before, are compared with its low bits, while the high bits say
    whether it has left their range on either side.

    Parameters
    ----------
    config : NpuConfig

    Members
    -------
    i : In(step_layout)
        ``operand * multiplier`` is below 2^62 in magnitude.
    o : Out(result_layout)
    """

    def __init__(self, config: NpuConfig) -> None:
        self.config = config
        super().__init__({"i": In(step_layout(config)), "o": Out(result_layout(config))})

    def elaborate(self, platform: object) -> Module:
        """Operand, products, their sums, shift, clamp."""
        m = Module()
        config = self.config

        # 1: operand
        step = later(m, self.i, "step")

        # 2: the halves' products and sums, and what rounds
        a0, a1 = step.operand[:_HALF_BITS], step.operand[_HALF_BITS:].as_signed()
        b0, b1 = step.multiplier[:_HALF_BITS], step.multiplier[_HALF_BITS:].as_signed()
        low, high = later(m, a0 * b0, "low"), later(m, a1 * b1, "high")
        a_sum, b_sum = later(m, a1 + a0, "a_sum"), later(m, b1 + b0, "b_sum")
        half = (Const(1, 1) << step.shift) >> 1
        away = Mux(step.operand < 0, Const(-(1 << 30)), Const(1 << 30))
        rounds_away = step.double & (step.shift > 31)
        rounding = later(m, (half + Mux(rounds_away, away, 0))[:_PRODUCT_BITS], "rounding")

        # 3: the third product, and the outer ones side by side
        cross = later(m, a_sum * b_sum, "cross")
        outer = later(m, (Cat(low, high) + rounding)[:_PRODUCT_BITS], "outer")
        sides = later(m, high + low, "sides")

        # 4: sum
        total = outer + ((cross - sides) << _HALF_BITS)
        total = later(m, total[:_PRODUCT_BITS].as_signed(), "total")

        # 5: shift, and the bounds less the zero point; what stage 1 knew has waited
        shift, zero_point, lo, hi = (
            later(m, step[name], name, cycles=3) for name in ("shift", "zero_point", "lo", "hi")
        )
        shifted = later(m, total >> shift, "shifted")
        below, above = later(m, lo - zero_point, "below"), later(m, hi - zero_point, "above")
        zero_point, lo, hi = later(m, zero_point), later(m, lo), later(m, hi)

        # 6: comparisons
        low_bits, high_bits = shifted[:_BOUND_BITS].as_signed(), shifted[_BOUND_BITS - 1 :]
        near = high_bits.all() | ~high_bits.any()
        negative = shifted < 0
        is_below = later(m, Mux(near, low_bits < below, negative), "is_below")
        is_above = later(m, Mux(near, low_bits > above, ~negative), "is_above")
        inside = later(m, (low_bits + zero_point)[: config.width], "inside")
        lo, hi = later(m, lo), later(m, hi)

        # 7: clamp
        element = Mux(is_below, lo, Mux(is_above, hi, inside))
        m.d.comb += [
            self.o.element.eq(later(m, element, "element")),
            self.o.value.eq(shifted),
        ]
        return m
