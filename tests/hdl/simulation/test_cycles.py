"""An inference takes as many cycles as it took before: what is slower by one is seen."""

from __future__ import annotations

import pytest

from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from edgeinfer.hdl.simulation.simulation import Simulation
from tests import strategies
from tests.authored import REQUANTIZING, Author
from tests.hdl.export.exported import digits


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


@pytest.mark.parametrize(
    ("model", "config", "cycles"),
    [(residual, "4x4", 3_294), (digits, "4x4", 11_346), (digits, "8x16", 1_766)],
)
def test_an_inference_takes_its_cycles(model, config, cycles):
    graph = model()
    with Simulation(graph, config) as npu:
        npu.run(strategies.random_inputs(graph, 0))
        assert npu.mismatches() == []
        assert npu.report().cycles == cycles
