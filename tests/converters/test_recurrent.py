"""Recurrent layers mean to the float executor what they mean to onnxruntime, or to onnx itself.

onnxruntime has no ``layout`` of 1, and onnx's reference evaluator no attributes but that.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from edgeinfer.converters import from_onnx
from edgeinfer.errors import InputError, ModelError, UnsupportedError
from edgeinfer.graph import operators as ops
from edgeinfer.graph.cost import cost
from edgeinfer.meaning.float_executor import execute
from edgeinfer.quant import quantize
from edgeinfer.session import Session
from tests.converters.onnx_agreement import (
    agreement,
    model,
    node,
    onnxruntime_values,
    operators,
)
from tests.recurrent_models import DIRECTIONS, GATES, recurrent
from tests.refusals import refused

DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}

# by name, whether it takes an alpha and a beta
ACTIVATIONS = {
    "Affine": (True, True),
    "Elu": (True, False),
    "HardSigmoid": (True, True),
    "LeakyRelu": (True, False),
    "Relu": (False, False),
    "ScaledTanh": (True, True),
    "Sigmoid": (False, False),
    "Softplus": (False, False),
    "Softsign": (False, False),
    "Tanh": (False, False),
    "ThresholdedRelu": (True, False),
}


def layers(graph) -> list[ops.Operator]:
    return [n.op for n in graph.nodes if isinstance(n.op, ops.Recurrent)]


# ---- meaning ---------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("sizes", [(3, 5, 4, 2), (1, 1, 1, 1), (2, 7, 3, 5)])
def test_a_layer_gives_every_step_and_the_last_of_each_direction(kind, direction, sizes):
    for opset in (7, 14, 22):
        agreement(recurrent(kind, "b", sizes=sizes, opset=opset, direction=direction))
    agreement(recurrent(kind, sizes=sizes))


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("computed", [False, True])
def test_the_first_step_takes_what_is_given_constant_or_computed(kind, direction, computed):
    states = ("h", "c") if kind == "LSTM" else ("h",)
    for names in (states, states[:1], states[1:]):
        given = {"computed": names} if computed else {}
        roles = () if computed else names
        agreement(recurrent(kind, "b", *roles, direction=direction, **given))


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("attributes", [{}, {"clip": 0.4}, {"input_forget": 1}])
def test_an_lstm_has_peepholes(direction, attributes):
    agreement(recurrent("LSTM", "b", "c", "p", direction=direction, **attributes))


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("clip", [0.2, 1.5])
def test_what_an_activation_takes_is_clipped(kind, clip):
    for direction in DIRECTIONS:
        agreement(recurrent(kind, "b", "h", direction=direction, clip=clip))


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("clip", [{}, {"clip": 0.4}])
def test_a_gru_resets_before_or_after_its_product(direction, clip):
    for before in (0, 1):
        proto = recurrent("GRU", "b", "h", direction=direction, linear_before_reset=before, **clip)
        assert {op.linear_before_reset for op in layers(agreement(proto))} == {bool(before)}


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_each_activation_may_stand_at_each_place(kind, activation, direction):
    count = DIRECTIONS[direction]
    for place in range(len(DEFAULTS[kind])):
        names = DEFAULTS[kind] * count
        names[place] = activation
        # a function that takes none leaves it to the next
        parameters = {
            f"activation_{name}": [0.6]
            for name, takes in zip(("alpha", "beta"), ACTIVATIONS[activation], strict=True)
            if takes
        }
        agreement(recurrent(kind, "b", direction=direction, activations=names, **parameters))


def test_activations_take_alphas_and_betas_in_order_and_names_have_no_case():
    names = ["hardsigmoid", "LEAKYRELU", "tanh", "Sigmoid", "Softsign", "HardSigmoid"]
    proto = recurrent(
        "LSTM",
        direction="bidirectional",
        activations=names,
        activation_alpha=[0.3, 0.2, 0.25],
        activation_beta=[0.4, 0.6],
    )
    forward, backward = layers(agreement(proto))
    assert forward.gate == ("hard_sigmoid", "x", *map(float, np.float32([0.3, 0.4])))
    assert forward.candidate == ("leaky_relu", "x", float(np.float32(0.2)))
    assert backward.hidden == ("hard_sigmoid", "x", *map(float, np.float32([0.25, 0.6])))


def test_an_activation_without_alpha_and_beta_has_those_of_its_operator():
    proto = recurrent("GRU", activations=["HardSigmoid", "LeakyRelu"])
    (layer,) = layers(agreement(proto))
    assert layer.gate == ("hard_sigmoid", "x", 0.2, 0.5)
    assert layer.candidate == ("leaky_relu", "x", 0.01)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("computed", [(), ("h",)])
def test_a_layout_of_one_has_the_batch_first(kind, direction, computed):
    proto = recurrent(kind, "b", direction=direction, layout=1, computed=computed)
    graph = from_onnx(proto)
    rng = np.random.default_rng(1)
    feeds = {n: rng.normal(size=graph.types[n].shape).astype("f4") for n in graph.inputs}
    expected = ReferenceEvaluator(proto).run(None, feeds)
    for found, wanted in zip(execute(graph, feeds).values(), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert not any(isinstance(n.op, ops.Transpose) for n in graph.nodes)


@pytest.mark.parametrize("seed", range(40))
def test_all_of_it_together(seed):
    rng = np.random.default_rng(seed)
    kind = str(rng.choice(list(GATES)))
    direction = str(rng.choice(list(DIRECTIONS)))
    sizes = tuple(int(n) for n in rng.integers(1, 6, 4))
    optional = ["b", "lengths", "h", *(("c", "p") if kind == "LSTM" else ())]
    roles = [name for name in optional if rng.random() < 0.5]
    attributes: dict[str, Any] = {}
    if rng.random() < 0.5:
        attributes["clip"] = float(rng.uniform(0.2, 2))
    if kind == "LSTM":
        attributes["input_forget"] = int(rng.integers(2))
    if kind == "GRU":
        attributes["linear_before_reset"] = int(rng.integers(2))
    proto = recurrent(
        kind, *roles, sizes=sizes, direction=direction, seed=seed, opset=14, **attributes
    )
    agreement(proto, seed=seed)


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_sequences_that_end_before_their_input_leave_zeros(kind, direction):
    changed = {"lengths": np.full(3, 4, np.int32)}
    agreement(recurrent(kind, "b", "h", sizes=(3, 7, 4, 2), changed=changed, direction=direction))


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("lengths", [[7, 4, 2], [5, 0, 1], [0, 0, 0]])
def test_sequences_end_each_at_its_own_step(kind, direction, lengths):
    changed = {"lengths": np.array(lengths, np.int32)}
    roles = ("b", "h", "c") if kind == "LSTM" else ("b", "h")
    agreement(recurrent(kind, *roles, sizes=(3, 7, 4, 2), changed=changed, direction=direction))


def with_lengths(kind, samples=3, **attributes):
    proto = recurrent(kind, "b", sizes=(samples, 7, 4, 2), **attributes)
    proto.graph.node[0].input.append("n")
    kind = onnx.TensorProto.INT32
    proto.graph.input.append(onnx.helper.make_tensor_value_info("n", kind, [samples]))
    return proto


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("samples", [1, 3])
def test_a_run_may_say_where_sequences_end(kind, samples):
    proto = with_lengths(kind, samples, direction="bidirectional")
    graph = from_onnx(proto)
    rng = np.random.default_rng(8)
    feeds = [
        {"x": rng.normal(size=(7, samples, 2)).astype("f4"), "n": rng.integers(0, 8, samples)}
        for _ in range(8)
    ]
    outputs = [value.name for value in proto.graph.output]
    session = Session(quantize(graph, feeds, scheme="int16", observer="minmax"))
    for feed in feeds:
        given = {**feed, "n": feed["n"].astype(np.int32)}
        expected = onnxruntime_values(proto, given, outputs)
        found, integers = execute(graph, feed), session.run(feed)
        for name in outputs:
            np.testing.assert_allclose(found[name], expected[name], atol=1e-5)
            np.testing.assert_allclose(integers[name], expected[name], atol=2e-3)


@pytest.mark.parametrize("length", [-1, 8])
def test_no_sequence_ends_before_its_start_or_behind_its_input(length):
    x = np.ones((7, 1, 2), np.float32)
    graph = from_onnx(with_lengths("GRU", 1))
    session = Session(quantize(graph, [{"x": x, "n": np.array([5])}]))
    feed = {"x": x, "n": np.array([length])}
    with refused(f"node 'y': index {length} is outside an axis of 8", InputError):
        execute(graph, feed)
    message = "node 'y' got an index in 'n' that is outside of the axis of 8 that it gathers from"
    with refused(message, InputError):
        session.run(feed)


def test_a_layer_of_constants_is_a_constant():
    x = np.random.default_rng(0).normal(size=(5, 3, 2)).astype("f4")
    proto = recurrent("LSTM", "b", changed={"k": x})
    proto.graph.node[0].input[0] = "k"
    proto.graph.node.append(node("Add", ["y_h", "x"], ["z"]))
    del proto.graph.output[:]
    proto.graph.output.append(onnx.helper.make_empty_tensor_value_info("z"))
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    proto.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 4
    assert operators(agreement(proto)) == ["Add"]


# ---- the Graph -------------------------------------------------------------------------------


def time_major(kind: str, layers: int, direction: str = "forward", *, last: bool = False):
    """What PyTorch makes of a module that has the batch first, or of its last step alone."""
    count, hidden, width = DIRECTIONS[direction], 4, 3
    rng = np.random.default_rng(0)
    nodes, constants = [node("Transpose", ["x"], ["v0"], perm=[1, 0, 2])], {}
    for i in range(layers):
        rows, columns = GATES[kind] * hidden, count * hidden if i else width
        for name, shape in (("w", (rows, columns)), ("r", (rows, hidden)), ("b", (2 * rows,))):
            constants[f"{name}{i}"] = rng.normal(size=(count, *shape)).astype("f4") * 0.5
        taken = [f"v{i}", *(f"{name}{i}" for name in "wrb")]
        nodes.append(node(kind, taken, [f"y{i}", f"h{i}"], hidden_size=hidden, direction=direction))
        if direction == "bidirectional":
            nodes.append(node("Transpose", [f"y{i}"], [f"t{i}"], perm=[0, 2, 1, 3]))
            nodes.append(node("Reshape", [f"t{i}", "joined"], [f"v{i + 1}"]))
        else:
            nodes.append(node("Squeeze", [f"y{i}", "one"], [f"v{i + 1}"]))
    nodes.append(node("Transpose", [f"v{layers}"], ["y"], perm=[1, 0, 2]))
    if last:
        nodes[-1] = node("Squeeze", [f"h{layers - 1}", "zero"], ["y"])
    constants |= {"joined": [0, 0, -1], "one": [1], "zero": [0]}
    return model(nodes, ["N", 6, width], constants)


@pytest.mark.parametrize("kind", GATES)
def test_a_stack_with_the_batch_first_has_no_transposes(kind):
    graph = agreement(time_major(kind, 2))
    assert operators(graph) == [kind, kind]
    assert graph.free_batch
    assert [n.outputs[0] for n in graph.nodes] == ["y0", "y"]
    graph = agreement(time_major(kind, 2, "bidirectional"))
    assert operators(graph) == [kind, kind, "Concat", kind, kind, "Concat"]
    assert graph.free_batch


@pytest.mark.parametrize("kind", GATES)
def test_the_last_step_is_a_slice_by_the_name_that_it_had(kind):
    graph = agreement(time_major(kind, 1, last=True))
    assert operators(graph) == [kind, "Slice", "Reshape"]
    assert graph.nodes[1].outputs == ("h0",)
    assert graph.free_batch


def test_a_state_that_all_samples_begin_with_is_no_obstacle_to_a_batch():
    h = node("ConstantOfShape", ["s"], ["h"], value=onnx.helper.make_tensor("v", 1, [1], [0.5]))
    proto = time_major("GRU", 1)
    shape = [node("Shape", ["x"], ["n"], end=1), node("Concat", ["u", "n", "k"], ["s"], axis=0)]
    nodes = [*shape, h, *proto.graph.node]
    nodes[4].input.extend(["", "h"])
    proto = model(
        nodes,
        ["N", 6, 3],
        {v.name: onnx.numpy_helper.to_array(v) for v in proto.graph.initializer}
        | {"u": np.array([1]), "k": np.array([4])},
    )
    graph = agreement(proto)
    assert graph.free_batch
    assert graph.nodes[0].input("initial")


def test_a_state_that_a_caller_gives_belongs_to_no_sample():
    proto = recurrent("GRU", computed=("h",), layout=0)
    for extent in proto.graph.input[0].type.tensor_type.shape.dim[:2]:
        extent.Clear()
    graph = from_onnx(proto, input_shapes={"x": [5, 3, 2]})
    assert not graph.free_batch


def test_states_of_zeros_are_those_that_are_absent():
    zeros = {name: np.zeros((1, 3, 4), "f4") for name in "hc"}
    graph = agreement(recurrent("LSTM", "b", changed=zeros))
    assert len(graph.nodes[1].inputs) == 5


def test_the_work_of_a_layer_is_its_products():
    for kind, gates in GATES.items():
        samples, steps, hidden, width = 3, 5, 4, 2
        found = cost(from_onnx(recurrent(kind, "b", "h", direction="bidirectional")))
        rows = gates * hidden
        assert found.macs == 2 * samples * steps * rows * (width + hidden)
        assert found.parameters == 2 * rows * (width + hidden + 2)


# ---- refusals --------------------------------------------------------------------------------


def refusal_of(kind: str, reason: str) -> str:
    return f"1 node cannot be imported: {kind} (ai.onnx opset 14) at 'y': {reason}"


@pytest.mark.parametrize(
    ("proto", "kind", "reason"),
    [
        (recurrent("GRU", computed=("w",)), "GRU", "its weights must be constant"),
        (recurrent("RNN", computed=("b",)), "RNN", "its biases must be constant"),
        (recurrent("LSTM", computed=("p",)), "LSTM", "its peepholes must be constant"),
        (
            recurrent("GRU", activations=["Sigmoid", "Gelu"]),
            "GRU",
            "activation 'Gelu' is not supported",
        ),
        (recurrent("GRU", novelty=1), "GRU", "its attribute 'novelty' is not supported"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(proto, kind, reason):
    with refused(refusal_of(kind, reason), UnsupportedError):
        from_onnx(proto)


def test_lengths_are_no_floats():
    proto = with_lengths("GRU")
    nodes = [
        node("ReduceMax", ["x"], ["m"], axes=[0, 2], keepdims=0),
        node("Cast", ["m"], ["n"], to=onnx.TensorProto.INT32),
    ]
    nodes += proto.graph.node
    del proto.graph.node[:], proto.graph.input[1:]
    proto.graph.node.extend(nodes)
    ends = "; the model can be cut before with outputs=['n']"
    reason = f"its sequence lengths are computed as floats{ends}"
    with refused(refusal_of("GRU", reason), UnsupportedError):
        from_onnx(proto)


@pytest.mark.parametrize(
    ("proto", "message"),
    [
        (
            recurrent("GRU", changed={"lengths": np.array([5, 6, 5], np.int32)}),
            "sequence lengths [5, 6, 5] do not fit 5 steps of a batch of 3",
        ),
        (
            recurrent("GRU", changed={"lengths": np.array([5], np.int32)}),
            "its sequence lengths must be 3 integers, not integers of shape [1]",
        ),
        (
            recurrent("GRU", changed={"w": np.zeros((1, 12, 3), "f4")}),
            "weights of shape [1, 12, 3] and [1, 12, 4] do not make 1 direction of 2 numbers",
        ),
        (
            recurrent("LSTM", direction="bidirectional", changed={"r": np.zeros((1, 16, 4), "f4")}),
            "weights of shape [2, 16, 2] and [1, 16, 4] do not make 2 directions of 2 numbers",
        ),
        (
            recurrent("RNN", changed={"b": np.zeros((1, 4), "f4")}),
            "its biases must have shape [1, 8], not [1, 4]",
        ),
        (
            recurrent("LSTM", changed={"p": np.zeros((1, 16), "f4")}),
            "its peepholes must have shape [1, 12], not [1, 16]",
        ),
        (
            recurrent("RNN", changed={"h": np.zeros((3, 1, 4), "f4")}),
            "its initial state must have shape [1, 3, 4], not [3, 1, 4]",
        ),
        (recurrent("RNN", clip=-1.0), "clip must be positive, not -1"),
        (recurrent("LSTM", activations=["Tanh"]), "has 1 activations, not 3"),
    ],
)
def test_what_contradicts_itself_is_one_error(proto, message):
    kind = proto.graph.node[0].op_type
    with refused(f"{kind} 'y': {message}", ModelError):
        from_onnx(proto)


def test_a_direction_or_a_size_that_is_none():
    proto = recurrent("RNN")
    proto.graph.node[0].attribute.append(onnx.helper.make_attribute("direction", "up"))
    message = "direction must be one of forward, reverse, bidirectional, not 'up'"
    with refused(f"RNN 'y': {message}", ModelError):
        from_onnx(proto)
    proto = recurrent("RNN")
    proto.graph.node[0].attribute[0].i = 5
    with refused("RNN 'y': hidden_size is not that of its weights [1, 4, 4]", ModelError):
        from_onnx(proto)
    proto = recurrent("RNN", layout=2)
    with refused("RNN 'y': layout must be 0 or 1, not 2", ModelError):
        from_onnx(proto)
    proto = recurrent("RNN")
    proto.graph.input[0].type.tensor_type.shape.dim.pop()
    with refused("RNN 'y': takes a value of 3 axes, not shape [5, 3]", ModelError):
        from_onnx(proto)
