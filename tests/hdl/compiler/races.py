"""The golden simulator, which also refuses programs whose units could race.

The units run side by side, and only SYNCs, and what flows from one to the next, say who comes
first. Each unit has a vector clock: how much of every other one has ended before what it does now,
whatever the cycles. Two units may touch a place, one of them writing, only in such an order.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from edgeinfer.hdl import isa
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.golden import GoldenSimulator
from edgeinfer.hdl.isa import Memory, Mode, ProgramError, Unit

Clock = dict[Unit, int]


class _Cells:
    """Who has touched each cell of a memory last, by the counts at which they have ended.

    Parameters
    ----------
    name : str
    size : int
    """

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.written = {unit: np.zeros(size, np.int64) for unit in Unit}
        self.read = {unit: np.zeros(size, np.int64) for unit in Unit}

    def touch(
        self,
        unit: Unit,
        count: int,
        clock: Clock,
        cells: np.ndarray,
        write: bool,
        *,
        ahead: bool = False,
    ) -> None:
        """``ahead``: perhaps before what ``unit`` itself has done before."""
        for other in set(Unit) - (set() if ahead else {unit}):
            ended = self.written[other][cells]
            if write:
                ended = np.maximum(ended, self.read[other][cells])
            if (ended > clock[other]).any():
                cell = cells[np.argmax(ended > clock[other])]
                verb = "writes" if write else "reads"
                raise ProgramError(
                    f"{unit.name} {verb} {self.name} {cell}, and knows of {clock[other]} "
                    f"completed by {other.name}, not of {ended.max()}"
                )
        (self.written if write else self.read)[unit][cells] = count


class RaceChecker(GoldenSimulator):
    """Parameters as the golden simulator's; ``begin`` when the counters start anew."""

    def __init__(self, config: NpuConfig, host: bytearray) -> None:
        super().__init__(config, host)
        self.begin()

    def begin(self) -> None:
        """Nothing is on its way."""
        config = self.config
        self.completed = dict.fromkeys(Unit, 0)
        self._clocks = {unit: dict.fromkeys(Unit, 0) for unit in Unit}
        self._ends: dict[Unit, list[Clock]] = {unit: [self._clocks[unit].copy()] for unit in Unit}
        self._tiles: deque[int] = deque()  # READ_WEIGHTS' count with its last tile, else 0
        self._summed: deque[int] = deque()  # CONVOLVE's count with each half of the accumulators
        self._cells = {
            Memory.BUFFER: _Cells("word", config.buffer_words),
            Memory.WEIGHTS: _Cells("tile", config.weight_tiles),
            Memory.PARAMETERS: _Cells("parameters", config.parameter_rows),
            Memory.TABLE: _Cells("table", 1),
        }
        self._beats = _Cells("beat", len(self.host) // config.bus_bytes)

    def execute(self, instruction: isa.Instruction) -> None:
        """Do what ``instruction`` says, if nothing else may be doing it harm."""
        unit = instruction.unit
        if isinstance(instruction, isa.Sync):
            super().execute(instruction)
            behind = (self.completed[instruction.on] - instruction.count) & 0xFFFF
            self._join(instruction.waiter, instruction.on, self.completed[instruction.on] - behind)
            return
        if isinstance(instruction, isa.ReadHost | isa.WriteHost):
            self._touch_host(instruction)
        if isinstance(instruction, isa.ReadWeights):
            last = 1 if instruction.repeat else instruction.count
            tiles = np.arange(instruction.address, instruction.address + last)
            self._touch(self._cells[Memory.WEIGHTS], Unit.WEIGHTS, tiles, write=False)
            ended = self.completed[Unit.WEIGHTS] + 1
            self._tiles.extend([*[0] * (instruction.count - 1), ended])
        if isinstance(instruction, isa.Activate):
            self._taken = self._clocks[Unit.ACTIVATE].copy()
        if isinstance(instruction, isa.Reduce):
            self._touch_reduced(instruction)
        waiting = len(self._shadow)
        before = dict(self.completed)
        super().execute(instruction)
        if isinstance(instruction, isa.Convolve):
            for _ in range(waiting - len(self._shadow)):
                self._join(Unit.CONVOLVE, Unit.WEIGHTS, self._tiles.popleft())
            if instruction.last:
                self._summed.extend(range(before[unit] + 1, self.completed[unit] + 1))
        if isinstance(instruction, isa.Reduce):
            self._end(Unit.ACTIVATE)
        if unit is not None and unit is not Unit.ACTIVATE:
            for _ in range(self.completed[unit] - before[unit]):
                self._end(unit)

    def _join(self, unit: Unit, on: Unit, count: int) -> None:
        """``unit`` goes on after ``on`` has completed ``count``."""
        clock, ended = self._clocks[unit], self._ends[on][count]
        for other in Unit:
            clock[other] = max(clock[other], ended[other], count if other is on else 0)

    def _end(self, unit: Unit) -> None:
        self._ends[unit].append(self._clocks[unit].copy())

    def _touch(self, cells: _Cells, unit: Unit, places: np.ndarray, *, write: bool) -> None:
        cells.touch(unit, self.completed[unit] + 1, self._clocks[unit], places, write)

    def _touch_host(self, move: isa.ReadHost | isa.WriteHost) -> None:
        reads = isinstance(move, isa.ReadHost)
        unit = Unit.LOAD if reads else Unit.STORE
        memory = move.memory if reads else Memory.BUFFER
        bus = self.config.bus_bytes
        size = isa.host_word_bytes(memory, self.config)
        # a tile takes several words, the table is one cell
        per = {Memory.WEIGHTS: self.config.weight_reads, Memory.TABLE: 1 << 30}.get(memory, 1)
        for line in range(move.lines):
            start = move.host + line * move.host_step
            beats = np.arange(start // bus, (start + move.words * size) // bus)
            self._touch(self._beats, unit, beats, write=not reads)
            first = move.address + line * move.step
            places = np.unique(np.arange(first, first + move.words) // per)
            self._touch(self._cells[memory], unit, places, write=reads)

    def _touch_reduced(self, reduce: isa.Reduce) -> None:
        config, unit = self.config, Unit.ACTIVATE
        pixels = reduce.base + (
            np.arange(reduce.rows)[:, None] * reduce.row_step
            + np.arange(reduce.columns) * reduce.column_step
        )
        words = np.unique(pixels[..., None] + np.arange(-(-reduce.channels // config.columns)))
        if reduce.kind is isa.Reduction.SOFTMAX:
            count = -(-256 // config.lanes) * config.element_bytes
        else:
            count = 2 * -(-reduce.channels // config.lanes)
        rows = np.arange(reduce.parameters, reduce.parameters + count)
        self._touch(self._cells[Memory.PARAMETERS], unit, rows, write=False)
        for write in (False, True):
            self._touch(self._cells[Memory.BUFFER], unit, words, write=write)

    # what CONVOLVE reads: elements under weights of 0 may be anything

    def _dense(self, source, kernel, convolve, each, start, tile):
        self._counts_in_sum = tile.any(1)
        return super()._dense(source, kernel, convolve, each, start, tile)

    def _depthwise(self, source, kernel, convolve, each, start, tile):
        taps = tile[: kernel.streams * kernel.taps].reshape(kernel.streams, -1)
        maximum = kernel.mode is Mode.MAXIMUM
        self._counts_in_sum = np.ones(1, bool) if maximum else taps.any(1)
        return super()._depthwise(source, kernel, convolve, each, start, tile)

    def _check_banks(self, word: np.ndarray) -> None:
        super()._check_banks(word)
        read = np.unique(word[(word >= 0) & self._counts_in_sum])
        self._touch(self._cells[Memory.BUFFER], Unit.CONVOLVE, read, write=False)

    def _activate(self, output, acc, parameters, where, other):
        unit, words = Unit.ACTIVATE, self._cells[Memory.BUFFER]
        self._join(unit, Unit.CONVOLVE, self._summed.popleft())
        rows = np.arange(parameters, parameters + self.config.steps)
        self._touch(self._cells[Memory.PARAMETERS], unit, rows, write=False)
        if output.operation is not isa.Operation.NONE:
            # read from when the ACTIVATE is taken: ahead of those before, and of its own CONVOLVE
            count = self.completed[unit] + 1
            words.touch(unit, count, self._taken, other, write=False, ahead=True)
        if output.table:
            self._touch(self._cells[Memory.TABLE], unit, np.zeros(1, np.int64), write=False)
        super()._activate(output, acc, parameters, where, other)
        self._touch(words, unit, where, write=True)
        self._end(unit)
