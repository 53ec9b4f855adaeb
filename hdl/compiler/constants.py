"""Weights, parameters and tables: their images in host memory, and their way into the NPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgeinfer.hdl import isa
from edgeinfer.hdl.compiler.layers import Layer
from edgeinfer.hdl.compiler.streams import Slot
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.isa import Memory, Unit

if TYPE_CHECKING:
    from edgeinfer.hdl.compiler.emission import Emitter

__all__ = ["Block", "Constants", "parameter_rows", "read_linear"]

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
    """

    host: int
    size: int
    slot: Slot


class Constants:
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
        self._loaded: dict[int, int] = {}

    def setup(self) -> Iterator[isa.Instruction]:
        """Loads of what stays."""
        for block in self.blocks:
            if block.slot.resident:
                yield from self._load(block)

    def _load(self, block: Block) -> Iterator[isa.Instruction]:
        return read_linear(
            self.memory,
            block.host,
            block.slot.address * self._words,
            block.size * self._words,
            self._word_bytes,
        )

    def used(self, emitter: Emitter, block: int) -> None:
        """Block ``block`` has been used for the last time."""
        self._done[block] = emitter.counts[self.consumer]
        self.advance(emitter)

    def advance(self, emitter: Emitter) -> None:
        """Load whatever finds its place free."""
        while self._next < len(self.blocks):
            block = self.blocks[self._next]
            if not block.slot.resident:
                if block.slot.after >= 0:
                    if block.slot.after not in self._done:
                        return
                    emitter.wait(Unit.LOAD, self.consumer, self._done[block.slot.after])
                for instruction in self._load(block):
                    emitter.emit(instruction)
                self._loaded[self._next] = emitter.counts[Unit.LOAD]
            self._next += 1

    def await_block(self, emitter: Emitter, block: int) -> None:
        """Let the consumer wait until ``block`` is there."""
        if block in self._loaded:
            emitter.wait(self.consumer, Unit.LOAD, self._loaded[block])


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


def parameter_rows(layer: Layer, groups: range, at: np.ndarray, config: NpuConfig) -> bytes:
    """The records of a layer's output channels in ``groups`` of columns, as host memory has them.

    Parameters
    ----------
    layer : Layer
    groups : range
    at : int array [O]
        The column of each output channel, counted through all groups.
    config : NpuConfig
    """
    columns, bits = config.columns, config.accumulator_bits
    records = np.zeros((len(groups) * columns, config.parameter_bytes), np.uint8)
    idle = (2 << (bits + 31)).to_bytes(config.parameter_bytes, "little")
    records[:] = np.frombuffer(idle, np.uint8)
    for o, column in enumerate(at - groups.start * columns):
        if 0 <= column < len(records):
            value = (
                int(layer.bias[o]) & ((1 << bits) - 1)
                | int(layer.multiplier[o]) << bits
                | int(layer.shift[o]) << (bits + 31)
            )
            raw = value.to_bytes(config.parameter_bytes, "little")
            records[column] = np.frombuffer(raw, np.uint8)
    rows = records.reshape(-1, config.lanes * config.parameter_bytes)
    padded = np.zeros((len(rows), config.parameter_row_bytes), np.uint8)
    padded[:, : rows.shape[1]] = rows
    return padded.tobytes()
