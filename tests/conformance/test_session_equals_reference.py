"""A Session gives, for every value of every integer Graph, the bits that the reference gives."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from edgeinfer.cython_kernels.runtime import SUPPORTED
from edgeinfer.meaning import reference
from edgeinfer.runtime import planner
from edgeinfer.runtime.session import Session
from tests import strategies
from tests.example_counts import examples

COMMON = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def reference_values(graph, inputs):
    values = {}
    reference.execute(graph, inputs, observe=lambda name, array: values.update({name: array}))
    return values


def same_everywhere(graph, inputs, **options):
    session = Session(graph, keep_values=True, **options)
    session.run(inputs)
    for name, expected in reference_values(graph, inputs).items():
        found = session.value(name)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected, err_msg=name)


def same_outputs(graph, inputs, **options):
    session = Session(graph, **options)
    expected = reference.execute(graph, inputs)
    for _ in range(2):
        found = session.run(inputs)
        if not isinstance(found, dict):
            found = {graph.outputs[0]: found}
        for name in graph.outputs:
            assert found[name].dtype == expected[name].dtype
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


@pytest.fixture(params=[(SUPPORTED[0], 2), *((isa, 1) for isa in SUPPORTED)])
def how(request, monkeypatch):
    """Every instruction set; and the best with small steps, too, divided among threads."""
    monkeypatch.setattr(planner, "GRAIN", 1)
    isa, num_threads = request.param
    return {"isa": isa, "num_threads": num_threads}


@settings(COMMON, max_examples=examples(60))
@given(drawn=strategies.graphs_with_inputs())
def test_every_value_of_a_random_graph_is_the_references(drawn, how):
    same_everywhere(*drawn, **how)


@settings(COMMON, max_examples=examples(60))
@given(drawn=strategies.graphs_with_inputs(max_nodes=14))
def test_sharing_memory_between_values_changes_no_output(drawn, how):
    same_outputs(*drawn, **how)


@pytest.mark.parametrize("scheme", strategies.SCHEMES)
@pytest.mark.parametrize("growth", sorted(set(strategies.GROWTHS), key=lambda g: g.__name__))
def test_every_operator_is_the_references(growth, scheme, how):
    growths = (strategies.argmax, growth) if growth is strategies.gather_computed else (growth,)

    @settings(COMMON, max_examples=examples(8))
    @given(strategies.graphs_with_inputs(schemes=(scheme,), growths=growths, max_nodes=3))
    def check(drawn):
        same_everywhere(*drawn, **how)

    check()
