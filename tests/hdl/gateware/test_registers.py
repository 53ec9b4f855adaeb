"""The registers answer every access of AXI4-Lite, in whatever order and pace its channels come."""

from __future__ import annotations

import random

import pytest
from amaranth.sim import Simulator

from edgeinfer.hdl.config import configuration, preset
from edgeinfer.hdl.gateware.registers import (
    COUNTERS,
    ID,
    REGISTERS,
    Registers,
    config_word,
    identity,
)
from edgeinfer.hdl.isa import Unit
from tests.hdl.gateware.axi_memory import Held

WRITABLE = ["BASE", "BASE_HIGH", "PROGRAM", "LENGTH", "WATCHDOG"]
ORDERS = {
    "together": (0, 0),
    "address before data": (0, 5),
    "data before address": (5, 0),
    "both late": (3, 4),
}


class Host:
    """AXI4-Lite's manager; answers wait ``patience`` cycles for its ready."""

    def __init__(self, dut: Registers, patience: int = 0) -> None:
        self.dut, self.bus, self.patience = dut, dut.bus, patience
        self.starts: list[int] = []
        self.clears = 0

    async def write(
        self, ctx, offset: int, value: int, strobes: int = 15, order: tuple[int, int] = (0, 0)
    ) -> None:
        bus = self.bus
        address_at, data_at = order
        address_left = data_left = True
        answered_at = None
        held = Held()
        for cycle in range(200):
            ctx.set(bus.awvalid, address_left and cycle >= address_at)
            ctx.set(bus.awaddr, offset)
            ctx.set(bus.wvalid, data_left and cycle >= data_at)
            ctx.set(bus.wdata, value)
            ctx.set(bus.wstrb, strobes)
            late = answered_at is not None and cycle >= answered_at + self.patience
            ctx.set(bus.bready, late)
            sampled = await ctx.tick().sample(
                bus.awvalid, bus.awready, bus.wvalid, bus.wready, bus.bvalid, bus.bresp
            )
            awvalid, awready, wvalid, wready, bvalid, bresp = sampled[2:]
            assert not (bvalid and (address_left or data_left)), "answered before it was asked"
            held.check(bvalid, late, [bresp])
            address_left &= not (awvalid and awready)
            data_left &= not (wvalid and wready)
            if bvalid and late:
                break
            if bvalid and answered_at is None:
                answered_at = cycle
        else:
            raise AssertionError("the write is not answered")
        ctx.set(bus.bready, 0)
        assert bresp == 0

    async def read(self, ctx, offset: int) -> int:
        bus = self.bus
        asked, answered_at = True, None
        held = Held()
        for cycle in range(200):
            ctx.set(bus.arvalid, asked)
            ctx.set(bus.araddr, offset)
            late = answered_at is not None and cycle >= answered_at + self.patience
            ctx.set(bus.rready, late)
            sampled = await ctx.tick().sample(bus.arready, bus.rvalid, bus.rdata, bus.rresp)
            arready, rvalid, rdata, rresp = sampled[2:]
            held.check(rvalid, late, [rdata, rresp])
            assert not (rvalid and asked), "answered before it was asked"
            asked &= not arready
            if rvalid and late:
                break
            if rvalid and answered_at is None:
                answered_at = cycle
        else:
            raise AssertionError("the read is not answered")
        ctx.set(bus.rready, 0)
        assert rresp == 0
        return rdata

    async def pulses(self, ctx) -> None:
        """Counts START and clear."""
        cycle = 0
        while True:
            sampled = await ctx.tick().sample(self.dut.start, self.dut.clear)
            if sampled[2]:
                self.starts.append(cycle)
            self.clears += sampled[3]
            cycle += 1


def simulate(testbench, config: str = "4x4", patience: int = 0) -> None:
    dut = Registers(preset(config))
    host = Host(dut, patience)

    async def run(ctx):
        await testbench(ctx, dut, host)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(host.pulses, background=True)
    simulator.add_testbench(run)
    simulator.run()


