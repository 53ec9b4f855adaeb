"""Recurrent layers in integers: near the float ones, and the same at each step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeinfer.converters import from_onnx
from edgeinfer.errors import QuantizationError, UnsupportedError
from edgeinfer.graph import Graph, GraphBuilder, Quantization, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.meaning import float_executor, reference
from edgeinfer.quant import IntegerTypes, Options, choose_types, lower_to_integers, quantize
from edgeinfer.runtime.session import Session
from tests.accuracy.sqnr import sqnr_db
from tests.recurrent_models import DIRECTIONS, GATES, recurrent
from tests.refusals import refused

LEAST_DB = {"int8": 27.0, "int16x8": 38.0, "int16": 62.0}


def feeds_of(graph: Graph, count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Runs one after another along the first axis; states are about as large as an h."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for name in graph.inputs:
        n, *shape = graph.types[name].shape
        scale = 1.0 if name == "x" else 0.4
        feeds[name] = (rng.normal(size=(count * n, *shape)) * scale).astype("f4")
    return feeds


def run_at(graph: Graph, feeds: dict[str, np.ndarray], index: int) -> dict[str, np.ndarray]:
    rows = {name: graph.types[name].shape[0] for name in graph.inputs}
    return {name: feeds[name][index * n : (index + 1) * n] for name, n in rows.items()}


def as_integers(graph: Graph, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    types = graph.types
    return {n: types[n].quantization.quantize(x, types[n].dtype) for n, x in feed.items()}


def outputs_of(session: Session, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    found = session.run(feed)
    return found if isinstance(found, dict) else {session.outputs[0].name: found}


def check(graph: Graph, scheme: str, least_db: float | None = None) -> Graph:
    """Quantize ``graph``: outputs near the float ones, and the reference's bits from a Session."""
    integer = quantize(graph, feeds_of(graph, 100), scheme=scheme)
    session = Session(integer)
    unseen = feeds_of(graph, 12, seed=1)
    runs = [run_at(graph, unseen, index) for index in range(12)]
    expected = [float_executor.execute(graph, feed) for feed in runs]
    found = [outputs_of(session, feed) for feed in runs]
    for name in graph.outputs:
        wanted, given = (np.stack([run[name] for run in side]) for side in (expected, found))
        assert sqnr_db(wanted, given) >= (least_db or LEAST_DB[scheme]), name
    raw = as_integers(integer, runs[0])
    exact = reference.execute(integer, raw)
    for name, array in outputs_of(session, raw).items():
        np.testing.assert_array_equal(array, exact[name], strict=True)
    return integer


# ---- accuracy --------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", LEAST_DB)
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("kind", GATES)
def test_a_layer_keeps_every_step_and_the_last(kind, direction, scheme):
    check(from_onnx(recurrent(kind, "b", sizes=(1, 9, 8, 5), direction=direction)), scheme)


VARIANTS = {
    "GRU resets behind its product": ("GRU", {"linear_before_reset": 1}),
    "GRU of hard sigmoids": ("GRU", {"activations": ["HardSigmoid", "Softsign"]}),
    "LSTM with peepholes": ("LSTM", {"peepholes": True}),
    "LSTM with coupled gates": ("LSTM", {"input_forget": 1}),
    "LSTM with both": ("LSTM", {"input_forget": 1, "peepholes": True}),
    "LSTM, clipped": ("LSTM", {"clip": 0.8}),
    "LSTM of other functions": ("LSTM", {"activations": ["HardSigmoid", "Relu", "Softsign"]}),
    "RNN of rectifiers": ("RNN", {"activations": ["Relu"], "weight": 0.3}),
    "RNN, linear": (
        "RNN",
        {
            "activations": ["Affine"],
            "activation_alpha": [0.5],
            "activation_beta": [0.1],
            "weight": 0.3,
        },
    ),
}


@pytest.mark.parametrize("scheme", LEAST_DB)
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_keeps_its_outputs(variant, scheme):
    kind, attributes = VARIANTS[variant]
    attributes = dict(attributes)
    roles = ("b", "p") if attributes.pop("peepholes", False) else ("b",)
    weight = attributes.pop("weight", 0.7)
    proto = recurrent(kind, *roles, sizes=(2, 9, 8, 5), weight=weight, **attributes)
    check(from_onnx(proto), scheme)


