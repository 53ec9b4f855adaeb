"""Arm's kernels give the reference's bits: cross-compiled, on an emulated processor."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeinfer.converters import from_onnx
from edgeinfer.quant import quantize
from edgeinfer.runtime.session import Session
from tests import strategies
from tests.runtime.plan_runner import PlanRunner, compiled, needed
from tests.runtime.test_layers import convolutions, dense_layers
from tests.zoo_entries import FEED_FORWARD

ISAS = ("neondot", "neon", "scalar")
pytestmark = pytest.mark.slow

COMMON = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    compiler, emulator = needed("aarch64-linux-gnu-gcc"), needed("qemu-aarch64")
    return emulator, compiled(tmp_path_factory, compiler, "-O2", "-static")


def on(program, processor):
    emulator, path = program
    return PlanRunner([emulator, "-cpu", processor, str(path)])


@pytest.fixture(scope="module")
def newest(program):
    return on(program, "max")


@pytest.fixture
def arm(newest, monkeypatch):
    newest.teach(monkeypatch)
    return newest


def test_a_processor_says_whether_it_has_the_dot_product(program):
    assert on(program, "max").isas == ["neondot", "neon", "scalar"]
    assert on(program, "cortex-a76").isas == ["neondot", "neon", "scalar"]
    assert on(program, "cortex-a53").isas == ["neon", "scalar"]


@pytest.mark.parametrize("isa", ISAS)
@settings(COMMON, max_examples=100)
@given(graph=convolutions(), seed=st.integers(0, 99))
def test_a_convolution_is_the_references(arm, isa, graph, seed):
    arm.check(graph, strategies.random_inputs(graph, seed), isa)


@pytest.mark.parametrize("isa", ISAS)
@settings(COMMON, max_examples=60)
@given(graph=dense_layers(), seed=st.integers(0, 99))
def test_a_dense_layer_is_the_references(arm, isa, graph, seed):
    arm.check(graph, strategies.random_inputs(graph, seed), isa)


@settings(COMMON, max_examples=100)
@given(drawn=strategies.graphs_with_inputs())
def test_a_random_graph_is_the_references(arm, drawn):
    arm.check(*drawn, "neondot")


@pytest.mark.parametrize("name", FEED_FORWARD)
def test_a_real_model_gives_the_floats_that_it_gives_here(zoo, newest, name, monkeypatch):
    entry = zoo.load(name)
    graph = quantize(from_onnx(entry.model), entry.calib[:20])
    (x,), (y,) = graph.inputs, graph.outputs
    expected = Session(graph).run(entry.x[:1])
    newest.teach(monkeypatch)
    for isa in ISAS:
        found = newest.run(graph, {x: entry.x[:1]}, isa)[y]
        np.testing.assert_array_equal(found, expected, err_msg=isa, strict=True)
