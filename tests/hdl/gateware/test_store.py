"""WRITE_HOST brings lines of the buffer into host memory, a beat a cycle."""

from __future__ import annotations

import random

import pytest
from amaranth.sim import Simulator

from edgeinfer.hdl import isa
from edgeinfer.hdl.config import NpuConfig, preset
from edgeinfer.hdl.gateware.buffer import READ_LATENCY
from edgeinfer.hdl.gateware.store import StoreUnit
from tests.hdl.gateware.axi_memory import AxiMemory

CONFIGS = {
    "8x16": preset("8x16"),
    "4x4": preset("4x4"),
    "8x8-16": preset("8x8-16"),
    "a beat a word": preset("8x16").replace(bus_bytes=16),
    "four beats a word": preset("8x16").replace(bus_bytes=4),
}
ORIGIN = 0x12_3450_0000


class Bench:
    """The unit and a buffer of random words that refuses a share ``refuses`` of its reads."""

    def __init__(self, config: NpuConfig, memory: AxiMemory, *, refuses: float = 0) -> None:
        self.config, self.memory, self.refuses = config, memory, refuses
        self.random = random.Random(1)
        self.words: dict[int, bytes] = {}
        self.dut = StoreUnit(config)
        self.ends: list[int] = []
        self.failures = 0
        self.waiting = 0

    def word(self, address: int) -> bytes:
        """What the buffer holds."""
        return self.words.setdefault(address, self.random.randbytes(self.config.word_bytes))

    def run(self, program: list[isa.WriteHost], most: int = 20_000) -> None:
        simulator = self.simulator(program)

        async def observe(ctx):
            control, bus = self.dut.control, self.dut.bus
            answered = 0
            for _ in range(most):
                if len(self.ends) == len(program):
                    break
                sampled = await ctx.tick().sample(
                    control.completed, self.dut.failed, control.waiting, bus.bvalid, bus.bready
                )
                completed, failed, waiting, valid, ready = sampled[2:]
                if completed:
                    assert answered == len(self.memory.write_bursts)
                    self.ends.append(len(self.memory.write_cycles))
                answered += valid and ready
                self.failures += failed
                self.waiting += waiting
            else:
                raise AssertionError("the unit hangs")
            for _ in range(40):
                await ctx.tick()
                assert not ctx.get(control.busy)

        simulator.add_testbench(observe)
        simulator.run()

    def simulator(self, program: list[isa.WriteHost]) -> Simulator:
        """With the memory, the buffer, and ``program`` as it is taken."""
        dut = self.dut

        async def give(ctx):
            command = dut.control.command
            ctx.set(dut.base, ORIGIN)
            for instruction in program:
                ctx.set(command.payload, isa.encode(instruction))
                ctx.set(command.valid, 1)
                await ctx.tick().until(command.ready)
                ctx.set(command.valid, 0)
                while self.random.random() < self.refuses:
                    await ctx.tick()

        async def buffer(ctx):
            read, bits = dut.read, 8 * self.config.word_bytes
            coming = [0] * (READ_LATENCY - 1)
            while True:
                ctx.set(read.ready, self.random.random() >= self.refuses)
                sampled = await ctx.tick().sample(read.valid, read.ready, read.address)
                valid, ready, address = sampled[2:]
                word = self.random.getrandbits(bits)
                if valid and ready:
                    word = int.from_bytes(self.word(address), "little")
                coming.append(word)
                ctx.set(read.data, coming.pop(0))

        simulator = Simulator(dut)
        simulator.add_clock(1e-6)
        self.memory.connect(simulator, dut.bus)
        simulator.add_testbench(buffer, background=True)
        simulator.add_testbench(give, background=True)
        return simulator


def check(bench: Bench, program: list[isa.WriteHost]) -> None:
    memory, config = bench.memory, bench.config
    expected = bytearray(memory.bytes)
    beats, ends = 0, []
    bench.run(program)
    for each in program:
        for line in range(each.lines):
            for word in range(each.words):
                at = each.host + line * each.host_step + word * config.word_bytes
                address = (each.address + line * each.step + word) % (1 << 20)
                expected[at : at + config.word_bytes] = bench.word(address)
                beats += config.word_bytes // config.bus_bytes
        ends.append(beats)
    assert memory.bytes == expected
    assert bench.ends == ends
    assert not bench.failures