@pytest.mark.parametrize(
    ("config", "layout"), [("4x4", 0x8512_0303), ("9x16", 0x9634_0208), ("8x8-16", 0xD623_0307)]
)
def test_the_host_can_tell_what_npu_it_has(config, layout):
    async def testbench(ctx, dut, host):
        assert await host.read(ctx, REGISTERS["ID"]) == ID == 0x4549_0001
        assert await host.read(ctx, REGISTERS["CONFIG"]) == layout

    simulate(testbench, config)


@pytest.mark.parametrize(
    "other",
    [
        "2x8",
        "4x4",
        "4x8-16",
        "4x8,accumulator_depth=32",
        "4x8,lanes=2",
        "4x8,weight_port=1",
        "4x8,bus_bytes=4",
        "4x8,tables=0",
    ],
)
def test_config_tells_apart_what_a_program_depends_on(other):
    assert config_word(configuration(other)) != config_word(configuration("4x8"))


@pytest.mark.parametrize("size", ["buffer_bytes=32768", "weight_bytes=4096", "parameter_rows=99"])
def test_config_does_not_tell_a_memorys_size(size):
    assert config_word(configuration(f"4x8,{size}")) == config_word(configuration("4x8"))


@pytest.mark.parametrize("patience", [0, 1, 7])
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_a_register_reads_as_it_was_written(order, patience):
    async def testbench(ctx, dut, host):
        rng = random.Random(1)
        values = {name: rng.getrandbits(32) for name in WRITABLE}
        for name in rng.sample(WRITABLE, len(WRITABLE)):
            await host.write(ctx, REGISTERS[name], values[name], order=order)
        for name in rng.sample(WRITABLE, len(WRITABLE)):
            assert await host.read(ctx, REGISTERS[name]) == values[name]
        base = values["BASE"] | values["BASE_HIGH"] << 32
        assert ctx.get(dut.program) == (base + values["PROGRAM"]) % (1 << 40)
        assert ctx.get(dut.length) == values["LENGTH"]
        assert ctx.get(dut.watchdog) == values["WATCHDOG"]

    simulate(testbench, patience=patience)


def test_only_the_bytes_under_strobes_are_written():
    async def testbench(ctx, dut, host):
        rng = random.Random(2)
        for name in WRITABLE:
            expected = 0
            for strobes in [15, *range(16)]:
                value = rng.getrandbits(32)
                mask = sum(0xFF << 8 * i for i in range(4) if strobes >> i & 1)
                expected = expected & ~mask | value & mask
                await host.write(ctx, REGISTERS[name], value, strobes)
                assert await host.read(ctx, REGISTERS[name]) == expected

    simulate(testbench)


def test_control_takes_its_bits_only_under_the_lowest_strobe():
    async def testbench(ctx, dut, host):
        await host.write(ctx, REGISTERS["CONTROL"], 7, strobes=0b1110)
        assert (host.starts, host.clears) == ([], 0)
        assert await host.read(ctx, REGISTERS["CONTROL"]) == 0

    simulate(testbench)


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_start_and_clear_are_high_for_a_cycle(order):
    async def testbench(ctx, dut, host):
        for value in (1, 4, 5, 2, 0):
            starts, clears = len(host.starts), host.clears
            await host.write(ctx, REGISTERS["CONTROL"], value, order=order)
            await ctx.tick().repeat(3)
            assert len(host.starts) - starts == value & 1
            assert host.clears - clears == value >> 2

    simulate(testbench, patience=5)


def test_the_interrupt_is_done_where_it_is_enabled():
    async def testbench(ctx, dut, host):
        for enabled in (0, 1, 0):
            await host.write(ctx, REGISTERS["CONTROL"], 2 * enabled)
            assert await host.read(ctx, REGISTERS["CONTROL"]) == 2 * enabled
            for done in (0, 1):
                ctx.set(dut.done, done)
                assert ctx.get(dut.interrupt) == (done & enabled)

    simulate(testbench)


def test_unknown_offsets_read_zero_and_take_nothing():
    async def testbench(ctx, dut, host):
        known = {*REGISTERS.values(), *range(COUNTERS, COUNTERS + 4 * (1 + 2 * len(Unit)), 4)}
        for name in WRITABLE:
            await host.write(ctx, REGISTERS[name], 0x5A5A5A5A)
        for offset in range(256):
            if offset not in known:
                await host.write(ctx, offset, 0xFFFFFFFF)
                assert await host.read(ctx, offset) == 0
        for name in WRITABLE:
            assert await host.read(ctx, REGISTERS[name]) == 0x5A5A5A5A
        assert not host.starts

    simulate(testbench)


