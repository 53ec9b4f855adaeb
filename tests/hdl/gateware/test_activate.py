"""ACTIVATE writes what fixedpoint and the reference say, and its words follow without gaps."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import pytest
from amaranth.sim import Simulator

from edgeinfer.arithmetic import fixedpoint
from edgeinfer.graph import operators as ops
from edgeinfer.hdl import isa
from edgeinfer.hdl.config import NpuConfig, preset
from edgeinfer.hdl.gateware.activate import ActivateUnit
from edgeinfer.hdl.gateware.buffer import READ_LATENCY
from edgeinfer.hdl.gateware.table import table_latency
from edgeinfer.hdl.isa import Operation
from edgeinfer.meaning.reference import evaluate

CONFIGS = {
    "8x16": preset("8x16"),
    "4x4": preset("4x4"),
    "8x8-16": preset("8x8-16"),
    "a lane a column": preset("4x4").replace(lanes=4),
    "one lane": preset("4x4").replace(lanes=1),
    "no tables": preset("4x4").replace(tables=False),
}
PAIRS = [Operation.ADD, Operation.SUBTRACT, Operation.SUBTRACT_FROM, Operation.MULTIPLY]
PLAIN_LATENCY, PAIR_LATENCY = 11, 26

Write = tuple[int, list[int]]


class Job:
    """A program for the unit, all that it reads, and the writes that must come of it in order."""

    def __init__(self, config: NpuConfig, seed: int) -> None:
        self.config = config
        self.rng = np.random.default_rng(seed)
        self.info = np.iinfo(f"int{config.width}")
        self.program: list[isa.Instruction] = []
        self.tiles: list[np.ndarray] = []
        self.records = self._records()
        self.second: dict[int, list[int]] = {}
        self.knots = self._table()
        self.writes: list[Write] = []
        self.intermediates: list[Write] = []
        self.group_ends: list[int] = []
        self.set_output()

    def _records(self) -> dict[str, np.ndarray]:
        """Parameters of every lane of 64 rows, with the contract's extremes among them."""
        rng, shape = self.rng, (64, self.config.lanes)
        self.bits = 24 if self.config.width == 16 else 31
        limit = 1 << self.bits
        multiplier = rng.integers(limit // 2, limit, shape)
        edges = rng.random(shape) < 0.1
        multiplier[edges] = rng.choice([0, 1, limit // 2, limit - 1], edges.sum())
        shift = rng.choice([2, 31, 32, 62, *range(20, 45)], shape)
        bias = rng.integers(-(1 << self.bits), 1 << self.bits, shape)
        return {"bias": bias, "multiplier": multiplier, "shift": shift}

    def _table(self) -> np.ndarray:
        if self.config.width == 8:
            return self.rng.integers(-128, 128, 256)
        return np.cumsum(self.rng.integers(-60, 61, 513))

    def table_bytes(self) -> bytes:
        if self.config.width == 8:
            return self.knots.astype(np.int8).tobytes()
        return np.stack([self.knots[:-1], np.diff(self.knots)], 1).astype("<i2").tobytes()

    # -- settings -------------------------------------------------------------------------------

    def _clamp(self) -> dict[str, int]:
        lo, hi = np.sort(self.rng.integers(self.info.min, self.info.max + 1, 2)).tolist()
        if self.rng.random() < 0.8:
            lo, hi = self.info.min, self.info.max
        return {"zero_point": self._zero_point(), "lo": lo, "hi": hi}

    def _zero_point(self) -> int:
        if self.config.width == 16:
            return 0
        return int(self.rng.choice([-128, 127, *range(-20, 20)]))

    def set_output(self, operation: Operation = Operation.NONE, **fields: int) -> None:
        steps = self.rng.integers(0, 1 << 16, 4).tolist()
        self.output = isa.SetOutput(
            **{
                "row_step": steps[0],
                "column_step": steps[1],
                "residual_row_step": steps[2],
                "residual_column_step": steps[3],
                "double": self.config.width == 8 and self.rng.random() < 0.5,
                "operation": operation,
            }
            | self._clamp()
            | fields
        )
        self.program.append(self.output)
        if operation is not Operation.NONE:
            self._set_operands(operation)

    def _set_operands(self, operation: Operation) -> None:
        scales = np.exp2(self.rng.uniform([-2, -2, -1], [1, 1, 2])).tolist()
        common = {"a_zero_point": self._zero_point(), "b_zero_point": self._zero_point()}
        clamp, left_shift = self._clamp(), 0
        if operation is Operation.MULTIPLY:
            real = 2.0 ** (self.config.width * self.rng.uniform(-1.2, -0.6))
            multiplier, shift = fixedpoint.multiplier_and_shift(real)
            operands = common | {"a_multiplier": 0, "a_shift": 0, "b_multiplier": 0, "b_shift": 0}
        else:
            parameters = fixedpoint.add_parameters(*scales, bits=self.config.width)
            left_shift, multiplier = parameters.pop("left_shift"), parameters.pop("multiplier")
            shift = parameters.pop("shift")
            operands = common | parameters
        self.program.append(isa.SetOperands(**operands))
        self.program.append(
            isa.SetSum(multiplier=multiplier, shift=shift, left_shift=left_shift, **clamp)
        )
        attributes = {
            "output_zero_point": clamp["zero_point"],
            "lo": clamp["lo"],
            "hi": clamp["hi"],
            "rounding": "double" if self.output.double else "single",
            "multiplier": multiplier,
            "shift": shift,
        }
        if operation is Operation.MULTIPLY:
            self.operator = ops.QMul(**attributes, **common)
            return
        if operation is Operation.SUBTRACT_FROM:
            operands = {{"a": "b", "b": "a"}[k[0]] + k[1:]: v for k, v in operands.items()}
        cls = ops.QAdd if operation is Operation.ADD else ops.QSub
        self.operator = cls(**attributes, **operands, left_shift=left_shift)

    # -- work -----------------------------------------------------------------------------------

    def activate(
        self, rows: int, columns: int, groups: int = 1, shared: bool = False, in_place: bool = False
    ) -> None:
        base, residual = self.rng.integers(0, 1 << 20, 2).tolist()
        if in_place:
            residual = base
        parameters = int(self.rng.integers(0, 64 - self.config.steps * (1 if shared else groups)))
        self.program.append(
            isa.Activate(
                base=base,
                residual=residual,
                parameters=parameters,
                shared=shared,
                rows=rows,
                columns=columns,
                groups=groups,
            )
        )
        for group in range(groups):
            row = parameters + (0 if shared else group * self.config.steps)
            y = self._requantized(rows * columns, row)
            for pixel, (i, j) in enumerate(np.ndindex(rows, columns)):
                at = base + i * self.output.row_step + j * self.output.column_step + group
                other = residual + i * self.output.residual_row_step
                other += j * self.output.residual_column_step + group
                self._write(at % (1 << 20), other % (1 << 20), y[pixel])
            self.group_ends.append(len(self.writes))

    def _requantized(self, pixels: int, row: int) -> np.ndarray:
        """A new tile of the accumulators, and what step 0 makes of it."""
        config, rng = self.config, self.rng
        bias, multiplier, shift = (
            self.records[name][row : row + config.steps].ravel()
            for name in ("bias", "multiplier", "shift")
        )
        limit = 1 << (31 if config.width == 8 else 38)
        # results beyond the range on either side, as far as accumulators reach
        wide = rng.uniform(-1.5, 1.5, (pixels, config.columns)) * self.info.max
        acc = wide * 2.0**shift / np.maximum(multiplier, 1)
        acc = np.where(rng.random(acc.shape) < 0.1, rng.choice([-limit, limit], acc.shape), acc)
        acc = np.clip(acc, 1 - limit, limit - 1).astype(np.int64)
        half = 1 << config.accumulator_bits - 1
        self.tiles.append((acc - bias + half) % (2 * half) - half)
        output = self.output
        return fixedpoint.requantize(
            acc,
            multiplier,
            shift,
            output.zero_point,
            output.lo,
            output.hi,
            "double" if output.double else "single",
        )

    def _write(self, at: int, other: int, y: np.ndarray) -> None:
        if self.output.operation is not Operation.NONE:
            self.intermediates.append((at, y.tolist()))
            q = self.rng.integers(self.info.min, self.info.max + 1, self.config.columns)
            q = np.array(self.second.setdefault(other, q.tolist()))
            a, b = (q, y) if self.output.operation is Operation.SUBTRACT_FROM else (y, q)
            (y,) = evaluate(self.operator, a, b)
        if self.output.table:
            y = (
                self.knots[y + 128]
                if self.config.width == 8
                else fixedpoint.interpolate_16(self.knots, y)
            )
        self.writes.append((at, y.tolist()))


@dataclass
class Trace:
    """What the unit did, and in which cycles."""

    writes: list[Write] = field(default_factory=list)
    intermediates: list[Write] = field(default_factory=list)
    group_ends: list[int] = field(default_factory=list)
    written: list[int] = field(default_factory=list)
    released: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    idle: int = -1


class Bench:
    """The unit's surroundings: queue, accumulators, parameters, table and buffer.

    Parameters
    ----------
    job : Job
    stalls : float
        How often the buffer refuses a read.
    late : int
        The most cycles from a tile's release until the next one is full.
    gaps : float
        How often the queue has no instruction.
    """

    def __init__(self, job: Job, stalls: float = 0, late: int = 0, gaps: float = 0) -> None:
        self.job, self.stalls, self.late, self.gaps = job, stalls, late, gaps
        self.rng = random.Random(len(job.program))
        self.memory = dict(job.second)
        self.tiles = job.tiles.copy()
        self.full_from = 0
        self.trace = Trace()
        self.answers: dict[int, list[tuple[object, object]]] = defaultdict(list)

    def run(self) -> Trace:
        self.dut = ActivateUnit(self.job.config)
        simulator = Simulator(self.dut)
        simulator.add_clock(1e-6)
        simulator.add_testbench(self._all)
        simulator.run()
        assert not self.tiles
        return self.trace

    async def _all(self, ctx) -> None:
        dut, program = self.dut, self.job.program.copy()
        if self.job.config.tables:
            await self._write_table(ctx)
        cycle = 0
        command = dut.control.command
        while program or ctx.get(dut.control.busy):
            if not ctx.get(command.valid):
                ctx.set(command.valid, bool(program) and self.rng.random() >= self.gaps)
                ctx.set(command.payload, isa.encode(program[0]) if program else 0)
            full = bool(self.tiles) and cycle >= self.full_from
            ctx.set(dut.accumulators.full, full)
            ctx.set(dut.residual.ready, self.rng.random() >= self.stalls)
            self._observe(ctx, cycle)
            for latency, port, answer in self._answers(ctx, full):
                self.answers[cycle + latency].append((port, answer))
            if ctx.get(dut.accumulators.release):
                assert full
                self.tiles.pop(0)
                self.full_from = cycle + 1 + self.rng.randint(0, self.late)
            taken = ctx.get(command.valid) and ctx.get(command.ready)
            await ctx.tick()
            for port, answer in self.answers.pop(cycle + 1, []):
                ctx.set(port, answer)
            if taken:
                program.pop(0)
                ctx.set(command.valid, 0)
            cycle += 1
            assert cycle < 20_000
        self.trace.idle = cycle
        for _ in range(40):
            assert not ctx.get(dut.result.enable) and not ctx.get(dut.control.busy)
            await ctx.tick()

    async def _write_table(self, ctx) -> None:
        table, size = self.job.table_bytes(), self.job.config.bus_bytes
        ctx.set(self.dut.table.enable, 1)
        for at in range(0, len(table), size):
            ctx.set(self.dut.table.address, at // size)
            ctx.set(self.dut.table.data, int.from_bytes(table[at : at + size], "little"))
            await ctx.tick()
        ctx.set(self.dut.table.enable, 0)

    def _answers(self, ctx, full: bool) -> list[tuple[int, object, object]]:
        """What the memories give, and in how many cycles; nobody may use what was not asked for."""
        dut, config = self.dut, self.job.config
        answers = []
        if full:
            pixel = ctx.get(dut.accumulators.address) % len(self.tiles[0])
            answers.append((2, dut.accumulators.data, self.tiles[0][pixel].tolist()))
        if ctx.get(dut.parameters.enable):
            row = ctx.get(dut.parameters.address)
            records = [
                {name: int(values[row][lane]) for name, values in self.job.records.items()}
                for lane in range(config.lanes)
            ]
            answers.append((2, dut.parameters.row, records))
        word = self.rng.getrandbits(config.columns * config.width)
        if ctx.get(dut.residual.valid) and ctx.get(dut.residual.ready):
            held = np.array(self.memory[ctx.get(dut.residual.address)])
            word = int.from_bytes(held.astype(f"<i{config.element_bytes}").tobytes(), "little")
        answers.append((READ_LATENCY, dut.residual.data, word))
        return answers

    def _observe(self, ctx, cycle: int) -> None:
        dut, trace = self.dut, self.trace
        if ctx.get(dut.accumulators.release):
            trace.released.append(cycle)
        if ctx.get(dut.control.waiting):
            trace.waiting.append(cycle)
        if ctx.get(dut.intermediate.enable):
            trace.intermediates.append(self._word(ctx, dut.intermediate))
        if ctx.get(dut.result.enable):
            address, word = self._word(ctx, dut.result)
            trace.writes.append((address, word))
            trace.written.append(cycle)
            self.memory[address] = word
        if ctx.get(dut.control.completed):
            trace.group_ends.append(len(trace.writes))

    def _word(self, ctx, port) -> Write:
        config = self.job.config
        word = ctx.get(port.data).to_bytes(config.word_bytes, "little")
        elements = np.frombuffer(word, f"<i{config.element_bytes}").tolist()
        return ctx.get(port.address), elements


def check(job: Job, **surroundings: float) -> Trace:
    trace = Bench(job, **surroundings).run()
    assert trace.writes == job.writes
    assert trace.intermediates == job.intermediates
    assert trace.group_ends == job.group_ends
    return trace


def tiles_of_any_shape(job: Job) -> None:
    job.activate(1, 1)
    job.activate(3, 2, groups=3)
    job.activate(1, 7, groups=2, shared=True)
    job.activate(5, 1)


STALLING = {"stalls": 0.6, "late": 30, "gaps": 0.5}


@pytest.mark.parametrize("surroundings", [{}, STALLING], ids=["ready", "stalling"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_plain_words_are_requantized_and_clamped(config, surroundings):
    job = Job(config, 1)
    tiles_of_any_shape(job)
    for _ in range(4):
        job.set_output()
        job.activate(2, 3, groups=2)
    check(job, **surroundings)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("operation", PAIRS)
def test_second_operands_are_combined_as_the_reference_does(operation, config):
    job = Job(config, operation)
    for _ in range(4):
        job.set_output(operation)
        job.activate(2, 2, groups=2)
        job.activate(1, 1)
    check(job, **STALLING)


@pytest.mark.parametrize("operation", [Operation.NONE, Operation.ADD, Operation.MULTIPLY])
@pytest.mark.parametrize("name", ["8x16", "4x4", "8x8-16", "a lane a column"])
def test_the_table_follows_the_last_step(name, operation):
    job = Job(CONFIGS[name], 5)
    for _ in range(3):
        job.set_output(operation, table=1)
        job.activate(2, 3, groups=2)
        job.set_output(operation)
        job.activate(1, 2)
    check(job)


@pytest.mark.parametrize("surroundings", [{}, STALLING], ids=["ready", "stalling"])
@pytest.mark.parametrize("name", ["4x4", "8x8-16", "a lane a column", "no tables"])
def test_settings_leave_the_words_on_their_way_alone(name, surroundings):
    config = CONFIGS[name]
    job = Job(config, 6)
    for operation in [*PAIRS, Operation.NONE, Operation.NONE, *reversed(PAIRS)]:
        job.set_output(operation, table=config.tables and operation % 2)
        job.activate(1, 1)
        job.set_output(table=0)
        job.activate(1, 2)
        job.set_output(operation)
        job.activate(2, 1, groups=2)
    check(job, **surroundings)


def test_a_result_may_replace_its_second_operand():
    job = Job(CONFIGS["8x16"], 7)
    steps = {"row_step": 100, "column_step": 3}
    job.set_output(Operation.ADD, **steps, **{f"residual_{k}": v for k, v in steps.items()})
    job.activate(4, 5, groups=3, in_place=True)
    check(job, stalls=0.3)


@pytest.mark.parametrize("operation", [Operation.NONE, Operation.ADD])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_words_follow_each_other_without_gaps(config, operation):
    job = Job(config, 8)
    job.set_output(operation)
    for _ in range(3):
        job.activate(2, 2, groups=3)
        job.activate(1, 1)
    trace = check(job)
    interval = config.steps * (1 if operation is Operation.NONE else 4)
    first = trace.written[0]
    assert trace.written == [first + i * interval for i in range(len(trace.written))]
    latency = PLAIN_LATENCY if operation is Operation.NONE else PAIR_LATENCY
    latency += table_latency(config) if config.tables else 0
    ends = [trace.written[count - 1] for count in trace.group_ends]
    assert ends == [cycle + latency for cycle in trace.released]
    assert trace.idle == trace.written[-1] + 1


def test_a_setting_costs_plain_words_five_cycles():
    job = Job(CONFIGS["8x16"], 9)
    for _ in range(3):
        job.activate(2, 2)
        job.set_output()
    job.activate(2, 2)
    trace = check(job)
    gaps = np.diff(trace.written)
    assert gaps.tolist() == [2, 2, 2, 7, 2, 2, 2, 7, 2, 2, 2, 7, 2, 2, 2]


def test_the_unit_waits_while_the_accumulators_are_not_full():
    job = Job(CONFIGS["4x4"], 10)
    job.activate(1, 2)
    bench = Bench(job)
    bench.full_from = 50
    trace = bench.run()
    assert trace.writes == job.writes
    # taken in cycle 1, after SET_OUTPUT; its address is there two cycles after it was made
    assert trace.waiting == list(range(4, 50))
