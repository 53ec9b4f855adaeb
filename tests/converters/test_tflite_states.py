"""LSTMs and variables of .tflite files: what a run leaves for the next is a state."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest

from edgeinfer.converters import from_onnx, from_tflite, to_tflite
from edgeinfer.converters.qdq import to_qdq
from edgeinfer.converters.tflite.model import Tensor
from edgeinfer.errors import ModelError, UnsupportedError
from edgeinfer.graph import Graph, GraphBuilder, State, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.quant import as_stated, quantize
from edgeinfer.runtime.session import Session
from tests.converters.test_quantized_models import floats
from tests.converters.test_tflite import damaged_files_do_no_harm
from tests.converters.tflite_stateful_models import lstm, lstm_model, summing, written
from tests.refusals import refused


def test_a_layer_of_several_steps_begins_each_run_at_zeros():
    graph = from_tflite(lstm(4))
    assert graph.states == ()
    assert graph.types["y"].shape == (1, 4, 5)


def test_a_layer_of_one_step_goes_on_where_the_run_before_ended():
    graph = from_tflite(lstm(1))
    assert graph.states == (State("h", "h/next", "h/first"), State("c", "c/next", "c/first"))
    assert graph.inputs == ("x",)
    assert graph.outputs == ("y",)


def test_a_variable_is_a_state_of_the_file_s_integers():
    graph = as_stated(from_tflite(summing(np.full(4, 3), 0.5)))
    assert [(state.input, state.output) for state in graph.states] == [("sum", "sum/next")]
    stream = Session(graph).stream()
    x = np.array([[1, -2, 0.5, 40]], np.float32)
    for runs in (1, 2):
        expected = np.minimum(runs * x, (127 - 3) / 2)  # where int8 ends
        np.testing.assert_array_equal(stream.run(x), expected)


def test_a_part_of_a_model_keeps_its_states():
    graph = from_tflite(summing(np.zeros(4)), outputs=["y"])
    assert graph.outputs == ("y",)
    assert [state.output for state in graph.states] == ["sum/next"]


def keeping(first: float = 0) -> Graph:
    """Two states, one of which is an output, too."""
    b = GraphBuilder()
    x = b.input("x", TensorType((1, 4)))
    h, m = (b.state(name, np.full((1, 4), first, np.float32)) for name in "hm")
    y = b.add(ops.Add(), x, h, output="y")
    b.keep(h, y)
    z = b.add(ops.Mul(), y, m, output="z")
    b.keep(m, b.add(ops.Maximum(), z, x, output="n"))
    return quantize(b.graph(y, z), [{"x": floats(i, 1, 4)} for i in range(12)])


def same_streams(graph: Graph, other: Graph) -> None:
    assert graph.outputs == other.outputs == ("y", "z")
    first, second = Session(graph).stream(), Session(other).stream()
    for i in range(20):
        x = 2 * floats(i, 1, 4)
        computed = second.run({"x": x})
        for output, array in first.run({"x": x}).items():
            np.testing.assert_array_equal(computed[output], array)


def test_states_are_written_as_variables_and_read_again():
    graph = keeping()
    again = as_stated(from_tflite(to_tflite(graph)))
    same_streams(graph, again)
    for state in graph.states:
        assert again.types[state.input] == graph.types[state.input]


def test_states_in_onnx_are_inputs_and_outputs_that_its_metadata_pairs():
    graph = keeping()
    proto = to_qdq(graph)
    assert [value.name for value in proto.graph.input] == ["x", "h", "m"]
    assert [value.name for value in proto.graph.output] == ["y", "z", "n"]
    again = as_stated(from_onnx(proto))
    same_streams(graph, again)
    assert [(s.input, s.output) for s in again.states] == [("h", "y"), ("m", "n")]


def test_states_that_begin_at_other_numbers_have_no_place_in_onnx():
    with refused(
        "state 'h' begins at other numbers than 0, for which ONNX has no place", UnsupportedError
    ):
        to_qdq(keeping(1))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"states": {"h": 1}, "shown": []}', "[" * 9999])
def test_metadata_that_states_no_pairs_is_refused(text):
    proto = to_qdq(keeping())
    onnx.helper.set_model_props(proto, {"edgeinfer.states": text})
    with refused(
        "the model's metadata 'edgeinfer.states' must be like {'states': {'h0': 'hn'}, "
        "'shown': []}",
        ModelError,
    ):
        from_onnx(proto)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({9: (5,)}, "peepholes of an LSTM are not supported"),
        ({16: (5, 5)}, "projections of an LSTM are not supported"),
    ],
)
def test_parts_that_are_not_read_are_named(change, message):
    model = lstm_model(2)
    (node,) = model.operators
    inputs = [*node.inputs, -1, -1, -1, -1]
    tensors = list(model.tensors)
    for index, shape in change.items():
        inputs[index] = len(tensors)
        tensors.append(
            Tensor("more", shape, np.dtype("f4"), False, None, np.zeros(shape, np.float32))
        )
    node = replace(node, inputs=tuple(inputs))
    with refused(f"UNIDIRECTIONAL_SEQUENCE_LSTM 'y': {message}"):
        from_tflite(written(replace(model, tensors=tensors, operators=[node])))


def test_weights_that_do_not_fit_are_refused():
    model = lstm_model(2)
    tensors = list(model.tensors)
    tensors[6] = replace(tensors[6], shape=(5, 4), data=np.zeros((5, 4), np.float32))
    with refused("UNIDIRECTIONAL_SEQUENCE_LSTM 'y': input 6 must have shape [5, 5], not [5, 4]"):
        from_tflite(written(replace(model, tensors=tensors)))


def test_what_begins_at_other_numbers_than_0_is_refused():
    with refused(
        "CALL_ONCE '': a variable that begins at other numbers than 0 ('first') is not supported"
    ):
        from_tflite(summing(np.ones(4)))


def test_a_state_must_be_a_variable():
    model = lstm_model(1)
    tensors = [replace(t, is_variable=False) for t in model.tensors]
    with refused("UNIDIRECTIONAL_SEQUENCE_LSTM 'y': input 18 must be a variable"):
        from_tflite(written(replace(model, tensors=tensors)))


@pytest.mark.parametrize("content", [lstm(2), summing(np.full(4, 3), 0.5)])
def test_damaged_files_do_no_harm(content):
    damaged_files_do_no_harm(content, 100, 0)
