"""A program that also shows what it makes on the way: every value in host memory."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from edgeinfer.hdl import isa
from edgeinfer.hdl.compiler import Binding, Program
from edgeinfer.hdl.isa import Unit

__all__ = ["Observed"]

_WORDS = 1 << 14
"""Of a line of WRITE_HOST."""

_ALIGNMENT = 64


@dataclass(frozen=True)
class Observed:
    """``Program.run`` with a WRITE_HOST behind each value that the buffer holds.

    All units wait for it, so that nobody writes where it still reads. First operands of fused
    additions are in no memory and do not show.

    Parameters
    ----------
    instructions : list of Instruction
    values : tuple of Binding
        Where each value lies in host memory when the program has ended, outputs included.
    end : int
        Bytes of host memory up to the last of these values, a multiple of 64.
    """

    instructions: list[isa.Instruction]
    values: tuple[Binding, ...]
    end: int

    @classmethod
    def of(cls, program: Program, host: int) -> Observed:
        """``program``, whose values go to host memory from byte ``host`` on."""
        config = program.config
        instructions: list[isa.Instruction] = []
        shown = [watch for watch in program.watches if not watch.intermediate]
        spilled = [watch.binding for watch in shown if watch.binding.view.tensor.spilled]
        values = [*program.outputs, *(replace(b, host=b.view.tensor.host) for b in spilled)]
        waiting = deque(w for w in shown if not w.binding.view.tensor.spilled)
        # STORE's counts: of each WRITE_HOST of the program among all that are made here
        stores, numbers = 0, [0]
        activated = 0
        for instruction in program.run:
            if isinstance(instruction, isa.Sync) and instruction.on is Unit.STORE:
                made = len(numbers) - 1
                count = numbers[made - ((made - instruction.count) & 0xFFFF)]
                instruction = replace(instruction, count=count & 0xFFFF)
            instructions.append(instruction)
            if isinstance(instruction, isa.WriteHost):
                stores += 1
                numbers.append(stores)
            if not isinstance(instruction, isa.Activate | isa.Reduce):
                continue
            activated += isa.completions(instruction)
            complete = bool(waiting) and waiting[0].count <= activated
            if complete:
                instructions.append(_wait(Unit.STORE, Unit.ACTIVATE, activated))
            while waiting and waiting[0].count <= activated:
                watch = waiting.popleft()
                tensor = watch.binding.view.tensor
                for first in range(0, tensor.words, _WORDS):
                    instructions.append(
                        isa.WriteHost(
                            host=host + first * config.word_bytes,
                            address=tensor.base + first,
                            words=min(_WORDS, tensor.words - first),
                        )
                    )
                    stores += 1
                values.append(replace(watch.binding, host=host))
                host += tensor.words * config.word_bytes
                host += -host % _ALIGNMENT
            if complete:
                others = (Unit.LOAD, Unit.CONVOLVE, Unit.ACTIVATE)
                instructions += [_wait(unit, Unit.STORE, stores) for unit in others]
        return cls(instructions, tuple(values), host)


def _wait(waiter: Unit, on: Unit, count: int) -> isa.Sync:
    return isa.Sync(waiter=waiter, on=on, count=count & 0xFFFF)
