"""The REDUCE unit leaves in the buffer what the golden simulator says, in the cycles foreseen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from edgeinfer.hdl import isa
from edgeinfer.hdl.config import NpuConfig, configuration
from edgeinfer.hdl.gateware.buffer import Buffer
from edgeinfer.hdl.gateware.parameters import Parameters
from edgeinfer.hdl.gateware.reduce import ReduceUnit
from edgeinfer.hdl.golden import GoldenSimulator
from edgeinfer.hdl.isa import Reduction
from edgeinfer.hdl.reduce_stages import pixel_cycles
from tests.hdl.reductions import NO_NORM, exponentials, normalizing

WORDS = 64
"""Of the buffer that is looked at."""


@dataclass
class Case:
    """One REDUCE, its setting, its parameters' rows and the buffer before it."""

    config: NpuConfig
    reduce: isa.Reduce
    setting: isa.SetNormalization
    parameters: bytes
    buffer: np.ndarray

    @property
    def golden(self) -> np.ndarray:
        config = self.config
        simulator = GoldenSimulator(config, bytearray(self.parameters))
        rows = len(self.parameters) // config.parameter_row_bytes
        simulator.execute(isa.ReadHost(memory=isa.Memory.PARAMETERS, host=0, address=3, words=rows))
        simulator.buffer[:WORDS] = self.buffer
        simulator.execute(self.setting)
        simulator.execute(self.reduce)
        return simulator.buffer[:WORDS]

    def simulated(self) -> tuple[np.ndarray, int]:
        """The buffer after it, and the cycles from when it is taken until it is completed."""
        config = self.config
        dut = ReduceUnit(config)
        buffer, parameters = Buffer(config), Parameters(config)
        m = Module()
        m.submodules += [dut, buffer, parameters]
        wiring.connect(m, dut.residual, buffer.residual)
        wiring.connect(m, dut.result, buffer.result)
        wiring.connect(m, dut.parameters, parameters.read)
        cycles = 0

        async def testbench(ctx):
            nonlocal cycles
            for address, word in enumerate(self.buffer):
                ctx.set(buffer.load.valid, 1)
                ctx.set(buffer.load.address, address)
                ctx.set(buffer.load.data, number(word, config.width))
                await ctx.tick()
            ctx.set(buffer.load.valid, 0)
            size, used = config.parameter_row_bytes, config.lanes * config.parameter_bytes
            for row in range(len(self.parameters) // size):
                ctx.set(parameters.write.enable, 1)
                ctx.set(parameters.write.address, 3 + row)
                data = self.parameters[row * size :][:used]
                ctx.set(parameters.write.data, int.from_bytes(data, "little"))
                await ctx.tick()
            ctx.set(parameters.write.enable, 0)
            command = dut.control.command
            for instruction in (self.setting, self.reduce):
                ctx.set(command.payload, isa.encode(instruction))
                ctx.set(command.valid, 1)
                while not ctx.get(command.ready):
                    await ctx.tick()
                await ctx.tick()
            ctx.set(command.valid, 0)
            while not ctx.get(dut.control.completed):
                cycles += 1
                assert cycles < 200_000
                await ctx.tick()
            await ctx.tick().repeat(4)
            for address in range(WORDS):
                ctx.set(buffer.store.valid, 1)
                ctx.set(buffer.store.address, address)
                await ctx.tick().repeat(3)
                word = ctx.get(buffer.store.data)
                found.append(elements(word, config))

        found: list[list[int]] = []
        simulator = Simulator(m)
        simulator.add_clock(1e-6)
        simulator.add_testbench(testbench)
        simulator.run()
        return np.array(found), cycles


def number(word: np.ndarray, width: int) -> int:
    return int.from_bytes(word.astype(f"<i{width // 8}").tobytes(), "little")


def elements(word: int, config: NpuConfig) -> list[int]:
    data = word.to_bytes(config.word_bytes, "little")
    return np.frombuffer(data, f"<i{config.element_bytes}").tolist()


def pixels(config: NpuConfig, channels: int, rng: np.random.Generator, kind: str) -> np.ndarray:
    """The buffer with words of elements that are random, extreme, equal or zero."""
    low, high = -(1 << (config.width - 1)), (1 << (config.width - 1)) - 1
    shape = (WORDS, config.columns)
    return {
        "random": lambda: rng.integers(low, high + 1, shape),
        "extreme": lambda: rng.choice([low, high], shape),
        "equal": lambda: np.full(shape, rng.integers(low, high + 1)),
        "near": lambda: rng.integers(-2, 3, shape),
        "zero": lambda: np.zeros(shape, np.int64),
    }[kind]()


def places(config: NpuConfig, channels: int) -> dict[str, int]:
    """Two rows of three pixels, or of one where they have many words."""
    words = -(-channels // config.columns)
    columns = 3 if 6 * words + 4 <= WORDS else 1
    return {
        "base": 1,
        "row_step": columns * words + 1,
        "column_step": words,
        "rows": 2 if columns == 3 else 1,
        "columns": columns,
        "channels": channels,
        "parameters": 3,
    }


def softmax(config: NpuConfig, channels: int, scale: float, kind: str, seed: int) -> Case:
    rng = np.random.default_rng(seed)
    reduce = isa.Reduce(kind=Reduction.SOFTMAX, **places(config, channels))
    elements = pixels(config, channels, rng, kind)
    return Case(config, reduce, NO_NORM, exponentials(config, scale), elements)


def normalization(
    config: NpuConfig, measure: Reduction, channels: int, epsilon: float, kind: str, seed: int
) -> Case:
    rng = np.random.default_rng(seed)
    setting, parameters = normalizing(config, measure, channels, epsilon, rng)
    reduce = isa.Reduce(kind=measure, **places(config, channels))
    return Case(config, reduce, setting, parameters, pixels(config, channels, rng, kind))


CONFIGS = ["8x16", "4x4,parameter_rows=512", "8x8-16", "4x4-16,parameter_rows=520,lanes=1"]


def check(case: Case) -> None:
    found, cycles = case.simulated()
    np.testing.assert_array_equal(found, case.golden)
    reduce = case.reduce
    pixel = pixel_cycles(reduce.kind, reduce.channels, case.config)
    assert cycles == reduce.rows * reduce.columns * pixel


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize(
    ("channels", "scale", "kind"),
    [(1, 0.1, "random"), (10, 0.05, "random"), (37, 3e-4, "extreme"), (16, 0.2, "equal")],
)
def test_shares_are_the_softmax(config, channels, scale, kind):
    sizes = configuration(f"{config},reductions=1")
    check(softmax(sizes, channels, scale, kind, channels))


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("measure", list(Reduction)[1:])
@pytest.mark.parametrize(
    ("channels", "epsilon", "kind"),
    [
        (1, 1e-3, "random"),
        (21, 0.0, "random"),
        (16, 30.0, "near"),
        (37, 1e-9, "extreme"),
        (8, 5e5, "near"),
        (24, 0.0, "zero"),
        (19, 2.0, "equal"),
    ],
)
def test_normalized_elements_are_the_definitions(config, measure, channels, epsilon, kind):
    sizes = configuration(f"{config},reductions=1")
    check(normalization(sizes, measure, channels, epsilon, kind, channels))
