"""Block memory behind AXI4: bursts of both directions, and words of the serial line in between."""

from __future__ import annotations

import random

import pytest
from amaranth.sim import Simulator

from edgeinfer.hdl.gateware.board_memory import BoardMemory

SIZE = 1024


def simulate(dut: BoardMemory, *testbenches, cycles: int = 20_000) -> None:
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    for testbench in testbenches:
        simulator.add_testbench(testbench)
    simulator.run_until(cycles * 1e-6)


async def read_burst(ctx, dut: BoardMemory, address: int, beats: int, rng) -> tuple[list, set]:
    bus = dut.read
    ctx.set(bus.araddr, address)
    ctx.set(bus.arlen, beats - 1)
    ctx.set(bus.arvalid, 1)
    await ctx.tick().until(bus.arready)
    ctx.set(bus.arvalid, 0)
    got, responses = [], set()
    while True:
        ctx.set(bus.rready, rng.random() < 0.7)
        taken = ctx.get(bus.rvalid) and ctx.get(bus.rready)
        last = ctx.get(bus.rlast)
        if taken:
            got.append(ctx.get(bus.rdata))
            responses.add(ctx.get(bus.rresp))
        await ctx.tick()
        if taken and last:
            ctx.set(bus.rready, 0)
            return got, responses


async def write_burst(ctx, dut: BoardMemory, address: int, beats: list[int], rng) -> int:
    bus = dut.write
    ctx.set(bus.awaddr, address)
    ctx.set(bus.awlen, len(beats) - 1)
    ctx.set(bus.awvalid, 1)
    await ctx.tick().until(bus.awready)
    ctx.set(bus.awvalid, 0)
    for i, beat in enumerate(beats):
        ctx.set(bus.wdata, beat)
        ctx.set(bus.wlast, i == len(beats) - 1)
        while rng.random() < 0.3:
            ctx.set(bus.wvalid, 0)
            await ctx.tick()
        ctx.set(bus.wvalid, 1)
        await ctx.tick().until(bus.wready)
    ctx.set(bus.wvalid, 0)
    ctx.set(bus.bready, 1)
    *_, response = await ctx.tick().sample(bus.bresp).until(bus.bvalid)
    ctx.set(bus.bready, 0)
    return response if isinstance(response, int) else int(response[0])


async def access(ctx, dut: BoardMemory, address: int, value: int | None = None) -> int:
    words = dut.words
    ctx.set(words.address, address // 4)
    ctx.set(words.write, value is not None)
    ctx.set(words.write_data, value or 0)
    ctx.set(words.valid, 1)
    (data,) = await ctx.tick().sample(words.read_data).until(words.ready)
    ctx.set(words.valid, 0)
    return data


@pytest.mark.parametrize("bus_bytes", [4, 8, 16])
def test_bursts_and_words_read_what_was_written_last(bus_bytes):
    dut = BoardMemory(SIZE, bus_bytes)
    rng = random.Random(bus_bytes)
    held = bytearray(SIZE)
    done = []

    async def testbench(ctx) -> None:
        for _ in range(120):
            beats = rng.randint(1, 16)
            address = bus_bytes * rng.randrange(SIZE // bus_bytes - beats + 1)
            end = address + beats * bus_bytes
            choice = rng.randrange(4)
            if choice == 0:
                content = rng.randbytes(beats * bus_bytes)
                words = [
                    int.from_bytes(content[i : i + bus_bytes], "little")
                    for i in range(0, len(content), bus_bytes)
                ]
                assert await write_burst(ctx, dut, address, words, rng) == 0
                held[address:end] = content
            elif choice == 1:
                got, responses = await read_burst(ctx, dut, address, beats, rng)
                assert b"".join(g.to_bytes(bus_bytes, "little") for g in got) == held[address:end]
                assert responses == {0}
            elif choice == 2:
                value = rng.getrandbits(32)
                await access(ctx, dut, address, value)
                held[address : address + 4] = value.to_bytes(4, "little")
            else:
                got_word = await access(ctx, dut, address)
                assert got_word.to_bytes(4, "little") == held[address : address + 4]
        done.append(True)

    simulate(dut, testbench)
    assert done


def test_bursts_beyond_the_memory_fail_and_write_nothing():
    dut = BoardMemory(SIZE, 8)
    rng = random.Random(1)
    done = []

    async def testbench(ctx) -> None:
        assert await write_burst(ctx, dut, SIZE, [1, 2, 3], rng) == 2
        got, responses = await read_burst(ctx, dut, SIZE, 4, rng)
        assert (len(got), responses) == (4, {2})
        got, responses = await read_burst(ctx, dut, 0, 4, rng)
        assert (got, responses) == ([0, 0, 0, 0], {0})
        done.append(True)

    simulate(dut, testbench)
    assert done


def test_words_have_their_turn_between_bursts_without_end():
    dut = BoardMemory(SIZE, 8)
    rng = random.Random(2)
    done = []

    async def bursts(ctx) -> None:
        while not done:
            await read_burst(ctx, dut, 0, 16, rng)

    async def testbench(ctx) -> None:
        for value in range(20):
            await access(ctx, dut, 4 * value, value)
            assert await access(ctx, dut, 4 * value) == value
        done.append(True)

    simulate(dut, bursts, testbench)
    assert done
