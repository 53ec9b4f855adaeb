"""A model is cut at its values: what lies before the inputs and behind the outputs is gone."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgeinfer.converters import from_onnx
from edgeinfer.errors import InputError
from edgeinfer.meaning.float_executor import execute
from tests.converters.onnx_agreement import model, node, onnxruntime_values, operators

RNG = np.random.default_rng(23)
WEIGHTS = {name: RNG.normal(size=(4, 4, 3, 3)).astype("f4") for name in ("v", "w")}


def network() -> onnx.ModelProto:
    """Two convolutions with a preparation before and a step after them that is not imported."""
    nodes = [
        node("Hardmax", ["x"], ["prepared"], name="preparation", axis=1),
        node("Conv", ["prepared", "v"], ["first"], name="one", pads=[1, 1, 1, 1]),
        node("Relu", ["first"], ["middle"]),
        node("Conv", ["middle", "w"], ["last"], name="two", pads=[1, 1, 1, 1]),
        node("Hardmax", ["last"], ["y"], name="decision", axis=1),
    ]
    return model(nodes, (1, 4, 6, 5), WEIGHTS)


def test_what_lies_before_and_behind_the_cuts_is_not_asked_for():
    proto = network()
    graph = from_onnx(proto, inputs=["prepared"], outputs=["middle", "last"])
    assert graph.inputs == ("prepared",)
    assert graph.outputs == ("middle", "last")
    assert operators(graph).count("Conv") == 2
    x = RNG.normal(size=(1, 4, 6, 5)).astype("f4")
    expected = onnxruntime_values(proto, {"x": x}, ["prepared", "middle", "last"])
    found = execute(graph, {"prepared": expected["prepared"]})
    for name in graph.outputs:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-4)


def test_only_the_inputs_that_are_still_needed_stay():
    nodes = [
        node("Relu", ["x"], ["a"]),
        node("Neg", ["k"], ["b"]),
        node("Add", ["a", "b"], ["c"]),
        node("Mul", ["c", "k"], ["y"]),
    ]
    proto = model(nodes, inputs={"x": (1, 3), "k": (1, 3)})
    assert from_onnx(proto, outputs=["a"]).inputs == ("x",)
    assert from_onnx(proto, inputs=["a"]).inputs == ("k", "a")
    assert from_onnx(proto, inputs=["a", "b"], outputs=["c"]).inputs == ("a", "b")
    assert from_onnx(proto, inputs=["c"]).inputs == ("k", "c")


def test_a_name_alone_is_one_name():
    graph = from_onnx(network(), inputs="prepared", outputs="middle")
    assert (graph.inputs, graph.outputs) == (("prepared",), ("middle",))


@pytest.mark.parametrize("cut", [{"inputs": ["y"]}, {"outputs": ["x"]}])
def test_a_cut_that_leaves_nothing_is_refused(cut):
    ((name,),) = cut.values()
    with pytest.raises(InputError) as caught:
        from_onnx(network(), **cut)
    assert str(caught.value) == (
        f"nothing is left to compute of the model where it is cut at ['{name}']"
    )


def test_a_cut_where_no_shape_is_known_asks_for_it():
    nodes = [
        node("Fancy", ["x"], ["v"], domain="com.example"),
        node("Relu", ["v"], ["y"]),
    ]
    proto = model(nodes, (1, 3))
    proto.opset_import.append(helper.make_opsetid("com.example", 1))
    with pytest.raises(InputError) as caught:
        from_onnx(proto, inputs=["v"])
    assert str(caught.value) == (
        "input 'v' has no shape: give its whole shape, input_shapes={'v': [1, 3, 224, 224]}"
    )
    graph = from_onnx(proto, inputs=["v"], input_shapes={"v": [2, 3]})
    assert str(graph.types["v"]) == "float32[2x3]"


def test_a_cut_input_has_the_type_of_its_value():
    nodes = [
        node("ArgMax", ["x"], ["index"], axis=1),
        node("Gather", ["k", "index"], ["y"]),
    ]
    graph = from_onnx(
        model(nodes, (1, 3), {"k": RNG.normal(size=(4, 2)).astype("f4")}), inputs=["index"]
    )
    assert str(graph.types["index"]) == "int64[1x1]"
    assert TensorProto.DataType.Name(TensorProto.INT64) == "INT64"


@pytest.mark.parametrize(
    "cut, message",
    [
        (
            {"outputs": ["midle"]},
            "the model has no value 'midle'; there is 'middle'",
        ),
        ({"outputs": ["0"]}, "the model has no value '0'"),
        ({"inputs": ["one"]}, "'one' is a node, not a value; it gives 'first'"),
        ({"outputs": ["last", "last"]}, "the model cannot be cut at 'last' twice"),
        (
            {"inputs": ["middle"], "outputs": ["middle"]},
            "the model cannot be cut at 'middle' twice",
        ),
    ],
)
def test_a_cut_at_what_is_no_value_is_refused(cut, message):
    with pytest.raises(InputError) as caught:
        from_onnx(network(), **cut)
    assert str(caught.value) == message
