"""What is exported as QDQ onnxruntime computes alike, and read again it is the same model."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner

from edgeinfer.cli.commands import edgeinfer
from edgeinfer.converters import from_onnx
from edgeinfer.converters.qdq import to_qdq
from edgeinfer.errors import InputError, UnsupportedError
from edgeinfer.files.model_file import save
from edgeinfer.graph import Graph, GraphBuilder, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.quant import as_stated, quantize
from edgeinfer.runtime.session import Session
from tests.converters.onnx_agreement import model, node
from tests.converters.test_quantized_models import SAMPLES, SHAPE, floats, network
from tests.converters.test_tflite import WORDS, embedded
from tests.refusals import refused

pytestmark = pytest.mark.filterwarnings("ignore::edgeinfer.errors.EdgeInferWarning")


def peer(proto: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """onnxruntime without fusions, which saturate on processors without VNNI."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    return onnxruntime.InferenceSession(proto.SerializeToString(), options)


def steps_apart(graph: Graph, samples: np.ndarray) -> np.ndarray:
    """By how many steps the outputs differ."""
    session, other = Session(graph), peer(to_qdq(graph))
    (name,) = graph.outputs
    found = [session.run(x[None]) - other.run(None, {graph.inputs[0]: x[None]})[0] for x in samples]
    return np.abs(found) / graph.types[name].quantization.step


def places() -> onnx.ModelProto:
    """What moves elements and finds extremes, and a sum of values of different orders."""
    return model(
        [
            node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            node("Split", ["c"], ["a", "b"], axis=1, num_outputs=2),
            node("Max", ["a", "b"], ["m"]),
            node("Concat", ["m", "a"], ["k"], axis=1),
            node("Slice", ["k", "first", "last", "axes", "steps"], ["l"]),
            node("Pad", ["l", "pads"], ["p"], mode="edge"),
            node("Transpose", ["p"], ["t"], perm=[0, 2, 3, 1]),
            node("ReduceMax", ["t", "two"], ["r"], keepdims=1),
            node("Sub", ["t", "r"], ["d"]),
            node("LeakyRelu", ["d"], ["e"], alpha=0.1),
            node("AveragePool", ["e"], ["y"], kernel_shape=[2, 2], strides=[2, 2]),
        ],
        SHAPE,
        {
            "w": floats(0, 8, 3, 3, 3),
            "first": np.array([0, 11]),
            "last": np.array([2**31, -100]),
            "axes": np.array([2, 3]),
            "steps": np.array([1, -2]),
            "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
            "two": np.array([2]),
        },
        opset=18,
    )


def sequence() -> onnx.ModelProto:
    """Dense layers of three axes, whose channels are along the second axis of their weights."""
    return model(
        [
            node("Reshape", ["x", "rows"], ["r"]),
            node("MatMul", ["r", "w"], ["m"]),
            node("Add", ["m", "b"], ["a"]),
            node("Relu", ["a"], ["h"]),
            node("MatMul", ["h", "v"], ["y"]),
        ],
        SHAPE,
        {
            "rows": np.array([1, -1, SHAPE[-1]]),
            "w": floats(0, SHAPE[-1], 8),
            "b": floats(1, 8),
            "v": floats(2, 8, 5),
        },
    )