def test_what_is_only_read_keeps_its_value():
    async def testbench(ctx, dut, host):
        ctx.set(dut.fault, 5)
        ctx.set(dut.fault_at, 0x12345678)
        ctx.set(dut.done, 1)
        offsets = [REGISTERS[n] for n in ("ID", "CONFIG", "STATUS", "FAULT_AT")]
        offsets += range(COUNTERS, COUNTERS + 4 * (1 + 2 * len(Unit)), 4)
        before = [await host.read(ctx, offset) for offset in offsets]
        assert before[2:4] == [0x502, 0x12345678]
        for offset in offsets:
            await host.write(ctx, offset, 0xFFFFFFFF)
        assert [await host.read(ctx, offset) for offset in offsets] == before

    simulate(testbench)


def test_a_run_keeps_the_base_that_it_was_started_with():
    async def testbench(ctx, dut, host):
        await host.write(ctx, REGISTERS["BASE"], 0x1000)
        await host.write(ctx, REGISTERS["CONTROL"], 1)
        ctx.set(dut.busy, 1)
        await host.write(ctx, REGISTERS["BASE"], 0x2000)
        await host.write(ctx, REGISTERS["CONTROL"], 1)
        assert ctx.get(dut.base) == 0x1000
        ctx.set(dut.busy, 0)
        await host.write(ctx, REGISTERS["CONTROL"], 1)
        assert ctx.get(dut.base) == 0x2000

    simulate(testbench)


def test_counters_count_a_run_and_stay_until_the_next():
    async def testbench(ctx, dut, host):
        rng = random.Random(3)
        units = len(Unit)

        async def counters() -> list[int]:
            return [await host.read(ctx, COUNTERS + 4 * i) for i in range(1 + 2 * units)]

        for cycles in (50, 9):
            await host.write(ctx, REGISTERS["CONTROL"], 1)
            assert await counters() == [0] * (1 + 2 * units)
            expected = [0] * (1 + 2 * units)
            ctx.set(dut.busy, 1)
            for _ in range(cycles):
                active, waiting = rng.getrandbits(units), rng.getrandbits(units)
                ctx.set(dut.active, active)
                ctx.set(dut.waiting, waiting)
                expected[0] += 1
                for unit in range(units):
                    expected[1 + 2 * unit] += active >> unit & 1
                    expected[2 + 2 * unit] += waiting >> unit & 1
                await ctx.tick()
            ctx.set(dut.busy, 0)
            await ctx.tick()  # the last one is counted
            assert await counters() == expected
            # a START that is ignored resets none; the reads count while it is busy
            ctx.set(dut.active, 0)
            ctx.set(dut.waiting, 0)
            ctx.set(dut.busy, 1)
            await host.write(ctx, REGISTERS["CONTROL"], 1)
            ctx.set(dut.busy, 0)
            assert (await counters())[1:] == expected[1:]

    simulate(testbench)


def test_reads_and_writes_do_not_wait_for_each_other():
    async def testbench(ctx, dut, host):
        bus = dut.bus
        # a write's answer that nobody takes
        for name in ("awvalid", "wvalid"):
            ctx.set(getattr(bus, name), 1)
        ctx.set(bus.awaddr, REGISTERS["LENGTH"])
        ctx.set(bus.wdata, 77)
        ctx.set(bus.wstrb, 15)
        await ctx.tick()
        await ctx.tick().until(bus.bvalid)
        assert not ctx.get(bus.awready) and not ctx.get(bus.wready)
        for _ in range(3):
            assert await host.read(ctx, REGISTERS["ID"]) == ID
        assert await host.read(ctx, REGISTERS["LENGTH"]) == 77
        assert ctx.get(bus.bvalid)

    simulate(testbench)


def test_the_identity_tells_of_reductions():
    config = preset("8x8")
    assert identity(config) == ID
    assert identity(config.replace(reductions=True)) == 0x4549_8001
