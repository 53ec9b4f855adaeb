"""After every instruction the simulated NPU's memories are what the instruction set says.

Programs are random, not the compiler's: fields are drawn, and what the golden simulator refuses is
discarded. SYNCs let one instruction end before the next begins, but for those that feed each other:
READ_WEIGHTS and the CONVOLVE that takes the weights, a CONVOLVE of more groups than the
accumulators have halves and its ACTIVATE, a REDUCE and the ACTIVATEs on either side of it.
"""

from __future__ import annotations

import copy
import os
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from edgeinfer.hdl import isa
from edgeinfer.hdl.config import NpuConfig, configuration
from edgeinfer.hdl.gateware.registers import REGISTERS
from edgeinfer.hdl.golden import GoldenSimulator
from edgeinfer.hdl.isa import Memory, Mode, Operation, ProgramError, Reduction, Unit, passes
from edgeinfer.hdl.simulation.npu import npu_library
from edgeinfer.hdl.simulation.simulator import Simulator
from tests.hdl.reductions import NO_NORM, exponentials, normalizing

VARIABLE = "EDGEINFER_NPU_EXAMPLES"
EXAMPLES = int(os.environ.get(VARIABLE, "240"))
"""Programs for each configuration."""

STEPS = 7
"""Instructions of a program, at most, a CONVOLVE with all that belongs to it counted as one."""

QUEUE = 4
"""READ_WEIGHTS that may stand before their CONVOLVE: more would keep it from its own queue."""

REGION = 256
"""Words at either end of the buffer where a program works, so that its tensors overlap."""

TILES = 8
"""Tiles of weights for each number of rows in use."""

HALVES = 2
_DONE = 2
_LIMIT = 2_000_000


class Strict(GoldenSimulator):
    """The golden simulator, which also refuses weights in rows that have no tap.

    Attributes
    ----------
    read : set of int
        The words that CONVOLVEs have read.
    """

    def __init__(self, config: NpuConfig, host: bytearray) -> None:
        super().__init__(config, host)
        self.read: set[int] = set()

    def _check_banks(self, word):
        super()._check_banks(word)
        self.read.update(np.unique(word[word >= 0]).tolist())

    def _depthwise(self, source, kernel, convolve, each, start, tile):
        used = kernel.streams * kernel.taps
        self._check(not tile[used:].any(), "a row without a tap has weights")
        return super()._depthwise(source, kernel, convolve, each, start, tile)


@dataclass(frozen=True)
class Pixels:
    """What REDUCE may be told to do to pixels of so many channels, and where its rows lie."""

    kind: Reduction
    channels: int
    setting: isa.SetNormalization
    host: int
    rows: int


@dataclass
class Layout:
    """Where host memory holds what, in bytes."""

    config: NpuConfig
    image: bytearray = field(default_factory=bytearray)
    words: int = 0
    weights: int = 0
    parameters: int = 0
    tables: int = 0
    reductions: list[Pixels] = field(default_factory=list)
    results: int = 0
    dump: int = 0

    def append(self, data: bytes) -> int:
        at = len(self.image)
        self.image += data + bytes(-len(data) % 64)
        return at


def host_memory(config: NpuConfig, seed: int) -> Layout:
    """Random words, weights, parameters and two tables; places for results."""
    rng = np.random.default_rng(seed)
    layout = Layout(config)
    layout.words = layout.append(rng.bytes(2 * REGION * config.word_bytes))
    layout.weights = layout.append(weights(config, rng))
    layout.parameters = layout.append(parameters(config, rng))
    layout.tables = layout.append(b"".join(table(config, rng) for _ in range(2)))
    if config.reductions:
        layout.reductions = [reduction(layout, kind, rng) for kind in Reduction]
    layout.results = layout.append(bytes(4096))
    layout.dump = layout.append(bytes(config.buffer_bytes))
    return layout


