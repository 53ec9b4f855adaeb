"""Instructions into cycles: what the compiler predicts that a program takes.

Each unit works through its instructions in order; what they wait for, and for how long they keep
their unit, follows from docs/npu-design.md; ``bus.py`` knows when host memory answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgeinfer.hdl import isa
from edgeinfer.hdl.compiler.bus import ReadBus, Stretch, WriteBus
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.isa import Memory, Mode, Operation, ProgramError, Unit, pass_count
from edgeinfer.hdl.reduce_stages import RESTED, pixel_cycles

__all__ = ["Prediction", "predict"]

_START = 4
"""From START until the first instructions are asked for."""

_FETCHED = 16
"""Instructions that are fetched ahead."""

_ASKED_AT_ONCE = 8
"""Instructions that the sequencer asks for in one stretch."""

_DECODED = 4
"""From an instruction's last beat to its distribution."""

_SYNC = 2
"""From a look at the counters, which is good, to the next instruction."""

_LOADED = 2
"""From a transfer's last beat until LOAD has completed it."""

_STORED = -2
"""From when another burst may take the last one's place until STORE has completed."""

_QUEUE = 4
_DISPATCH = 2
"""From the sequencer to a unit."""

_LANE_LATENCY = 10
_PAIR_LATENCY = 22
"""From a word's last part to its place in the buffer, without and with a second operand."""

_SUM_LATENCY = 11
"""From a fetch to its sum in the accumulators, beside one cycle a row."""

_FIRST_FETCH = 4
"""From the taking of a CONVOLVE to its first fetch."""

_FETCH_LATENCY = 2
"""From a group's last fetch until CONVOLVE has completed it."""

_TILE_LATENCY = 8
"""From a tile's load to its last row in the array, beside one cycle a row."""

_HANDOVER = 7
"""From the lanes to REDUCE, and back."""

_HALT = 5

Wait = tuple[Sequence[object], int]
"""A list, and how many entries it must have before a process can go on."""

Process = Iterator[Wait]

_NEVER: Wait = ((), 1)
"""What the last wait of a process is for."""


@dataclass(frozen=True)
class Prediction:
    """What a program takes.

    Parameters
    ----------
    cycles : int
        From START to done.
    groups : list of int
        When each of ACTIVATE's groups is complete.
    """

    cycles: int
    groups: list[int]


def predict(program: Sequence[isa.Instruction], config: NpuConfig) -> Prediction:
    """The cycles of ``program`` on an NPU of ``config``.

    Raises
    ------
    ProgramError
        The program waits for what never happens.
    """
    return _Timeline(program, config).run()


