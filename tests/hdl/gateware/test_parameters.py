"""The parameter memory gives the records that were written, one row a cycle."""

from __future__ import annotations

import random

import pytest
from amaranth.sim import Simulator

from edgeinfer.hdl.config import NpuConfig, preset
from edgeinfer.hdl.gateware.parameters import Parameters

CONFIGS = ["4x4", "8x16", "8x8-16"]

Row = list[dict[str, int]]


def random_row(rng: random.Random, config: NpuConfig) -> Row:
    half = 1 << config.accumulator_bits - 1
    return [
        {
            "bias": rng.choice([rng.randrange(-half, half), -half, half - 1, -1]),
            "multiplier": rng.choice([rng.randrange(1 << 31), (1 << 31) - 1, 0]),
            "shift": rng.randrange(64),
        }
        for _ in range(config.lanes)
    ]


def packed(config: NpuConfig, row: Row) -> int:
    """The row as ``docs/npu-design.md`` puts it into host memory."""
    bits, word = config.accumulator_bits, 0
    for lane, record in enumerate(row):
        value = record["bias"] & ((1 << bits) - 1)
        value |= record["multiplier"] << bits | record["shift"] << bits + 31
        word |= value << 8 * config.parameter_bytes * lane
    return word


async def write(ctx, dut: Parameters, address: int, row: Row) -> None:
    ctx.set(dut.write.enable, 1)
    ctx.set(dut.write.address, address)
    ctx.set(dut.write.data, packed(dut.config, row))
    await ctx.tick()
    ctx.set(dut.write.enable, 0)


def run(dut: Parameters, testbench) -> None:
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()


def row_of(ctx, dut: Parameters) -> Row:
    return [
        {name: ctx.get(record[name]) for name in ("bias", "multiplier", "shift")}
        for record in dut.read.row
    ]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_row_is_there_two_cycles_after_its_address(name):
    config = preset(name)
    rng = random.Random(1)
    rows = {rng.randrange(config.parameter_rows): random_row(rng, config) for _ in range(20)}
    rows |= {at: random_row(rng, config) for at in (0, config.parameter_rows - 1)}

    async def testbench(ctx):
        for address, row in rows.items():
            await write(ctx, dut, address, row)
        ctx.set(dut.read.enable, 1)
        for address in rng.choices(list(rows), k=60):
            ctx.set(dut.read.address, address)
            await ctx.tick()
            assert not ctx.get(dut.out_of_range)
            await ctx.tick()
            assert row_of(ctx, dut) == rows[address]
        ctx.set(dut.read.enable, 0)
        ctx.set(dut.read.address, 0)
        await ctx.tick().repeat(3)
        assert row_of(ctx, dut) == rows[address]

    dut = Parameters(config)
    run(dut, testbench)


def test_a_row_that_is_written_meanwhile_reads_as_it_was():
    config = preset("4x4")
    rng = random.Random(2)
    old, new = random_row(rng, config), random_row(rng, config)

    async def testbench(ctx):
        await write(ctx, dut, 5, old)
        ctx.set(dut.read.enable, 1)
        ctx.set(dut.read.address, 5)
        await write(ctx, dut, 5, new)
        await ctx.tick()
        assert row_of(ctx, dut) == old
        await ctx.tick()
        assert row_of(ctx, dut) == new

    dut = Parameters(config)
    run(dut, testbench)


def test_an_address_beyond_the_memory_is_told_and_not_written():
    config = preset("8x8")
    rng = random.Random(3)
    rows = [random_row(rng, config) for _ in range(3)]
    beyond = config.parameter_rows

    async def testbench(ctx):
        await write(ctx, dut, 0, rows[0])
        await write(ctx, dut, beyond - 1, rows[1])
        assert not ctx.get(dut.out_of_range)
        for address in (beyond, 256, 1 << 16):
            await write(ctx, dut, address, rows[2])
            assert ctx.get(dut.out_of_range)
        ctx.set(dut.read.enable, 1)
        for address, row in ((0, rows[0]), (beyond - 1, rows[1])):
            ctx.set(dut.read.address, address)
            await ctx.tick()
            assert not ctx.get(dut.out_of_range)
            await ctx.tick()
            assert row_of(ctx, dut) == row
        ctx.set(dut.read.address, beyond)
        await ctx.tick()
        assert ctx.get(dut.out_of_range)
        ctx.set(dut.read.enable, 0)
        await ctx.tick()
        assert not ctx.get(dut.out_of_range)

    dut = Parameters(config)
    run(dut, testbench)
