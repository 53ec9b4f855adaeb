"""Inputs that are always the same are given once, and are inputs no more."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgeinfer.converters import from_onnx
from edgeinfer.converters.fixing import numbers_given
from edgeinfer.errors import InputError, ModelError, ModelFileError, UnsupportedError
from edgeinfer.meaning.float_executor import execute
from tests.converters.onnx_agreement import node, onnxruntime_values
from tests.refusals import refused


def detector() -> onnx.ModelProto:
    """A voice detector's shape: what it does depends on the rate, and ``gain`` has one number."""

    def branch(name: str, operator: str) -> onnx.GraphProto:
        outputs = [helper.make_empty_tensor_value_info(name)]
        return helper.make_graph([node(operator, ["scaled"], [name])], name, [], outputs)

    nodes = [
        node("Mul", ["x", "gain"], ["scaled"]),
        node("Equal", ["sr", "high"], ["is_high"]),
        node(
            "If",
            ["is_high"],
            ["y"],
            name="rate",
            then_branch=branch("a", "Tanh"),
            else_branch=branch("b", "Relu"),
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "detector",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 6)),
            helper.make_tensor_value_info("sr", TensorProto.INT64, ()),
            helper.make_tensor_value_info("gain", TensorProto.FLOAT, (1, 6)),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 6))],
        [helper.make_tensor("high", TensorProto.INT64, (), [16000])],
    )
    imports = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


X = np.random.default_rng(3).normal(size=(1, 6)).astype("f4")


@pytest.mark.parametrize(("rate", "operator"), [(16000, "Tanh"), (8000, "Relu")])
def test_a_rate_decides_which_branch_is_imported(rate, operator):
    graph = from_onnx(detector(), constants={"sr": rate, "gain": 2})
    assert graph.inputs == ("x",)
    feed = {"x": X, "sr": np.array(rate), "gain": np.full((1, 6), 2, "f4")}
    expected = onnxruntime_values(detector(), feed, ["y"])["y"]
    np.testing.assert_allclose(execute(graph, {"x": X})["y"], expected, atol=1e-6)


def test_an_array_is_given_and_what_the_model_was_given_is_kept():
    gain = np.arange(6, dtype="f4")
    graph = from_onnx(detector(), constants={"sr": 8000, "gain": gain})
    np.testing.assert_allclose(execute(graph, {"x": X})["y"], np.maximum(X * gain, 0))
    # single numbers are, with which another model can be opened likewise
    assert numbers_given(graph.provenance) == {"sr": 8000}


def test_a_model_may_be_cut_behind_an_input_that_is_given():
    graph = from_onnx(detector(), constants={"gain": 2}, outputs=["scaled"])
    assert (graph.inputs, graph.outputs) == (("x",), ("scaled",))
    np.testing.assert_allclose(execute(graph, {"x": X})["scaled"], 2 * X, rtol=1e-6)


def test_a_condition_that_only_a_number_decides_is_said_to_be_one():
    refusal = (
        "1 node cannot be imported: If (ai.onnx opset 17) at 'rate': a condition that a run "
        "computes is not supported; what is always the same can be given with "
        "constants={'sr': ...}; the model can be cut before with outputs=['is_high']"
    )
    with refused(refusal, UnsupportedError):
        from_onnx(detector())


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        (
            {"rate": 16000},
            "a value is given for 'rate', which is no input of the model; "
            "its inputs are: x, sr, gain",
        ),
        (
            {"high": 1},
            "a value is given for 'high', which is no input of the model; "
            "its inputs are: x, sr, gain",
        ),
        ({"sr": 0.5}, "input 'sr' holds INT64, which cannot be 0.5"),
        ({"sr": float("nan")}, "input 'sr' holds INT64, which cannot be nan"),
        ({"sr": "fast"}, "input 'sr' cannot be 'fast': only numbers are given"),
        ({"sr": [8000, 16000]}, "input 'sr' has shape [], not [2]"),
        ({"gain": [1, 2]}, "input 'gain' has shape [1, 6], not [2]"),
    ],
)
def test_what_is_no_value_of_an_input_wrong(constants, message):
    with refused(message, InputError):
        from_onnx(detector(), constants=constants)


def test_nothing_is_left_wrong():
    with refused("the model has no inputs: there is nothing to run", ModelError):
        from_onnx(detector(), constants={"x": 0, "sr": 1, "gain": 1})


def test_a_file_that_notes_no_number_wrong():
    with refused("the provenance names a value of an input, which is no number", ModelFileError):
        numbers_given({"input sr": "fast"})
