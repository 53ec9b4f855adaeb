"""The benchmark of coverage takes a network from its file to the page, and no network ends it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def onnx_model(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    """From ``x`` to ``y``, 1 by 8 each, with the matrix ``w``."""
    rng = np.random.default_rng(0)
    weights = numpy_helper.from_array(rng.normal(size=(8, 8)).astype(np.float32), "w")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8]) for name in "xy"]
    graph = helper.make_graph(nodes, "toy", ends[:1], ends[1:], [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


DENSE = (helper.make_node("Gemm", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"]))
# what is drawn anew in each run cannot be imported
RANDOM = (
    helper.make_node("RandomNormalLike", ["x"], ["r"], name="noise"),
    helper.make_node("Add", ["x", "r"], ["y"]),
)


def put(folder: Path, name: str, *nodes: onnx.NodeProto) -> None:
    """A network of ``folder``, as building leaves it."""
    from architectures.files import Exported
    from architectures.inputs import Input

    onnx.save(onnx_model(*nodes), folder / f"{name}.onnx")
    inputs = [Input((1, 8), "noise")]
    Exported(name, "toys", inputs, {"by hand": f"{name}.onnx"}, origin="a test").write(folder)


def run(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, BENCHMARKS / "coverage.py", *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True)


@pytest.mark.slow
def test_networks_of_a_folder_are_measured_and_tabulated(benchmarks, tmp_path):
    import coverage_tables

    models, kept, page = tmp_path / "models", tmp_path / "all.json", tmp_path / "page.md"
    models.mkdir()
    put(models, "dense", *DENSE)
    put(models, "random", *RANDOM)
    options = ("--models", models, "-o", kept, "--markdown", page)
    done = run("--only", "toys", *options)
    assert done.returncode == 0, done.stderr
    results = json.loads(kept.read_text())["results"]
    dense, random = results["dense"], results["random"]
    assert coverage_tables.blocked(dense) == ""
    assert coverage_tables.difference(dense) < coverage_tables.AGREES
    int8, int16 = (coverage_tables.sqnr(dense, scheme) for scheme in ("int8", "int16"))
    assert 25 < int8 < int16 - 20
    assert int8 > coverage_tables.peer_sqnr(dense) - 1 > 20
    assert dense["peer"]["int8"]["floats"] == []
    assert "'noise'" in coverage_tables.blocked(random)
    assert coverage_tables.obstacles(coverage_tables.blocked(random)) == ["RandomNormalLike"]
    written = page.read_text()
    assert "2 networks; 1 are imported, 1 of them become wholly integer." in written
    assert "| RandomNormalLike | 1 | 1 |" in written
    # what was measured stays, and is not measured again
    put(models, "another", *DENSE)
    done = run("--only", "toys", "--resume", *options)
    assert [line.split()[0] for line in done.stderr.splitlines() if "int8" in line] == ["another"]
    assert set(json.loads(kept.read_text())["results"]) == {"dense", "random", "another"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--jobs 0", "--jobs must be at least 1, not 0"),
        ("--schemes int4", "argument --schemes: invalid choice: 'int4'"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(options, message):
    done = run(*options.split())
    assert done.returncode == 2
    assert f"coverage.py: error: {message}" in done.stderr


def test_a_process_that_does_not_end_is_ended(benchmarks, tmp_path):
    import coverage

    asked = {"scratch": str(tmp_path), "folder": str(tmp_path), "name": "n", "schemes": []}
    found = coverage.work("ours", asked, timeout=0.001)
    assert found["ended"] == "not done after 0.001 s"


def test_a_network_that_no_exporter_takes_says_why(benchmarks, tmp_path):
    import coverage
    import coverage_tables
    from architectures.files import Exported

    Exported("odd", "toys", [], errors={"dynamo": "ValueError: no"}).write(tmp_path)
    result = coverage.network("odd", "toys", tmp_path, ["int8"], timeout=60)
    assert coverage_tables.blocked(result) == "no exporter takes it: ValueError: no"


@pytest.mark.parametrize(
    ("message", "named"),
    [
        (
            "3 nodes cannot be imported: LSTM (ai.onnx opset 18) at 'a', 'b': recurrent layers are "
            "not imported; TopK (ai.onnx opset 18) at 'c': do this step in the program",
            ["LSTM", "TopK"],
        ),
        (
            "3 of 9 operators cannot be made integer yet: MatMul 'a', 'b', LayerNormalization 'c'; "
            "replace them in the model, or cut it before them with outputs=['d, E 'f']",
            ["LayerNormalization", "MatMul"],
        ),
        ("input 'x' is bool, which has no integer form",) * 2,
        ("x" * 111, "x" * 110 + "..."),
    ],
)
def test_what_blocks_is_the_operators_that_a_refusal_names(benchmarks, message, named):
    import coverage_tables

    assert coverage_tables.obstacles(message) == ([named] if isinstance(named, str) else named)


def test_an_operator_between_quantized_ones_is_on_integers(benchmarks, tmp_path):
    from coverage_worker import float_nodes

    def pair(name: str) -> list[onnx.NodeProto]:
        return [
            helper.make_node("QuantizeLinear", [name, "scale"], [f"{name}q"]),
            helper.make_node("DequantizeLinear", [f"{name}q", "scale"], [f"{name}d"]),
        ]

    nodes = [
        *pair("x"),
        helper.make_node("Gemm", ["xd", "w"], ["a"]),
        *pair("a"),
        helper.make_node("Gemm", ["ad", "w"], ["b"]),
        helper.make_node("Erf", ["b"], ["c"]),
        *pair("c"),
        helper.make_node("Identity", ["cd"], ["y"]),
    ]
    model = onnx_model(*nodes)
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.1), "scale"))
    onnx.save(model, tmp_path / "qdq.onnx")
    assert float_nodes(tmp_path / "qdq.onnx") == ["Gemm", "Erf"]
    model.graph.node[-1].op_type = "Tanh"
    onnx.save(model, tmp_path / "qdq.onnx")
    assert float_nodes(tmp_path / "qdq.onnx") == ["Gemm", "Erf", "Tanh"]


def test_samples_are_of_the_kinds_that_inputs_say(benchmarks):
    from architectures.inputs import Input, feeds, tokens

    inputs = [Input((1, 3, 32, 32)), Input((1, 2, 64), "signal", "s"), tokens((1, 9), 5, "t")]
    inputs.append(Input((1, 4), "ones", "m"))
    first, second = feeds(inputs, 2, seed=0)
    assert {name: array.shape for name, array in first.items()} == {
        each.name: each.shape for each in inputs
    }
    assert not np.array_equal(first["x"], second["x"])
    near = np.corrcoef(first["x"][..., 1:].ravel(), first["x"][..., :-1].ravel())[0, 1]
    assert near > 0.4
    assert first["t"].dtype == np.int64 and 0 <= first["t"].min() <= first["t"].max() < 5
    assert np.all(first["m"] == 1)
    assert feeds(inputs, 2, seed=0)[1]["s"].tobytes() == second["s"].tobytes()
    assert [Input.of_json(each.as_json()) for each in inputs] == inputs
