"""Whatever a model calls its nodes and values, each layer keeps what is its own."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.converters import from_onnx
from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from edgeinfer.graph.names import DistinctNames
from edgeinfer.meaning.reference import execute
from edgeinfer.quant import quantize
from edgeinfer.session import Session
from tests.converters.onnx_agreement import agreement, model, node

RNG = np.random.default_rng(5)
WEIGHTS = {f"w{i}": RNG.normal(size=(3, 3, 3, 3)).astype("f4") * 0.4 for i in range(3)}
BIASES = {f"b{i}": RNG.normal(size=3).astype("f4") for i in range(3)}
SAMPLES = RNG.normal(size=(16, 3, 6, 6)).astype("f4")


def layers(nodes: tuple[str, str, str], values: tuple[str, str] = ("p", "q")):
    """Three convolutions in a row, under these names, with these values between them."""
    takes, gives = ("x", *values), (*values, "y")
    made = [
        node("Conv", [takes[i], f"w{i}", f"b{i}"], [gives[i]], name=nodes[i], pads=[1, 1, 1, 1])
        for i in range(3)
    ]
    return model(made, (1, 3, 6, 6), {**WEIGHTS, **BIASES})


def integers(graph: Graph) -> np.ndarray:
    integer = quantize(graph, SAMPLES, observer="minmax")
    x = integer.types["x"].quantization.quantize(SAMPLES[:1], "int8")
    return execute(integer, {"x": x})["y"]


@pytest.mark.parametrize(
    "nodes, expected",
    [
        (("a", "a", "a@2"), ("a", "a@3", "a@2")),
        (("a@2", "a", "a"), ("a@2", "a", "a@3")),
        (("a", "a", "a"), ("a", "a@2", "a@3")),
        (("", "p", ""), ("p", "p@2", "y")),
        (("a b", "../../x", "é/中"), ("a b", "../../x", "é/中")),
    ],
)
def test_the_nodes_of_a_graph_have_names_of_their_own(nodes, expected):
    graph = from_onnx(layers(nodes))
    assert tuple(n.name for n in graph.nodes if isinstance(n.op, ops.Conv)) == expected
    np.testing.assert_array_equal(integers(graph), integers(from_onnx(layers(("n0", "n1", "n2")))))


@pytest.mark.parametrize(
    "values",
    [("p@1", "p@2"), ("@p", "@q"), ("y#Conv", "é/中 1:0"), ("b0@2", "w0@2")],
)
def test_values_keep_the_names_that_the_model_gives_them(values):
    graph = agreement(layers(("l0", "l1", "l2"), values), intermediate=True)
    assert {*values, "x", "y"} <= set(graph.types)


@pytest.mark.parametrize(
    "values",
    [
        ("n1/weights", "n1/bias"),
        ("n2/multiplier", "n0/shift"),
        ("n0/weights@2", "n0/weights"),
    ],
)
def test_what_the_quantizer_makes_is_called_like_no_value_of_the_model(values):
    graph = from_onnx(layers(("n0", "n1", "n2"), values))
    np.testing.assert_array_equal(integers(graph), integers(from_onnx(layers(("n0", "n1", "n2")))))


@pytest.mark.parametrize("other", ["k/rescaled", "join/input0", "join/input1"])
def test_what_the_quantizer_rescales_is_called_like_no_value_of_the_model(other):
    def joined(name: str) -> Graph:
        made = [
            node("Relu", ["x"], ["r"], name="join/input0"),
            node("Mul", ["r", "k"], [name], name="k/rescaled"),
            node("Concat", [name, "k", "x"], ["c"], name="join", axis=1),
            node("Add", ["c", "k"], ["y"], name="last"),
        ]
        constants = {"k": np.linspace(-3, 5, 108, dtype="f4").reshape(1, 3, 6, 6)}
        made[-1] = node("Relu", ["c"], ["y"], name="last")
        return from_onnx(model(made, (1, 3, 6, 6), constants))

    np.testing.assert_array_equal(integers(joined(other)), integers(joined("plain")))


def test_an_input_may_be_an_output_under_the_same_name():
    made = layers(("a", "b", "c"))
    made.graph.output.add().name = "x"
    graph = agreement(made)
    assert graph.outputs == ("y", "x")
    integer = quantize(graph, SAMPLES, observer="minmax")
    x = integer.types["x"].quantization.quantize(SAMPLES[:1], "int8")
    np.testing.assert_array_equal(execute(integer, {"x": x})["x"], x)
    np.testing.assert_array_equal(Session(integer).run(x)["x"], x)


def test_a_name_that_is_made_is_none_that_the_model_uses():
    names = DistinctNames({"a", "a@2", "a@4"})
    assert [names.claim("a") for _ in range(3)] == ["a", "a@3", "a@5"]
    assert names.claim("a@2") == "a@2"
    assert names.made("a") == "a@6"
    assert names.made("b") == "b"
