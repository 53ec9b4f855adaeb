"""Tiles of weights reach the shadow rows in order, skewed, and as fast as the banks allow."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from amaranth.sim import Simulator

from edgeinfer.hdl import isa
from edgeinfer.hdl.config import NpuConfig, preset
from edgeinfer.hdl.gateware.buffer import FETCH_LATENCY
from edgeinfer.hdl.gateware.convolve import FETCH_STAGES
from edgeinfer.hdl.gateware.weights import WeightsUnit

TILES = 11
PORTS = [1, 2, 4, 8]


def config_of(port: int) -> NpuConfig:
    return preset("8x8").replace(weight_bytes=TILES * 64, weight_port=port)


@dataclass
class Seen:
    """What a run of the unit showed. ``captures``: [row] of (cycle, word)."""

    captures: list[list[tuple[int, int]]]
    starts: list[int] = field(default_factory=list)
    completed: list[int] = field(default_factory=list)
    out_of_range: list[int] = field(default_factory=list)


def simulate(
    port: int, words: dict[int, int], program: list[isa.ReadWeights], passes: int, eager: float = 1
) -> Seen:
    """Write ``words``, run ``program``, begin a pass with probability ``eager`` where one may."""
    config = config_of(port)
    dut = WeightsUnit(config)
    seen = Seen([[] for _ in range(config.rows)])
    rng = random.Random(port)

    async def testbench(ctx) -> None:
        for address, word in words.items():
            ctx.set(dut.write.enable, 1)
            ctx.set(dut.write.address, address)
            ctx.set(dut.write.data, word)
            await ctx.tick()
            assert ctx.get(dut.out_of_range) == (address >= TILES * config.weight_reads)
        ctx.set(dut.write.enable, 0)
        queue = list(program)
        for cycle in range(2000):
            ctx.set(dut.control.command.valid, bool(queue))
            if queue:
                ctx.set(dut.control.command.payload, isa.encode(queue[0]))
            start = ctx.get(dut.loaded) and rng.random() < eager
            ctx.set(dut.start, start)
            if start:
                seen.starts.append(cycle)
            if queue and ctx.get(dut.control.command.ready):
                queue.pop(0)
            for row, captures in zip(dut.rows, seen.captures, strict=True):
                if ctx.get(row.capture):
                    captures.append((cycle, ctx.get(row.word)))
            if ctx.get(dut.control.completed):
                seen.completed.append(cycle)
            if cycle and ctx.get(dut.out_of_range):
                seen.out_of_range.append(cycle)
            done = len(seen.starts) == passes and not queue and not ctx.get(dut.control.busy)
            await ctx.tick()
            if done:
                break

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return seen


def memory_of(port: int) -> tuple[dict[int, int], list[list[int]]]:
    """Random contents as the writes that make them, and as [tile][row]."""
    config = config_of(port)
    rng = random.Random(0)
    tiles = [[rng.getrandbits(64) for _ in range(config.rows)] for _ in range(TILES)]
    rows = [row for tile in tiles for row in tile]
    words = {
        at // port: sum(row << 64 * b for b, row in enumerate(rows[at : at + port]))
        for at in range(0, len(rows), port)
    }
    return words, tiles


PROGRAM = [
    isa.ReadWeights(address=2, count=5),
    isa.ReadWeights(address=10, count=1),
    isa.ReadWeights(address=7, count=4, repeat=1),
    isa.ReadWeights(address=0, count=3),
]
ORDER = [2, 3, 4, 5, 6, 10, 7, 7, 7, 7, 0, 1, 2]


@pytest.mark.parametrize("eager", [1, 0.3])
@pytest.mark.parametrize("port", PORTS)
def test_every_row_captures_the_tiles_in_order_and_in_time(port, eager):
    words, tiles = memory_of(port)
    seen = simulate(port, words, PROGRAM, len(ORDER), eager)
    captured = FETCH_STAGES + FETCH_LATENCY + 2
    issued = [cycle - captured for cycle, _ in seen.captures[0]]
    for r, captures in enumerate(seen.captures):
        assert [word for _, word in captures] == [tiles[t][r] for t in ORDER]
        assert [cycle - captured - r for cycle, _ in captures] == issued
    # a pass begins after its load, the next load with it or later
    for i, start in enumerate(seen.starts):
        assert issued[i] < start
        assert i + 1 == len(issued) or start <= issued[i + 1]


@pytest.mark.parametrize("port", PORTS)
def test_rows_of_a_bank_are_never_read_at_once_and_the_bank_is_never_idle(port):
    words, _ = memory_of(port)
    count = 24
    program = [isa.ReadWeights(address=0, count=count, repeat=1)]
    seen = simulate(port, words, program, count)
    issued = [cycle for cycle, _ in seen.captures[0]]
    for a in issued:
        assert not {a + port * turn for turn in range(1, 8 // port)} & set(issued)
    # bursts of as many loads as there are ports
    assert issued[-1] - issued[0] == (count // port - 1) * 8 + port - 1


@pytest.mark.parametrize("port", PORTS)
def test_an_instruction_is_complete_when_its_last_row_has_been_read(port):
    words, _ = memory_of(port)
    seen = simulate(port, words, PROGRAM, len(ORDER))
    last = [cycle for cycle, _ in seen.captures[-1]]
    assert seen.completed == [last[i] for i in (4, 5, 9, 12)]


@pytest.mark.parametrize("port", PORTS)
def test_tiles_and_writes_beyond_the_memory_are_told(port):
    words, tiles = memory_of(port)
    beyond = {TILES * 8 // port: 0, (1 << 20) - 1: 0}
    program = [isa.ReadWeights(address=TILES - 1, count=2), isa.ReadWeights(address=0, count=1)]
    seen = simulate(port, words | beyond, program, 3)
    assert len(seen.out_of_range) == 1
    assert [captures[2][1] for captures in seen.captures] == tiles[0]