class _Timeline:
    """The units as processes, each of which yields what it waits for: a time not known yet."""

    def __init__(self, program: Sequence[isa.Instruction], config: NpuConfig) -> None:
        self.program, self.config = program, config
        self.queues: dict[Unit, list[tuple[isa.Instruction, int]]] = {u: [] for u in Unit}
        self.begun: dict[Unit, list[int]] = {u: [] for u in Unit}
        self.completed: dict[Unit, list[int]] = {u: [] for u in Unit}
        self.tiles = _Tiles(config.weight_reads)
        self.full: list[int] = []
        self._activated = 0
        self.released: list[int] = [0, 0]
        self.reads, self.writes = ReadBus(), WriteBus()
        self.last = 0

    def run(self) -> Prediction:
        works = {
            Unit.LOAD: self._load,
            Unit.STORE: self._store,
            Unit.WEIGHTS: self._weights,
            Unit.CONVOLVE: self._convolve,
            Unit.ACTIVATE: self._activate,
        }
        processes: list[Process] = [self._sequencer()]
        processes += [works[unit](unit) for unit in Unit]
        waits = [next(process) for process in processes]
        moved = True
        while moved:
            moved = False
            for number, (entries, needed) in enumerate(waits):
                if len(entries) >= needed:
                    waits[number] = next(processes[number])
                    moved = True
            # nothing else can happen before the bus has answered
            moved = moved or self.reads.serve()
        done = sum(map(len, self.begun.values()))
        if done < sum(not isinstance(i, isa.Halt) for i in self.program):
            raise ProgramError("the program waits for what never happens")
        return Prediction(self.last + _HALT, self.completed[Unit.ACTIVATE])

    def _note(self, time: int) -> None:
        if time > self.last:
            self.last = time

    def _sequencer(self) -> Process:
        beats = max(1, isa.INSTRUCTION_BYTES // self.config.bus_bytes)
        time, asked = _START, 0
        answers: list[list[int]] = []  # of each stretch, when its first beat comes
        for index, instruction in enumerate(self.program):
            while asked < len(self.program) and index >= asked - _FETCHED + _ASKED_AT_ONCE:
                answers.append([])
                count = min(_ASKED_AT_ONCE, len(self.program) - asked)
                self.reads.fetch(time, count * beats, answers[-1])
                asked += count
            stretch, place = divmod(index, _ASKED_AT_ONCE)
            if not answers[stretch]:
                yield answers[stretch], 1
            fetched = answers[stretch][0] + (place + 1) * beats + _DECODED
            time = max(time + 1, fetched)
            if isinstance(instruction, isa.Halt):
                break
            unit = instruction.waiter if isinstance(instruction, isa.Sync) else instruction.unit
            assert unit is not None
            before = len(self.queues[unit]) - _QUEUE
            if len(self.begun[unit]) <= before:
                yield self.begun[unit], before + 1
            if before >= 0:
                time = max(time, self.begun[unit][before])
            self.queues[unit].append((instruction, time))
            self._note(time)
        yield _NEVER

    def _commands(self, unit: Unit, free: list[int]) -> Iterator[isa.Instruction | Wait]:
        """The unit's instructions, each when it begins (``free[0]``), and what it waits for."""
        queue = self.queues[unit]
        for index in range(len(self.program)):
            if len(queue) <= index:
                yield queue, index + 1
            instruction, time = queue[index]
            begin = max(time + _DISPATCH, free[0])
            if isinstance(instruction, isa.Sync):
                times = self.completed[instruction.on]
                # counts are modulo 2^16: the first that has not been waited for is meant
                count = instruction.count
                while count + 0x8000 <= len(times):
                    count += 0x10000
                if len(times) < count:
                    yield times, count
                begin = max(begin, times[count - 1] + 1) if count else begin
                begin += _SYNC
            free[0] = begin
            self.begun[unit].append(begin)
            self._note(begin)
            if not isinstance(instruction, isa.Sync):
                yield instruction
        yield _NEVER

    def _load(self, unit: Unit) -> Process:
        free = [0]
        for transfer in self._commands(unit, free):
            if isinstance(transfer, tuple):
                yield transfer
                continue
            assert isinstance(transfer, isa.ReadHost)
            answer: list[int] = []
            self.reads.load(free[0], self._stretch(transfer, transfer.memory), answer)
            if not answer:
                yield answer, 1
            # the next transfer's addresses go out while this one's data arrive
            free[0] = max(free[0] + 1, answer[0])
            self.completed[unit].append(answer[1] + _LOADED)
            self._note(answer[1] + _LOADED)

    def _store(self, unit: Unit) -> Process:
        free = [0]
        for transfer in self._commands(unit, free):
            if isinstance(transfer, tuple):
                yield transfer
                continue
            assert isinstance(transfer, isa.WriteHost)
            free[0] = self.writes.store(free[0], self._stretch(transfer, Memory.BUFFER))
            self.completed[unit].append(free[0] + _STORED)
            self._note(free[0] + _STORED)

    def _stretch(self, transfer: isa.ReadHost | isa.WriteHost, memory: Memory) -> Stretch:
        bus = self.config.bus_bytes
        return Stretch(
            host=transfer.host // bus,
            step=transfer.host_step // bus,
            lines=transfer.lines,
            beats=transfer.words * isa.host_word_bytes(memory, self.config) // bus,
        )

    def _weights(self, unit: Unit) -> Process:
        free = [0]
        for read in self._commands(unit, free):
            if isinstance(read, tuple):
                yield read
                continue
            assert isinstance(read, isa.ReadWeights)
            self.tiles.read(free[0], read.count)
            yield self.tiles.used, len(self.tiles.asked)
            free[0] = self.tiles.loaded + 1
            self.completed[unit].append(self.tiles.loaded + self.config.rows + _TILE_LATENCY)
            self._note(free[0])

    def _convolve(self, unit: Unit) -> Process:
        free = [0]
        dense, tiles, time = True, 0, 0
        for command in self._commands(unit, free):
            if isinstance(command, tuple):
                yield command
                continue
            if isinstance(command, isa.SetKernel):
                dense = command.mode is Mode.DENSE
                tiles = pass_count(command, self.config.rows)
            if not isinstance(command, isa.Convolve):
                free[0] += 1
                continue
            fetches = command.rows * command.columns
            if not dense:
                fetches = command.rows * command.period + command.tail
            # a pass takes two cycles to be made
            fetches = max(fetches, 2)
            time = max(time, free[0] + _FIRST_FETCH)
            for _ in range(command.groups):
                if command.first:
                    if len(self.released) <= len(self.full):
                        yield self.released, len(self.full) + 1
                    time = max(time, self.released[len(self.full)] + 1)
                left = tiles
                while left:
                    if not self.tiles.left:
                        yield self.tiles.asked, len(self.tiles.used) + 1
                    count = min(left, self.tiles.left)
                    time = self.tiles.swap(time, count, fetches)
                    left -= count
                    self._note(time)
                self.completed[unit].append(time + _FETCH_LATENCY)
                if command.last:
                    self.full.append(time + self.config.rows + _SUM_LATENCY)
            # the next one is taken when only the last two passes are on their way
            free[0] = max(free[0] + 1, time - 2 * fetches)

    def _activate(self, unit: Unit) -> Process:
        free = [0]
        interval, latency = self.config.steps, _LANE_LATENCY
        for command in self._commands(unit, free):
            if isinstance(command, tuple):
                yield command
                continue
            if isinstance(command, isa.SetOutput):
                plain = command.operation is Operation.NONE
                interval = self.config.steps * (1 if plain else 4)
                latency = _LANE_LATENCY if plain else _PAIR_LATENCY
            if isinstance(command, isa.Reduce):
                pixel = pixel_cycles(command.kind, command.channels, self.config)
                rested = (self.completed[unit] or [0])[-1] + RESTED
                pixels = command.rows * command.columns
                free[0] = max(free[0], rested) + _HANDOVER + pixels * pixel
                self.completed[unit].append(free[0])
                self._note(free[0])
                continue
            if not isinstance(command, isa.Activate):
                free[0] += 1
                continue
            time = free[0]
            for _ in range(command.groups):
                index = self._activated
                self._activated += 1
                if len(self.full) <= index:
                    yield self.full, index + 1
                time = max(time, self.full[index]) + command.rows * command.columns * interval
                self.released.append(time)
                self.completed[unit].append(time + latency)
                self._note(time + latency)
            free[0] = time


class _Tiles:
    """Tiles of weights between the weight memory and the array.

    The shadow registers are free for a tile from the first fetch of the pass before its own on.

    Parameters
    ----------
    reads : int
        Cycles from a tile's load to the next.

    Attributes
    ----------
    asked, used : list of int
        When each READ_WEIGHTS began, and when the load of its last tile did, once that is used.
    left : int
        Tiles that READ_WEIGHTS has been told to load and that no pass has used.
    loaded : int
        When the load of the last used one began.
    """

    def __init__(self, reads: int) -> None:
        self._reads = reads
        self.asked: list[int] = []
        self.used: list[int] = []
        self.left = 0
        self.loaded = -reads
        self._swapped = 0  # the first fetch of the last pass

    def read(self, time: int, count: int) -> None:
        """READ_WEIGHTS of ``count`` tiles begins at ``time``; those before are all used."""
        self.asked.append(time)
        self.left = count

    def swap(self, time: int, count: int, fetches: int) -> int:
        """When ``count`` passes of ``fetches`` cycles are over, the first at ``time`` or later."""
        loaded = max(self.asked[-1], self._swapped, self.loaded + self._reads)
        swapped = max(loaded + 1, time)
        self.left -= count
        for done in range(1, count):
            next_loaded = max(swapped, loaded + self._reads)
            next_swapped = max(next_loaded + 1, swapped + fetches)
            step = next_swapped - swapped
            if next_loaded - loaded == step:
                # both have come into step: so it goes on
                loaded += (count - done) * step
                swapped += (count - done) * step
                break
            loaded, swapped = next_loaded, next_swapped
        self.loaded, self._swapped = loaded, swapped
        if not self.left:
            self.used.append(loaded)
        return swapped + fetches