def some(config: NpuConfig, memory: AxiMemory, count: int, seed: int) -> list[isa.WriteHost]:
    rng = random.Random(seed)
    program = []
    for _ in range(count):
        lines, words = rng.choice([1, 1, 2, 5]), rng.choice([1, 2, 3, 7, 21])
        line = words * config.word_bytes
        step = rng.choice([0, line, line + 3 * config.bus_bytes])
        room = len(memory.bytes) - line - (lines - 1) * step
        program.append(
            isa.WriteHost(
                host=rng.randrange(0, room, config.bus_bytes),
                address=rng.choice([0, (1 << 20) - 2, rng.randrange(1 << 20)]),
                lines=lines,
                words=words,
                host_step=step,
                step=rng.choice([0, words, 65535]),
            )
        )
    return program


@pytest.mark.parametrize("data_first", [False, True], ids=["address first", "data first"])
@pytest.mark.parametrize("stalls", [0, 0.5])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_lines_reach_host_memory(config, stalls, data_first):
    memory = AxiMemory(config.bus_bytes, origin=ORIGIN, stalls=stalls, data_first=data_first)
    bench = Bench(config, memory, refuses=stalls)
    check(bench, some(config, memory, 15, config.bus_bytes))


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_beat_is_given_every_cycle_from_the_first_to_the_last(config):
    memory = AxiMemory(config.bus_bytes, origin=ORIGIN)
    words = 20 * config.bus_bytes
    program = [isa.WriteHost(host=8 * config.bus_bytes, address=3, lines=1, words=words)]
    check(Bench(config, memory), program)
    cycles = memory.write_cycles
    assert cycles[-1] - cycles[0] + 1 == len(cycles)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_lines_follow_each_other_without_gaps(config):
    memory = AxiMemory(config.bus_bytes, origin=ORIGIN)
    words = 16 * config.bus_bytes // config.word_bytes
    line = words * config.word_bytes
    program = [
        isa.WriteHost(host=0, address=3, lines=9, words=words, host_step=2 * line, step=words + 1)
    ]
    check(Bench(config, memory), program)
    cycles = memory.write_cycles
    assert cycles[-1] - cycles[0] + 1 == len(cycles)


def test_an_error_is_told_and_ends_nothing():
    config = preset("4x4")
    memory = AxiMemory(4, origin=ORIGIN, stalls=0.3)
    memory.bad = range(ORIGIN + 64, ORIGIN + 68)
    bench = Bench(config, memory)
    bench.run([isa.WriteHost(host=0, address=0, words=40)])
    assert bench.failures == 1
    assert bench.ends == [40]


@pytest.mark.parametrize("stalls", [0, 0.6])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_stopped_store_ends_its_bursts_and_can_be_used_again(config, stalls):
    for stop_at in [*range(1, 12, 2), 40]:
        memory = AxiMemory(config.bus_bytes, origin=ORIGIN, stalls=stalls, seed=stop_at)
        bench = Bench(config, memory, refuses=stalls)
        long = isa.WriteHost(host=0, address=0, lines=4096, words=16384, host_step=1 << 12)
        short = isa.WriteHost(host=8192, address=77, words=9)

        async def testbench(ctx, bench=bench, stop_at=stop_at, short=short):
            dut, memory = bench.dut, bench.memory
            for _ in range(stop_at):
                await ctx.tick()
            ctx.set(dut.stop, 1)
            for _ in range(400):
                await ctx.tick()
            assert not ctx.get(dut.control.busy)
            assert len(memory.write_cycles) == sum(beats for _, beats in memory.write_bursts)
            assert len(memory.write_bursts) <= stop_at // 16 + 6
            ctx.set(dut.stop, 0)
            command = dut.control.command
            ctx.set(command.payload, isa.encode(short))
            ctx.set(command.valid, 1)
            await ctx.tick().until(command.ready)
            ctx.set(command.valid, 0)
            await ctx.tick().until(dut.control.completed)

        simulator = bench.simulator([long])
        simulator.add_testbench(testbench)
        simulator.run()
        expected = b"".join(bench.word(77 + i) for i in range(9))
        assert memory.bytes[8192 : 8192 + len(expected)] == expected


def test_the_unit_waits_while_the_memory_takes_nothing():
    config = preset("4x4")
    memory = AxiMemory(4, origin=ORIGIN, stalls=0.9)
    bench = Bench(config, memory)
    bench.run([isa.WriteHost(host=0, address=0, words=40)])
    assert bench.waiting > 200