def reduction(layout: Layout, kind: Reduction, rng: np.random.Generator) -> Pixels:
    config, channels = layout.config, int(rng.integers(1, 3 * layout.config.columns))
    setting = NO_NORM
    if kind is Reduction.SOFTMAX:
        rows = exponentials(config, float(rng.uniform(0.01, 0.2)) * 2.0 ** (8 - config.width))
    else:
        epsilon = float(rng.choice([0.0, 1e-6, 30.0, 5e5]))
        setting, rows = normalizing(config, kind, channels, epsilon, rng)
    at = layout.append(rows)
    return Pixels(kind, channels, setting, at, len(rows) // config.parameter_row_bytes)


def weights(config: NpuConfig, rng: np.random.Generator) -> bytes:
    """Tile t uses all rows but the last t modulo ``rows``."""
    count = TILES * config.rows
    half = 1 << (config.width - 1)
    tiles = rng.integers(-half, half, (count, config.rows, config.columns))
    unused = np.arange(config.rows) >= config.rows - np.arange(count)[:, None] % config.rows
    tiles[unused] = 0
    return tiles.astype(f"<i{config.element_bytes}").tobytes()


def parameter_rows(config: NpuConfig) -> int:
    return min(16 * config.steps, config.parameter_rows)


def parameters(config: NpuConfig, rng: np.random.Generator) -> bytes:
    """Multipliers with which no product reaches 2^62; most results are near the element's range."""
    bits, longest = config.accumulator_bits, 31 if config.width == 8 else 22
    rows = []
    for _ in range(parameter_rows(config)):
        row = b""
        for _ in range(config.lanes):
            bias = int(rng.integers(-(1 << 20), 1 << 20))
            multiplier = int(rng.integers(1 << (longest - 1), 1 << longest))
            shift = longest + int(rng.integers(-1, 16))
            if rng.random() < 0.2:
                shift, multiplier = int(rng.integers(64)), int(rng.integers(1 << longest))
            record = (bias & ((1 << bits) - 1)) | multiplier << bits | shift << (bits + 31)
            row += record.to_bytes(config.parameter_bytes, "little")
        rows.append(row.ljust(config.parameter_row_bytes, b"\0"))
    return b"".join(rows)


def table(config: NpuConfig, rng: np.random.Generator) -> bytes:
    if config.width == 8:
        return rng.bytes(256)
    knots = rng.integers(-(1 << 14), 1 << 14, 513)
    return np.stack([knots[:-1], np.diff(knots)], 1).astype("<i2").tobytes()


@dataclass
class Step:
    """Instructions that end before the next step begins, and what they are to leave behind.

    ``images``: the buffer, and first operands that are not written, when ACTIVATE has completed so
    many groups.
    """

    instructions: list[isa.Instruction]
    buffer: np.ndarray
    host: bytes
    images: list[tuple[int, np.ndarray, dict[int, np.ndarray]]]


class Author:
    """Draws one program.

    Parameters
    ----------
    draw : callable
        Hypothesis's.
    config : NpuConfig
    """

    def __init__(self, draw: st.DrawFn, config: NpuConfig) -> None:
        self.draw, self.config = draw, config
        self.layout = host_memory(config, self.integer(0, 2**32 - 1))
        self.golden = Strict(config, self.layout.image)
        self.initial = bytes(self.layout.image)
        self.seen: Counter[object] = Counter()
        self.steps: list[Step] = []

    def integer(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def one_of(self, *choices):
        return self.draw(st.sampled_from(choices))

    def program(self) -> list[Step]:
        self.attempt(self.setup())
        kinds = [self.layer, self.layer, self.layer, self.read_host, self.write_host]
        if self.config.reductions:
            kinds += [self.reduced, self.reduced, self.reduced]
        for _ in range(self.integer(1, STEPS)):
            self.attempt(self.one_of(*kinds)())
        config, dump = self.config, self.layout.dump
        self.attempt([isa.WriteHost(host=dump, address=0, words=config.buffer_words)])
        return self.steps

    def attempt(self, instructions: list[isa.Instruction]) -> None:
        """Keep the step if it is legal."""
        trial = copy.deepcopy(self.golden)
        program: list[isa.Instruction] = []
        images = []
        trial.read.clear()
        trial.intermediates.clear()
        try:
            for index, instruction in enumerate(instructions):
                before = dict(trial.completed)
                self.check_activate(trial, instruction)
                trial.execute(instruction)
                program += self.synced(instructions, index, before)
                if isinstance(instruction, isa.Activate | isa.Reduce):
                    count = trial.completed[Unit.ACTIVATE]
                    images.append((count, trial.buffer.copy(), dict(trial.intermediates)))
            trial.execute(isa.Halt())
        except ProgramError:
            self.seen["refused"] += 1
            return
        self.golden = trial
        self.seen.update(feature for each in instructions for feature in features(each))
        self.steps.append(Step(program, trial.buffer.copy(), bytes(trial.host), images))

    def check_activate(self, trial: Strict, activate: isa.Instruction) -> None:
        """Refuse what the lanes, which read ahead, would read while it is being written."""
        if not isinstance(activate, isa.Activate):
            return
        output = trial._setting(isa.SetOutput)
        result = _places(activate, activate.base, output.row_step, output.column_step)
        if activate.groups > HALVES:
            trial._check(not set(result) & trial.read, "CONVOLVE still reads what is written")
        if output.operation is Operation.NONE:
            return
        second = _places(
            activate,
            activate.residual,
            output.residual_row_step,
            output.residual_column_step,
        )
        in_place = second == result and len(set(result)) == len(result)
        apart = not set(result) & set(second)
        trial._check(in_place or apart, "a second operand is overwritten")

    def synced(
        self, instructions: list[isa.Instruction], index: int, completed: dict[Unit, int]
    ) -> list[isa.Instruction]:
        """The instruction behind the SYNCs that let it begin when those before have ended."""
        instruction = instructions[index]
        waiter = instruction.unit
        if not isinstance(
            instruction,
            isa.ReadHost
            | isa.WriteHost
            | isa.ReadWeights
            | isa.Convolve
            | isa.Activate
            | isa.Reduce,
        ):
            return [instruction]
        apart = set(Unit)
        if any(isinstance(each, isa.Reduce) for each in instructions[: index + 1]):
            apart -= {Unit.ACTIVATE} if waiter is Unit.ACTIVATE else set()
        if waiter in (Unit.WEIGHTS, Unit.CONVOLVE):
            apart -= {Unit.WEIGHTS}
        if isinstance(instruction, isa.Activate) and instruction.groups > HALVES:
            apart -= {Unit.WEIGHTS, Unit.CONVOLVE}
        if index and isinstance(instructions[index - 1], isa.ReadWeights):
            apart = apart if waiter is not Unit.WEIGHTS else set()
        syncs = [
            isa.Sync(waiter=waiter, on=unit, count=completed[unit] & 0xFFFF)
            for unit in sorted(apart)
        ]
        return [*syncs, instruction]

    def setup(self) -> list[isa.Instruction]:
        """Both regions of the buffer, and all other memories."""
        config, layout = self.config, self.layout
        port_words = TILES * config.rows * config.weight_reads
        return [
            isa.ReadHost(
                memory=Memory.BUFFER,
                host=layout.words,
                address=0,
                lines=2,
                words=REGION,
                host_step=REGION * config.word_bytes,
                step=config.buffer_words - REGION,
            ),
            isa.ReadHost(memory=Memory.WEIGHTS, host=layout.weights, address=0, words=port_words),
            isa.ReadHost(
                memory=Memory.PARAMETERS,
                host=layout.parameters,
                address=0,
                words=parameter_rows(config),
            ),
            self.read_table(0),
        ]

    def read_table(self, number: int) -> isa.ReadHost:
        size = 256 if self.config.width == 8 else 2048
        return isa.ReadHost(
            memory=Memory.TABLE,
            host=self.layout.tables + number * size,
            address=0,
            words=size // self.config.bus_bytes,
        )

    def word(self) -> int:
        """An address in one of the regions."""
        start = self.one_of(0, 0, 0, self.config.buffer_words - REGION)
        return start + self.integer(0, REGION - 1)

    def read_host(self) -> list[isa.Instruction]:
        config, layout, bus = self.config, self.layout, self.config.bus_bytes
        memory = self.one_of(Memory.BUFFER, *Memory)
        lines = self.integer(1, 4)
        if memory is Memory.TABLE:
            return [self.read_table(self.integer(0, 1))]
        if memory is Memory.PARAMETERS:
            most, size = parameter_rows(config), config.parameter_row_bytes
            return [
                isa.ReadHost(
                    memory=memory,
                    host=layout.parameters + size * self.integer(0, most // 2),
                    address=self.integer(0, config.parameter_rows - 1),
                    lines=lines,
                    words=self.integer(1, 6),
                    host_step=size * self.integer(0, 4),
                    step=self.integer(0, 8),
                )
            ]
        if memory is Memory.WEIGHTS:
            # a tile keeps the number of rows that it uses
            turn, first = config.weight_reads, self.integer(0, 2 * config.rows)
            period = config.rows * turn
            return [
                isa.ReadHost(
                    memory=memory,
                    host=layout.weights + first * config.tile_bytes,
                    address=turn * (first + config.rows * self.integer(0, 4)),
                    lines=lines,
                    words=turn * self.integer(1, config.rows),
                    host_step=config.rows * config.tile_bytes * self.integer(0, 1),
                    step=period * self.integer(0, 1),
                )
            ]
        return [
            isa.ReadHost(
                memory=memory,
                host=bus * self.integer(0, layout.results // bus),
                address=self.word(),
                lines=lines,
                words=self.integer(1, 20),
                host_step=bus * self.integer(0, 100),
                step=self.integer(0, 40),
            )
        ]

    def write_host(self) -> list[isa.Instruction]:
        bus = self.config.bus_bytes
        return [
            isa.WriteHost(
                host=self.layout.results + bus * self.integer(0, 200),
                address=self.word(),
                lines=self.integer(1, 4),
                words=self.integer(1, 20),
                host_step=bus * self.integer(0, 100),
                step=self.integer(0, 40),
            )
        ]

    def layer(self) -> list[isa.Instruction]:
        """CONVOLVEs for one tile or several, and the ACTIVATEs that take them."""
        most = self.config.accumulator_depth
        columns = self.one_of(1, 2, 3, 5, 8, most // 4, most)
        rows = self.integer(1, most // columns)
        form = self.one_of("groups", "groups", "chain", "tiles", "many groups")
        instructions: list[isa.Instruction] = []
        groups = 1
        if form == "chain":
            parts = self.integer(2, 3)
            for part in range(parts):
                instructions += self.convolve(
                    rows, columns, first=int(part == 0), last=int(part == parts - 1)
                )
        elif form == "tiles":
            groups = HALVES
            for _ in range(groups):
                instructions += self.convolve(rows, columns)
        else:
            groups = self.integer(1, HALVES) if form == "groups" else self.integer(HALVES + 1, 5)
            instructions += self.convolve(rows, columns, groups=groups)
        if groups <= HALVES and self.one_of(False, True):
            for _ in range(groups):
                instructions += self.activate(rows, columns, 1)
            return instructions
        return instructions + self.activate(rows, columns, groups)

    def reduced(self) -> list[isa.Instruction]:
        """A REDUCE, perhaps right behind a layer and right before another's ACTIVATE."""
        config, own = self.config, self.one_of(*self.layout.reductions)
        row = self.integer(0, config.parameter_rows - own.rows)
        load = isa.ReadHost(memory=Memory.PARAMETERS, host=own.host, address=row, words=own.rows)
        reduce = isa.Reduce(
            kind=own.kind,
            base=self.word(),
            row_step=self.integer(0, 20),
            column_step=self.integer(0, 6),
            rows=self.integer(1, 3),
            columns=self.integer(1, 4),
            channels=own.channels,
            parameters=row,
        )
        before = self.layer() if self.one_of(False, True) else []
        after = self.layer() if self.one_of(False, True) else []
        return [load, own.setting, *before, reduce, *after]

    def convolve(self, rows: int, columns: int, **flags: int) -> list[isa.Instruction]:
        mode = self.one_of(Mode.DENSE, Mode.DENSE, Mode.DEPTHWISE, Mode.DEPTHWISE, Mode.MAXIMUM)
        kernel = self.dense_kernel() if mode is Mode.DENSE else self.depthwise_kernel(mode)
        # elements of a depthwise fetch are whole words
        unit = 1 if mode is Mode.DENSE else self.config.columns
        pixel_step = unit * self.integer(0, 3 if mode is not Mode.DENSE else 20)
        half = 1 << (self.config.width - 1)
        line = self.integer(1, 12)
        stride, dilation = self.integer(0, 3), self.integer(0, 3)
        y = self.integer(-3, 3)
        regular = self.one_of(True, True, False)
        source = isa.SetSource(
            height=self.integer(1, 12),
            line_end=self.integer(1, line * self.config.columns),
            row_step=stride * line if regular else self.integer(0, 20),
            kernel_step=dilation * line if regular else self.integer(0, 20),
            stride=stride,
            dilation=dilation,
            pixel_step=pixel_step,
            pad=self.integer(-half, half - 1),
        )
        period, tail = columns, 0
        if mode is not Mode.DENSE:
            least = kernel.emit * (columns - 1) + 1
            period = least + self.integer(0, kernel.taps + 2)
            tail = min(max(0, least - 1 + kernel.taps - period), 7, period)
        convolve = isa.Convolve(
            base=(self.word() + y * line) % (1 << 20),
            y=y,
            x=unit * self.integer(-3, 8) if unit > 1 else self.integer(-20, 60),
            rows=rows,
            columns=columns,
            period=period,
            tail=tail,
            group_step=unit * self.integer(0, 3 if unit > 1 else 30),
            **flags,
        )
        count = len([*passes(kernel, self.config.rows)]) * convolve.groups
        settings = [source, kernel] if self.one_of(False, True) else [kernel, source]
        return [*settings, *self.read_weights(kernel, count), convolve]

    def dense_kernel(self) -> isa.SetKernel:
        return isa.SetKernel(
            mode=Mode.DENSE,
            run=self.integer(1, 3 * self.config.rows),
            runs=self.integer(1, 3),
            run_step=self.integer(0, 40),
            lines=self.integer(1, 4),
            span=self.integer(0, 1),
            # which say nothing here
            taps=self.integer(1, 16),
            streams=self.integer(1, 4),
        )

    def depthwise_kernel(self, mode: Mode) -> isa.SetKernel:
        streams = self.integer(1, self.config.streams)
        return isa.SetKernel(
            mode=mode,
            run=1,
            runs=self.integer(1, 3),
            run_step=self.config.columns * self.integer(0, 3),
            lines=self.integer(1, 4),
            taps=self.integer(1, self.config.rows // streams),
            streams=streams,
            emit=self.integer(1, 3),
        )

    def read_weights(self, kernel: isa.SetKernel, count: int) -> list[isa.Instruction]:
        """Tiles that use no more rows than there are taps."""
        rows = self.config.rows
        most = rows if kernel.mode is Mode.DENSE else kernel.streams * kernel.taps
        instructions = []
        while count:
            address = rows * self.integer(0, TILES - 1) + self.integer(rows - most, rows - 1)
            # tiles from here on that use fewer and fewer rows
            beyond = TILES * rows if most == rows else address // rows * rows + rows
            chunk = self.integer(1, count)
            repeat = self.integer(0, 1) | (chunk > beyond - address)
            if len(instructions) == QUEUE - 1:
                chunk, repeat = count, 1
            instructions.append(isa.ReadWeights(address=address, count=chunk, repeat=repeat))
            count -= chunk
        return instructions

    def activate(self, rows: int, columns: int, groups: int) -> list[isa.Instruction]:
        config = self.config
        half = 1 << (config.width - 1)
        operation = self.one_of(Operation.NONE, Operation.NONE, *Operation)
        lo, hi = sorted((self.integer(-half, half - 1), self.integer(-half, half - 1)))
        if self.one_of(True, True, False):
            lo, hi = -half, half - 1
        if self.one_of(False, False, True):
            rows, columns = columns, rows
        residual_steps = (self.integer(0, 20), self.integer(0, 4))
        steps = (self.integer(0, 20), self.integer(0, 4))
        base, residual = self.word(), self.word()
        if self.one_of(True, False):
            residual, residual_steps = base, steps
        output = isa.SetOutput(
            row_step=steps[0],
            column_step=steps[1],
            residual_row_step=residual_steps[0],
            residual_column_step=residual_steps[1],
            zero_point=self.integer(-half, half - 1),
            lo=lo,
            hi=hi,
            operation=operation,
            double=self.integer(0, 1),
            table=self.integer(0, 1),
        )
        setting: list[isa.Instruction] = [output]
        if operation is not Operation.NONE:
            setting += self.draw(st.permutations(self.combination(operation)))
        activate = isa.Activate(
            base=base,
            residual=residual,
            parameters=self.integer(0, parameter_rows(config) // 2),
            shared=self.integer(0, 1),
            rows=rows,
            columns=columns,
            groups=groups,
        )
        return [*setting, activate]

    def combination(self, operation: Operation) -> list[isa.Instruction]:
        """Settings with which no sum leaves the accumulators' width and no product 62 bits."""
        half = 1 << (self.config.width - 1)
        narrow = self.config.width == 8
        least = 31 if narrow else 32
        multiplies = operation is Operation.MULTIPLY
        fine = self.one_of(15, 20) if narrow else 15
        wide = 30 if multiplies and not narrow else 31
        near = 2 * self.config.width if multiplies else fine + self.config.width - 7
        return [
            isa.SetOperands(
                a_zero_point=self.integer(-half, half - 1),
                b_zero_point=self.integer(-half, half - 1),
                a_multiplier=self.integer(0, 2**31 - 1),
                a_shift=self.integer(least, 40),
                b_multiplier=self.integer(0, 2**31 - 1),
                b_shift=self.integer(least, 40),
            ),
            isa.SetSum(
                multiplier=self.integer(0, 2**wide - 1),
                shift=min(62, wide - 8 + self.integer(0, near)),
                zero_point=self.integer(-half, half - 1),
                lo=-half + self.integer(0, 9),
                hi=half - 1 - self.integer(0, 9),
                left_shift=fine,
            ),
        ]


def _places(activate: isa.Activate, base: int, row_step: int, column_step: int) -> list[int]:
    """The words of an ACTIVATE in their order."""
    return [
        base + group + row * row_step + column * column_step
        for group in range(activate.groups)
        for row in range(activate.rows)
        for column in range(activate.columns)
    ]


def features(instruction: isa.Instruction) -> list[str]:
    """What of the instruction set is in use."""
    name = instruction.mnemonic
    found = [name]
    for each, spec in isa.fields(type(instruction)).items():
        value = getattr(instruction, each)
        if spec.choices:
            found.append(f"{name} {each} {value.name}")
        elif spec.bits == 1:
            found.append(f"{name} {each} {value}")
        elif each in ("groups", "tail", "emit", "streams", "runs", "lines"):
            found.append(f"{name} {each} {'many' if value > spec.low else 'least'}")
    return found


def all_features(config: NpuConfig) -> set[str]:
    """Everything but SYNC and HALT, which every program has, and fields that say nothing here.

    An NPU without the unit of reductions has no use for its instructions, which are faults there.
    """
    found = set()
    of_reductions = () if config.reductions else (isa.SetNormalization, isa.Reduce)
    for cls in isa.INSTRUCTIONS[2:]:
        if cls in of_reductions:
            continue
        found.add(cls.mnemonic)
        for name, spec in isa.fields(cls).items():
            if spec.choices:
                found |= {f"{cls.mnemonic} {name} {choice.name}" for choice in spec.choices}
            elif spec.bits == 1:
                found |= {f"{cls.mnemonic} {name} {value}" for value in (0, 1)}
            elif name in ("groups", "tail", "emit", "streams", "runs", "lines"):
                found |= {f"{cls.mnemonic} {name} {value}" for value in ("many", "least")}
    return found


def run(library, layout: Layout, initial: bytes, steps: list[Step], **options: float) -> Simulator:
    """A simulator that has executed ``steps``; images of its buffer are what they are to be."""
    config = layout.config
    code = isa.to_bytes([*(i for step in steps for i in step.instructions), isa.Halt()])
    size = -(-(len(initial) + len(code) + 4096) // 4096) * 4096
    npu = Simulator(library, config, size, **options)
    npu.memory[: len(initial)] = np.frombuffer(initial, np.uint8)
    npu.memory[len(initial) : len(initial) + len(code)] = np.frombuffer(code, np.uint8)
    watched = []
    for step in steps:
        for count, buffer, intermediates in step.images:
            image = npu.watch(count, 0, config.buffer_words, intermediate=False)
            between = npu.watch(count, 0, config.buffer_words, intermediate=True)
            watched.append((image, buffer, between, intermediates))
    npu.write(REGISTERS["PROGRAM"], len(initial))
    npu.write(REGISTERS["LENGTH"], len(code) // isa.INSTRUCTION_BYTES)
    npu.write(REGISTERS["CONTROL"], 1)
    assert npu.run(_LIMIT), "the NPU has not finished"
    assert npu.read(REGISTERS["STATUS"]) == _DONE
    for image, buffer, between, intermediates in watched:
        np.testing.assert_array_equal(image, buffer)
        for word, expected in intermediates.items():
            np.testing.assert_array_equal(between[word], expected)
    return npu


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "4x4",
        "8x16",
        "9x16",
        "8x8-16",
        "8x16,reductions=1",
        "8x8-16,reductions=1",
    ],
)
def test_memories_after_every_instruction_of_a_random_program(name):
    config = configuration(name)
    library = npu_library(config)
    seen: Counter[object] = Counter()

    @settings(
        max_examples=EXAMPLES,
        derandomize=VARIABLE not in os.environ,
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    @given(data=st.data())
    def check(data):
        author = Author(data.draw, config)
        steps = author.program()
        stalls, latency = data.draw(st.sampled_from((0.0, 0.5))), data.draw(st.integers(1, 30))
        for number, step in enumerate(steps):
            # what ACTIVATE leaves is watched in the run of all
            if step.images and number < len(steps) - 1:
                continue
            begun = steps[: number + 1]
            note(isa.disassemble([i for each in begun for i in each.instructions]))
            with run(
                library, author.layout, author.initial, begun, stalls=stalls, latency=latency
            ) as npu:
                np.testing.assert_array_equal(npu.buffer(), step.buffer)
                host = npu.memory[: len(step.host)].tobytes()
                np.testing.assert_array_equal(
                    np.frombuffer(host, np.uint8), np.frombuffer(step.host, np.uint8)
                )
        seen.update(author.seen)

    check()
    print(name, sorted(seen.items(), key=str))
    assert all_features(config) - set(seen) == set()
