"""A model of whole sequences, taken a few steps a run, gives the bits that it gave at once."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.converters import from_onnx
from edgeinfer.errors import InputError, UnsupportedError
from edgeinfer.graph import Graph, GraphBuilder, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.meaning import float_executor
from edgeinfer.quant import quantize
from edgeinfer.quant.options import Options
from edgeinfer.quant.streaming import in_steps
from edgeinfer.runtime.session import Session
from tests.recurrent_models import GATES, recurrent
from tests.refusals import refused

T, HIDDEN, WIDTH = 12, 8, 5


class Layers(GraphBuilder):
    """A Graph of recurrent layers with random weights."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__("layers")
        self.rng = np.random.default_rng(seed)

    def random(self, name: str, *shape: int) -> str:
        return self.constant(name, (self.rng.normal(size=shape) * 0.6).astype("f4"))

    def layer(self, op: ops.Recurrent, x: str, name: str, *firsts: str) -> tuple[str, ...]:
        width, rows = self.shape(x)[2], op.gates * HIDDEN
        shapes = {"w": (rows, width), "r": (rows, HIDDEN), "b": (rows,), "rb": (rows,)}
        constants = [self.random(f"{name}/{n}", *shape) for n, shape in shapes.items()]
        outputs = [f"{name}/{role.name}" for role in op.gives]
        return self.add_several(op, x, *constants, *firsts, outputs=outputs, node=name)

    def dense(self, x: str, name: str, count: int = 3) -> str:
        weights = self.random(f"{name}/w", count, self.shape(x)[-1])
        return self.add(ops.Dense(), x, weights, self.random(f"{name}/b", count), output=name)


def samples_of(graph: Graph, count: int = 30) -> np.ndarray:
    (name,) = graph.inputs
    shape = graph.types[name].shape
    return np.random.default_rng(1).normal(size=(count * shape[0], *shape[1:])).astype("f4")


