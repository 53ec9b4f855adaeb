"""Operands meet the weights that were swapped in for them, if need be a tile for each."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.sim import Simulator

from edgeinfer.hdl.config import NpuConfig, preset
from edgeinfer.hdl.gateware.array import Array

CONFIGS = [
    preset("4x4"),
    preset("8x8").replace(rows=2, weight_port=1),
    preset("9x16"),
    preset("8x8-16"),
]


def as_words(values: np.ndarray, config: NpuConfig) -> np.ndarray:
    """Elements [..., columns] as words."""
    raw = np.ascontiguousarray(values.astype(f"<i{config.element_bytes}"))
    flat = [int.from_bytes(row.tobytes(), "little") for row in raw.reshape(-1, config.columns)]
    return np.array(flat, object).reshape(values.shape[:-1])


def simulate(config: NpuConfig, operands: np.ndarray, tiles: dict) -> list:
    """The sums of each fetch of ``operands`` [fetches, rows, columns].

    A tile is swapped in by the fetch that it has as key, and captured as late as it may be.
    """
    dut = Array(config)
    fetches, rows = operands.shape[:2]
    sums: list[list[int]] = []
    words = [[int(w) for w in row] for row in as_words(operands, config)]
    weights = {at: [int(w) for w in as_words(tile, config)] for at, tile in tiles.items()}
    before = 2

    async def testbench(ctx) -> None:
        emitted = [0]
        for cycle in range(fetches + rows + 1 + before):
            u = cycle - before
            ctx.set(dut.swap, u + 1 in tiles)
            ctx.set(dut.tag_in, {"address": u % config.accumulator_depth, "emit": 0 <= u < fetches})
            for r in range(rows):
                at = u - r
                if 0 <= at < fetches:
                    ctx.set(dut.rows[r], words[at][r])
                captured = weights.get(at + 2)
                ctx.set(
                    dut.weights[r],
                    {
                        "capture": captured is not None,
                        "word": captured[r] if captured else words[0][0],
                    },
                )
            emitted.append(ctx.get(dut.tag_out.emit))
            if emitted[-1]:
                at = len(sums) + emitted[-2]
                assert ctx.get(dut.tag_out.address) == at % config.accumulator_depth
            await ctx.tick()
            if emitted[-2]:
                sums.append([ctx.get(dut.sums[c]) for c in range(config.columns)])

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return sums


@pytest.mark.parametrize("every", [1, 2, 5])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_sums_are_those_of_the_tile_that_was_swapped_in_last(config, every):
    rng = np.random.default_rng(every)
    limits = np.iinfo(f"i{config.element_bytes}")
    fetches = 40
    shape = (config.rows, config.columns)

    def values(*leading: int) -> np.ndarray:
        drawn = rng.integers(limits.min, limits.max, (*leading, *shape), endpoint=True)
        return np.where(rng.random(drawn.shape) < 0.3, limits.min, drawn)

    operands = values(fetches)
    tiles = dict(zip(range(0, fetches, every), values(fetches), strict=False))
    got = simulate(config, operands, tiles)
    active = np.array([tiles[at - at % every] for at in range(fetches)])
    np.testing.assert_array_equal(got, (operands * active).sum(1))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_the_least_elements_everywhere_do_not_overflow(config):
    least = np.iinfo(f"i{config.element_bytes}").min
    operands = np.full((3, config.rows, config.columns), least)
    got = simulate(config, operands, {0: operands[0]})
    np.testing.assert_array_equal(got, np.full((3, config.columns), config.rows * least**2))
