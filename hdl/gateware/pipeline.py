"""Stages of a pipeline."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, Value, ValueCastable

__all__ = ["later"]


def later(m: Module, value: Value | ValueCastable, name: str | None = None) -> Signal:
    """``value`` a cycle later.

    The register has no reset: data need none where what tells of their validity has one, and a
    reset that reaches every register of the data path would be the slowest signal of the NPU.
    """
    shape = value.shape()
    register = Signal(shape, name=name or "later", reset_less=True)
    m.d.sync += register.eq(value)
    return register