def by_name(graph: Graph, found: np.ndarray | dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return found if isinstance(found, dict) else {graph.outputs[0]: found}


def check(graph: Graph, scheme: str, steps: int, axis: int = 1) -> Graph:
    """Steps of a sequence, run after run, against the whole of it, for every output."""
    samples = samples_of(graph)
    whole = Session(quantize(graph, samples, scheme=scheme))
    stepped = quantize(graph, samples, scheme=scheme, stream=steps)
    stream = Session(stepped).stream()
    (name,) = graph.inputs
    rows, extent = graph.types[name].shape[0], graph.types[name].shape[axis]
    for sequence in (samples[:rows], samples[rows : 2 * rows]):
        stream.reset()
        parts = np.split(sequence, T // steps, axis)
        assert parts[0].shape[axis] == extent * steps // T
        found = [by_name(graph, stream.run({name: np.ascontiguousarray(p)})) for p in parts]
        expected = by_name(graph, whole.run({name: sequence}))
        for output in graph.outputs:
            runs = [run[output] for run in found]
            shape, short = graph.types[output].shape, stepped.types[output].shape
            if shape == short:
                np.testing.assert_array_equal(runs[-1], expected[output])
            else:
                (along,) = (i for i, (a, b) in enumerate(zip(shape, short, strict=True)) if a != b)
                np.testing.assert_array_equal(np.concatenate(runs, along), expected[output])
    return stepped


@pytest.mark.parametrize("scheme", ["int8", "int16x8", "int16"])
@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("layout", [0, 1])
def test_every_layer_gives_in_steps_what_it_gives_at_once(kind, layout, scheme):
    graph = from_onnx(recurrent(kind, "b", "h", sizes=(1, T, HIDDEN, WIDTH), layout=layout))
    stepped = check(graph, scheme, 1, axis=layout)
    assert len(stepped.states) == (2 if kind == "LSTM" else 1)
    check(graph, scheme, 4, axis=layout)


def test_layers_one_upon_another_share_their_steps():
    layers = Layers()
    x = layers.input("x", TensorType((2, T, WIDTH)))
    scaled = layers.add(ops.Mul(), x, layers.random("scale", WIDTH))
    y, _ = layers.layer(ops.LSTM(), scaled, "first")
    y, _ = layers.layer(ops.GRU(linear_before_reset=True), y, "second")
    # as exporters apply a layer to each step
    rows = layers.add(ops.Reshape((2 * T, HIDDEN)), y)
    scores = layers.add(ops.Reshape((2, T, 3)), layers.dense(rows, "dense"), output="scores")
    last = layers.add(ops.Slice((0, T - 1, 0), (2, 1, HIDDEN), (1, 1, 1)), y)
    end = layers.dense(layers.add(ops.Reshape((2, HIDDEN)), last), "end")
    stepped = check(layers.graph(scores, end), "int8", 3)
    assert [state.input for state in stepped.states] == [
        "first/initial",
        "first/initial_cell",
        "second/initial",
    ]


def test_a_flat_input_and_constants_with_an_entry_a_step_are_taken_in_steps_too():
    layers = Layers()
    x = layers.input("x", TensorType((1, T * WIDTH)))
    sequence = layers.add(ops.Reshape((1, T, WIDTH)), x)
    same = np.repeat(np.float32([[0.5, -1, 2, 0.1, 1]]), T, 0)
    sequence = layers.add(ops.Add(), sequence, layers.constant("offsets", same))
    y, _ = layers.layer(ops.LSTM(), sequence, "lstm")
    joined = layers.add(ops.Concat(2), y, sequence)
    graph = layers.graph(layers.add(ops.Transpose((1, 0, 2)), joined, output="y"))
    check(graph, "int8", 2)


def test_matrices_that_are_the_same_for_each_step_are_taken_in_steps_too():
    layers = Layers()
    x = layers.input("x", TensorType((1, T, WIDTH)))
    (y,) = layers.layer(ops.RNN(), x, "rnn")
    turned = layers.add(ops.Transpose((1, 0, 2)), y)
    same = np.repeat(layers.rng.normal(size=(1, HIDDEN, 3)).astype("f4"), T, 0)
    product = layers.add(ops.MatMul(), turned, layers.constant("same", same), output="product")
    check(layers.graph(product), "int8", 1)
    # as many rows as there are steps, and none of these is a step's
    layers = Layers()
    x = layers.input("x", TensorType((1, T, T)))
    y = layers.add(ops.MatMul(), x, layers.random("square", T, T))
    check(layers.graph(layers.layer(ops.RNN(), y, "rnn")[0]), "int8", 3)


def test_steps_mean_the_same_in_floats():
    layers = Layers()
    x = layers.input("x", TensorType((1, T, WIDTH)))
    y, cells = layers.layer(ops.LSTM(), x, "lstm")
    graph = layers.graph(y, cells)
    stepped = in_steps(graph, 3).graph
    samples, state, runs = samples_of(graph, 1), {}, []
    for part in np.split(samples, 4, 1):
        runs.append(float_executor.execute(stepped, {"x": part}, state=state))
    whole = float_executor.execute(graph, {"x": samples})
    for name in (y, cells):
        found = np.concatenate([run[name] for run in runs], 1)
        np.testing.assert_allclose(found, whole[name], atol=1e-6)


# ---- refusals --------------------------------------------------------------------------------


def backwards(layers: Layers, x: str) -> str:
    return layers.layer(ops.LSTM(reverse=True), x, "lstm")[0]


def mean_of_all(layers: Layers, x: str) -> str:
    y, _ = layers.layer(ops.LSTM(), x, "lstm")
    return layers.add(ops.ReduceMean((1,)), y, output="mean")


def last_to_all(layers: Layers, x: str) -> str:
    y, _ = layers.layer(ops.LSTM(), x, "lstm")
    last = layers.add(ops.Slice((0, T - 1, 0), (1, 1, HIDDEN), (1, 1, 1)), y)
    return layers.add(ops.Add(), y, last, output="sum")


def positions(layers: Layers, x: str) -> str:
    placed = layers.add(ops.Add(), x, layers.random("positions", T, WIDTH), output="placed")
    return layers.layer(ops.LSTM(), placed, "lstm")[0]


def matrices(layers: Layers, x: str) -> str:
    y, _ = layers.layer(ops.LSTM(), x, "lstm")
    turned = layers.add(ops.Transpose((1, 0, 2)), y)
    return layers.add(ops.MatMul(), turned, layers.random("m", T, HIDDEN, 3), output="product")


def slopes(layers: Layers, x: str) -> str:
    same = layers.constant("slopes", np.full((1, T, 1), 0.1, np.float32))
    return layers.layer(ops.LSTM(), layers.add(ops.PRelu(), x, same, output="bent"), "lstm")[0]


def over_channels(layers: Layers, x: str) -> str:
    turned = layers.add(ops.Transpose((0, 2, 1)), x)
    return layers.layer(ops.RNN(), turned, "rnn")[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (backwards, "LSTM 'lstm': goes backwards, so sequences cannot be taken in steps"),
        (
            mean_of_all,
            "ReduceMean 'mean': sees several steps at once, so sequences cannot be taken in steps",
        ),
        (
            last_to_all,
            "Add 'sum': brings a last step to those before it, so sequences cannot be taken in "
            "steps",
        ),
        (
            positions,
            "Add 'placed': sees several steps at once, so sequences cannot be taken in steps",
        ),
        (
            matrices,
            "MatMul 'product': sees several steps at once, so sequences cannot be taken in steps",
        ),
        (
            slopes,
            "PRelu 'bent': has another meaning then (slope broadcast to x must have shape "
            "[1, 1, 5], not [1, 12, 5]), so sequences cannot be taken in steps",
        ),
    ],
)
def test_what_needs_other_steps_is_refused(make, message):
    layers = Layers()
    x = layers.input("x", TensorType((1, T, WIDTH)))
    graph = layers.graph(make(layers, x))
    with refused(message, UnsupportedError):
        quantize(graph, samples_of(graph), stream=1)


def test_the_axis_of_the_steps_is_found():
    layers = Layers()
    x = layers.input("x", TensorType((1, WIDTH, T)))
    check(layers.graph(over_channels(layers, x)), "int8", 4, axis=2)


def test_a_first_state_that_is_computed_is_refused():
    layers = Layers()
    x = layers.input("x", TensorType((1, T, WIDTH)))
    first = layers.input("first", TensorType((1, HIDDEN)))
    y, _ = layers.layer(ops.LSTM(), x, "lstm", first)
    message = "LSTM 'lstm': begins with what a run computes, so sequences cannot be taken in steps"
    with refused(message, UnsupportedError):
        in_steps(layers.graph(y), 1)


def test_models_without_sequences_are_refused():
    layers = Layers()
    x = layers.input("x", TensorType((1, T, WIDTH)))
    graph = layers.graph(layers.dense(x, "dense"))
    message = "the model has no recurrent layer, so its sequences cannot be taken in steps"
    with refused(message, UnsupportedError):
        in_steps(graph, 1)


def test_a_count_of_steps_must_fit():
    graph = from_onnx(recurrent("RNN", sizes=(1, T, HIDDEN, WIDTH)))
    with refused("its sequences have 12 steps, fewer than 13", UnsupportedError):
        in_steps(graph, 13)
    for count in (0, -1, 2.5, "1", True):
        message = f"stream must be a number of steps, 1 or more, not {count!r}"
        with refused(message, InputError):
            Options(stream=count)


def test_a_model_that_keeps_states_has_its_steps_already():
    proto = recurrent("RNN", computed=("h",), sizes=(1, T, HIDDEN, WIDTH))
    graph = from_onnx(proto, states={"h": "y_h"})
    message = "a model that keeps states takes its steps one by one already"
    with refused(message, UnsupportedError):
        in_steps(graph, 1)
