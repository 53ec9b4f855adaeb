"""An input and an output that hand on what a run leaves become a state of the Graph."""

import numpy as np
import pytest

import edgeinfer
from edgeinfer.converters import from_onnx
from edgeinfer.errors import InputError
from edgeinfer.graph import Graph, TensorType
from edgeinfer.graph.likely_states import likely_states
from edgeinfer.meaning.float_executor import execute
from tests.converters.onnx_agreement import model, node, onnxruntime_values
from tests.refusals import refused

RNG = np.random.default_rng(7)


def normal(*shape):
    return RNG.normal(size=shape).astype("f4") * 0.4


WEIGHTS = {"w": normal(5, 6), "r": normal(6, 6), "v": normal(6, 3)}


def cell():
    """A step of an Elman network, which takes h0 and gives hn."""
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("MatMul", ["h0", "r"], ["b"]),
        node("Add", ["a", "b"], ["c"]),
        node("Tanh", ["c"], ["hn"]),
        node("MatMul", ["hn", "v"], ["y"]),
    ]
    inputs = {"x": (1, 5), "h0": (1, 6)}
    return model(nodes, constants=WEIGHTS, inputs=inputs, outputs=("y", "hn"))


@pytest.mark.parametrize("states", [{"h0": "hn"}, "auto"])
def test_a_run_takes_up_what_the_run_before_left(states):
    graph = from_onnx(cell(), states=states)
    assert (graph.inputs, graph.outputs) == (("x",), ("y",))
    kept, h = {}, np.zeros((1, 6), "f4")
    for x in RNG.normal(size=(6, 1, 5)).astype("f4"):
        expected = onnxruntime_values(cell(), {"x": x, "h0": h}, ["y", "hn"])
        found = execute(graph, {"x": x}, state=kept)
        np.testing.assert_allclose(found["y"], expected["y"], atol=1e-5)
        h = expected["hn"]


@pytest.mark.parametrize(("scheme", "error"), [("int8", 0.06), ("int16", 2e-3)])
def test_a_stream_of_integers_follows_the_stream_of_floats(scheme, error):
    xs = RNG.normal(size=(200, 1, 5)).astype("f4")
    integer = edgeinfer.quantize(cell(), xs, scheme=scheme, states={"h0": "hn"})
    graph, kept = from_onnx(cell(), states={"h0": "hn"}), {}
    stream = edgeinfer.Session(integer).stream()
    for x in xs[:50]:
        expected = execute(graph, {"x": x}, state=kept)["y"]
        assert np.abs(stream.run(x) - expected).max() < error
    stream.reset()
    assert np.abs(stream.run(xs[0]) - execute(graph, {"x": xs[0]})["y"]).max() < error


def test_states_are_found_where_names_differ_by_their_role_alone():
    kind, other = TensorType((1, 4)), TensorType((1, 5))
    types = {
        **dict.fromkeys(("x", "h", "c0", "cache_in", "pastKey", "vad_state", "y", "a_in"), kind),
        **dict.fromkeys(("hn", "cn", "cache_out", "presentKey", "vad_state_new"), kind),
        "a_out": other,
    }
    graph = Graph(
        "g",
        (),
        types,
        ("x", "h", "c0", "cache_in", "pastKey", "vad_state", "a_in"),
        ("y", "hn", "cn", "cache_out", "presentKey", "vad_state_new", "a_out"),
        {},
    )
    assert likely_states(graph) == {
        "h": "hn",
        "c0": "cn",
        "cache_in": "cache_out",
        "pastKey": "presentKey",
        "vad_state": "vad_state_new",
    }


def test_names_that_serve_two_are_no_state():
    kind = TensorType((1, 4))
    names = ("h_in", "h_out", "h_next")
    graph = Graph("g", (), dict.fromkeys(names, kind), names[:1], names[1:], {})
    assert likely_states(graph) == {}


@pytest.mark.parametrize(
    ("states", "message"),
    [
        (
            {"h": "hn"},
            "a state is an input and an output, and there is no input 'h'; the inputs are: x, h0",
        ),
        (
            {"h0": "a"},
            "a state is an input and an output, and there is no output 'a'; the outputs are: y, hn",
        ),
        (
            {"h0": "y"},
            "input 'h0' is float32[1x6] and output 'y' is float32[1x3]: a state is of one type",
        ),
        (
            {"h0": "hn", "x": "hn"},
            "input 'x' is float32[1x5] and output 'hn' is float32[1x6]: a state is of one type",
        ),
    ],
)
def test_what_is_no_state_wrong(states, message):
    with refused(message, InputError):
        from_onnx(cell(), states=states)


def test_no_state_is_found_wrong():
    alone = model([node("Tanh", ["x"], ["y"])], inputs={"x": (2, 3)})
    with refused(
        "no input looks like what an output was in the run before; the inputs are: x; "
        "the outputs are: y",
        InputError,
    ):
        from_onnx(alone, states="auto")


@pytest.mark.parametrize("states", ["hn", ["h0"]])
def test_states_that_are_no_pairs_wrong(states):
    expected = "states are outputs by the inputs that they are in the next run, as in "
    with refused(f"{expected}{{'h0': 'hn'}}, or 'auto'; not {states!r}", InputError):
        from_onnx(cell(), states=states)


def test_nothing_is_left_wrong():
    echo = model([node("Tanh", ["x"], ["y"])])
    with refused("no input is left beside the states", InputError):
        from_onnx(echo, states={"x": "y"})
    both = model([node("Add", ["x", "h"], ["y"])], inputs={"x": (2, 3), "h": (2, 3)})
    with refused("no output is left beside the states", InputError):
        from_onnx(both, states={"h": "y"})
    with refused("two states are kept from one output", InputError):
        from_onnx(both, states={"h": "y", "x": "y"})
