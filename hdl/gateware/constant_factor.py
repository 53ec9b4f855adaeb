"""Arithmetic with constants."""

from __future__ import annotations

from amaranth.hdl import Value

__all__ = ["times"]


def times(value: Value, factor: int) -> Value:
    """``value`` times a constant by shifts, which takes no multiplier."""
    total: Value | int = 0
    for bit in range(factor.bit_length()):
        if factor >> bit & 1:
            total = (value << bit) + total
    return Value.cast(total)
