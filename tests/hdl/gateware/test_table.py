"""The table gives every lane the entry of its element, or what fixedpoint interpolates there."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.sim import Simulator

from edgeinfer.arithmetic import fixedpoint
from edgeinfer.hdl.config import NpuConfig, preset
from edgeinfer.hdl.gateware.table import Table, table_latency


def looked_up(config: NpuConfig, table: np.ndarray, q: np.ndarray) -> list[list[int]]:
    """The values of q [cycles, lanes] in ``table``, which is written first and once too far."""
    dut = Table(config)
    beats = table.tobytes()
    found = []

    async def write(ctx, address: int, beat: int):
        ctx.set(dut.write.enable, 1)
        ctx.set(dut.write.address, address)
        ctx.set(dut.write.data, beat)
        await ctx.tick()

    async def testbench(ctx):
        size = config.bus_bytes
        for address, at in enumerate(range(0, len(beats), size)):
            await write(ctx, address, int.from_bytes(beats[at : at + size], "little"))
        assert not ctx.get(dut.out_of_range)
        await write(ctx, len(beats) // size, 0x5A5A5A5A)
        assert ctx.get(dut.out_of_range)
        ctx.set(dut.write.enable, 0)
        latency = table_latency(config)
        for cycle in range(len(q) + latency):
            if cycle >= latency:
                found.append([ctx.get(value) for value in dut.o])
            ctx.set(dut.i, q[min(cycle, len(q) - 1)].tolist())
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return found


@pytest.mark.parametrize("bus_bytes", [4, 8, 16])
def test_every_lane_finds_the_entry_of_its_element(bus_bytes):
    config = preset("8x16").replace(bus_bytes=bus_bytes, lanes=2)
    rng = np.random.default_rng(bus_bytes)
    table = rng.integers(-128, 128, 256).astype(np.int8)
    q = np.stack([np.arange(-128, 128), rng.permutation(256) - 128], 1)
    assert looked_up(config, table, q) == table[q + 128].tolist()


@pytest.mark.parametrize("bus_bytes", [4, 8, 16])
def test_16_bit_elements_are_interpolated(bus_bytes):
    config = preset("8x8-16").replace(bus_bytes=bus_bytes, lanes=2)
    rng = np.random.default_rng(bus_bytes)
    # steps as steep as slopes can be, both ways, and flat ones
    knots = rng.integers(-32768, 32768, 513)
    knots[200:260] = np.tile([16383, -16384], 30)
    knots[:3], knots[-3:] = [0, 32767, 0], [0, -32767, 0]
    for i in range(1, 513):
        knots[i] = np.clip(knots[i], knots[i - 1] - 32767, knots[i - 1] + 32767)
    q = rng.integers(-32768, 32768, (1500, 2))
    q[:6, 0] = [-32768, -32767, -1, 0, 1, 32767]
    pairs = np.stack([knots[:-1], np.diff(knots)], 1).astype("<i2")
    assert looked_up(config, pairs, q) == fixedpoint.interpolate_16(knots, q).tolist()
