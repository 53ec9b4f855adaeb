"""Models of TensorFlow Lite's mean what LiteRT computes, and of integers what its Micro does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from edgeinfer.converters import from_onnx, from_tflite, to_tflite
from edgeinfer.demo import CALIBRATION, MODEL, TEST
from edgeinfer.graph import Graph
from edgeinfer.meaning.float_executor import execute
from edgeinfer.quant import as_stated, quantize
from edgeinfer.runtime.session import Session
from tests.converters.test_quantized_models import SAMPLES
from tests.converters.test_tflite import spread
from tests.converters.tflite_models import CASES
from tests.converters.tflite_stateful_models import lstm, summing
from tests.oracles.oracle_environment import run_program

RUNS = 3
TOLERANCE = 1e-5


def answers(
    who: str, folder: Path, models: Mapping[str, tuple[bytes, Mapping[str, np.ndarray]]]
) -> dict[str, dict[str, np.ndarray]]:
    """What ``who`` makes of files and their inputs, by name and output."""
    for name, (content, feeds) in models.items():
        (folder / f"{name}.tflite").write_bytes(content)
        np.savez(folder / f"{name}.in.npz", **feeds)
    run_program("tflm", "run_litert.py", Path(who), folder)
    found = {}
    for name in models:
        with np.load(folder / f"{name}.out.npz") as file:
            found[name] = {output: file[output] for output in file.files}
    return found


def test_each_operator_is_litert_s(oracles, tmp_path):
    runs = {name: [case.feeds(seed) for seed in range(RUNS)] for name, case in CASES.items()}
    given = {
        name: (case.content(), {k: np.stack([run[k] for run in runs[name]]) for k in runs[name][0]})
        for name, case in CASES.items()
    }
    found = answers("litert", tmp_path, given)
    wrong = []
    for name, case in CASES.items():
        graph = from_tflite(case.content())
        for i, feeds in enumerate(runs[name]):
            for output, values in execute(graph, feeds).items():
                expected = found[name][output][i]
                if values.shape != expected.shape or not np.allclose(
                    values, expected, rtol=TOLERANCE, atol=TOLERANCE
                ):
                    wrong.append((name, i))
    assert wrong == []


STATEFUL = {
    "sequence": (lstm(4), 1),
    "time first": (lstm(3, TimeMajor=True), 1),
    "clipped": (lstm(6, CellClip=0.4), 1),
    "step by step": (lstm(1), 5),
    "variable": (summing(np.zeros(4)), 5),
}
"""Files, and how many runs one after the other."""


def test_what_runs_leave_for_the_next_is_litert_s(oracles, tmp_path):
    rng = np.random.default_rng(0)
    graphs = {name: from_tflite(content) for name, (content, _) in STATEFUL.items()}
    feeds = {
        name: rng.normal(size=(STATEFUL[name][1], *graph.types["x"].shape)).astype("f4")
        for name, graph in graphs.items()
    }
    found = answers("litert", tmp_path, {n: (STATEFUL[n][0], {"x": feeds[n]}) for n in graphs})
    for name, graph in graphs.items():
        state: dict[str, np.ndarray] = {}
        computed = [execute(graph, {"x": x}, state=state)["y"] for x in feeds[name]]
        np.testing.assert_allclose(np.stack(computed), found[name]["y"], rtol=TOLERANCE, atol=1e-6)


def integers(graph: Graph, samples: np.ndarray) -> np.ndarray:
    t = graph.types[graph.inputs[0]]
    return t.quantization.quantize(samples.reshape(-1, *t.shape[1:]).astype("f4"), t.dtype)


def assert_micro_computes(graph: Graph, content: bytes, q: np.ndarray, folder: Path) -> None:
    """TensorFlow Lite Micro gives the Session's integers."""
    session = Session(graph)
    expected = np.stack([session.run(x[None]) for x in q])
    found = answers("tflm", folder, {"model": (content, {"x": q[:, None]})})
    np.testing.assert_array_equal(found["model"]["0"], expected)


def test_what_is_exported_micro_computes_alike(oracles, tmp_path):
    with np.load(CALIBRATION) as file:
        data = file["image"]
    with np.load(TEST) as file:
        samples = file["image"]
    graph = quantize(from_onnx(MODEL), data, rounding="double")
    content = to_tflite(graph)
    assert_micro_computes(graph, content, integers(graph, samples), tmp_path)
    again = as_stated(from_tflite(content), rounding="double")
    assert_micro_computes(again, content, integers(again, samples), tmp_path)


@pytest.mark.parametrize("coordinates", ["half_pixel", "align_corners", "asymmetric"])
def test_resized_pictures_are_micro_s_to_a_step(oracles, coordinates, tmp_path):
    """Its weights have 10 bits, and what it adds rounds halves away from 0."""
    graph = quantize(spread(coordinates), SAMPLES, rounding="double")
    q = integers(graph, SAMPLES[:8])
    session = Session(graph)
    computed = np.stack([session.run(x[None]) for x in q]).astype(int)
    given = {"model": (to_tflite(graph), {"x": q[:, None]})}
    found = answers("tflm", tmp_path, given)["model"]["0"]
    assert np.abs(computed - found).max() <= 1


ENTRIES = ("ad_autoencoder", "ic_resnet8", "kws_dscnn", "vww_mobilenet")
OTHERS = ("armkws_ds_cnn_s", "cifar10_resnet20")


@pytest.mark.slow
@pytest.mark.parametrize("name", ENTRIES)
def test_the_official_files_have_micro_s_bits(oracles, zoo, name, tmp_path):
    entry = zoo.load(name)
    content = entry.model.with_name(f"{name}.int8.tflite").read_bytes()
    graph = as_stated(from_tflite(content), rounding="double")
    assert_micro_computes(graph, content, integers(graph, entry.x[:200]), tmp_path)


@pytest.mark.slow
def test_the_official_lstm_has_micro_s_bits_but_for_its_functions(oracles, zoo, tmp_path):
    """Sigmoid and tanh are rounded to nearest here; Micro's tables are off by up to some steps."""
    entry = zoo.load("mnist_lstm")
    content = entry.model.with_name("mnist_lstm.int8.tflite").read_bytes()
    graph = as_stated(from_tflite(content), rounding="double")
    q = integers(graph, entry.x[:300])
    session = Session(graph)
    computed = np.stack([session.run(x[None]) for x in q]).astype(int)
    found = answers("tflm-anew", tmp_path, {"model": (content, {"x": q[:, None]})})["model"]["0"]
    assert np.mean(computed != found) < 1 / 200
    np.testing.assert_array_equal(computed.argmax(-1), found.argmax(-1))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*ENTRIES, *OTHERS])
def test_real_models_are_exported_with_their_bits(oracles, zoo, name, tmp_path):
    entry = zoo.load(name)
    graph = quantize(from_onnx(entry.model), entry.calib[:40], rounding="double")
    content = to_tflite(graph)
    assert_micro_computes(graph, content, integers(graph, entry.x[:60]), tmp_path)
