"""A half keeps sums or maxima, whatever addresses meet, while the other half is read."""

from __future__ import annotations

import random

import pytest
from amaranth.sim import Simulator

from edgeinfer.hdl.config import NpuConfig, preset
from edgeinfer.hdl.gateware.accumulators import Accumulators, sums_layout

CONFIGS = [
    preset("4x4").replace(accumulator_depth=8),
    preset("4x4").replace(accumulator_depth=8, width=16),
]


def wrapped(value: int, bits: int) -> int:
    return (value + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)


class Model:
    """Tiles of random sums in order, and what the halves hold in the end."""

    def __init__(self, config: NpuConfig, tiles: int, maximum: bool, seed: int) -> None:
        rng = random.Random(seed)
        bits = sums_layout(config).elem_shape.width
        self.writes: list[dict[str, object]] = []
        self.tiles: list[list[list[int]]] = []
        for tile in range(tiles):
            pixels = rng.randint(1, config.accumulator_depth)
            held: dict[int, list[int]] = {}
            # every pixel once, then any of them in any order
            order = list(range(pixels)) + [rng.randrange(pixels) for _ in range(20)]
            for i, address in enumerate(order):
                sums = [rng.randrange(-(1 << bits - 1), 1 << bits - 1) for _ in range(4)]
                if rng.random() < 0.3:
                    sums = [(1 << bits - 1) - 1] * 4
                old = held.get(address)
                if old is not None:
                    new = map(max, old, sums) if maximum else map(int.__add__, old, sums)
                    held[address] = [wrapped(v, config.accumulator_bits) for v in new]
                else:
                    held[address] = sums
                tag = {
                    "emit": 1,
                    "first": old is None,
                    "last": i == len(order) - 1,
                    "maximum": maximum,
                    "half": tile % 2,
                    "address": address,
                }
                self.writes.append({"tag": tag, "sums": sums})
            self.tiles.append([held[address] for address in range(pixels)])


async def fill(ctx, dut: Accumulators, model: Model, rng: random.Random, gaps: float) -> None:
    """Gather the sums as the CONVOLVE unit would: never into a half that is not free."""
    free, coming = 2, [[0] * 4, [0] * 4]
    for write in model.writes:
        while True:
            ctx.set(dut.tag, write["tag"])
            ctx.set(dut.tag.emit, free > 0 and rng.random() >= gaps)
            # those of the tag before the last one
            ctx.set(dut.sums, coming.pop(0))
            emitted = ctx.get(dut.tag.emit)
            free += ctx.get(dut.released)
            await ctx.tick()
            coming.append(write["sums"] if emitted else [rng.randrange(-9, 9)] * 4)
            if emitted:
                break
        free -= bool(write["tag"]["last"])
    ctx.set(dut.tag.emit, 0)
    for sums in coming:
        ctx.set(dut.sums, sums)
        await ctx.tick()


async def read(ctx, dut: Accumulators, model: Model, rng: random.Random, got: list) -> None:
    for tile in model.tiles:
        while not ctx.get(dut.port.full) or rng.random() < 0.5:
            await ctx.tick()
        pixels = []
        for address in range(len(tile) + 1):
            ctx.set(dut.port.address, address % len(tile))
            ctx.set(dut.port.release, address == len(tile) - 1)
            await ctx.tick()
            # the address of the cycle before is answered
            pixels.append([ctx.get(dut.port.data[c]) for c in range(4)])
        got.append(pixels[1:])


@pytest.mark.parametrize("gaps", [0, 0.6])
@pytest.mark.parametrize("maximum", [False, True])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_halves_hold_the_sums_of_their_tiles(config, maximum, gaps):
    dut = Accumulators(config)
    model = Model(config, 12, maximum, seed=int(10 * gaps))
    got: list[list[list[int]]] = []
    rng = random.Random(0)

    async def writer(ctx) -> None:
        await fill(ctx, dut, model, rng, gaps)

    async def reader(ctx) -> None:
        await read(ctx, dut, model, rng, got)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(writer)
    simulator.add_testbench(reader)
    simulator.run()
    assert got == model.tiles


def test_a_half_is_full_in_the_cycle_after_its_last_write():
    dut = Accumulators(CONFIGS[0])

    async def testbench(ctx) -> None:
        ctx.set(dut.tag, {"emit": 1, "first": 1, "last": 1, "address": 5})
        await ctx.tick()
        ctx.set(dut.tag.emit, 0)
        await ctx.tick()
        ctx.set(dut.sums, [1, -2, 3, -4])
        await ctx.tick()
        ctx.set(dut.sums, [9] * 4)
        ctx.set(dut.port.address, 5)
        assert not ctx.get(dut.port.full)
        await ctx.tick()
        assert ctx.get(dut.port.full)
        await ctx.tick()
        assert [ctx.get(dut.port.data[c]) for c in range(4)] == [1, -2, 3, -4]
        ctx.set(dut.port.release, 1)
        assert ctx.get(dut.released)
        await ctx.tick()
        assert not ctx.get(dut.port.full)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
