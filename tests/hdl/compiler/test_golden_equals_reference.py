"""What the compiler makes of a Graph, executed by the golden simulator, is the reference's values."""

from __future__ import annotations

import numpy as np
import pytest
import strategies
from compiled import golden_values
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeinfer import reference
from edgeinfer.errors import UnsupportedError
from edgeinfer.hdl.compiler import compile
from edgeinfer.hdl.config import preset

GROWTHS = (
    strategies.conv,
    strategies.dense,
    strategies.add_or_sub,
    strategies.mul,
    strategies.rescale,
    strategies.lookup,
    strategies.max_pool,
    strategies.average_pool,
    strategies.reduce_sum,
    strategies.concat,
    strategies.slice_,
    strategies.pad,
    strategies.reshape,
    strategies.transpose,
)

SMALL = {
    "8x16": {"buffer_bytes": 8192},
    "4x4": {"buffer_bytes": 4096, "weight_bytes": 2048, "parameter_rows": 16},
    "8x8": {"buffer_bytes": 4096, "weight_bytes": 8192, "weight_port": 8, "lanes": 8},
    "16x16": {"accumulator_depth": 16},
    "8x8-16": {"buffer_bytes": 16384},
}


def configuration(name: str, *, small: bool):
    return preset(name).replace(**SMALL[name]) if small else preset(name)


@pytest.mark.parametrize("small", [False, True], ids=["preset", "small"])
@pytest.mark.parametrize("name", SMALL)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_every_value_of_a_random_graph(name, small, data):
    schemes = ("int16x8", "int16") if name == "8x8-16" else ("int8",)
    graph = data.draw(strategies.integer_graphs(schemes=schemes, growths=GROWTHS))
    inputs = strategies.random_inputs(graph, data.draw(st.integers(0, 2**32 - 1)))
    try:
        compiled = compile(graph, configuration(name, small=small), host_ops=True)
    except UnsupportedError:
        return
    values = dict(inputs)
    reference.execute(graph, inputs, observe=values.__setitem__)
    for program in compiled.programs:
        for value, got in golden_values(program, values).items():
            np.testing.assert_array_equal(got, values[value], err_msg=value)
