"""The simulated NPU computes what the CPU's Session computes, in every value that it makes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeinfer.errors import UnsupportedError
from edgeinfer.hdl.simulation.simulation import Simulation
from tests import npu_graphs, strategies


@pytest.mark.slow
@pytest.mark.parametrize("small", [False, True], ids=["preset", "small"])
@pytest.mark.parametrize("name", npu_graphs.SMALL)
def test_every_value_of_a_random_graph(name, small):
    config = npu_graphs.configuration(name, small=small)

    @settings(deadline=None, max_examples=npu_graphs.EXAMPLES)
    @given(data=st.data())
    def check(data):
        graph = data.draw(npu_graphs.graphs(name))
        inputs = strategies.random_inputs(graph, data.draw(st.integers(0, 2**32 - 1)))
        stalls = data.draw(st.sampled_from((0.0, 0.0, 0.5)))
        try:
            simulation = Simulation(graph, config, host_ops=True, stalls=stalls)
        except UnsupportedError:
            return
        with simulation:
            # twice: what a run leaves in the memories must not reach the next
            for _ in range(2):
                simulation.run(inputs)
                assert [str(each) for each in simulation.mismatches()] == []

    check()
