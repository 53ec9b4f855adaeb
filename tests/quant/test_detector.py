"""A search never costs a detector its detections: not by which samples judge, nor by its cuts."""

import numpy as np
import pytest

from edgeinfer.converters import from_onnx
from edgeinfer.graph import Graph
from edgeinfer.meaning.float_executor import execute
from edgeinfer.quant import Options, choose_types, quantize, search
from edgeinfer.quant.calibration import Run, evenly
from edgeinfer.quant.objective import Noise
from edgeinfer.quant.outputs import uncut_groups
from edgeinfer.quant.sharing import shared_quantization
from edgeinfer.runtime.session import Session
from tests.accuracy.exported_models import MODELS, Builder, samples


def detector() -> Graph:
    """Scores of small pictures, which a bright square sets off."""
    b = Builder(seed=9)
    x = b.op("Relu", b.conv("x", 1, 8, 3))
    x = b.op("Relu", b.conv(x, 8, 8, 3))
    y = b.op("Sigmoid", b.conv(x, 8, 2, 1))
    return from_onnx(b.model([1, 1, 12, 12], y))


def pictures(count: int, every: int) -> np.ndarray:
    """Dim noise, and in each picture of ``every`` a bright square."""
    rng = np.random.default_rng(1)
    x = np.abs(rng.normal(size=(count, 1, 1, 12, 12))).astype(np.float32) * 0.1
    x[every - 1 :: every, ..., 3:8, 3:8] += 8
    return x


@pytest.mark.parametrize("order", [1, -1])
def test_detections_outlive_a_search_whatever_the_order_of_samples(order):
    graph, data = detector(), pictures(64, 16)[::order]
    name = graph.outputs[0]
    auto = Session(quantize(graph, list(data)))
    seen = np.stack([execute(graph, {"x": x})[name] for x in data])
    kept = np.stack([auto.run(x) for x in data])
    assert np.abs(seen.reshape(64, -1).max(1) - kept.reshape(64, -1).max(1)).max() < 0.1


@pytest.mark.parametrize("name", ["plain_cnn", "mlp_of_many_activations", "two_outputs_and_slices"])
def test_no_search_cuts_what_outputs_are_functions_of(name):
    model = MODELS[name]()
    graph = from_onnx(model)
    data = samples(model, 32, seed=1)
    groups = shared_quantization(graph, average_pool=False)
    searched, whole = (choose_types(graph, data, Options(observer=o)) for o in ("auto", "minmax"))
    uncut = uncut_groups(graph, groups)
    assert {groups[output] for output in graph.outputs} <= uncut
    for value, root in groups.items():
        if root in uncut:
            assert searched.values[value] == whole.values[value]


def test_few_samples_are_no_evidence():
    graph, data = detector(), pictures(15, 4)
    auto, minmax = (choose_types(graph, data, Options(observer=o)) for o in ("auto", "minmax"))
    assert auto == minmax


def test_a_model_too_large_to_be_tried_on_enough_samples_is_not_searched(monkeypatch):
    graph, data = detector(), pictures(64, 4)
    monkeypatch.setattr(search, "_BUDGET", 10**6)
    auto, minmax = (choose_types(graph, data, Options(observer=o)) for o in ("auto", "minmax"))
    assert auto == minmax


def test_runs_that_judge_are_spread_over_all():
    runs = [Run(i, {}, {}) for i in range(100)]
    assert [run.index for run in evenly(runs, 4)] == [0, 33, 66, 99]
    assert evenly(runs[:3], 16) == runs[:3]


def test_one_part_that_loses_stops_a_change():
    whole = Noise(np.array([[1.0], [1.0]]), np.array([1.0, 1e-6]))
    better = Noise(np.array([[0.5], [0.5]]), np.array([0.5, 1e-6]))
    lossy = Noise(np.array([[0.5], [0.5]]), np.array([0.5, 3e-6]))
    assert better.is_better_than(whole, 0.7)
    assert not lossy.is_better_than(whole, 0.7)
