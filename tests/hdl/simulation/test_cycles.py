"""An inference takes as many cycles as it took before: what is slower by one is seen."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from edgeinfer.hdl.simulation.simulation import Simulation
from tests import npu_graphs, strategies
from tests.authored import REQUANTIZING, Author
from tests.hdl.attention import attention
from tests.hdl.export.exported import digits
from tests.hdl.products import product


def residual(channels: int = 16) -> Graph:
    """With pixels of four words the array and the second operand ask for the same bank."""
    author = Author(1, 8, 8, channels)
    one = 1 << 30
    add = ops.QAdd(
        **REQUANTIZING,
        left_shift=20,
        a_multiplier=one,
        a_shift=31,
        b_multiplier=one,
        b_shift=31,
        multiplier=one,
        shift=49,
    )
    return author.graph(
        author.node(add, author.conv(author.conv("x", channels, 1), channels, 1), "x")
    )


def deep_convolution() -> Graph:
    author = Author(1, 7, 7, 512)
    return author.graph(author.conv("x", 64, 3, pads=(1, 1, 1, 1)))


def deep_dense() -> Graph:
    author = Author(1, 25_088)
    return author.graph(author.dense("x", 24))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "config", "cycles"),
    [
        (residual, "4x4", 3_294),
        (digits, "4x4", 11_346),
        (digits, "8x16", 1_766),
        (deep_convolution, "8x8", 225_970),
        (deep_dense, "8x8", 76_174),
    ],
)
def test_an_inference_takes_its_cycles(model, config, cycles):
    graph = model()
    with Simulation(graph, config) as npu:
        npu.run(strategies.random_inputs(graph, 0))
        assert npu.mismatches() == []
        assert npu.report().cycles == cycles


def streaming() -> Graph:
    """Tensors and weights of a few inverted residuals, larger than the small memories."""
    author = Author(1, 16, 16, 24)
    value = "x"
    for _ in range(2):
        wide = author.conv(value, 96, 1)
        value = author.conv(author.conv(wide, 96, 3, group=96, pads=(1, 1, 1, 1)), 24, 1)
    return author.graph(author.conv(value, 48, 3, strides=(2, 2), pads=(1, 1, 1, 1)))


def deep() -> Graph:
    """Kernels of more tiles than the small weight memories hold, and of more lines."""
    author = Author(1, 9, 8, 64)
    value = author.conv(author.conv("x", 48, 3, pads=(1, 1, 1, 1)), 24, 3, strides=(2, 2))
    flat = author.node(ops.Reshape((1, 4 * 3 * 24)), value)
    return author.graph(author.dense(flat, 40))


def enlarging() -> Graph:
    """Results at every second line and pixel, and in every third."""
    author = Author(1, 8, 8, 24)
    places = tuple(int(i) for i in np.arange(16) // 2)
    large = author.node(ops.ResizeNearest(places, places), author.conv("x", 36, 1))
    return author.graph(author.node(ops.DepthToSpace(3, "DCR"), author.conv(large, 36, 3)))


def multiplying() -> Graph:
    """Six lines of a value by another, with both zero points."""
    return product((1, 6, 20, 24), (1, 24, 32), (-128, 5))


def attending() -> Graph:
    """Heads, keys that are turned, and products of values."""
    return attention(9, 2, 8)


@pytest.mark.slow
@pytest.mark.parametrize("build", [streaming, deep, enlarging, multiplying, attending])
@pytest.mark.parametrize("name", ["8x8", "8x16"])
def test_the_compiler_foresees_the_cycles_where_tensors_stream(build, name):
    graph = build()
    config = npu_graphs.configuration(name, small=True)
    with Simulation(graph, config) as npu:
        npu.run(strategies.random_inputs(graph, 0))
        assert npu.mismatches() == []
        report = npu.report()
    assert report.cycles > report.macs / config.macs
    assert abs(report.predicted - report.cycles) <= 0.05 * report.cycles