def heads() -> onnx.ModelProto:
    """Quotients, norms, slopes a channel and a place, rows by index, and enlarged pictures."""
    return model(
        [
            node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            node("PRelu", ["c", "slopes"], ["p"]),
            node("PRelu", ["p", "places"], ["q"]),
            node("Resize", ["q", "", "scales"], ["r"], mode="nearest",
                 coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
            node("Resize", ["r", "", "", "sizes"], ["s"], mode="nearest"),
            node("ReduceL2", ["s", "channels"], ["l"], keepdims=1),
            node("Add", ["l", "one"], ["n"]),
            node("Div", ["s", "n"], ["d"]),
            node("Gather", ["d", "order"], ["g"], axis=1),
            node("GatherElements", ["g", "elements"], ["y"], axis=3),
        ],
        SHAPE,
        {
            "w": floats(0, 8, 3, 3, 3),
            "slopes": floats(1, 8, 1, 1),
            "places": floats(2, *SHAPE[-2:]),
            "scales": np.array([1, 1, 2, 3], np.float32),
            "sizes": np.array([1, 8, 17, 11]),
            "channels": np.array([1]),
            "one": np.array(1, np.float32),
            "order": np.array([3, 0, -1]),
            "elements": np.arange(3 * 17 * 2).reshape(1, 3, 17, 2) % 11,
        },
        opset=18,
    )  # fmt: skip


def normalized() -> onnx.ModelProto:
    """All measures, over last axes, places and groups, with scales for channels and elements."""
    return model(
        [
            node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            node("InstanceNormalization", ["c", "s", "b"], ["i"]),
            node("GroupNormalization", ["i", "s", "b"], ["g"], num_groups=2),
            node("LpNormalization", ["g"], ["l"], axis=1, p=1),
            node("LpNormalization", ["l"], ["m"], axis=2, p=2),
            node("Add", ["m", "i"], ["a"]),
            node("LayerNormalization", ["a", "t", "u"], ["n"], axis=2),
            node("RMSNormalization", ["n", "v"], ["y"]),
        ],
        SHAPE,
        {
            "w": floats(0, 8, 3, 3, 3),
            "s": floats(1, 8),
            "b": floats(2, 8),
            "t": floats(3, *SHAPE[-2:]),
            "u": floats(4, *SHAPE[-2:]),
            "v": floats(5, SHAPE[-1]),
        },
        opset=23,
    )


WAYS = {
    "half pixel": ({"mode": "linear"}, (13, 9)),
    "corners": ({"mode": "linear", "coordinate_transformation_mode": "align_corners"}, (20, 11)),
    "asymmetric": ({"mode": "linear", "coordinate_transformation_mode": "asymmetric"}, (24, 22)),
    "near half pixel": (
        {"mode": "linear", "coordinate_transformation_mode": "asymmetric"},
        (13, 9),
    ),
    "antialias": ({"mode": "linear", "antialias": 1}, (7, 5)),
    "cubic": ({"mode": "cubic"}, (14, 10)),
    "cubic, a half": ({"mode": "cubic", "cubic_coeff_a": -0.5}, (9, 12)),
}


def resized(way: str) -> onnx.ModelProto:
    """A picture enlarged or reduced by weights."""
    how, size = WAYS[way]
    nodes = [
        node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        node("Resize", ["c", "", "", "sizes"], ["y"], **how),
    ]
    constants = {"w": floats(0, 8, 3, 3, 3), "sizes": np.array([1, 8, *size])}
    return model(nodes, SHAPE, constants, opset=18)


MODELS = {
    "network": network,
    "places": places,
    "sequence": sequence,
    "heads": heads,
    "normalized": normalized,
    **{way: partial(resized, way) for way in WAYS},
}


@pytest.mark.parametrize("scheme", ["int8", "int16x8", "int16"])
@pytest.mark.parametrize("name", MODELS)
def test_onnxruntime_computes_the_same_to_within_a_step(name, scheme):
    graph = quantize(from_onnx(MODELS[name]()), SAMPLES, scheme=scheme)
    apart = steps_apart(graph, SAMPLES)
    # float32 errs by a share of a step of 16 bits in each layer
    assert apart.max() < (1.01 if scheme == "int8" else 8)
    # means of integers are halves often, which are rounded up here, and there to even
    ties = 0.04 if name in WAYS else 1e-3
    assert (apart > 0.5).mean() <= (ties if scheme == "int8" else 0.3)


@pytest.mark.parametrize("scheme", ["int8", "int16x8", "int16"])
@pytest.mark.parametrize("name", MODELS)
def test_read_again_it_is_the_same_model(name, scheme):
    graph = quantize(from_onnx(MODELS[name]()), SAMPLES, scheme=scheme)
    again = as_stated(from_onnx(to_qdq(graph)))
    first, second = Session(graph), Session(again)
    for x in SAMPLES:
        assert np.array_equal(first.run(x[None]), second.run(x[None]))
    assert again.types[again.inputs[0]] == graph.types[graph.inputs[0]]
    assert again.types[again.outputs[0]] == graph.types[graph.outputs[0]]


def test_the_same_graph_is_the_same_bytes():
    graph = quantize(from_onnx(network()), SAMPLES)
    a, b = (to_qdq(graph).SerializeToString(deterministic=True) for _ in range(2))
    assert a == b


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kws_dscnn", "ad_autoencoder", "cifar10_resnet20", "mnist_lstm"])
def test_real_models_are_the_same_read_again(zoo, name):
    entry = zoo.load(name)
    graph = quantize(from_onnx(entry.model), entry.calib[:40], observer="minmax")
    again = as_stated(from_onnx(to_qdq(graph)))
    x = entry.x[:40].astype(np.float32)
    first, second = Session(graph), Session(again)
    for sample in x:
        assert np.array_equal(first.run(sample[None]), second.run(sample[None]))
    within = steps_apart(graph, x).reshape(len(x), -1).max(1) < 1.01
    # 28 steps of a layer add up what ties of floats make, and of an unsure sample a softmax more
    assert within.mean() >= (0.95 if name == "mnist_lstm" else 1)


# ---- refusals


def test_a_table_that_is_read_at_given_places_is_the_same_read_again():
    graph = quantize(embedded(), WORDS)
    again = as_stated(from_onnx(to_qdq(graph)))
    first, second = Session(graph), Session(again)
    for feed in WORDS:
        assert np.array_equal(first.run(feed), second.run(feed))


def test_operators_without_a_form_are_all_named():
    b = GraphBuilder("curves")
    x = b.input("x", TensorType((1, 4)))
    b.add(ops.Pointwise(("trunc", "x")), x, output="a")
    b.add(ops.Pointwise(("mul", 2.0, ("trunc", "x"))), x, output="b")
    graph = quantize(b.graph("a", "b"), [np.ones((1, 4), "f4") * i for i in range(-9, 9)])
    with refused(
        f"2 of {len(graph.nodes)} operators cannot be exported: Lookup 'a': the function trunc has "
        "no operator of ONNX's; Lookup 'b': the function trunc has no operator of ONNX's",
        UnsupportedError,
    ):
        to_qdq(graph)


def test_a_float_graph_has_nothing_to_export():
    with refused("a float model has no integers to export: quantize it first", InputError):
        to_qdq(from_onnx(network()))


# ---- the command


def exported(*arguments: object) -> str:
    done = CliRunner().invoke(edgeinfer, ["export", *map(str, arguments)])
    return done.output if done.exit_code == 0 else done.stderr


def test_the_command_writes_what_convert_reads(tmp_path):
    graph = quantize(from_onnx(network()), SAMPLES)
    save(graph, tmp_path / "model.eqm")
    out = tmp_path / "model.onnx"
    said = exported(tmp_path / "model.eqm", "--to", "qdq", "-o", out)
    assert said.startswith(f"wrote {out}: ".replace("\\", "/")) or said.startswith("wrote ")
    read = as_stated(from_onnx(out))
    x = SAMPLES[:1]
    assert np.array_equal(Session(read).run(x), Session(graph).run(x))


@pytest.mark.parametrize("name", ["model.eqm", "model.tflite", "model"])
def test_another_ending_is_refused(tmp_path, name):
    save(quantize(from_onnx(network()), SAMPLES), tmp_path / "made.eqm")
    said = exported(tmp_path / "made.eqm", "--to", "qdq", "-o", Path("out") / name)
    assert said == f"error: cannot write out/{name}: --to qdq writes .onnx files\n"


def test_a_failed_export_leaves_nothing(tmp_path):
    graph = from_onnx(network())
    save(graph, tmp_path / "float.eqm")
    said = exported(tmp_path / "float.eqm", "--to", "qdq", "-o", tmp_path / "out.onnx")
    assert said == "error: a float model has no integers to export: quantize it first\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["float.eqm"]
