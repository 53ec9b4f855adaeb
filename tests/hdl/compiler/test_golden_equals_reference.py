"""Compiled and executed by the golden simulator, a Graph's values are the reference's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Graph
from edgeinfer.hdl.compiler import compile
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.meaning import reference
from tests import npu_graphs, strategies
from tests.hdl.compiler.compiled import golden_values


@pytest.mark.parametrize("small", [False, True], ids=["preset", "small"])
@pytest.mark.parametrize("name", npu_graphs.SMALL)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_every_value_of_a_random_graph(name, small, data):
    graph = data.draw(npu_graphs.graphs(name))
    check(graph, npu_graphs.configuration(name, small=small), data.draw(st.integers(0, 2**32 - 1)))


@pytest.mark.parametrize("small", [False, True], ids=["preset", "small"])
@pytest.mark.parametrize("name", npu_graphs.SMALL)
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_every_value_of_a_random_graph_with_reductions(name, small, data):
    graph = data.draw(npu_graphs.graphs(name, npu_graphs.REDUCTIONS))
    config = npu_graphs.configuration(name, small=small)
    config = config.replace(reductions=True, parameter_rows=max(config.parameter_rows, 144))
    check(graph, config, data.draw(st.integers(0, 2**32 - 1)))


def check(graph: Graph, config: NpuConfig, seed: int) -> None:
    inputs = strategies.random_inputs(graph, seed)
    try:
        compiled = compile(graph, config, host_ops=True)
    except UnsupportedError:
        return
    values = dict(inputs)
    reference.execute(graph, inputs, observe=values.__setitem__)
    for program in compiled.programs:
        for value, got in golden_values(program, values).items():
            np.testing.assert_array_equal(got, values[value], err_msg=value)
