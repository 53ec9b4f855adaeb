"""One lane's arithmetic: an operand, a multiplier and a shift into a rounded, clamped element."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from edgeinfer.hdl.config import NpuConfig

__all__ = ["RESCALER_LATENCY", "Rescaler", "result_layout", "step_layout"]

RESCALER_LATENCY = 5
"""Cycles from a step to its result."""

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

    The multiplication has a stage of its own, and so have the 64-bit addition and the shift. The
    zero point is not added to the wide number that is compared: the bounds less the zero point,
    known stages before, are compared with its low bits, while the high bits say whether it has
    left their range on either side.

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
        """Operand, product, sum, shift, clamp."""
        m = Module()
        config = self.config
        clamp = data.StructLayout(
            {
                "zero_point": signed(16),
                "lo": signed(config.width),
                "hi": signed(config.width),
                "below": signed(_BOUND_BITS),
                "above": signed(_BOUND_BITS),
            }
        )
        clamps = [Signal(clamp, name=f"clamp_{stage}") for stage in range(2, 5)]
        shift_2, shift_3 = Signal(6), Signal(6)

        # 1: operand
        step = Signal.like(self.i)
        m.d.sync += step.eq(self.i)

        # 2: product, and what rounds it
        product, rounding = Signal(signed(_PRODUCT_BITS)), Signal(signed(_PRODUCT_BITS))
        half = (Const(1, 1) << step.shift) >> 1
        away = Mux(step.operand < 0, Const(-(1 << 30)), Const(1 << 30))
        m.d.sync += [
            product.eq(step.operand * step.multiplier),
            rounding.eq(half + Mux(step.double & (step.shift > 31), away, 0)),
            shift_2.eq(step.shift),
            clamps[0].zero_point.eq(step.zero_point),
            clamps[0].lo.eq(step.lo),
            clamps[0].hi.eq(step.hi),
            clamps[0].below.eq(step.lo - step.zero_point),
            clamps[0].above.eq(step.hi - step.zero_point),
        ]

        # 3: sum
        total = Signal(signed(_PRODUCT_BITS))
        m.d.sync += [total.eq(product + rounding), shift_3.eq(shift_2), clamps[1].eq(clamps[0])]

        # 4: shift
        shifted = Signal(signed(_PRODUCT_BITS))
        m.d.sync += [shifted.eq(total >> shift_3), clamps[2].eq(clamps[1])]

        # 5: clamp
        limits = clamps[2]
        low, high = shifted[:_BOUND_BITS].as_signed(), shifted[_BOUND_BITS - 1 :]
        near = high.all() | ~high.any()
        negative = shifted < 0
        is_below = Mux(near, low < limits.below, negative)
        is_above = Mux(near, low > limits.above, ~negative)
        inside = (low + limits.zero_point)[: config.width]
        m.d.sync += [
            self.o.element.eq(Mux(is_below, limits.lo, Mux(is_above, limits.hi, inside))),
            self.o.value.eq(shifted),
        ]
        return m
