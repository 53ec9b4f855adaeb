"""One lane's arithmetic: an operand, a multiplier and a shift into a rounded, clamped element."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.gateware.pipeline import later

__all__ = ["RESCALER_LATENCY", "Rescaler", "result_layout", "step_layout"]

RESCALER_LATENCY = 6
"""Cycles from a step to its result."""

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

    A step that is at ``i`` in cycle t has its result at ``o`` in ``t + RESCALER_LATENCY``. Nothing
    stalls it, and every cycle is a step: who gives the steps knows which of them count.

    The product is Karatsuba's: with ``a = a1 2^16 + a0`` and ``b`` likewise, the products a1 b1,
    a0 b0 and (a1 + a0) (b1 + b0) suffice. For an operand of 32 bits each fits an FPGA's multiplier
    of 18 x 18 bits, so that a lane takes three of them instead of four.

    The multiplications have a stage, and so have the 64-bit addition and the shift. The zero point
    is not added to the wide number that is compared: the bounds less the zero point, known stages
    before, are compared with its low bits, while the high bits say whether it has left their range
    on either side.

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
        limits: data.View = Signal(
            data.StructLayout(
                {
                    "zero_point": signed(16),
                    "lo": signed(config.width),
                    "hi": signed(config.width),
                    "below": signed(_BOUND_BITS),
                    "above": signed(_BOUND_BITS),
                }
            )
        )
        m.d.comb += [
            limits.zero_point.eq(step.zero_point),
            limits.lo.eq(step.lo),
            limits.hi.eq(step.hi),
            limits.below.eq(step.lo - step.zero_point),
            limits.above.eq(step.hi - step.zero_point),
        ]

        # 3: the third product, and the outer ones side by side
        cross = later(m, a_sum * b_sum, "cross")
        outer = later(m, (Cat(low, high) + rounding)[:_PRODUCT_BITS], "outer")
        sides = later(m, high + low, "sides")

        # 4: sum
        total = outer + ((cross - sides) << _HALF_BITS)
        total = later(m, total[:_PRODUCT_BITS].as_signed(), "total")

        # 5: shift; what is known since stage 1 has waited
        shift = later(m, step.shift, "shift", cycles=3)
        shifted = later(m, total >> shift, "shifted")
        limits = later(m, limits, "limits", cycles=4)

        # 6: clamp
        low_bits, high_bits = shifted[:_BOUND_BITS].as_signed(), shifted[_BOUND_BITS - 1 :]
        near = high_bits.all() | ~high_bits.any()
        negative = shifted < 0
        is_below = Mux(near, low_bits < limits.below, negative)
        is_above = Mux(near, low_bits > limits.above, ~negative)
        inside = (low_bits + limits.zero_point)[: config.width]
        element = Mux(is_below, limits.lo, Mux(is_above, limits.hi, inside))
        m.d.comb += [
            self.o.element.eq(later(m, element, "element")),
            self.o.value.eq(later(m, shifted, "value")),
        ]
        return m
