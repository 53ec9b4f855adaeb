"""No kernel reads or writes a byte beyond its operands, built with sanitizers, on every set of
instructions that the machine has."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeinfer.cython_kernels.runtime import SUPPORTED
from tests import strategies
from tests.runtime import test_wide_layers as wide
from tests.runtime.plan_runner import PlanRunner, compiled, needed
from tests.runtime.test_layers import convolutions, dense_layers

pytestmark = pytest.mark.slow

COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
SANITIZE = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@pytest.fixture(scope="module")
def fenced(tmp_path_factory):
    program = compiled(tmp_path_factory, needed("gcc"), *SANITIZE)
    runner = PlanRunner([str(program)], {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})
    assert tuple(runner.isas) == SUPPORTED
    return runner


@pytest.mark.parametrize("isa", SUPPORTED)
@settings(COMMON, max_examples=100)
@given(graph=convolutions() | wide.convolutions(), seed=st.integers(0, 99))
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
