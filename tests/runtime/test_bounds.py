"""No kernel reads or writes a byte beyond its operands, built with sanitizers, on every set of
instructions that the machine has."""

import os
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeinfer.cython_kernels.runtime import SUPPORTED
from edgeinfer.runtime.session import Session
from tests import strategies
from tests.runtime import test_wide_layers as wide
from tests.runtime.plan_runner import PlanRunner, compiled, needed
from tests.runtime.runtime_graphs import joined_layers, small_cnn
from tests.runtime.test_chains import ELEMENTWISE, cell
from tests.runtime.test_layers import convolutions, dense_layers, square_convolutions
from tests.runtime.test_sanitizers import SANITIZE, library

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks for gcc's sanitizers"),
]

COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def fenced(tmp_path_factory):
    library("libasan.so")
    # stacks are watched in test_sanitizers.py; here that would take half of the compiler's time
    flags = ["-O1", *SANITIZE.split(), "--param", "asan-stack=0"]
    program = compiled(tmp_path_factory, needed("gcc"), *flags)
    runner = PlanRunner([str(program)], {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})
    assert tuple(runner.isas) == SUPPORTED
    return runner


@pytest.mark.parametrize("isa", SUPPORTED)
@settings(COMMON, max_examples=100)
@given(graph=convolutions() | square_convolutions() | wide.convolutions(), seed=st.integers(0, 99))
def test_a_convolution_stays_within_its_operands(fenced, isa, graph, seed):
    fenced.check(graph, strategies.random_inputs(graph, seed), isa)


@pytest.mark.parametrize("isa", SUPPORTED)
@settings(COMMON, max_examples=50)
@given(graph=dense_layers() | wide.dense_layers(), seed=st.integers(0, 99))
def test_a_dense_layer_stays_within_its_operands(fenced, isa, graph, seed):
    fenced.check(graph, strategies.random_inputs(graph, seed), isa)


@pytest.mark.parametrize("isa", SUPPORTED)
@settings(COMMON, max_examples=60)
@given(drawn=strategies.graphs_with_inputs())
def test_every_kernel_stays_within_its_operands(fenced, isa, drawn):
    fenced.check(*drawn, isa)


@pytest.mark.parametrize("isa", SUPPORTED)
@settings(COMMON, max_examples=60)
@given(
    graph=strategies.integer_graphs(("int16",), ELEMENTWISE, max_nodes=12),
    seed=st.integers(0, 99),
)
def test_a_chain_stays_within_its_operands(fenced, isa, graph, seed):
    fenced.check(graph, strategies.random_inputs(graph, seed), isa)


@pytest.mark.parametrize("isa", SUPPORTED)
@pytest.mark.parametrize("length", [1, 4, 20, 33, 129])
def test_a_recurrent_cell_stays_within_its_operands(fenced, isa, length):
    graph = cell(length)
    fenced.check(graph, strategies.random_inputs(graph, 0), isa)


@pytest.mark.parametrize("isa", SUPPORTED)
@pytest.mark.parametrize("channels", [(64, 64), (16, 32, 17), (70, 100)])
def test_layers_between_the_channels_of_others_stay_within_theirs(fenced, isa, channels):
    graph = joined_layers((1, 7, 9, 16), channels)
    fenced.check(graph, strategies.random_inputs(graph, 0), isa)


@pytest.mark.parametrize("isa", SUPPORTED)
def test_the_floats_at_both_ends_stay_within_theirs(fenced, isa):
    graph = small_cnn(free_batch=False)
    x = np.random.default_rng(0).normal(0, 3, (1, 8, 8, 3)).astype(np.float32)
    found = fenced.run(graph, {"x": x}, isa)[graph.outputs[0]]
    np.testing.assert_array_equal(found, Session(graph, isa=isa).run(x), strict=True)