@pytest.mark.parametrize("scheme", LEAST_DB)
@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("computed", [False, True])
def test_the_first_step_takes_what_it_is_given(kind, computed, scheme):
    states = ("h", "c") if kind == "LSTM" else ("h",)
    given = {"computed": states} if computed else {}
    proto = recurrent(kind, "b", *(() if computed else states), sizes=(2, 5, 8, 5), **given)
    check(from_onnx(proto), scheme)


@pytest.mark.parametrize("scheme", LEAST_DB)
@pytest.mark.parametrize("kind", GATES)
def test_one_step_alone_is_a_layer_too(kind, scheme):
    check(from_onnx(recurrent(kind, "b", "h", sizes=(1, 1, 8, 5), weight=0.5)), scheme)


def one_unit(kind: str, steps: int, rows: list[list[float]], scheme: str, x: np.ndarray):
    """A layer of one unit by its rows [W, R, b], quantized for ``x`` [samples, steps]: float and
    integer sequences."""
    w, r, b = np.array(rows, np.float32).T
    builder = GraphBuilder()
    inputs = [
        builder.input("x", TensorType((1, steps, 1))),
        builder.constant("w", w[:, None]),
        builder.constant("r", r[:, None]),
        builder.constant("b", b),
        builder.constant("rb", np.zeros_like(b)),
    ]
    op = getattr(ops, kind)()
    y, *_ = builder.add_several(op, *inputs, outputs=["y", "c"][: len(op.gives)])
    graph = builder.graph(y)
    x = x.astype("f4")[..., None]
    session = Session(quantize(graph, x, scheme=scheme, observer="minmax"))
    expected = np.concatenate([float_executor.execute(graph, {"x": s[None]})["y"] for s in x])
    return expected[..., 0], np.concatenate([session.run(s[None]) for s in x])[..., 0]


@pytest.mark.parametrize("scheme", LEAST_DB)
def test_what_an_lstm_keeps_it_keeps(scheme):
    # its input gate opens at the first step alone, and its forget gate is 1
    x = np.zeros((16, 120))
    x[:, 0] = np.linspace(0.7, 1, 16)
    rows = [[40, 0, -20], [0, 0, 20], [0, 0, 20], [1, 0, 0]]
    expected, found = one_unit("LSTM", 120, rows, scheme, x)
    assert expected[:, -1].min() > 0.25
    assert np.abs(found[:, -1] - expected[:, -1]).max() < 0.02


@pytest.mark.parametrize("scheme", LEAST_DB)
def test_what_a_gru_adds_slowly_adds_up(scheme):
    # 2 % of the way at a step, which of the last fifth is less than half a step of 8 bits
    x = np.linspace(-1, 1, 16)[:, None] * np.ones((16, 150))
    rows = [[0, 0, 3.9], [0, 0, 0], [1, 0, 0]]
    expected, found = one_unit("GRU", 150, rows, scheme, x)
    assert np.abs(expected[:, -1]).max() > 0.7
    assert np.abs(found - expected).max() < 0.02


@pytest.mark.parametrize("scheme", ["int16x8", "int16"])
@pytest.mark.parametrize("kind", GATES)
def test_summands_beyond_where_functions_settle_cancel(kind, scheme):
    # W x reaches 60, where every gate has settled, and R h brings it back
    rng = np.random.default_rng(0)
    hidden = 4
    proto = recurrent(
        kind,
        sizes=(1, 12, hidden, 2),
        changed={
            "w": (rng.normal(size=(1, GATES[kind] * hidden, 2)) * 20).astype("f4"),
            "r": (rng.normal(size=(1, GATES[kind] * hidden, hidden)) * 15).astype("f4"),
        },
    )
    graph = from_onnx(proto)
    session = Session(quantize(graph, feeds_of(graph, 40), scheme=scheme))
    unseen = feeds_of(graph, 30, seed=1)
    far = []
    for index in range(30):
        feed = run_at(graph, unseen, index)
        expected = float_executor.execute(graph, feed)["y"]
        far.append(np.abs(outputs_of(session, feed)["y"] - expected) > 0.05)
    # such a layer is chaotic: a few gates flip
    assert np.mean(far) < 0.1


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_what_a_stream_adds_slowly_adds_up(kind):
    # as above, a step a run, from what the run before has left
    rows = {
        "GRU": [[0, 0, 3.9], [0, 0, 0], [1, 0, 0]],
        "LSTM": [[0, 0, -3.9], [0, 0, 20], [0, 0, 3.9], [1, 0, 0]],
    }
    w, r, b = np.array(rows[kind], np.float32).T[:, None]
    changed = {"w": w[..., None], "r": r[..., None], "b": np.concatenate([b, 0 * b], 1)}
    states = {"h": "y_h", "c": "y_c"} if kind == "LSTM" else {"h": "y_h"}
    proto = recurrent(kind, computed=tuple(states), sizes=(1, 1, 1, 1), changed=changed)
    graph = from_onnx(proto, states=states)
    x = np.repeat([0.9, -0.9, 0.5], 150).astype("f4")[:, None, None]
    integer = quantize(graph, x)
    stream, state = Session(integer).stream(), {}
    for element in x:
        expected = float_executor.execute(graph, {"x": element[None]}, state=state)["y"]
        assert np.abs(stream.run(element[None]) - expected).max() < 0.03


