"""TensorFlow Lite's files are read as what they say, written as what a Graph says, and refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from edgeinfer.cli.commands import edgeinfer
from edgeinfer.converters import from_onnx, from_tflite, to_tflite
from edgeinfer.converters.tflite.model import Model, Operator, Quantized, Tensor
from edgeinfer.converters.tflite.reading import parse
from edgeinfer.converters.tflite.writing import serialize
from edgeinfer.errors import EdgeInferError, InputError, ModelFileError, UnsupportedError
from edgeinfer.files.model_file import read, save
from edgeinfer.graph import Graph
from edgeinfer.graph.preparation import Preparation
from edgeinfer.quant import as_stated, quantize
from edgeinfer.runtime.session import Session
from tests.converters.onnx_agreement import model, node
from tests.converters.test_quantized_models import SAMPLES, SHAPE, floats
from tests.converters.tflite_models import CASES
from tests.refusals import refused

pytestmark = pytest.mark.filterwarnings("ignore::edgeinfer.errors.EdgeInferWarning")


def network() -> Graph:
    """Layers, sums, products, pools, functions and moves, each of which has an operator there."""
    return from_onnx(
        model(
            [
                node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
                node("Relu", ["c"], ["r"]),
                node("Conv", ["r", "dw"], ["d"], pads=[1, 1, 1, 1], strides=[2, 2], group=8),
                node("Clip", ["d", "low", "six"], ["e"]),
                node("MaxPool", ["r"], ["m"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
                node("Add", ["e", "m"], ["a"]),
                node("Mul", ["a", "m"], ["n"]),
                node("Concat", ["n", "a"], ["k"], axis=1),
                node("Slice", ["k", "first", "last", "axis"], ["k0"]),
                node("Sub", ["k0", "n"], ["u"]),
                node("LeakyRelu", ["u"], ["l"], alpha=0.1),
                node("ReduceMean", ["l", "over"], ["v"], keepdims=0),
                node("Gemm", ["v", "f", "o"], ["z"], transB=1),
                node("Softmax", ["z"], ["y"]),
            ],
            SHAPE,
            {
                "w": floats(0, 8, 3, 3, 3),
                "b": floats(1, 8),
                "dw": floats(2, 8, 1, 3, 3),
                "low": np.float32(0),
                "six": np.float32(6),
                "first": np.array([4]),
                "last": np.array([12]),
                "axis": np.array([1]),
                "over": np.array([2, 3]),
                "f": floats(3, 5, 8),
                "o": floats(4, 5),
            },
            opset=18,
        )
    )  # fmt: skip


def enlarged() -> Graph:
    """Rows and columns by index, and pictures to the nearest in three ways."""
    resize = [
        {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        {"coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_ceil"},
        {"coordinate_transformation_mode": "align_corners"},
    ]
    nodes = [node("Conv", ["x", "w"], ["r0"], pads=[1, 1, 1, 1])]
    for place, how in enumerate(resize):
        given, made = f"r{place}", f"r{place + 1}"
        nodes.append(node("Resize", [given, "", "", f"size{place}"], [made], **how))
    nodes += [node("Gather", ["r3", "order"], ["g"], axis=2), node("Relu", ["g"], ["y"])]
    constants = {"w": floats(0, 8, 3, 3, 3), "order": np.array([5, 0, -1, 2])}
    sizes = {f"size{n}": np.array([1, 8, 7 + 3 * n, 13 - n]) for n in range(len(resize))}
    return from_onnx(model(nodes, SHAPE, {**constants, **sizes}, opset=18))


def same_bits(graph: Graph, other: Graph) -> None:
    first, second = Session(graph), Session(other)
    for x in SAMPLES:
        assert np.array_equal(first.run(x[None]), second.run(x[None]))


@pytest.mark.parametrize("name", CASES)
def test_every_operator_that_is_read_has_the_shapes_that_the_file_says(name):
    case = CASES[name]
    graph = from_tflite(case.content())
    assert [graph.types[output].shape for output in graph.outputs] == list(case.results)


@pytest.mark.parametrize("rounding", ["single", "double"])
def test_what_is_exported_and_read_again_computes_the_same(rounding):
    graph = quantize(network(), SAMPLES, rounding=rounding)
    again = as_stated(from_tflite(to_tflite(graph)), rounding=rounding)
    same_bits(graph, again)
    for name in (*graph.inputs, *graph.outputs):
        assert again.types[name] == graph.types[name]


def test_pictures_and_indices_are_the_same_read_again():
    graph = quantize(enlarged(), SAMPLES)
    model = parse(to_tflite(graph), "it")
    names = [operator.name for operator in model.operators]
    assert names.count("RESIZE_NEAREST_NEIGHBOR") == 2
    # the third has no form of its own
    assert names.count("GATHER") == 3
    same_bits(graph, as_stated(from_tflite(to_tflite(graph))))


WORDS = [{"ids": np.random.default_rng(i).integers(0, 20, (1, 6))} for i in range(20)]


def embedded() -> Graph:
    """Words by their places in a table, and a layer of each."""
    nodes = [
        node("Gather", ["table", "ids"], ["e"], axis=0),
        node("MatMul", ["e", "w"], ["m"]),
        node("Relu", ["m"], ["y"]),
    ]
    constants = {"table": floats(0, 20, 8), "w": floats(1, 8, 5)}
    proto = model(nodes, constants=constants, inputs={"ids": [1, 6]})
    proto.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    return from_onnx(proto)


@pytest.mark.parametrize("scheme", ["int8", "int16x8"])
def test_a_table_is_read_at_places_that_are_given(scheme):
    graph = quantize(embedded(), WORDS, scheme=scheme)
    content = to_tflite(graph)
    names = [operator.name for operator in parse(content, "it").operators]
    assert names == ["MAXIMUM", "MINIMUM", "GATHER", "FULLY_CONNECTED"]
    first, second = Session(graph), Session(as_stated(from_tflite(content)))
    for feed in WORDS:
        assert np.array_equal(first.run(feed), second.run(feed))
    # what lies outside of the table, which the Session refuses, reads its edge
    (outside, edge) = ({"ids": np.array([[*ends, 7, 8, 9, 3]])} for ends in ((-99, 20), (0, 19)))
    assert np.array_equal(second.run(outside), second.run(edge))


def spread(coordinates: str) -> Graph:
    """A picture resized by weights, a row of each of its places chosen, and stretched."""
    nodes = [
        node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        node(
            "Resize", ["c", "", "", "sizes"], ["r"], mode="linear",
            coordinate_transformation_mode=coordinates,
        ),
        node("GatherElements", ["r", "places"], ["g"], axis=3),
        node("Expand", ["g", "shape"], ["y"]),
    ]  # fmt: skip
    constants = {
        "w": floats(0, 8, 3, 3, 3),
        "sizes": np.array([1, 8, 13, 9]),
        "places": np.arange(13 * 8).reshape(1, 8, 13, 1) % 17 - 8,
        "shape": np.array([1, 8, 13, 3]),
    }
    return from_onnx(model(nodes, SHAPE, constants, opset=18))


@pytest.mark.parametrize("scheme", ["int8", "int16x8"])
@pytest.mark.parametrize("coordinates", ["half_pixel", "align_corners", "asymmetric"])
def test_resizes_and_places_are_the_same_read_again(coordinates, scheme):
    graph = quantize(spread(coordinates), SAMPLES, scheme=scheme)
    names = [operator.name for operator in parse(to_tflite(graph), "it").operators]
    assert names.count("RESIZE_BILINEAR") == 1
    same_bits(graph, as_stated(from_tflite(to_tflite(graph))))


def test_slopes_a_channel_become_bytes_of_one_scale():
    nodes = [
        node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        node("PRelu", ["c", "slopes"], ["y"]),
    ]
    constants = {"w": floats(0, 8, 3, 3, 3), "slopes": np.linspace(-0.2, 0.5, 8).reshape(8, 1, 1)}
    constants["slopes"] = constants["slopes"].astype(np.float32)
    graph = quantize(from_onnx(model(nodes, SHAPE, constants)), SAMPLES)
    again = as_stated(from_tflite(to_tflite(graph)))
    step = graph.types["y"].quantization.step
    a, b = Session(graph), Session(again)
    assert max(np.abs(a.run(x[None]) - b.run(x[None])).max() for x in SAMPLES) < 1.5 * step
    wide = quantize(from_onnx(model(nodes, SHAPE, constants)), SAMPLES, scheme="int16x8")
    with refused(
        "1 of 4 operators cannot be exported: QPRelu 'y': TensorFlow Lite's PRELU has 8 bits",
        UnsupportedError,
    ):
        to_tflite(wide)


def test_a_function_of_several_is_one_operator_each_and_near():
    """Each rounds, at the scale that it prescribes, so that the result is off by a step or two."""
    nodes = [
        node("Sigmoid", ["x"], ["s"]),
        node("Mul", ["x", "s"], ["m"]),
        node("Sub", ["m", "half"], ["d"]),
        node("Clip", ["d", "low", "six"], ["y"]),
    ]
    numbers = {"half": np.float32(0.5), "low": np.float32(-0.6), "six": np.float32(2)}
    graph = quantize(from_onnx(model(nodes, (1, 64), numbers)), 2 * floats(0, 12, 64))
    assert len(graph.nodes) == 1
    again = as_stated(from_tflite(to_tflite(graph)))
    first, second = Session(graph), Session(again)
    step = graph.types["y"].quantization.step
    x = np.linspace(-6, 6, 64, dtype=np.float32)[None]
    assert np.abs(first.run(x) - second.run(x)).max() < 3 * step


def test_sixteen_bits_with_weights_of_eight_are_the_same_read_again():
    graph = quantize(network(), SAMPLES, scheme="int16x8")
    same_bits(graph, as_stated(from_tflite(to_tflite(graph))))


def test_the_same_graph_is_the_same_bytes():
    graph = quantize(network(), SAMPLES)
    assert to_tflite(graph) == to_tflite(graph)


def test_names_labels_and_preparation_stand_in_the_file():
    how = Preparation("nchw", "rgb", mean=(1.0, 2.0, 3.0))
    graph = quantize(network(), SAMPLES)
    graph = replace(graph, labels=("café", *"bcde"), preparation={"x": how})
    content = to_tflite(graph)
    written = parse(content, "it")
    assert [written.labels[place] for place in (*written.inputs, *written.outputs)] == ["x", "y"]
    start = content.index(b'{"labels"')
    told = json.JSONDecoder().raw_decode(content[start:].decode("utf-8", "replace"))[0]
    assert told["labels"] == ["café", *"bcde"]
    assert told["preparation"]["x"]["mean"] == [1.0, 2.0, 3.0]


def test_a_first_axis_of_any_extent_stays_one():
    proto = model([node("Gemm", ["x", "w"], ["y"])], ("N", 4), {"w": floats(0, 4, 3)})
    graph = quantize(from_onnx(proto), floats(1, 12, 4))
    again = as_stated(from_tflite(to_tflite(graph)))
    assert again.free_batch
    assert Session(again).run(floats(2, 5, 4)).shape == (5, 3)


def test_weights_of_unsigned_bytes_lose_nothing():
    t = Quantized(np.array([0.5], np.float32), np.array([128]), 0)
    weights = np.arange(12, dtype=np.uint8).reshape(3, 4) * np.uint8(20)
    named = [
        Tensor("x", (1, 4), np.dtype(np.uint8), False, t, None),
        Tensor("w", (3, 4), np.dtype(np.uint8), False, t, weights),
        Tensor("y", (1, 3), np.dtype(np.uint8), False, replace(t, scale=np.float32([40])), None),
    ]
    options = {"FusedActivationFunction": 0}
    layer = Operator("FULLY_CONNECTED", options, (0, 1, -1), (2,))
    made = Model("m", named, [layer], (0,), (2,), {0: "x", 2: "y"})
    session = Session(as_stated(from_tflite(serialize(made, {}, {}, "a test"))))
    x = np.float32([[-3, 2.5, 0.5, 1]])
    real = x @ ((weights.astype("f4") - 128) / 2).T
    np.testing.assert_array_equal(session.run(x), np.rint(real / 40) * 40)


def test_the_command_line_reads_and_writes_them(tmp_path: Path):
    graph = quantize(network(), SAMPLES, rounding="double")
    save(graph, tmp_path / "m.eqm")
    runner = CliRunner()

    def run(*arguments: str) -> str:
        result = runner.invoke(edgeinfer, [*map(str, arguments)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    out, again = tmp_path / "m.tflite", tmp_path / "again.eqm"
    said = run("export", tmp_path / "m.eqm", "--to", "tflite", "-o", out)
    assert "operators of TensorFlow Lite" in said
    assert "rounds twice" not in said
    run("convert", out, "-o", again, "--rounding", "double")
    same_bits(graph, read(again))
    assert "QConv" in run("inspect", out)
    once = quantize(network(), SAMPLES)
    save(once, tmp_path / "once.eqm")
    said = run("export", tmp_path / "once.eqm", "--to", "tflite", "-o", out)
    assert "quantize with --rounding double for the same bits" in " ".join(said.split())


# ---- refusals


def dense(weights_dtype: str) -> Graph:
    proto = model([node("Gemm", ["x", "w"], ["y"])], (1, 4), {"w": floats(0, 4, 3)})
    return quantize(from_onnx(proto), floats(1, 12, 4), scheme=weights_dtype)


def test_weights_of_sixteen_bits_are_refused():
    with refused(
        "1 of 1 operators cannot be exported: "
        "QDense 'y': its weights have 16 bits, and TensorFlow Lite's have 8",
        UnsupportedError,
    ):
        to_tflite(dense("int16"))


def test_layers_between_widths_are_refused():
    proto = model([node("Gemm", ["x", "w"], ["y"])], (1, 4), {"w": floats(0, 4, 3)})
    graph = quantize(from_onnx(proto), floats(1, 12, 4), overrides={"x": "int16", "y": "int8"})
    with refused(
        "1 of 1 operators cannot be exported: "
        "QDense 'y': it takes and gives integers of 8 and of 16 bits",
        UnsupportedError,
    ):
        to_tflite(graph)


def test_functions_that_it_has_not_are_refused_by_name():
    proto = model([node("Mish", ["x"], ["y"])], (1, 4), opset=18)
    graph = quantize(from_onnx(proto), floats(1, 12, 4))
    with refused(
        "1 of 1 operators cannot be exported: "
        "Lookup 'y': TensorFlow Lite has no operator of integers for mish",
        UnsupportedError,
    ):
        to_tflite(graph)


def test_a_float_model_is_not_exported():
    with refused("a float model has no integers to export: quantize it first", InputError):
        to_tflite(network())


def one(operator: str, **options: float) -> bytes:
    named = [Tensor(name, (1, 4), np.dtype(np.float32), False, None, None) for name in "xy"]
    read = Model(
        "m", named, [Operator(operator, options, (0,), (1,))], (0,), (1,), {0: "x", 1: "y"}
    )
    return serialize(read, {}, {}, "a test")


def test_operators_that_are_not_read_are_named_at_once():
    with refused(
        "operators of the .tflite model that cannot be imported: RFFT2D", UnsupportedError
    ):
        from_tflite(one("RFFT2D"))


def test_what_an_operator_lacks_is_told_with_its_name():
    with refused("CONV_2D 'y': input 1 is missing"):
        from_tflite(one("CONV_2D"))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("pad", {1: np.int32([[0, 1]])}, "input 1 must hold 2 numbers for each of 2 axes"),
        ("transpose", {1: np.int32([0, 1, 1, 2])}, "[0, 1, 1, 2] is no order of 4 axes"),
        ("split", {0: np.int32([1, 1])}, "input 0 must hold one integer, not 2"),
        ("split", {0: np.array(7, np.int32)}, "axis 7 is none of 2"),
        ("slice", {1: np.int32([0])}, "1 starts and 4 sizes are not 4"),
        ("RESIZE_BILINEAR plain", {1: np.int32([3])}, "it has 1 sizes, not 2"),
        ("mean", {1: np.float32([1])}, "input 1 must hold integers"),
        ("conv", {0: (7, 6, 4)}, "input 0 must have 4 axes, not shape [7, 6, 4]"),
    ],
)
def test_what_contradicts_itself_is_refused(name, change, message):
    case = CASES[name]
    operands = tuple(change.get(i, operand) for i, operand in enumerate(case.operands))
    with refused(f"{case.operator} 'y0': {message}"):
        from_tflite(replace(case, operands=operands).content())


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\0\0\0\0TFL2" + bytes(40)])
def test_other_files_are_refused(content):
    with refused("the file is not a .tflite file", ModelFileError):
        from_tflite(content)


DAMAGED = "the file is damaged: it is not a whole .tflite file"


def test_a_file_that_ends_early_is_refused():
    content = to_tflite(quantize(network(), SAMPLES))
    refusals = set()
    for end in range(8, len(content) - 1, len(content) // 200):
        with pytest.raises(EdgeInferError) as caught:
            from_tflite(content[:end])
        refusals.add(str(caught.value))
    assert DAMAGED in refusals


def mutants(content: bytes, count: int, seed: int):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        made = bytearray(content)
        for place in rng.integers(8, len(made), rng.integers(1, 6)):
            made[place] = rng.choice([0, 1, 127, 128, 255, int(rng.integers(256))])
        yield bytes(made)


def damaged_files_do_no_harm(content: bytes, count: int, seed: int) -> None:
    """Each is refused with an error of ours, or is a model that runs."""
    told = 0
    for mutant in mutants(content, count, seed):
        try:
            as_stated(from_tflite(mutant))
        except EdgeInferError:
            told += 1
    assert told > count / 20


def test_damaged_files_do_no_harm():
    # where a file has no large constants most of it is structure
    graph = quantize(network(), SAMPLES)
    damaged_files_do_no_harm(to_tflite(graph), 150, 0)


@pytest.mark.slow
def test_many_damaged_files_do_no_harm():
    damaged_files_do_no_harm(to_tflite(quantize(network(), SAMPLES)), 3000, 1)
