"""READ_HOST brings lines of host memory into each of the NPU's memories, a beat a cycle."""

from __future__ import annotations

import random

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from edgeinfer.hdl import isa
from edgeinfer.hdl.config import NpuConfig, preset
from edgeinfer.hdl.gateware.host_reader import HostReader
from edgeinfer.hdl.gateware.load import LoadUnit
from edgeinfer.hdl.isa import Memory
from tests.hdl.gateware.axi_memory import AxiMemory

CONFIGS = {
    "8x16": preset("8x16"),
    "4x4": preset("4x4"),
    "8x8-16": preset("8x8-16"),
    "a beat a word": preset("8x16").replace(bus_bytes=16),
    "rows of parameters with padding": preset("4x4").replace(lanes=1, bus_bytes=4),
}
ORIGIN = 0x12_3450_0000

Write = tuple[Memory, int, int]


def sizes(config: NpuConfig) -> dict[Memory, tuple[int, int]]:
    """Bytes of a word of each memory: in host memory, and without padding."""
    row = config.lanes * config.parameter_bytes
    port = config.weight_port * config.word_bytes
    return {
        Memory.BUFFER: (config.word_bytes, config.word_bytes),
        Memory.WEIGHTS: (port, port),
        Memory.PARAMETERS: (config.parameter_row_bytes, row),
        Memory.TABLE: (config.bus_bytes, config.bus_bytes),
    }


class Bench:
    """The unit behind a reader; ``refuses`` is how often the buffer does not take a word."""

    def __init__(self, config: NpuConfig, memory: AxiMemory, *, refuses: float = 0) -> None:
        self.config, self.memory, self.refuses = config, memory, refuses
        self.writes: list[Write] = []
        self.cycles: list[int] = []
        self.ends: list[int] = []
        self.waiting = 0

    def run(self, program: list[isa.ReadHost], most: int = 20_000) -> None:
        config = self.config
        m = Module()
        m.submodules.unit = unit = LoadUnit(config)
        m.submodules.reader = reader = HostReader(config.bus_bytes)
        wiring.connect(m, unit.request, reader.load)
        wiring.connect(m, reader.loaded, unit.beats)
        rng = random.Random(1)
        ports = {
            Memory.BUFFER: (unit.buffer.valid, unit.buffer),
            Memory.WEIGHTS: (unit.weights.enable, unit.weights),
            Memory.PARAMETERS: (unit.parameters.enable, unit.parameters),
            Memory.TABLE: (unit.table.enable, unit.table),
        }
        taken = 0

        async def give(ctx):
            nonlocal taken
            command = unit.control.command
            ctx.set(unit.base, ORIGIN)
            for instruction in program:
                ctx.set(command.payload, isa.encode(instruction))
                ctx.set(command.valid, 1)
                await ctx.tick().until(command.ready)
                taken += 1
                ctx.set(command.valid, 0)
                while rng.random() < self.refuses:
                    await ctx.tick()

        async def observe(ctx):
            signals = [s for enable, p in ports.values() for s in (enable, p.address, p.data)]
            control = unit.control
            for cycle in range(most):
                if taken == len(self.ends) == len(program):
                    break
                before = taken
                ctx.set(unit.buffer.ready, rng.random() >= self.refuses)
                sampled = await ctx.tick().sample(
                    *signals, unit.buffer.ready, control.completed, control.busy, control.waiting
                )
                *values, ready, completed, busy, waiting = sampled[2:]
                if completed:
                    self.ends.append(len(self.writes))
                for index, memory in enumerate(ports):
                    enable, address, data = values[3 * index : 3 * index + 3]
                    if enable and (ready or memory is not Memory.BUFFER):
                        self.writes.append((memory, address, data))
                        self.cycles.append(cycle)
                assert busy or before == len(self.ends)
                self.waiting += waiting
            else:
                raise AssertionError("the unit hangs")
            for _ in range(40):
                assert not ctx.get(control.busy) and not ctx.get(reader.busy)
                await ctx.tick()

        simulator = Simulator(m)
        simulator.add_clock(1e-6)
        self.memory.connect(simulator, reader.bus)
        simulator.add_testbench(give)
        simulator.add_testbench(observe)
        simulator.run()


