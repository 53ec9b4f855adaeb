"""The sequencer gives every unit its instructions in order and ends a run at HALT or at a fault."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from edgeinfer.errors import InputError
from edgeinfer.hdl import isa
from edgeinfer.hdl.config import preset
from edgeinfer.hdl.gateware.host_reader import HostReader
from edgeinfer.hdl.gateware.sequencer import Fault, Sequencer, UnitQueue
from edgeinfer.hdl.isa import Unit
from tests.hdl.gateware.axi_memory import AxiMemory

CONFIGS = {
    "8x16": preset("8x16"),
    "4x4": preset("4x4"),
    "8x8-16": preset("8x8-16"),
    "an instruction a beat": preset("8x16").replace(bus_bytes=16),
}
PROGRAM = 0x1000
UNITS = list(Unit)


@dataclass
class Behaviour:
    """What the units do: how long an instruction takes, how often they take none.

    ``stuck`` units take one instruction and never end it. ``most`` caps the cycles of a run.
    """

    takes: int = 0
    refuses: float = 0
    stuck: tuple[Unit, ...] = ()
    most: int = 6_000


@dataclass
class Run:
    """What came of one START."""

    fault: Fault = Fault.NONE
    fault_at: int = 0
    cycles: int = 0
    given: dict[Unit, list[int]] = field(default_factory=lambda: {unit: [] for unit in Unit})
    order: list[tuple[str, Unit]] = field(default_factory=list)
    cycles_given: list[int] = field(default_factory=list)


class Bench:
    """A sequencer, a reader, and five units that only take their time."""

    def __init__(self, memory: AxiMemory, config=CONFIGS["8x16"], seed: int = 1) -> None:
        self.memory, self.config = memory, config
        m = Module()
        m.submodules.dut = self.dut = dut = Sequencer(config)
        m.submodules.reader = self.reader = reader = HostReader(config.bus_bytes)
        wiring.connect(m, dut.request, reader.fetch)
        wiring.connect(m, reader.fetched, dut.beats)
        m.d.comb += [
            reader.stop.eq(dut.abort),
            dut.quiet.eq(~reader.busy),
            dut.bus_failed.eq(reader.failed),
        ]
        self.module = m
        self.random = random.Random(seed)

    def simulate(self, testbench) -> None:
        simulator = Simulator(self.module)
        simulator.add_clock(1e-6)
        self.memory.connect(simulator, self.reader.bus)
        simulator.add_testbench(testbench)
        simulator.run()

    def program(self, instructions: list[isa.Instruction | int], at: int = PROGRAM) -> int:
        """Put a program into host memory; its length."""
        words = [i if isinstance(i, int) else isa.encode(i) for i in instructions]
        code = b"".join(word.to_bytes(16, "little") for word in words)
        at -= self.memory.origin
        self.memory.bytes[at : at + len(code)] = code
        return len(words)

    async def start(self, ctx, length: int, at: int = PROGRAM, watchdog: int = 0) -> None:
        ctx.set(self.dut.program, at)
        ctx.set(self.dut.length, length)
        ctx.set(self.dut.watchdog, watchdog)
        ctx.set(self.dut.start, 1)
        await ctx.tick()
        ctx.set(self.dut.start, 0)

    async def run(
        self, ctx, length: int, behaviour: Behaviour | None = None, *, during=None, **options: int
    ) -> Run:
        """From START until done and not busy; ``during`` is called in each cycle."""
        behaviour = behaviour or Behaviour()
        dut, run = self.dut, Run()
        left = dict.fromkeys(Unit, 0)
        busy = dict.fromkeys(Unit, False)
        await self.start(ctx, length, **options)
        signals = [s for c in dut.commands for s in (c.valid, c.ready, c.payload)]
        for cycle in range(behaviour.most):
            run.cycles = cycle
            if during:
                during(ctx, cycle)
            completed = idle = 0
            for unit in UNITS:
                ends = busy[unit] and not left[unit] and unit not in behaviour.stuck
                if ends:
                    run.order.append(("ends", unit))
                    busy[unit] = False
                completed |= ends << unit
                idle |= (not busy[unit] and not ends) << unit
                free = not busy[unit] and self.random.random() >= behaviour.refuses
                ctx.set(dut.commands[unit].ready, free)
                left[unit] -= busy[unit] and left[unit] > 0
            ctx.set(dut.completed, completed)
            ctx.set(dut.idle, idle)
            ctx.set(dut.progress, any(busy[u] and u not in behaviour.stuck for u in UNITS))
            sampled = await ctx.tick().sample(*signals, dut.busy, dut.done, dut.abort)
            *commands, active, done, abort = sampled[2:]
            for unit in UNITS:
                valid, ready, payload = commands[3 * unit : 3 * unit + 3]
                if valid and ready and not abort:
                    run.given[unit].append(payload)
                    run.order.append(("begins", unit))
                    run.cycles_given.append(cycle)
                    busy[unit], left[unit] = (
                        True,
                        behaviour.takes and self.random.randint(0, behaviour.takes),
                    )
                if abort:
                    busy[unit] = False
            if done and not active:
                break
        else:
            raise AssertionError("the run does not end")
        run.fault, run.fault_at = Fault(ctx.get(dut.fault)), ctx.get(dut.fault_at)
        assert not any(ctx.get(c.valid) for c in dut.commands)
        assert not ctx.get(self.reader.busy)
        return run


def work(unit: Unit, tag: int = 0) -> isa.Instruction:
    """An instruction of ``unit``; ``tag`` tells it from others."""
    return {
        Unit.LOAD: isa.ReadHost(memory=isa.Memory.BUFFER, host=tag, address=0, words=1),
        Unit.STORE: isa.WriteHost(host=tag, address=0, words=1),
        Unit.WEIGHTS: isa.ReadWeights(address=tag, count=1),
        Unit.CONVOLVE: isa.Convolve(base=tag, y=0, x=0, rows=1, columns=1, period=1),
        Unit.ACTIVATE: isa.Activate(base=tag, parameters=0, rows=1, columns=1),
    }[unit]


def some(count: int, seed: int, units=UNITS) -> list[isa.Instruction]:
    rng = random.Random(seed)
    return [work(rng.choice(units), tag) for tag in range(count)]


def expected(program: list[isa.Instruction]) -> dict[Unit, list[int]]:
    return {unit: [isa.encode(i) for i in program if i.unit is unit] for unit in Unit}


@pytest.mark.parametrize("stalls", [0, 0.5])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_every_unit_gets_its_instructions_in_order(config, stalls):
    bench = Bench(AxiMemory(config.bus_bytes, stalls=stalls, latency=3), config)

    async def testbench(ctx):
        for count in (0, 1, 15, 16, 17, 70):
            program = some(count, count)
            length = bench.program([*program, isa.Halt()])
            run = await bench.run(ctx, length, Behaviour(takes=5, refuses=stalls))
            assert run.given == expected(program)
            assert run.fault is Fault.NONE
            assert sum(order[0] == "ends" for order in run.order) == count

    bench.simulate(testbench)


def test_an_instruction_is_given_every_cycle():
    config = CONFIGS["an instruction a beat"]
    bench = Bench(AxiMemory(16), config)

    async def testbench(ctx):
        # each unit is given one in five cycles, and takes two for it
        program = [work(UNITS[i % 5], i) for i in range(60)]
        run = await bench.run(ctx, bench.program([*program, isa.Halt()]))
        cycles = run.cycles_given
        assert cycles[-1] - cycles[0] + 1 == len(cycles) == 60

    bench.simulate(testbench)


def test_a_full_queue_holds_up_what_is_behind_and_nothing_is_lost():
    bench = Bench(AxiMemory(8))

    async def testbench(ctx):
        program = [work(Unit.STORE, i) for i in range(9)] + [work(Unit.LOAD, i) for i in range(3)]
        run = await bench.run(ctx, bench.program([*program, isa.Halt()]), Behaviour(takes=40))
        assert run.given == expected(program)
        assert run.order.index(("begins", Unit.LOAD)) > 4

    bench.simulate(testbench)


@pytest.mark.parametrize("waiter", Unit)
@pytest.mark.parametrize("on", Unit)
def test_sync_holds_a_unit_until_the_other_has_completed_the_count(waiter, on):
    bench = Bench(AxiMemory(8))

    async def testbench(ctx):
        # more of the waiter's own would wait for itself
        ahead = [work(on, i) for i in range(3)]
        program = [*ahead, isa.Sync(waiter=waiter, on=on, count=3), work(waiter, 99)]
        run = await bench.run(ctx, bench.program([*program, isa.Halt()]), Behaviour(takes=30))
        last = len(run.order) - 1 - run.order[::-1].index(("begins", waiter))
        assert run.order[:last].count(("ends", on)) == 3
        assert run.given == expected(program)

    bench.simulate(testbench)


@pytest.mark.parametrize(
    ("completed", "count", "passes"),
    [
        (0, 0, True),
        (0, 1, False),
        (5, 5, True),
        (5, 6, False),
        (40, 65535 - 20, True),
        (2, 2 + 0x8000, False),
        (2, 3 + 0x8000, True),
        (1, 65535, True),
        (1, 0x7FFF, False),
    ],
)
def test_sync_compares_modulo_65536(completed, count, passes):
    bench = Bench(AxiMemory(8))

    async def testbench(ctx):
        ahead = [work(Unit.LOAD, i) for i in range(completed)]
        program = [*ahead, isa.Sync(waiter=Unit.LOAD, on=Unit.LOAD, count=count), work(Unit.LOAD)]
        length = bench.program([*program, isa.Halt()])
        run = await bench.run(ctx, length, watchdog=300)
        assert run.fault is (Fault.NONE if passes else Fault.WATCHDOG)
        assert len(run.given[Unit.LOAD]) == completed + passes

    bench.simulate(testbench)


def test_a_queue_compares_any_counter_with_any_count():
    dut = UnitQueue()
    rng = random.Random(1)

    async def testbench(ctx):
        ctx.set(dut.o.ready, 1)
        for _ in range(200):
            counter = rng.choice([0, 1, 0x7FFF, 0x8000, 0xFFFF, rng.getrandbits(16)])
            count = (counter + rng.choice([-0x8000, -0x7FFF, -1, 0, 1, 0x7FFF])) % (1 << 16)
            on = rng.choice(UNITS)
            ctx.set(dut.counters, [counter if unit == on else count + 1 for unit in UNITS])
            ctx.set(dut.i.payload, isa.encode(isa.Sync(waiter=0, on=on, count=count)))
            ctx.set(dut.i.valid, 1)
            await ctx.tick()
            ctx.set(dut.i.valid, 0)
            for _ in range(5):
                assert not ctx.get(dut.o.valid)
                await ctx.tick()
            reached = (counter - count) % (1 << 16) < 0x8000
            assert ctx.get(dut.empty) == reached
            ctx.set(dut.counters[on], count)
            await ctx.tick().repeat(2)
            assert ctx.get(dut.empty)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


def test_counters_start_at_zero_in_each_run():
    bench = Bench(AxiMemory(8))

    async def testbench(ctx):
        length = bench.program([work(Unit.LOAD, 1), work(Unit.LOAD, 2), isa.Halt()])
        for _ in range(2):
            await bench.run(ctx, length)
            assert [ctx.get(counter) for counter in bench.dut.counters] == [2, 0, 0, 0, 0]

    bench.simulate(testbench)


@pytest.mark.parametrize("unit", Unit)
def test_halt_waits_for_every_unit_and_for_the_bus(unit):
    bench = Bench(AxiMemory(8))

    async def testbench(ctx):
        dut = bench.dut
        length = bench.program([work(unit), isa.Halt()])
        await bench.start(ctx, length)
        ctx.set(dut.idle, 0b11111)
        await ctx.tick().until(dut.commands[unit].valid)
        for _ in range(50):
            await ctx.tick()
        assert ctx.get(dut.busy)  # it is still in its queue
        ctx.set(dut.commands[unit].ready, 1)
        await ctx.tick()
        ctx.set(dut.commands[unit].ready, 0)
        ctx.set(dut.idle, 0b11111 ^ (1 << unit))
        for _ in range(50):
            await ctx.tick()
        assert ctx.get(dut.busy) and not ctx.get(dut.done)
        ctx.set(dut.idle, 0b11111)
        await ctx.tick()
        assert ctx.get(dut.done) and not ctx.get(dut.busy)

    bench.simulate(testbench)


@pytest.mark.parametrize("latency", [0, 1, 3, 30])
@pytest.mark.parametrize("behind", [1, 7, 8, 9, 30])
def test_what_lies_behind_halt_never_reaches_a_unit_nor_the_next_run(behind, latency):
    bench = Bench(AxiMemory(8, latency=latency))

    async def testbench(ctx):
        for ahead in (0, 3, 12):
            program = some(ahead, 5)
            length = bench.program([*program, isa.Halt(), *some(behind, 6)])
            for _ in range(2):
                run = await bench.run(ctx, length)
                assert (run.given, run.fault) == (expected(program), Fault.NONE)

    bench.simulate(testbench)


ILLEGAL = {
    "opcode 14": 14,
    "opcode 15": 15,
    "opcode 15 with fields": 15 | 0xABC << 40,
    "HALT with a bit beyond its end": isa.encode(isa.Halt()) | 1 << 4,
    "SYNC of a unit that is none": 1 | 5 << 4,
    "SYNC on a unit that is none": 1 | 7 << 7,
    "a bit beyond SYNC": isa.encode(isa.Sync(waiter=0, on=0, count=1)) | 1 << 26,
    "the last bit beyond SYNC": isa.encode(isa.Sync(waiter=0, on=0, count=1)) | 1 << 127,
    "SET_KERNEL of mode 3": 6 | 3 << 4,
    "SET_OUTPUT of operation 5": 8 | 5 << 116,
    "SET_OUTPUT of operation 7": 8 | 7 << 116,
    **{
        f"a bit beyond {cls.mnemonic}": cls.opcode
        | 1 << (isa.OPCODE_BITS + sum(f.bits for f in isa.fields(cls).values()))
        for cls in isa.instructions(CONFIGS["8x16"])
        if isa.OPCODE_BITS + sum(f.bits for f in isa.fields(cls).values()) < 128
    },
}


@pytest.mark.parametrize("word", ILLEGAL.values(), ids=ILLEGAL)
def test_an_illegal_instruction_ends_the_run_where_it_stands(word):
    with pytest.raises(InputError):
        isa.decode(word)
    bench = Bench(AxiMemory(8, latency=2))

    async def testbench(ctx):
        for ahead in (0, 3, 20):
            program = some(ahead, ahead)
            length = bench.program([*program, word, *some(9, 7), isa.Halt()])
            run = await bench.run(ctx, length)
            assert (run.fault, run.fault_at) == (Fault.ILLEGAL_INSTRUCTION, ahead)
            for unit, given in run.given.items():
                assert given == expected(program)[unit][: len(given)]

    bench.simulate(testbench)


def test_random_words_are_illegal_where_the_isa_says_so():
    bench = Bench(AxiMemory(8))
    rng = random.Random(1)

    async def testbench(ctx):
        for _ in range(150):
            cls = rng.choice(list(isa.instructions(CONFIGS["8x16"])))
            size = isa.OPCODE_BITS + sum(f.bits for f in isa.fields(cls).values())
            word = cls.opcode | rng.getrandbits(min(128, size + rng.choice([0, 0, 1]))) >> 4 << 4
            try:
                isa.decode(word)
                fault = Fault.NONE
            except InputError:
                fault = Fault.ILLEGAL_INSTRUCTION
            if cls is isa.Sync:
                word &= ~(0xFFFF << 10)  # a count that is reached at once
            run = await bench.run(ctx, bench.program([word, isa.Halt()]))
            assert run.fault is fault
            if fault is Fault.NONE and isa.decode(word).unit is not None:
                assert run.given[isa.decode(word).unit] == [word]

    bench.simulate(testbench)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 40])
def test_a_program_without_halt_ends_behind_its_last_instruction(length):
    bench = Bench(AxiMemory(8))

    async def testbench(ctx):
        program = some(length, 3)
        # HALT is there, but beyond the length
        bench.program([*program, isa.Halt()])
        run = await bench.run(ctx, length)
        assert (run.fault, run.fault_at) == (Fault.NO_HALT, length)

    bench.simulate(testbench)


@pytest.mark.parametrize("latency", [0, 5, 20])
def test_an_error_of_the_bus_ends_the_run(latency):
    bench = Bench(AxiMemory(8, latency=latency))

    async def testbench(ctx):
        program = some(30, 3)
        length = bench.program([*program, isa.Halt()])
        bench.memory.bad = range(PROGRAM + 16 * 20, PROGRAM + 16 * 21)
        run = await bench.run(ctx, length)
        assert run.fault is Fault.BUS
        assert run.fault_at <= 20
        bench.memory.bad = range(0)
        run = await bench.run(ctx, length)
        assert (run.given, run.fault) == (expected(program), Fault.NONE)

    bench.simulate(testbench)


@pytest.mark.parametrize("latency", [0, 1, 2, 3, 13, 34])
@pytest.mark.parametrize("stalls", [0, 0.4])
def test_a_fault_at_any_time_leaves_nothing_for_the_next_run(latency, stalls):
    bench = Bench(AxiMemory(8, latency=latency, stalls=stalls))
    program = some(40, 3)

    async def testbench(ctx):
        for cycle in range(0, 60, 4 if stalls else 2):
            length = bench.program([*program, isa.Halt()])

            def fails(ctx, now, cycle=cycle):
                ctx.set(bench.dut.out_of_range, now == cycle)

            run = await bench.run(ctx, length, Behaviour(takes=9), during=fails)
            assert run.fault is Fault.OUT_OF_RANGE
            other = some(3, cycle)
            length = bench.program([*other, isa.Halt(), *some(6, 9)])
            run = await bench.run(ctx, length)
            assert (run.given, run.fault) == (expected(other), Fault.NONE)

    bench.simulate(testbench)


@pytest.mark.parametrize("unit", Unit)
@pytest.mark.parametrize("watchdog", [20, 100])
def test_the_watchdog_ends_a_run_in_which_nothing_moves(unit, watchdog):
    bench = Bench(AxiMemory(8))

    async def testbench(ctx):
        length = bench.program([work(unit), isa.Halt()])
        run = await bench.run(ctx, length, Behaviour(stuck=(unit,)), watchdog=watchdog)
        assert (run.fault, run.fault_at) == (Fault.WATCHDOG, 2)
        assert watchdog < run.cycles < watchdog + 20

    bench.simulate(testbench)


def test_the_watchdog_lets_a_slow_run_be():
    bench = Bench(AxiMemory(8))

    async def testbench(ctx):
        program = [work(Unit.ACTIVATE, i) for i in range(20)]
        run = await bench.run(
            ctx, bench.program([*program, isa.Halt()]), Behaviour(takes=60), watchdog=40
        )
        assert run.fault is Fault.NONE
        assert run.cycles > 300

    bench.simulate(testbench)


def test_a_watchdog_that_is_lowered_during_a_run_still_ends_it():
    bench = Bench(AxiMemory(8))

    def lower(ctx, cycle):
        if cycle == 200:
            ctx.set(bench.dut.watchdog, 50)

    async def testbench(ctx):
        length = bench.program([work(Unit.STORE), isa.Halt()])
        stuck = Behaviour(stuck=(Unit.STORE,))
        run = await bench.run(ctx, length, stuck, during=lower, watchdog=1000)
        assert run.fault is Fault.WATCHDOG
        assert run.cycles < 220

    bench.simulate(testbench)


def test_length_and_program_are_those_of_the_start():
    bench = Bench(AxiMemory(8))
    program = some(30, 3)

    def changed(ctx, cycle):
        ctx.set(bench.dut.length, 3)
        ctx.set(bench.dut.program, 0)

    async def testbench(ctx):
        length = bench.program([*program, isa.Halt()])
        run = await bench.run(ctx, length, during=changed)
        assert (run.given, run.fault) == (expected(program), Fault.NONE)

    bench.simulate(testbench)


def test_start_is_ignored_while_busy():
    bench = Bench(AxiMemory(8, latency=5))
    program = some(30, 3)

    def again(ctx, cycle):
        ctx.set(bench.dut.start, cycle % 3 == 1 and ctx.get(bench.dut.busy))

    async def testbench(ctx):
        length = bench.program([*program, isa.Halt()])
        run = await bench.run(ctx, length, Behaviour(takes=4), during=again)
        assert (run.given, run.fault) == (expected(program), Fault.NONE)

    bench.simulate(testbench)


def test_a_bus_that_stalls_for_ever_is_told_at_once_and_keeps_the_npu_busy():
    bench = Bench(AxiMemory(8, latency=5))
    dut = bench.dut

    async def testbench(ctx):
        length = bench.program([*some(40, 3), isa.Halt()])
        await bench.start(ctx, length, watchdog=100)
        ctx.set(dut.idle, 0b11111)
        for _ in range(12):
            await ctx.tick()
        bench.memory.stuck = True
        await ctx.tick().until(dut.done)
        assert ctx.get(dut.fault) == Fault.WATCHDOG
        for _ in range(300):
            await ctx.tick()
        assert ctx.get(dut.busy) and ctx.get(dut.done)
        bench.memory.stuck = False
        for _ in range(100):
            await ctx.tick()
        assert not ctx.get(dut.busy)
        program = some(5, 4)
        run = await bench.run(ctx, bench.program([*program, isa.Halt()]))
        assert (run.given, run.fault) == (expected(program), Fault.NONE)

    bench.simulate(testbench)


def test_clear_forgets_done_and_the_fault():
    bench = Bench(AxiMemory(8))
    dut = bench.dut

    async def testbench(ctx):
        run = await bench.run(ctx, bench.program([14]))
        assert run.fault is Fault.ILLEGAL_INSTRUCTION
        ctx.set(dut.clear, 1)
        await ctx.tick()
        ctx.set(dut.clear, 0)
        assert not ctx.get(dut.done) and ctx.get(dut.fault) == Fault.NONE

    bench.simulate(testbench)