# ---- exactness -------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", LEAST_DB)
@pytest.mark.parametrize("kind", ["RNN", "LSTM"])
def test_a_step_at_a_time_gives_the_same_bits(kind, scheme):
    steps, hidden = 6, 8
    whole = from_onnx(recurrent(kind, "b", sizes=(1, steps, hidden, 5), layout=1, outputs=("y",)))
    samples = feeds_of(whole, 40)
    types = choose_types(whole, samples["x"], Options(scheme=scheme))
    together = lower_to_integers(whole, types)
    (layer,) = (n for n in whole.nodes if isinstance(n.op, ops.Recurrent))

    builder = GraphBuilder()
    x = builder.input("x", TensorType((1, 1, 5)))
    constants = [builder.constant(n, whole.constants[n]) for n in layer.inputs[1:5]]
    names = ("h", "c")[: len(layer.outputs)]
    firsts = [builder.input(name, TensorType((1, hidden))) for name in names]
    given = [f"{name} given" for name in names]
    builder.add_several(layer.op, x, *constants, *firsts, outputs=given)
    values = {"x": replace(types.values[layer.inputs[0]], shape=(1, 1, 5))}
    for output, first, result in zip(layer.outputs, firsts, given, strict=True):
        values[first] = replace(types.values[output], shape=(1, hidden))
        values[result] = replace(types.values[output], shape=(1, 1, hidden))
    one = lower_to_integers(builder.graph(*given), IntegerTypes(values, types.weights))

    sequence = as_integers(together, {"x": samples["x"][:1]})["x"]
    expected = reference.execute(together, {"x": sequence})[whole.outputs[0]]
    state = {
        name: np.full((1, hidden), values[name].quantization.zero_point, values[name].dtype)
        for name in firsts
    }
    for t in range(steps):
        found = reference.execute(one, {"x": sequence[:, t : t + 1], **state})
        np.testing.assert_array_equal(found[given[0]].ravel(), expected[0, t].ravel())
        state = {first: found[name][:, 0] for first, name in zip(firsts, given, strict=True)}


@pytest.mark.parametrize("kind", GATES)
def test_all_steps_have_the_same_constants_and_types(kind):
    integers = [
        quantize(graph, feeds_of(graph, 20))
        for graph in (from_onnx(recurrent(kind, "b", sizes=(1, n, 4, 3))) for n in (3, 7))
    ]
    assert len({len(graph.constants) for graph in integers}) == 1
    by_step: dict[str, set[str]] = {}
    for name, t in integers[1].types.items():
        _, _, part = name.partition("/")
        step, _, part = part.partition("/")
        if step.isdigit():
            by_step.setdefault(part, set()).add(str(t))
    assert by_step
    assert all(len(kinds) == 1 for kinds in by_step.values())


@pytest.mark.parametrize("kind", GATES)
def test_a_reversed_layer_is_one_of_the_reversed_sequence(kind):
    sizes = (1, 6, 8, 5)
    forward, backward = (
        from_onnx(recurrent(kind, "b", sizes=sizes, direction=direction, layout=1, outputs=("y",)))
        for direction in ("forward", "reverse")
    )
    # so few that none are held back: a digest knows no reversed sequence
    samples = feeds_of(forward, 4)["x"]
    a, b = quantize(forward, samples), quantize(backward, samples[:, ::-1].copy())
    x = as_integers(a, {"x": samples[:1]})["x"]
    found = reference.execute(b, {"x": x[:, ::-1].copy()})["y"]
    np.testing.assert_array_equal(found[:, ::-1], reference.execute(a, {"x": x})["y"])


# ---- types -----------------------------------------------------------------------------------


