"""Instructions in order, and the SYNCs that keep the units from running ahead of each other."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from edgeinfer.hdl import isa
from edgeinfer.hdl.compiler.layout import Tensor
from edgeinfer.hdl.isa import Unit

__all__ = ["Schedule"]

_WINDOW = (1 << 15) - 1


@dataclass(frozen=True)
class _Written:
    """Rows of a tensor and the count of the unit that wrote them."""

    top: int
    bottom: int
    unit: Unit
    count: int


@dataclass
class Schedule:
    """A program in the making.

    Attributes
    ----------
    program : list of Instruction
    counts : dict of Unit to int
        What each unit will have completed when all of ``program`` is done.
    """

    program: list[isa.Instruction] = field(default_factory=list)
    counts: dict[Unit, int] = field(default_factory=lambda: dict.fromkeys(Unit, 0))

    def __post_init__(self) -> None:
        self._known: dict[tuple[Unit, Unit], int] = defaultdict(int)
        self._settings: dict[type[isa.Instruction], isa.Instruction] = {}
        self._written: dict[int, list[_Written]] = defaultdict(list)

    def emit(self, instruction: isa.Instruction) -> None:
        """Append ``instruction``; a setting only where it changes something."""
        if isinstance(instruction, isa.SETTINGS):
            if self._settings.get(type(instruction)) == instruction:
                return
            self._settings[type(instruction)] = instruction
        self.program.append(instruction)
        if instruction.unit is not None:
            self.counts[instruction.unit] += isa.completions(instruction)

    def wait(self, waiter: Unit, on: Unit, count: int | None = None) -> None:
        """Let ``waiter`` wait until ``on`` has completed ``count``, unless it has already.

        Without ``count``: all that it was told so far. Counters are compared modulo 2^16: what
        lies 2^15 or more behind would seem to lie ahead.
        """
        told = self.counts[on]
        count = told if count is None else max(count, told - _WINDOW)
        if self._known[waiter, on] < count:
            self._known[waiter, on] = count
            self.emit(isa.Sync(waiter=waiter, on=on, count=count & 0xFFFF))

    def note(self, tensor: Tensor, top: int, bottom: int, unit: Unit) -> None:
        """``unit`` has been told to write rows ``top`` to ``bottom`` of ``tensor``."""
        self._written[id(tensor)].append(_Written(top, bottom, unit, self.counts[unit]))

    def await_rows(self, waiter: Unit, tensor: Tensor, top: int, bottom: int) -> None:
        """Let ``waiter`` wait for rows ``top`` to ``bottom`` of ``tensor``."""
        latest: dict[Unit, int] = {}
        for written in self._written[id(tensor)]:
            if written.top < bottom and top < written.bottom:
                latest[written.unit] = max(latest.get(written.unit, 0), written.count)
        for unit, count in latest.items():
            self.wait(waiter, unit, count)
