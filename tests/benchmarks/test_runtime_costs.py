"""The chain by which a node's cost is found has as many layers as it says, and none is for free."""

from pathlib import Path

import numpy as np
import pytest

from edgeinfer.graph.cost import cost
from edgeinfer.meaning.float_executor import execute
from edgeinfer.quant import quantize
from edgeinfer.runtime.session import Session

ROOT = Path(__file__).parents[2]


@pytest.fixture
def costs(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import runtime_costs

    return runtime_costs


def test_every_layer_of_a_chain_is_a_step_that_turns_its_input(costs):
    graph = costs.chain(5)
    assert [type(node.op).__name__ for node in graph.nodes] == ["Dense"] * 5
    x = np.random.default_rng(0).normal(size=(1, costs.WIDTH)).astype(np.float32)
    (y,) = execute(graph, {"x": x}).values()
    assert np.linalg.norm(y) == pytest.approx(np.linalg.norm(x), rel=1e-5)
    assert not np.allclose(x, y)
    integers = quantize(graph, np.repeat(x, 4, axis=0), observer="minmax")
    assert len(Session(integers).profile({"x": x})) == 5
    assert cost(integers).macs == 5 * costs.WIDTH**2


def test_medians_are_of_calls_in_turn(costs, monkeypatch):
    monkeypatch.setattr(costs, "ROUNDS", 3)
    monkeypatch.setattr(costs, "ROUND_SECONDS", 0)
    calls = []
    found = costs.medians({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")})
    assert calls == ["a", "b"] * 3
    assert found.keys() == {"a", "b"}
    assert min(found.values()) > 0
