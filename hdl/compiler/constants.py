"""Weights, parameters and tables on their way from host memory into the NPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgeinfer.hdl import isa
from edgeinfer.hdl.compiler.streams import Slot
from edgeinfer.hdl.compiler.waits import Schedule
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.isa import Memory, Unit

__all__ = ["Block", "ConstantStream", "TableLoader", "read_linear"]

_LINE = 1024
"""Words in one line of READ_HOST, so that no line has more beats than the bus's side counts."""


@dataclass(frozen=True)
class Block:
    """Constants that are loaded and given up together.

    Parameters
    ----------
    host : int
        Bytes from the base address.
    size : int
        Tiles of weights, or rows of parameters.
    slot : Slot
    computed : bool
        The NPU writes them there itself.
    """

    host: int
    size: int
    slot: Slot
    computed: bool = False


class ConstantStream:
    """Blocks of one kind that come from host memory while the program runs.

    Parameters
    ----------
    memory : Memory
    blocks : sequence of Block
        In the order of their use.
    words : int
        Words of the memory in one unit of a block's size.
    word_bytes : int
        Bytes of such a word in host memory.
    consumer : Unit
        The unit that uses them.
    """

    def __init__(
        self,
        memory: Memory,
        blocks: Sequence[Block],
        words: int,
        word_bytes: int,
        consumer: Unit,
    ) -> None:
        self.memory, self.blocks, self.consumer = memory, blocks, consumer
        self._words, self._word_bytes = words, word_bytes
        self._next = 0
        self._done: dict[int, int] = {}
        self._written: dict[int, int] = {}
        self._loaded: dict[int, int] = {}

    def setup(self) -> Iterator[isa.Instruction]:
        """Loads of what stays."""
        resident = {block.slot.address: block for block in self.blocks if block.slot.resident}
        for block in resident.values():
            yield from self._load(block)

    def _load(self, block: Block) -> Iterator[isa.Instruction]:
        return read_linear(
            self.memory,
            block.host,
            block.slot.address * self._words,
            block.size * self._words,
            self._word_bytes,
        )

    def written(self, schedule: Schedule, block: int) -> None:
        """What STORE was told so far writes ``block``, which a run computes."""
        self._written[block] = schedule.counts[Unit.STORE]
        self.advance(schedule)

    def used(self, schedule: Schedule, block: int) -> None:
        """Block ``block`` has been used for the last time."""
        self._done[block] = schedule.counts[self.consumer]
        self.advance(schedule)

    def advance(self, schedule: Schedule) -> None:
        """Load whatever is there and finds its place free."""
        while self._next < len(self.blocks):
            block = self.blocks[self._next]
            if not block.slot.resident:
                if block.computed:
                    if self._next not in self._written:
                        return
                    schedule.wait(Unit.LOAD, Unit.STORE, self._written[self._next])
                if block.slot.after >= 0:
                    if block.slot.after not in self._done:
                        return
                    schedule.wait(Unit.LOAD, self.consumer, self._done[block.slot.after])
                for instruction in self._load(block):
                    schedule.emit(instruction)
                self._loaded[self._next] = schedule.counts[Unit.LOAD]
            self._next += 1

    def await_block(self, schedule: Schedule, block: int) -> None:
        """Let the consumer wait until ``block`` is there."""
        if block in self._loaded:
            schedule.wait(self.consumer, Unit.LOAD, self._loaded[block])


class TableLoader:
    """The lanes' table, loaded where a layer needs another than the one before.

    Parameters
    ----------
    config : NpuConfig
    """

    def __init__(self, config: NpuConfig) -> None:
        self.config = config
        self._host: int | None = None
        self._used = 0  # ACTIVATE's count when the table is not needed any more

    def load(self, host: int, schedule: Schedule) -> None:
        """Let ACTIVATE have the table that lies at ``host``."""
        if host == self._host:
            return
        self._host = host
        schedule.wait(Unit.LOAD, Unit.ACTIVATE, self._used)
        size = 256 if self.config.width == 8 else 512 * 2 * 2
        beats = size // self.config.bus_bytes
        schedule.emit(isa.ReadHost(memory=Memory.TABLE, host=host, address=0, words=beats))
        schedule.wait(Unit.ACTIVATE, Unit.LOAD)

    def used(self, schedule: Schedule) -> None:
        """All that uses the table has been emitted."""
        self._used = schedule.counts[Unit.ACTIVATE]


def read_linear(
    memory: Memory, host: int, address: int, words: int, word_bytes: int
) -> Iterator[isa.Instruction]:
    """READ_HOSTs for ``words`` that lie side by side."""
    while words:
        if words > _LINE:
            lines, line = min(words // _LINE, 4096), _LINE
        else:
            lines, line = 1, words
        yield isa.ReadHost(
            memory=memory,
            host=host,
            address=address,
            lines=lines,
            words=line,
            host_step=line * word_bytes if lines > 1 else 0,
            step=line if lines > 1 else 0,
        )
        host += lines * line * word_bytes
        address += lines * line
        words -= lines * line