def expected(
    config: NpuConfig, memory: AxiMemory, program: list[isa.ReadHost]
) -> tuple[list[Write], list[int]]:
    """The writes of ``program``, and how many there are after each instruction."""
    writes: list[Write] = []
    ends = []
    for each in program:
        stored, used = sizes(config)[each.memory]
        for line in range(each.lines):
            for word in range(each.words):
                at = each.host + line * each.host_step + word * stored
                address = (each.address + line * each.step + word) % (1 << 20)
                data = int.from_bytes(memory.bytes[at : at + used], "little")
                writes.append((each.memory, address, data))
        ends.append(len(writes))
    return writes, ends


def some(config: NpuConfig, memory: AxiMemory, count: int, seed: int) -> list[isa.ReadHost]:
    rng = random.Random(seed)
    program = []
    for _ in range(count):
        which = rng.choice(list(Memory))
        lines, words = rng.choice([1, 1, 2, 5]), rng.choice([1, 2, 3, 7])
        line = words * sizes(config)[which][0]
        step = rng.choice([0, line, line + 3 * config.bus_bytes])
        room = len(memory.bytes) - line - (lines - 1) * step
        program.append(
            isa.ReadHost(
                memory=which,
                host=rng.randrange(0, room, config.bus_bytes),
                address=rng.choice([0, (1 << 20) - 2, rng.randrange(1 << 20)]),
                lines=lines,
                words=words,
                host_step=step,
                step=rng.choice([0, words, 65535]),
            )
        )
    return program


@pytest.mark.parametrize("stalls", [0, 0.4])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_lines_reach_their_memory_in_order(config, stalls):
    memory = AxiMemory(config.bus_bytes, origin=ORIGIN, latency=5, stalls=stalls)
    program = some(config, memory, 25, config.bus_bytes)
    # each memory twice, whatever the seed has chosen
    program += [
        isa.ReadHost(memory=which, host=64, address=9, lines=1, words=3) for which in Memory
    ]
    bench = Bench(config, memory, refuses=stalls)
    bench.run(program)
    assert (bench.writes, bench.ends) == expected(config, memory, program)


@pytest.mark.parametrize("memory", Memory)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_beat_is_taken_every_cycle_within_lines_and_between_instructions(config, memory):
    host = AxiMemory(config.bus_bytes, 1 << 16, origin=ORIGIN)
    stored, _ = sizes(config)[memory]
    # lines of whole bursts, as others leave gaps on the bus where its latency is longer
    words = 16
    line = words * stored
    program = [
        isa.ReadHost(memory=memory, host=i * 64, address=0, lines=2, words=words, host_step=line)
        for i in range(3)
        if i * 64 + 2 * line <= len(host.bytes)
    ]
    bench = Bench(config, host)
    bench.run(program)
    assert (bench.writes, bench.ends) == expected(config, host, program)
    cycles = host.read_cycles
    assert cycles[-1] - cycles[0] + 1 == len(cycles)


def test_bursts_never_cross_a_page_even_where_lines_do():
    config = preset("8x16")
    memory = AxiMemory(8, 1 << 14, origin=ORIGIN)
    program = [
        isa.ReadHost(
            memory=Memory.BUFFER, host=4096 - 24, address=0, lines=3, words=9, host_step=4096
        )
    ]
    bench = Bench(config, memory)
    bench.run(program)
    assert (bench.writes, bench.ends) == expected(config, memory, program)
    assert {address % 4096 for address, _ in memory.read_bursts} >= {0, 4096 - 24}


def test_the_unit_waits_while_the_memory_gives_nothing():
    config = preset("4x4")
    memory = AxiMemory(4, origin=ORIGIN, latency=100)
    bench = Bench(config, memory)
    bench.run([isa.ReadHost(memory=Memory.BUFFER, host=0, address=0, words=4)])
    assert bench.waiting >= 100
