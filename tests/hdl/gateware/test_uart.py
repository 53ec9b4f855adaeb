"""Bytes over a serial line whose two ends do not run at the same speed."""

from __future__ import annotations

import itertools
import random

import pytest
from amaranth.hdl import Module
from amaranth.sim import Simulator

from edgeinfer.hdl.gateware.uart import UartReceiver, UartTransmitter


def received(dut: UartReceiver, line: list[int]) -> list[int]:
    """What ``dut`` makes of the levels that ``line`` gives, a cycle each."""
    got: list[int] = []

    async def testbench(ctx) -> None:
        ctx.set(dut.o.ready, 1)
        for level in [*line, *[1] * 2 * dut.divisor]:
            ctx.set(dut.rx, level)
            await ctx.tick()
            if ctx.get(dut.o.valid):
                got.append(ctx.get(dut.o.payload))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return got


def levels(values: list[int], cycles_per_bit: float, *, stop: int = 1) -> list[int]:
    """A line that sends ``values``, one after another, from rest."""
    bits = [1, 1]
    for value in values:
        bits += [0, *(value >> i & 1 for i in range(8)), stop]
    bits += [1, 1]
    return [bits[int(i / cycles_per_bit)] for i in range(int(len(bits) * cycles_per_bit))]


@pytest.mark.parametrize("error", [-0.03, 0, 0.03])
@pytest.mark.parametrize("divisor", [16, 80])
def test_bytes_arrive_from_a_sender_that_is_three_percent_off(divisor, error):
    values = [0x00, 0xFF, 0x55, 0xAA, *random.Random(divisor).randbytes(12)]
    dut = UartReceiver(divisor)
    line = levels(values, divisor * (1 + error))
    assert received(dut, line) == values


def test_a_byte_without_its_stop_bit_is_dropped():
    dut = UartReceiver(16)
    broken = levels([0x5A], 16, stop=0)
    good = levels([0xA5], 16)
    # the line stays low for a while after the broken byte, which is what a break looks like
    assert received(dut, [*broken, *[1] * 200, *good]) == [0xA5]


def test_bytes_leave_in_frames_of_ten_bits():
    dut = UartTransmitter(8)
    taken: list[int] = []

    async def testbench(ctx) -> None:
        ctx.set(dut.i.valid, 1)
        for cycle in range(400):
            if ctx.get(dut.i.ready):
                taken.append(cycle)
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    assert {b - a for a, b in itertools.pairwise(taken)} == {10 * 8}


@pytest.mark.parametrize("divisor", [4, 16])
def test_what_is_transmitted_is_received(divisor):
    m = Module()
    m.submodules.receiver = receiver = UartReceiver(divisor)
    m.submodules.transmitter = transmitter = UartTransmitter(divisor)
    m.d.comb += receiver.rx.eq(transmitter.tx)
    values = list(random.Random(1).randbytes(20))
    got: list[int] = []

    async def send(ctx) -> None:
        for value in values:
            ctx.set(transmitter.i.payload, value)
            ctx.set(transmitter.i.valid, 1)
            await ctx.tick().until(transmitter.i.ready)
        ctx.set(transmitter.i.valid, 0)

    async def receive(ctx) -> None:
        ctx.set(receiver.o.ready, 1)
        while len(got) < len(values):
            await ctx.tick()
            if ctx.get(receiver.o.valid):
                got.append(ctx.get(receiver.o.payload))

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(send)
    simulator.add_testbench(receive)
    simulator.run_until(1e-6 * divisor * 10 * (len(values) + 2))
    assert got == values
