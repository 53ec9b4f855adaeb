"""A deep memory gives what was written last, in either of its pieces."""

from __future__ import annotations

import random
import re

import pytest
from amaranth.back import rtlil
from amaranth.sim import Simulator

from edgeinfer.hdl.gateware.deep_memory import DeepMemory


@pytest.mark.parametrize("depth", [1, 2, 5, 8, 12, 768, 1536, 4352])
def test_words_are_read_as_they_were_before_the_cycle(depth):
    dut = DeepMemory(16, depth)
    rng = random.Random(depth)
    words = [0] * depth
    # the ends of both pieces, and anything between
    whole = 1 << (depth.bit_length() - 1)
    places = sorted({0, whole - 1, min(whole, depth - 1), depth - 1, rng.randrange(depth)})

    async def process(ctx):
        expected = None
        for _ in range(500):
            reads, writes = rng.random() < 0.7, rng.random() < 0.5
            at, to, value = rng.choice(places), rng.choice(places), rng.getrandbits(16)
            ctx.set(dut.read_enable, reads)
            ctx.set(dut.read_address, at)
            ctx.set(dut.write_enable, writes)
            ctx.set(dut.write_address, to)
            ctx.set(dut.write_data, value)
            if reads:
                expected = words[at]
            if writes:
                words[to] = value
            await ctx.tick()
            # where nothing is read the word stays
            if expected is not None:
                assert ctx.get(dut.read_data) == expected

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(process)
    simulator.run()


@pytest.mark.parametrize(
    ("depth", "pieces"),
    [
        (3, [3]),
        (768, [768]),
        (1024, [1024]),
        (1536, [1024, 512]),
        (1537, [1537]),
        (4352, [4096, 256]),
    ],
)
def test_there_are_two_pieces_where_these_take_fewer_blocks(depth, pieces):
    text = rtlil.convert(DeepMemory(16, depth))
    assert [int(each) for each in re.findall(r"memory width 16 size (\d+)", text)] == pieces
