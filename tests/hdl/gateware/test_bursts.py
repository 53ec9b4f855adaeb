"""Bursts cover a stretch once and in order, never cross 4 KiB, and follow each other at once."""

from __future__ import annotations

import random

import pytest
from amaranth.sim import Simulator

from edgeinfer.hdl.gateware.axi import BURST
from edgeinfer.hdl.gateware.bursts import BEATS_BITS, Bursts

Stretch = tuple[int, int]
Burst = tuple[int, int, bool]


def cut(stretches: list[Stretch], bus_bytes: int, stalls: float) -> tuple[list[Burst], int]:
    """The bursts of ``stretches``, and the cycles from the first stretch to the last burst."""
    rng = random.Random(len(stretches))
    dut = Bursts(bus_bytes)
    got: list[Burst] = []
    cycles = 0

    async def give(ctx):
        for address, beats in stretches:
            while rng.random() < stalls:
                await ctx.tick()
            ctx.set(dut.i.payload, {"address": address, "beats": beats})
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)

    async def take(ctx):
        nonlocal cycles
        left, shown = len(stretches), None
        while left:
            ctx.set(dut.o.ready, rng.random() >= stalls)
            sampled = await ctx.tick().sample(dut.o.valid, dut.o.ready, dut.o.payload)
            valid, ready, payload = sampled[2:]
            burst = (payload.address, payload.length + 1, bool(payload.last))
            cycles += 1
            assert shown is None or (valid and burst == shown)
            shown = burst if valid and not ready else None
            if valid and ready:
                got.append(burst)
                left -= payload.last

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(give)
    simulator.add_testbench(take)
    simulator.run()
    return got, cycles


def expected(stretches: list[Stretch], bus_bytes: int) -> list[Burst]:
    bursts = []
    for address, beats in stretches:
        while beats:
            room = BURST - address // bus_bytes % BURST
            now = min(room, beats)
            bursts.append((address, now, now == beats))
            address = (address + now * bus_bytes) % (1 << 40)
            beats -= now
    return bursts


def random_stretches(bus_bytes: int, seed: int) -> list[Stretch]:
    rng = random.Random(seed)
    stretches = []
    for _ in range(60):
        beats = rng.choice([1, 2, BURST - 1, BURST, BURST + 1, rng.randrange(1, 200)])
        page = rng.choice([0, 4096, rng.randrange(1 << 28) << 12])
        near = rng.choice([0, 4096 - bus_bytes, rng.randrange(0, 4096, bus_bytes)])
        stretches.append((page + near, beats))
    return stretches


@pytest.mark.parametrize("stalls", [0, 0.5])
@pytest.mark.parametrize("bus_bytes", [4, 8, 16])
def test_a_stretch_is_cut_where_addresses_are_multiples_of_a_burst(bus_bytes, stalls):
    for seed in range(3):
        stretches = random_stretches(bus_bytes, seed)
        got, _ = cut(stretches, bus_bytes, stalls)
        assert got == expected(stretches, bus_bytes)
        for address, beats, _ in got:
            assert address >> 12 == (address + beats * bus_bytes - 1) >> 12


@pytest.mark.parametrize("bus_bytes", [4, 8, 16])
def test_a_burst_comes_every_cycle_within_and_between_stretches(bus_bytes):
    stretches = random_stretches(bus_bytes, 1)
    got, cycles = cut(stretches, bus_bytes, 0)
    assert cycles == len(got) + 1


def test_the_longest_stretch_is_cut_to_its_end():
    beats = (1 << BEATS_BITS) - 1 & ~(BURST - 1) | 1
    stretches = [(beats * 4, beats // 64), (4, 3)]
    got, _ = cut(stretches, 4, 0)
    assert got == expected(stretches, 4)


def test_bits_of_an_address_within_a_beat_are_dropped():
    got, _ = cut([(0x1003, 17)], 4, 0)
    assert got == expected([(0x1000, 17)], 4)
