"""Stages of a pipeline."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, Value, ValueCastable

__all__ = ["later", "replica"]


def later(
    m: Module, value: Value | ValueCastable, name: str = "later", *, cycles: int = 1
) -> Signal:
    """``value`` so many cycles later.

    The registers have no reset: data need none where what tells of their validity has one, and a
    reset that reaches every register of the data path would be the slowest signal of the NPU.
    """
    for stage in range(1, cycles + 1):
        following = Signal(
            value.shape(), name=name if cycles == 1 else f"{name}_{stage}", reset_less=True
        )
        m.d.sync += following.eq(value)
        value = following
    return value


def replica(m: Module, value: Value | ValueCastable, name: str) -> Signal:
    """``value`` a cycle later, in a register for one reader among many.

    A register whose bits reach across the whole array is slow for its wires alone; replicas stand
    each beside its reader. Synthesis would merge them into one again: for that they are marked,
    see ``hdl/boards/synthesis.py``, and other tools know the attribute as well.
    """
    register = Signal(value.shape(), name=name, reset_less=True, attrs={"keep": 1})
    m.d.sync += register.eq(value)
    return register
