"""The rescaler computes what edgeinfer.arithmetic.fixedpoint says, one step a cycle."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.sim import Simulator

from edgeinfer.arithmetic import fixedpoint
from edgeinfer.hdl.config import NpuConfig, preset
from edgeinfer.hdl.gateware.rescaler import RESCALER_LATENCY, VALUE_LATENCY, Rescaler

CONFIGS = ["8x16", "8x8-16"]

Steps = dict[str, np.ndarray]


def rescaled(config: NpuConfig, steps: Steps) -> tuple[list[int], list[int]]:
    """The elements and the values that the gateware gives."""
    dut = Rescaler(config)
    found: dict[str, list[int]] = {"element": [], "value": []}
    names = list(steps)

    async def feed(ctx):
        for row in zip(*(steps[name].tolist() for name in names), strict=True):
            ctx.set(dut.i, dict(zip(names, row, strict=True)))
            await ctx.tick()

    def collect(name, latency):
        async def testbench(ctx):
            await ctx.tick().repeat(latency)
            for _ in range(len(steps["operand"])):
                found[name].append(ctx.get(dut.o[name]))
                await ctx.tick()

        return testbench

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(feed)
    simulator.add_testbench(collect("element", RESCALER_LATENCY))
    simulator.add_testbench(collect("value", VALUE_LATENCY))
    simulator.run()
    return found["element"], found["value"]


def check(config: NpuConfig, steps: Steps) -> None:
    clamp = (steps["zero_point"], steps["lo"], steps["hi"])
    ratio = (steps["operand"], steps["multiplier"], steps["shift"])
    double = steps["double"].astype(bool)
    shifted = np.where(double, fixedpoint.double_round(*ratio), fixedpoint.single_round(*ratio))
    expected = np.where(
        double,
        fixedpoint.requantize(*ratio, *clamp, "double"),
        fixedpoint.requantize(*ratio, *clamp, "single"),
    )
    elements, values = rescaled(config, steps)
    assert elements == expected.tolist()
    half = 1 << config.accumulator_bits - 1
    assert values == ((shifted + half) % (2 * half) - half).tolist()


def clamps(rng: np.random.Generator, config: NpuConfig, count: int) -> Steps:
    """Bounds in order, often the type's own."""
    info = np.iinfo(f"int{config.width}")
    bounds = np.sort(rng.integers(info.min, info.max + 1, (2, count)), 0)
    bounds[0][rng.random(count) < 0.4] = info.min
    bounds[1][rng.random(count) < 0.4] = info.max
    zero_point = rng.integers(info.min, info.max + 1, count)
    return {"zero_point": zero_point, "lo": bounds[0], "hi": bounds[1]}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("bits", [31, 24])
def test_random_and_extreme_steps_are_requantized(name, bits):
    config = preset(name)
    rng = np.random.default_rng(bits)
    count = 3000
    limit = fixedpoint.MAX_ACCUMULATOR_16 if bits == 24 and config.width == 16 else 2**31
    magnitude = 2.0 ** rng.uniform(0, np.log2(limit), count)
    operand = np.minimum(magnitude.astype(np.int64), limit - 1) * rng.choice([-1, 1], count)
    extremes = [0, 1, -1, limit - 1, 1 - limit]
    operand = np.where(rng.random(count) < 0.3, rng.choice(extremes, count), operand)
    multiplier = rng.integers(1 << bits - 1, 1 << bits, count)
    edges = [0, 1, (1 << bits) - 1, 1 << bits - 1]
    multiplier = np.where(rng.random(count) < 0.3, rng.choice(edges, count), multiplier)
    shift = rng.integers(2, 63, count)
    shift = np.where(rng.random(count) < 0.3, rng.choice([2, 31, 32, 62], count), shift)
    steps = {"operand": operand, "multiplier": multiplier, "shift": shift}
    steps |= {"double": rng.integers(0, 2, count)} | clamps(rng, config, count)
    check(config, steps)


@pytest.mark.parametrize("name", CONFIGS)
def test_ties_and_their_neighbours_round_as_the_contract_says(name):
    config = preset(name)
    rng = np.random.default_rng(2)
    count = 1500
    # operand * 2^30 / 2^shift is an odd number of halves, or an accumulator beside it
    shift = rng.integers(31, 52, count)
    halves = 2 * rng.integers(-100, 100, count) + 1
    operand = (halves << shift - 31) + rng.choice([-1, 0, 0, 1], count)
    steps = {"operand": operand, "multiplier": np.full(count, 2**30), "shift": shift}
    steps |= {"double": rng.integers(0, 2, count)} | clamps(rng, config, count)
    assert (np.abs(operand) < 2**31).all()
    check(config, steps)


@pytest.mark.parametrize("name", CONFIGS)
def test_results_far_beyond_32_bits_saturate_on_their_side(name):
    config = preset(name)
    rng = np.random.default_rng(3)
    info = np.iinfo(f"int{config.width}")
    operand = np.array([2**31 - 1, 1 - 2**31, 2**30, -(2**30), 2**20, -(2**20)] * 20)
    count = len(operand)
    steps = {"operand": operand, "multiplier": np.full(count, 2**31 - 1)}
    steps |= {"shift": rng.choice([2, 3, 15, 16, 30], count), "double": np.zeros(count, int)}
    steps |= {"zero_point": rng.choice([info.min, 0, info.max], count)}
    steps |= {"lo": np.full(count, info.min), "hi": np.full(count, info.max)}
    elements, _ = rescaled(config, steps)
    assert set(elements) == {info.min, info.max}
    check(config, steps)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_shift_of_0_gives_the_product_of_signed_numbers(name):
    config = preset(name)
    rng = np.random.default_rng(4)
    edge = 1 << config.width
    factors = rng.integers(1 - edge, edge, (2, 400))
    factors[:, :4] = [[1 - edge, 1 - edge, edge - 1, 0], [1 - edge, edge - 1, edge - 1, -1]]
    steps = {"operand": factors[0], "multiplier": factors[1]}
    steps |= {"shift": np.zeros(400, int), "double": rng.integers(0, 2, 400)}
    steps |= clamps(rng, config, 400)
    _, values = rescaled(config, steps)
    assert values == (factors[0] * factors[1]).tolist()
