"""The host reader gives each of two clients its beats in order, however the memory stalls."""

from __future__ import annotations

import random

import pytest
from amaranth.sim import Simulator

from edgeinfer.hdl.gateware.host_reader import HostReader
from tests.hdl.gateware.axi_memory import AxiMemory

Stretch = tuple[int, int]


class Bench:
    """Both clients of a reader; how often each is not ready for its beats is ``holds``."""

    def __init__(
        self, memory: AxiMemory, *, holds: dict[str, float] | None = None, gaps: float = 0
    ) -> None:
        self.dut = HostReader(memory.bus_bytes)
        self.memory, self.holds, self.gaps = memory, holds or {}, gaps
        self.got: dict[str, list[int]] = {"fetch": [], "load": []}
        self.cycles: dict[str, list[int]] = {"fetch": [], "load": []}
        self.accepted = 0
        self.idle_with_beats_missing = 0
        self.failures: list[int] = []
        self.random = random.Random(1)

    def run(self, fetch: list[Stretch], load: list[Stretch], most: int = 20_000) -> None:
        dut = self.dut
        stretches = {"fetch": fetch, "load": load}
        wanted = {name: sum(beats for _, beats in each) for name, each in stretches.items()}

        def asks(client):
            async def ask(ctx):
                port = getattr(dut, client)
                for address, beats in stretches[client]:
                    while self.random.random() < self.gaps:
                        await ctx.tick()
                    ctx.set(port.payload, {"address": address, "beats": beats})
                    ctx.set(port.valid, 1)
                    await ctx.tick().until(port.ready)
                    self.accepted += beats
                    ctx.set(port.valid, 0)

            return ask

        async def take(ctx):
            ports = {"fetch": dut.fetched, "load": dut.loaded}
            for cycle in range(most):
                if all(len(self.got[name]) == wanted[name] for name in ports):
                    break
                missing = self.accepted - sum(map(len, self.got.values()))
                for name, port in ports.items():
                    ctx.set(port.ready, self.random.random() >= self.holds.get(name, 0))
                signals = [s for p in ports.values() for s in (p.valid, p.ready, p.payload)]
                sampled = await ctx.tick().sample(*signals, dut.failed, dut.busy)
                values = sampled[2:]
                for index, name in enumerate(ports):
                    valid, ready, beat = values[3 * index : 3 * index + 3]
                    if valid and ready:
                        self.got[name].append(beat)
                        self.cycles[name].append(cycle)
                if values[-2]:
                    self.failures.append(cycle)
                self.idle_with_beats_missing += bool(missing and not values[-1])
            else:
                raise AssertionError("beats are missing")
            for _ in range(60):
                assert not ctx.get(dut.busy)
                await ctx.tick()

        simulator = Simulator(dut)
        simulator.add_clock(1e-6)
        self.memory.connect(simulator, dut.bus)
        simulator.add_testbench(asks("fetch"))
        simulator.add_testbench(asks("load"))
        simulator.add_testbench(take)
        simulator.run()
        for name, each in stretches.items():
            beats = [beat for stretch in each for beat in self.memory.beats(*stretch)]
            assert self.got[name] == beats
        # busy covers whatever was asked for until its last beat has come
        assert not self.idle_with_beats_missing


