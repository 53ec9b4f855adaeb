"""The NPU's clock from a board's oscillator, by the PLL of each family."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

from amaranth.hdl import ClockDomain, ClockSignal, Const, Instance, Module, Signal, Value
from amaranth.lib.cdc import ResetSynchronizer

from edgeinfer.errors import InputError
from edgeinfer.hdl.boards.family import Pll, PllLimits

__all__ = ["clock_domain", "pll"]

_TOLERANCE = 0.02
"""The share by which a clock may be slower than asked; it is never faster."""


def pll(limits: PllLimits, oscillator: float, megahertz: float) -> Pll | None:
    """The PLL whose clock comes closest to ``megahertz`` from below; None for the oscillator's own.

    A millionth above is below: what a refusal names, in eight digits, is taken.

    Raises
    ------
    InputError
        None comes close enough.
    """
    if megahertz == oscillator:
        return None
    choices = list(_choices(limits, oscillator))
    found = max(
        (each for each in choices if each.megahertz <= megahertz * (1 + 1e-6)),
        key=lambda each: (each.megahertz, -each.reference, -each.output),
        default=None,
    )
    if found is None or found.megahertz < (1 - _TOLERANCE) * megahertz:
        there = {each.megahertz for each in choices} | {oscillator}
        nearest = min(there, key=lambda each: abs(each - megahertz))
        raise InputError(
            f"the PLL does not make {megahertz:g} MHz from the board's {oscillator:g} MHz; the "
            f"nearest is {nearest:.8g}"
        )
    return found


def _choices(limits: PllLimits, oscillator: float) -> Iterator[Pll]:
    for reference, feedback, output in product(limits.reference, limits.feedback, limits.output):
        detector = oscillator / reference
        inside = detector * feedback * (output if limits.behind_output else 1)
        if _within(detector, limits.detector) and _within(inside, limits.inside):
            yield Pll(oscillator, reference, feedback, output, inside / output)


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]


def clock_domain(
    m: Module,
    pin: Value,
    chosen: Pll | None,
    instance: Callable[[Pll, Value, Signal, Signal], Instance],
) -> None:
    """Make the domain ``sync`` of ``m``, in reset until the clock of a PLL's ``instance`` runs."""
    m.domains.sync = ClockDomain("sync")
    if chosen is None:
        m.d.comb += ClockSignal("sync").eq(pin)
        m.submodules.reset = ResetSynchronizer(Const(0), domain="sync")
        return
    clock, locked = Signal(), Signal()
    m.submodules.pll = instance(chosen, pin, clock, locked)
    m.d.comb += ClockSignal("sync").eq(clock)
    m.submodules.reset = ResetSynchronizer(~locked, domain="sync")
