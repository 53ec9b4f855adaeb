"""What a pixel's elements are normalized by: its mean, then one over the root of its measure."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from edgeinfer.arithmetic import fixedpoint
from edgeinfer.hdl import isa
from edgeinfer.hdl.gateware.interface import fields_of
from edgeinfer.hdl.gateware.wide_multiplier import MULTIPLIER_BITS
from edgeinfer.hdl.isa import Reduction
from edgeinfer.hdl.reduce_stages import CHANNEL_BITS, MULTIPLIER_LATENCY, NORMALIZING, ROOT_STEPS

__all__ = ["FACTOR_BITS", "MEASURE_BITS", "REST_BITS", "Normalizer", "total_bits"]

MEASURE_BITS = 2 * 17 + CHANNEL_BITS + 1
FACTOR_BITS, REST_BITS = 33, 32

_WIDE = 64
"""Bits of a measure beside epsilon, and of its square."""


def total_bits(width: int) -> int:
    """Of a sum of a pixel's elements, which is signed."""
    return width + CHANNEL_BITS + 1


class Normalizer(wiring.Component):
    """``fixedpoint.Normalizer``'s numbers of a pixel, one after another: a digit or a product.

    A share is ``((q - mean) factor - rest + half) >> share_shift``, where the mean is rounded down
    and ``rest`` is what that leaves.

    Parameters
    ----------
    width : int
        Bits of an element.

    Members
    -------
    kind : In(Reduction)
    count : In(unsigned)
        Channels of a pixel.
    setting : In(SetNormalization)
    total : In(signed)
        The sum of its elements.
    measure : In(unsigned)
        The sum of their squares, or magnitudes, less the mean.
    find_mean, find_factor : In(1)
        Begin, for a cycle; the numbers beside them hold until ``done``.
    done : Out(1)
        For a cycle, before the one from which on the outputs hold.
    mean : Out(signed(16))
    factor, rest, share_shift : Out(unsigned)
    a, b, product :
        The multiplier's, which is this component's from ``find_factor`` until ``done``.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        factor = Out(signed(MULTIPLIER_BITS))
        super().__init__(
            {
                "kind": In(Reduction),
                "count": In(CHANNEL_BITS + 1),
                "setting": In(fields_of(isa.SetNormalization)),
                "total": In(signed(total_bits(width))),
                "measure": In(MEASURE_BITS),
                "find_mean": In(1),
                "find_factor": In(1),
                "done": Out(1),
                "mean": Out(signed(16)),
                "factor": Out(FACTOR_BITS),
                "rest": Out(REST_BITS),
                "share_shift": Out(6),
                "a": factor,
                "b": factor,
                "product": In(signed(2 * MULTIPLIER_BITS)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """The mean by digits; measure and epsilon; their reciprocal root; factor and rest."""
        m = Module()
        setting, width, product = self.setting, self.width, self.product
        is_variance = self.kind == Reduction.VARIANCE
        weight, bits = Signal(CHANNEL_BITS + 1), Signal(range(CHANNEL_BITS + 2))
        m.d.comb += weight.eq(Mux(is_variance, self.count, 1))
        for place in range(CHANNEL_BITS + 1):
            with m.If(weight[place]):
                m.d.comb += bits.eq(place + 1)

        dividend, divisor = Signal(total_bits(width)), Signal(total_bits(width))
        quotient, digits_left = Signal(width), Signal(range(width + 1))
        measure, epsilon = Signal(_WIDE), Signal(_WIDE)
        root, square = Signal(MULTIPLIER_BITS - 1), Signal(MULTIPLIER_BITS - 1)
        mantissa, is_zero = Signal(32), Signal()
        turn, wait = Signal(range(ROOT_STEPS)), Signal(range(MULTIPLIER_LATENCY + 1))

        # the exponents of measure and epsilon, and how far they are apart
        exponent, own = Signal(signed(10)), Signal(signed(10))
        beyond, distance = Signal(signed(11)), Signal(11)
        whole_epsilon, apart = Signal(_WIDE), Signal(6)
        m.d.comb += [
            own.eq(62 - (setting.exponent << 1)),
            beyond.eq(exponent - own),
            distance.eq(Mux(beyond < 0, -beyond, beyond)),
            apart.eq(Mux(distance > 62, 62, distance)),
            whole_epsilon.eq(setting.epsilon << 31),
        ]
        share_shift = Signal(signed(12))
        m.d.comb += share_shift.eq(61 - (exponent >> 1) - bits - setting.fraction)
        remainder = Mux(is_variance, dividend, 0)
        half = (Const(1, 1) << bits) >> 1

        with m.FSM(name="normalizer"):
            with m.State("IDLE"):
                with m.If(self.find_mean):
                    # of elements without a sign: 2^(width - 1) is added to each
                    m.d.sync += [
                        dividend.eq(self.total + (self.count << (width - 1))),
                        divisor.eq(self.count << (width - 1)),
                        digits_left.eq(width),
                    ]
                    m.next = "DIVIDE"
                with m.If(self.find_factor):
                    m.d.sync += [wait.eq(0), measure.eq(self.measure)]
                    m.next = "MEASURED"
                    with m.If(is_variance):
                        m.next = "VARIANCE_LOW"
                    with m.Elif(self.kind == Reduction.MAGNITUDES):
                        m.next = "MAGNITUDES"
            with m.State("DIVIDE"):
                fits = dividend >= divisor
                with m.If(digits_left != 0):
                    m.d.sync += [
                        dividend.eq(dividend - Mux(fits, divisor, 0)),
                        divisor.eq(divisor >> 1),
                        quotient.eq(Cat(fits, quotient)),
                        digits_left.eq(digits_left - 1),
                    ]
                with m.Else():
                    m.d.sync += self.mean.eq((quotient ^ (1 << (width - 1))).as_signed())
                    m.d.comb += self.done.eq(1)
                    m.next = "IDLE"

            def product_state(name: str, a: Value, b: Value, following: str) -> Value:
                """Whether the product that the state ``name`` is for is just there."""
                there = Signal(name=f"{name.lower()}_done")
                with m.State(name):
                    m.d.comb += [self.a.eq(a), self.b.eq(b)]
                    m.d.sync += wait.eq(wait + 1)
                    with m.If(wait == MULTIPLIER_LATENCY):
                        m.d.comb += there.eq(1)
                        m.d.sync += wait.eq(0)
                        m.next = following
                return there

            # count times the sum of squares, less the square of what the division left
            low = product_state("VARIANCE_LOW", self.measure[:32], self.count, "VARIANCE_HIGH")
            high = product_state("VARIANCE_HIGH", self.measure[32:], self.count, "VARIANCE_REST")
            rest = product_state("VARIANCE_REST", dividend, dividend, "MEASURED")
            total = product_state("MAGNITUDES", self.measure, self.measure, "MEASURED")
            with m.State("MEASURED"):
                m.d.sync += [is_zero.eq(measure == 0), exponent.eq(0)]
                m.d.sync += measure.eq(Mux(measure == 0, 1, measure))
                m.next = f"NORMALIZE_{NORMALIZING[0]}"
            for step, following in zip(
                NORMALIZING,
                [*(f"NORMALIZE_{each}" for each in NORMALIZING[1:]), "ALIGN"],
                strict=True,
            ):
                with m.State(f"NORMALIZE_{step}"):
                    with m.If(measure >> (62 - step) == 0):
                        m.d.sync += [measure.eq(measure << step), exponent.eq(exponent + step)]
                    m.next = following
            # to the lesser of both exponents
            with m.State("ALIGN"):
                with m.If(setting.epsilon == 0):
                    m.d.sync += epsilon.eq(0)
                with m.Elif(beyond > 0):
                    m.d.sync += [
                        measure.eq(measure >> apart),
                        epsilon.eq(whole_epsilon),
                        exponent.eq(own),
                    ]
                with m.Else():
                    m.d.sync += epsilon.eq(whole_epsilon >> apart)
                m.next = "ADD"
            with m.State("ADD"):
                with m.If(~setting.is_least):
                    m.d.sync += measure.eq(measure + epsilon)
                with m.Elif(epsilon > measure):
                    m.d.sync += measure.eq(epsilon)
                m.next = "CARRY"
            with m.State("CARRY"):
                with m.If(measure[62:].any()):
                    m.d.sync += [measure.eq(measure >> 2), exponent.eq(exponent - 2)]
                m.next = "ROOT"
            # Newton's steps from a table: root (3 - mantissa root^2) / 2
            with m.State("ROOT"):
                roots = Array(Const(int(fixedpoint.ROOTS[max(i - 8, 0)]), 17) for i in range(32))
                m.d.sync += [
                    mantissa.eq(measure[30:62]),
                    root.eq(roots[measure[57:62]] << 15),
                    turn.eq(0),
                ]
                m.next = "ROOT_SQUARE"
            squared = product_state("ROOT_SQUARE", root, root, "ROOT_TIMES")
            times = product_state("ROOT_TIMES", square, mantissa, "ROOT_STEP")
            nearer = (Const(3 << 30, MULTIPLIER_BITS) - square)[:MULTIPLIER_BITS].as_signed()
            stepped = product_state("ROOT_STEP", root, nearer, "ROOT_NEXT")
            with m.State("ROOT_NEXT"):
                m.d.sync += turn.eq(turn + 1)
                m.next = "ROOT_SQUARE"
                with m.If(turn == ROOT_STEPS - 1):
                    m.d.sync += root.eq(Mux(is_zero, 0, root))
                    m.next = "FACTOR"
            factor = product_state("FACTOR", weight, root, "REST")
            remains = product_state("REST", remainder, root, "SHIFT")
            with m.State("SHIFT"):
                m.d.sync += self.share_shift.eq(
                    Mux(is_zero, 1, Mux(share_shift > 62, 62, share_shift))
                )
                m.d.comb += self.done.eq(1)
                m.next = "IDLE"

        for there, following in (
            (low, measure.eq(product)),
            (high, measure.eq(measure + (product << 32))),
            (rest, measure.eq(measure - product)),
            (total, measure.eq(product)),
            (squared, square.eq(product >> 30)),
            (times, square.eq(product >> 32)),
            (stepped, root.eq(product >> 31)),
            (factor, self.factor.eq((product + half) >> bits)),
            (remains, self.rest.eq((product + half) >> bits)),
        ):
            with m.If(there):
                m.d.sync += following
        return m
