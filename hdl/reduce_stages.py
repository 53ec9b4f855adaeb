"""The stages of the REDUCE unit, and the cycles that follow from them for a pixel.

``gateware/reduce_engine.py`` and ``normalizer.py`` are built by them, and the compiler's model of
time (``compiler/timing.py``), which knows no gateware, counts by them: "Reduce" in
docs/npu-design.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeinfer.hdl import isa
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.isa import Reduction

__all__ = [
    "CHANNEL_BITS",
    "DIFFERENCE",
    "ELEMENT",
    "ENTRY",
    "EXPONENTIAL",
    "FACTORS",
    "MULTIPLIER_LATENCY",
    "NORMALIZING",
    "PRODUCT",
    "RESTED",
    "RESULT",
    "ROOT_STEPS",
    "SHARE",
    "Exponentials",
    "drains",
    "pixel_cycles",
]

MULTIPLIER_LATENCY = 4
"""Cycles from two factors to their product."""

RESTED = 4
"""Cycles after the lanes' last word until it is in the buffer."""

CHANNEL_BITS = isa.fields(isa.Reduce)["channels"].bits
"""Of the number of channels, less one."""

# Stages of an element, 0 the one in which it is taken from its word; it is a register in the next.
ELEMENT = 1
DIFFERENCE = 2
RECORD = DIFFERENCE + 2
ENTRY = RECORD + 1
"""8 bits: its exponential."""
FACTORS = ENTRY + 1
"""16 bits: those of its exponential, of which the second is read a cycle after the first."""
EXPONENTIAL = FACTORS + MULTIPLIER_LATENCY + 1
PRODUCT = DIFFERENCE + MULTIPLIER_LATENCY
SHARE = PRODUCT + 3
RESULT = SHARE + MULTIPLIER_LATENCY + 4
# every other cycle an element comes where both of its products, or records, take their turns
assert (SHARE - DIFFERENCE) % 2 == 1

ROOT_STEPS = 3
NORMALIZING = (32, 16, 8, 4, 2)


@dataclass(frozen=True)
class Exponentials:
    """What the softmax of elements of ``width`` bits is made of.

    Parameters
    ----------
    places : int
        By how many places an exponential is shifted before it is divided.
    digits : int
        Of the quotient, in bits.
    entry : int
        Bits of an exponential.
    at : int
        The stage in which an element's exponential is known.
    """

    places: int
    digits: int
    entry: int
    at: int

    @classmethod
    def of(cls, config: NpuConfig) -> Exponentials:
        """8 bits give probabilities of 1/256, 16 bits such of 1/32768."""
        if config.width == 8:
            return cls(places=9, digits=9, entry=24, at=ENTRY)
        return cls(places=16, digits=16, entry=31, at=EXPONENTIAL)

    @property
    def total(self) -> int:
        """Bits of a sum of exponentials."""
        return self.entry + CHANNEL_BITS

    @property
    def result(self) -> int:
        """The stage in which the element's probability is known."""
        return self.at + self.digits + 1


def drains(config: NpuConfig) -> tuple[int, int, int]:
    """Cycles from each pass's last element until what it leaves is known."""
    widths = Exponentials.of(config)
    second = max(widths.at, PRODUCT) + 1
    return ELEMENT + 1, second, max(widths.result, RESULT) + 1


PRODUCT_CYCLES = MULTIPLIER_LATENCY + 1


def _products(kind: Reduction) -> int:
    """Products between the second pass and the third."""
    own = {Reduction.VARIANCE: 3, Reduction.SQUARES: 0, Reduction.MAGNITUDES: 1}[kind]
    return own + 3 * ROOT_STEPS + 2


_SCALARS = len(NORMALIZING) + ROOT_STEPS + 6
"""Cycles between the second pass and the third, beside products."""

_FIRST_WORD = 6
"""Cycles from the beginning of a pass until its first word is there; others are read ahead."""


def pixel_cycles(kind: Reduction, channels: int, config: NpuConfig) -> int:
    """Cycles that REDUCE takes for a pixel, where the buffer answers at once."""
    cycles = 1
    for interval, drain in zip(_intervals(kind, config), drains(config), strict=True):
        if interval:
            cycles += _FIRST_WORD + (channels - 1) * interval + drain
    if kind is Reduction.SOFTMAX:
        return cycles
    cycles += _SCALARS + _products(kind) * PRODUCT_CYCLES
    return cycles + (config.width + 1 if kind is Reduction.VARIANCE else 0)


def _intervals(kind: Reduction, config: NpuConfig) -> tuple[int, int, int]:
    """Cycles from an element to the next in each pass; 0 where there is none."""
    if kind is Reduction.SOFTMAX:
        both = 1 if config.width == 8 else 2
        return 1, both, both
    return int(kind is Reduction.VARIANCE), 1, 2