def test_an_lstms_cells_have_16_bits_unless_8_are_asked_for():
    graph = from_onnx(recurrent("LSTM", "b", sizes=(1, 6, 8, 5)))
    samples = feeds_of(graph, 20)
    kinds = {name: t.dtype for name, t in quantize(graph, samples).types.items()}
    assert (kinds["y_c"], kinds["y_h"]) == ("int16", "int8")
    asked = quantize(graph, samples, overrides={"y_c": "int8"})
    assert asked.types["y_c"].dtype == "int8"
    # what adds up has 16 bits all the same
    assert all(t.dtype == "int16" for name, t in asked.types.items() if name.endswith("/c"))


@pytest.mark.parametrize("kind", GATES)
def test_the_headroom_of_16_bits_ends_where_h_must(kind):
    graph = from_onnx(recurrent(kind, sizes=(1, 6, 8, 5), outputs=("y",)))
    y = quantize(graph, feeds_of(graph, 20), scheme="int16").types["y"]
    assert y.quantization == Quantization.per_tensor(1 / 32767)


@pytest.mark.parametrize("kind", ["GRU", "RNN"])
def test_an_h_without_bounds_has_the_range_that_was_seen(kind):
    names = {"GRU": ["Sigmoid", "Relu"], "RNN": ["Relu"]}[kind]
    graph = from_onnx(recurrent(kind, sizes=(1, 6, 8, 5), activations=names, outputs=("y",)))
    samples = feeds_of(graph, 20)
    y = quantize(graph, samples, scheme="int16").types["y"]
    runs = [float_executor.execute(graph, run_at(graph, samples, i))["y"] for i in range(20)]
    assert 32767 * y.quantization.step >= 1.5 * np.max(runs)


def test_functions_are_tables_of_few_entries():
    for kind in GATES:
        graph = from_onnx(recurrent(kind, "b", sizes=(1, 6, 8, 5)))
        for scheme in LEAST_DB:
            integer = quantize(graph, feeds_of(graph, 20), scheme=scheme)
            tables = {n.input("table") for n in integer.nodes if isinstance(n.op, ops.Lookup)}
            assert {integer.types[name].shape for name in tables} == {(513,)}


def test_a_layer_whose_weights_are_all_zero_is_quantized():
    zeros = {"w": np.zeros((1, 16, 5), "f4"), "r": np.zeros((1, 16, 4), "f4")}
    graph = from_onnx(recurrent("LSTM", sizes=(1, 3, 4, 5), changed=zeros))
    integer = quantize(graph, feeds_of(graph, 20))
    found = Session(integer).run(feeds_of(graph, 1)["x"])
    assert not any(array.any() for array in found.values())


# ---- refusals --------------------------------------------------------------------------------


def test_weights_that_a_run_computes_are_refused():
    builder = GraphBuilder()
    x = builder.input("x", TensorType((1, 3, 2)))
    w = builder.input("w", TensorType((4, 2)))
    r, b = builder.constant("r", np.ones((4, 4), "f4")), builder.constant("b", np.ones(4, "f4"))
    graph = builder.graph(builder.add(ops.RNN(), x, w, r, b, b, output="y"))
    message = "RNN 'y': weights that a run computes cannot be quantized yet"
    with refused(message, QuantizationError):
        quantize(graph, {"x": np.ones((8, 3, 2), "f4"), "w": np.ones((32, 2), "f4")})


def test_double_rounding_is_refused():
    graph = from_onnx(recurrent("GRU", sizes=(1, 3, 4, 5)))
    message = (
        "rounding 'double' is for int8 only, and recurrent layers keep 16 bits from step to step: "
        "GRU 'y'"
    )
    with refused(message, UnsupportedError):
        quantize(graph, feeds_of(graph, 8), rounding="double")
    types = choose_types(graph, feeds_of(graph, 8))
    message = "GRU 'y': keeps 16 bits from step to step, and rounding 'double' is for int8"
    with refused(message, QuantizationError):
        lower_to_integers(graph, types, rounding="double")


def test_more_steps_than_there_can_be_nodes_are_refused():
    graph = from_onnx(recurrent("RNN", sizes=(1, 501, 1, 1), direction="bidirectional"))
    message = (
        "its recurrent layers take 1002 steps together, each of which becomes operators of its "
        "own; at most 1000 can: RNN 'y', 'y@2'; give the model shorter sequences"
    )
    with refused(message, UnsupportedError):
        quantize(graph, np.ones((8, 501, 1, 1), "f4"))
