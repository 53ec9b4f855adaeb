"""The buffer's ports read and write one memory, and wait exactly where a bank is taken."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest
from amaranth.sim import Simulator

from edgeinfer.hdl.config import BANKS, preset
from edgeinfer.hdl.gateware.buffer import FETCH_LATENCY, READ_LATENCY, Buffer

CONFIG = preset("4x4").replace(buffer_bytes=4 * 4 * 6)
WORDS = CONFIG.buffer_words
CYCLES = 3000


def simulate(testbench) -> None:
    dut = Buffer(CONFIG)
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)

    async def run(ctx) -> None:
        await testbench(ctx, dut)

    simulator.add_testbench(run)
    simulator.run()


def an_address(rng: random.Random) -> int:
    return rng.randrange(WORDS) if rng.random() < 0.95 else rng.randrange(WORDS, 1 << 20)


def some_fetches(rng: random.Random) -> list[int | None]:
    """Four addresses, of which those that differ lie in different banks; None is no fetch."""
    of_bank = {}
    for _ in range(BANKS):
        address = an_address(rng)
        of_bank.setdefault(address % BANKS, address)
    choices = [*of_bank.values(), None]
    return [rng.choice(choices) for _ in range(BANKS)]


@pytest.mark.parametrize("seed", range(3))
def test_all_ports_at_random_see_one_memory(seed):
    rng = random.Random(seed)
    memory = defaultdict(int)
    waits = {"residual": 0, "store": 0, "load": 0}

    async def testbench(ctx, dut) -> None:
        offers: dict[str, int | None] = dict.fromkeys(waits)
        answers: dict[int, list[tuple[object, int]]] = defaultdict(list)
        before: list[int | None] = [None] * BANKS
        read_before: list[int] = []
        for cycle in range(CYCLES):
            fetches = some_fetches(rng)
            for request, address in zip(dut.fetch, fetches, strict=True):
                # the address of a fetch that is none must not matter
                ctx.set(request.enable, address is not None)
                ctx.set(request.address, an_address(rng) if address is None else address)
            for name in offers:
                if offers[name] is None and rng.random() < 0.6:
                    offers[name] = an_address(rng)
                port = getattr(dut, name)
                ctx.set(port.valid, offers[name] is not None)
                ctx.set(port.address, offers[name] or 0)
            result = an_address(rng) if rng.random() < 0.5 else None
            ctx.set(dut.result.enable, result is not None)
            ctx.set(dut.result.address, result or 0)
            written = {"result": rng.getrandbits(32), "load": rng.getrandbits(32)}
            ctx.set(dut.result.data, written["result"])
            ctx.set(dut.load.data, written["load"])

            # the other ports meet the fetches of the cycle before
            banks = {address % BANKS for address in before if address is not None}
            for word, address in zip(dut.words, before, strict=True):
                if address is not None and address < WORDS:
                    answers[cycle - 1 + FETCH_LATENCY].append((word, memory[address]))
            reads = [address for address in fetches if address is not None]
            before = fetches
            for name in ("residual", "store"):
                address = offers[name]
                if address is None:
                    continue
                taken = address % BANKS in banks
                assert ctx.get(getattr(dut, name).ready) == (not taken)
                waits[name] += taken
                banks.add(address % BANKS)
                if not taken:
                    if address < WORDS:
                        data = getattr(dut, name).data
                        answers[cycle + READ_LATENCY].append((data, memory[address]))
                    reads.append(address)
                    offers[name] = None
            writes = [] if result is None else [(result, written["result"])]
            if offers["load"] is not None:
                taken = result is not None and (result - offers["load"]) % BANKS == 0
                assert ctx.get(dut.load.ready) == (not taken)
                waits["load"] += taken
                if not taken:
                    writes.append((offers["load"], written["load"]))
                    offers["load"] = None

            memory.update((address, value) for address, value in writes if address < WORDS)
            accesses = read_before + [address for address, _ in writes]
            read_before = reads
            await ctx.tick()
            for data, value in answers.pop(cycle + 1, []):
                assert ctx.get(data) == value
            assert ctx.get(dut.out_of_range) == any(a >= WORDS for a in accesses)

    simulate(testbench)
    assert min(waits.values()) > CYCLES // 20


def test_four_fetches_of_one_word_all_get_it():
    async def testbench(ctx, dut) -> None:
        for request in dut.fetch:
            ctx.set(request, {"enable": 1, "address": 13})
        await ctx.tick()
        ctx.set(dut.load.valid, 1)
        ctx.set(dut.load.address, 13)
        ctx.set(dut.load.data, 0x12345678)
        await ctx.tick().repeat(FETCH_LATENCY - 1)
        # the fetch before that of the write's cycle sees the word as it was
        assert [ctx.get(word) for word in dut.words] == [0] * BANKS
        await ctx.tick()
        assert [ctx.get(word) for word in dut.words] == [0x12345678] * BANKS

    simulate(testbench)