def some(memory: AxiMemory, count: int, seed: int) -> list[Stretch]:
    rng = random.Random(seed)
    size = memory.bus_bytes
    found = []
    for _ in range(count):
        beats = rng.choice([1, 2, 15, 16, 17, rng.randrange(1, 70)])
        found.append(
            (memory.origin + rng.randrange(len(memory.bytes) // size - beats) * size, beats)
        )
    return found


@pytest.mark.parametrize("stalls", [0, 0.3, 0.8])
@pytest.mark.parametrize("bus_bytes", [4, 8, 16])
def test_every_beat_reaches_the_client_that_asked_for_it(bus_bytes, stalls):
    memory = AxiMemory(bus_bytes, origin=0x12_3456_7000, latency=3, stalls=stalls, seed=bus_bytes)
    bench = Bench(memory, holds={"load": stalls}, gaps=stalls)
    bench.run(some(memory, 12, 1), some(memory, 12, 2))


@pytest.mark.parametrize("latency", [0, 1, 20, 40])
def test_single_beats_with_pauses_leave_no_gap_in_busy(latency):
    memory = AxiMemory(8, latency=latency)
    bench = Bench(memory, gaps=0.9)
    bench.run([(0, 1)] * 5, [(64, 1)] * 5)


@pytest.mark.parametrize(
    ("latency", "stretches"),
    [
        (0, [(0, 700), (5600, 16), (5728, 300)]),
        # four bursts on their way hide a latency of up to three bursts' beats
        (20, [(0, 704), (5632, 16), (5760, 304)]),
        (40, [(0, 704), (5632, 16), (5760, 304)]),
    ],
)
def test_a_beat_comes_every_cycle_if_the_memory_never_stalls(latency, stretches):
    memory = AxiMemory(8, latency=latency)
    Bench(memory).run([], stretches)
    cycles = memory.read_cycles
    assert cycles[-1] - cycles[0] + 1 == len(cycles) == sum(beats for _, beats in stretches)


def test_the_fetch_is_not_starved_by_a_long_load():
    memory = AxiMemory(8, latency=10)
    bench = Bench(memory)
    bench.run([(64 * i, 8) for i in range(20)], [(0, 1600)])
    first, last = bench.cycles["fetch"][0], bench.cycles["fetch"][-1]
    # it waits for bursts that are on their way, and never for others
    assert first < 5 * 16 + 20
    assert last < 20 * 8 + 5 * 16 + 20


def test_a_load_that_takes_few_beats_loses_none():
    memory = AxiMemory(4, latency=5)
    bench = Bench(memory, holds={"load": 0.9})
    bench.run(some(memory, 5, 3), some(memory, 5, 4))


def test_errors_are_told_beat_by_beat():
    memory = AxiMemory(8, latency=2, stalls=0.3)
    memory.bad = range(64, 96)
    bench = Bench(memory, holds={"load": 0.3})
    bench.run([(256, 4)], [(0, 40)])
    assert len(bench.failures) == 4


def test_a_stopped_reader_ends_the_burst_that_it_has_shown_and_begins_no_other():
    memory = AxiMemory(8, latency=7)
    dut = HostReader(8)
    beats = 0

    async def testbench(ctx):
        nonlocal beats
        for port, address in ((dut.fetch, 0), (dut.load, 8)):
            ctx.set(port.payload, {"address": address, "beats": 1000})
            ctx.set(port.valid, 1)
        ctx.set(dut.fetched.ready, 1)
        ctx.set(dut.loaded.ready, 1)
        for cycle in range(300):
            if cycle == 30:
                ctx.set(dut.stop, 1)
                asked = len(memory.read_bursts)
            sampled = await ctx.tick().sample(dut.fetch.ready, dut.load.ready, dut.bus.rvalid)
            fetch, load, valid = sampled[2:]
            beats += valid
            if fetch:
                ctx.set(dut.fetch.valid, 0)
            if load:
                ctx.set(dut.load.valid, 0)
        assert not ctx.get(dut.busy)
        assert len(memory.read_bursts) <= asked + 2
        assert beats == sum(count for _, count in memory.read_bursts)
        # and it can be asked again
        ctx.set(dut.stop, 0)
        ctx.set(dut.load.payload, {"address": 512, "beats": 2})
        ctx.set(dut.load.valid, 1)
        await ctx.tick().until(dut.load.ready)
        ctx.set(dut.load.valid, 0)
        for beat in memory.beats(512, 2):
            assert (await ctx.tick().sample(dut.loaded.payload).until(dut.loaded.valid))[0] == beat

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    memory.connect(simulator, dut.bus)
    simulator.add_testbench(testbench)
    simulator.run()
