"""The NPU's clock from a board's oscillator, by the PLL of each family."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

from amaranth.hdl import ClockDomain, ClockSignal, Const, Instance, Module, Signal, Value
from amaranth.lib.cdc import ResetSynchronizer

from edgeinfer.errors import InputError

__all__ = ["Pll", "clock_domain", "pll"]

_TOLERANCE = 0.02
"""The share by which a clock may be slower than asked; it is never faster."""


@dataclass(frozen=True)
class Pll:
    """A PLL's dividers.

    Parameters
    ----------
    family : str
    oscillator : float
        MHz that come in.
    reference, feedback, output : int
        Divisors of the reference, of the loop, and of the PLL's own oscillator.
    megahertz : float
        What comes out.
    """

    family: str
    oscillator: float
    reference: int
    feedback: int
    output: int
    megahertz: float


@dataclass(frozen=True)
class _Limits:
    """A family's: MHz of the phase detector and of the oscillator inside, and the dividers."""

    detector: tuple[float, float]
    inside: tuple[float, float]
    reference: range
    feedback: range
    output: tuple[int, ...]


_LIMITS = {
    # Lattice FPGA-TN-02200, sysCLOCK
    "ecp5": _Limits((10, 400), (400, 800), range(1, 17), range(1, 81), tuple(range(1, 129))),
    # Gowin UG286 and DS226, speed C8/I7
    "gowin": _Limits(
        (3, 500), (500, 1250), range(1, 65), range(1, 65),
        (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128),
    ),
    # Lattice FPGA-TN-02052
    "ice40": _Limits((10, 133), (533, 1066), range(1, 17), range(1, 129), (2, 4, 8, 16, 32, 64)),
}  # fmt: skip


def pll(family: str, oscillator: float, megahertz: float) -> Pll | None:
    """The PLL whose clock comes closest to ``megahertz`` from below; None for the oscillator's own.

    A millionth above is below: what a refusal names, in eight digits, is taken.

    Raises
    ------
    InputError
        None comes close enough.
    """
    if megahertz == oscillator:
        return None
    choices = list(_choices(family, oscillator))
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


def _choices(family: str, oscillator: float) -> Iterator[Pll]:
    limits = _LIMITS[family]
    for reference, feedback, output in product(limits.reference, limits.feedback, limits.output):
        detector = oscillator / reference
        # only Gowin closes the loop behind the output's divider
        inside = detector * feedback * (output if family == "gowin" else 1)
        if _within(detector, limits.detector) and _within(inside, limits.inside):
            yield Pll(family, oscillator, reference, feedback, output, inside / output)


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]


def clock_domain(m: Module, pin: Value, chosen: Pll | None) -> None:
    """Make the domain ``sync`` of ``m``, in reset until the clock runs."""
    m.domains.sync = ClockDomain("sync")
    if chosen is None:
        m.d.comb += ClockSignal("sync").eq(pin)
        m.submodules.reset = ResetSynchronizer(Const(0), domain="sync")
        return
    clock, locked = Signal(), Signal()
    m.submodules.pll = _INSTANCES[chosen.family](chosen, pin, clock, locked)
    m.d.comb += ClockSignal("sync").eq(clock)
    m.submodules.reset = ResetSynchronizer(~locked, domain="sync")


def _ecp5(chosen: Pll, pin: Value, clock: Signal, locked: Signal) -> Instance:
    loop = Signal(name="pll_loop")
    return Instance(
        "EHXPLLL",
        a_ICP_CURRENT="12",
        a_LPF_RESISTOR="8",
        a_MFG_ENABLE_FILTEROPAMP="1",
        a_MFG_GMCREF_SEL="2",
        p_PLLRST_ENA="DISABLED",
        p_INTFB_WAKE="DISABLED",
        p_STDBY_ENABLE="DISABLED",
        p_DPHASE_SOURCE="DISABLED",
        p_OUTDIVIDER_MUXA="DIVA",
        p_OUTDIVIDER_MUXB="DIVB",
        p_OUTDIVIDER_MUXC="DIVC",
        p_OUTDIVIDER_MUXD="DIVD",
        p_CLKI_DIV=chosen.reference,
        p_CLKFB_DIV=1,
        p_CLKOP_ENABLE="ENABLED",
        p_CLKOP_DIV=chosen.output,
        p_CLKOP_CPHASE=chosen.output - 1,
        p_CLKOP_FPHASE=0,
        # a second output closes the loop, so that the first one divides as it likes
        p_CLKOS_ENABLE="ENABLED",
        p_CLKOS_DIV=chosen.feedback,
        p_CLKOS_CPHASE=chosen.feedback - 1,
        p_CLKOS_FPHASE=0,
        p_FEEDBK_PATH="CLKOS",
        i_RST=Const(0),
        i_STDBY=Const(0),
        i_CLKI=pin,
        i_CLKFB=loop,
        i_PHASESEL0=Const(0),
        i_PHASESEL1=Const(0),
        i_PHASEDIR=Const(1),
        i_PHASESTEP=Const(1),
        i_PHASELOADREG=Const(1),
        i_PLLWAKESYNC=Const(0),
        i_ENCLKOP=Const(0),
        o_CLKOP=clock,
        o_CLKOS=loop,
        o_LOCK=locked,
    )


def _gowin(chosen: Pll, pin: Value, clock: Signal, locked: Signal) -> Instance:
    zero = Const(0, 6)
    return Instance(
        "rPLL",
        p_FCLKIN=f"{chosen.oscillator:g}",
        p_DEVICE="GW2AR-18C",
        p_IDIV_SEL=chosen.reference - 1,
        p_FBDIV_SEL=chosen.feedback - 1,
        p_ODIV_SEL=chosen.output,
        p_DYN_IDIV_SEL="false",
        p_DYN_FBDIV_SEL="false",
        p_DYN_ODIV_SEL="false",
        p_DYN_SDIV_SEL=2,
        p_PSDA_SEL="0000",
        p_DUTYDA_SEL="1000",
        p_CLKFB_SEL="internal",
        p_CLKOUT_BYPASS="false",
        i_CLKIN=pin,
        i_CLKFB=Const(0),
        i_RESET=Const(0),
        i_RESET_P=Const(0),
        i_IDSEL=zero,
        i_FBDSEL=zero,
        i_ODSEL=zero,
        i_PSDA=Const(0, 4),
        i_DUTYDA=Const(0, 4),
        i_FDLY=Const(0, 4),
        o_CLKOUT=clock,
        o_LOCK=locked,
    )


def _ice40(chosen: Pll, pin: Value, clock: Signal, locked: Signal) -> Instance:
    detector = chosen.oscillator / chosen.reference
    # Lattice's table of filters by the phase detector's frequency
    filter_range = next(
        (i for i, limit in enumerate((17, 26, 44, 66, 101), 1) if detector < limit), 6
    )
    return Instance(
        "SB_PLL40_CORE",
        p_FEEDBACK_PATH="SIMPLE",
        p_DIVR=chosen.reference - 1,
        p_DIVF=chosen.feedback - 1,
        p_DIVQ=chosen.output.bit_length() - 1,
        p_FILTER_RANGE=filter_range,
        i_REFERENCECLK=pin,
        i_RESETB=Const(1),
        i_BYPASS=Const(0),
        o_PLLOUTGLOBAL=clock,
        o_LOCK=locked,
    )


_INSTANCES: dict[str, Callable[[Pll, Value, Signal, Signal], Instance]] = {
    "ecp5": _ecp5,
    "gowin": _gowin,
    "ice40": _ice40,
}
