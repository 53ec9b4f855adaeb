"""Weights that see the data: exact moments, less error than nearest, proofs kept, and a veto."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest

from edgeinfer.converters import from_onnx
from edgeinfer.demo import CALIBRATION, MODEL, TEST
from edgeinfer.errors import InputError
from edgeinfer.files.model_file import to_bytes
from edgeinfer.graph import Graph, GraphBuilder, Node, Quantization, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.meaning import float_executor
from edgeinfer.quant import Options, choose_types, quantize, quantize_and_judge
from edgeinfer.quant.calibration import Run
from edgeinfer.quant.lowering import lower_to_integers
from edgeinfer.quant.objective import Noise
from edgeinfer.quant.rounding import in_turn, layers
from edgeinfer.quant.rounding.moments import Layer, Moments, moments_of
from edgeinfer.quant.rounding.walk import Walk
from edgeinfer.runtime.session import Session
from tests.accuracy.exported_models import MODELS, samples
from tests.accuracy.sqnr import sqnr_db
from tests.refusals import refused

DIGITS = from_onnx(MODEL)
IMAGES, UNSEEN = (np.load(path)["image"].astype(np.float32) for path in (CALIBRATION, TEST))

# attributes, channels in and out, extent of the kernel
CONVS = {
    "plain": ({"pads": (1, 1, 1, 1)}, 8, 12, 3),
    "strided": ({"pads": (0, 1, 1, 0), "strides": (2, 1), "dilations": (1, 2)}, 6, 8, 2),
    "grouped": ({"group": 3}, 12, 15, 2),
    "depthwise": ({"group": 9, "pads": (1, 1, 1, 1)}, 9, 18, 3),
    "pointwise": ({}, 32, 8, 1),
}


def layer(kind: str, seed: int = 0) -> Graph:
    """One layer of random weights, from x to y."""
    rng = np.random.default_rng(seed)
    to = GraphBuilder(kind)
    if kind == "dense":
        shape, weights, op = (1, 40), (24, 40), ops.Dense()
    else:
        attributes, channels, out, k = CONVS[kind]
        op = ops.Conv(**attributes)
        shape, weights = (1, 7, 6, channels), (out, k, k, channels // op.group)
    x = to.input("x", TensorType(shape))
    w = to.constant("w", rng.normal(size=weights).astype("f4"))
    b = to.constant("b", rng.normal(size=weights[0]).astype("f4"))
    return to.graph(to.add(op, x, w, b, output="y", node="layer"), free_batch=True)


def related(graph: Graph, count: int, seed: int) -> np.ndarray:
    """Samples whose channels are much alike, and not 0 in the mean, as behind a Relu."""
    shape = graph.types["x"].shape[1:]
    mixing = np.random.default_rng(7).normal(size=(3, shape[-1]))
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, *shape[:-1], 3)) @ mixing + 0.2 * rng.normal(size=(count, *shape))
    return np.maximum(x, 0).astype("f4")


def floats(graph: Graph, x: np.ndarray) -> np.ndarray:
    (source,), (result,) = graph.inputs, graph.outputs
    return np.concatenate(
        [float_executor.execute(graph, {source: s[None].astype("f4")})[result] for s in x]
    )


def weights_of(graph: Graph, node: str) -> np.ndarray:
    (found,) = (each for each in graph.nodes if each.name == node)
    return graph.constants[found.input("weights")]


# ---- moments


@pytest.mark.parametrize("kind", ["dense", *CONVS])
@pytest.mark.parametrize("zero_point", [-128, 3])
def test_moments_are_exact_sums_over_all_windows(kind, zero_point):
    graph, rng = layer(kind), np.random.default_rng(1)
    (node,), kernel = graph.nodes, graph.types["w"].shape
    shared = {"output_zero_point": 0, "lo": -128, "hi": 127, "input_zero_point": zero_point}
    fields = CONVS[kind][0] if kind != "dense" else {}
    op = ops.QDense(**shared) if kind == "dense" else ops.QConv(**shared, **fields)
    shape = (5, *graph.types["x"].shape)
    x, reference = rng.integers(-128, 128, shape), rng.integers(-32768, 32768, shape)
    at = Layer(Node("layer", op, node.inputs, node.outputs), kernel, zero_point)
    found = moments_of(at, x.astype("i1"), reference.astype("i2"), [slice(0, at.length)])
    # small whole numbers, whose sums float32 holds
    w = rng.integers(-2, 3, kernel)

    def sums(values: np.ndarray) -> np.ndarray:
        each = [float_executor.evaluate(node.op, v.astype("f4"), w.astype("f4"))[0] for v in values]
        return np.concatenate([y.reshape(-1, len(w)) for y in each]).astype(np.int64)

    grouped = w.reshape(at.groups, -1, at.length)
    accumulators, others = sums(x - zero_point), sums(reference // 256)
    assert found.count == len(accumulators)
    assert (grouped * found.sums[:, None]).sum(2).ravel().tolist() == accumulators.sum(0).tolist()
    squares = np.einsum("goi,gij,goj->go", grouped, found.products[0], grouped)
    assert squares.ravel().tolist() == (accumulators**2).sum(0).tolist()
    coarse = moments_of(at, x.astype("i1"), reference // 256, [])
    references = (grouped * coarse.references[:, None]).sum(2)
    assert references.ravel().tolist() == others.sum(0).tolist()


def same(a: Moments, b: Moments) -> bool:
    pairs = zip(
        [a.sums, a.references, *a.products], [b.sums, b.references, *b.products], strict=True
    )
    return a.count == b.count and all(np.array_equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("kind", ["dense", *CONVS])
def test_moments_of_parts_add_up_in_any_order(kind):
    graph, rng = layer(kind), np.random.default_rng(2)
    (node,) = graph.nodes
    shared = {"output_zero_point": 0, "lo": -128, "hi": 127, "input_zero_point": 5}
    op = ops.QDense(**shared) if kind == "dense" else ops.QConv(**shared, **CONVS[kind][0])
    at = Layer(Node("layer", op, node.inputs, node.outputs), graph.types["w"].shape, 5)
    x, reference = (rng.integers(-128, 128, (12, *graph.types["x"].shape)) for _ in range(2))
    blocks = [slice(0, at.length // 2), slice(at.length // 2, at.length)]
    whole = moments_of(at, x, reference, blocks)
    order = rng.permutation(12)
    parts = [moments_of(at, x[o], reference[o], blocks) for o in (order[:5], order[5:])]
    parts[1].add(parts[0])
    assert same(whole, parts[1])


def test_of_many_windows_some_are_drawn_from_every_run():
    at = Layer(
        Node("c", ops.QConv(output_zero_point=0, lo=-128, hi=127), ("x", "w"), ("y",)),
        (4, 1, 1, 2),
        0,
    )
    # each run has a number of its own
    x = np.broadcast_to(np.arange(20)[:, None, None, None, None], (20, 1, 64, 64, 2))
    found = moments_of(at, x, x, [])
    assert 8192 // 2 < found.count <= 8192
    assert found.sums.ravel().tolist() == [found.count / 20 * sum(range(20))] * 2


# ---- roundings


@pytest.mark.parametrize("kind", ["dense", *CONVS])
def test_in_turn_leaves_less_of_the_weights_error_on_other_samples(kind):
    graph = layer(kind)
    given, unseen = related(graph, 60, seed=1), related(graph, 40, seed=2)
    expected = floats(graph, unseen)
    left = {
        way: sqnr_db(
            expected,
            Session(quantize(graph, given, scheme="int16x8", rounding_weights=way)).run(unseen),
        )
        for way in ("nearest", "bias", "in-turn")
    }
    assert left["bias"] > left["nearest"]
    # the windows of a depthwise layer have one channel, whose pixels are not related
    assert left["in-turn"] > left["nearest"] + (1 if kind == "depthwise" else 3)


def test_weights_in_blocks_are_better_than_nearest(monkeypatch):
    graph = layer("dense")
    given, unseen = related(graph, 60, seed=1), related(graph, 40, seed=2)
    monkeypatch.setattr(in_turn, "_LONGEST", 16)
    assert in_turn.blocks_of(40) == [slice(0, 13), slice(13, 26), slice(26, 40)]
    expected = floats(graph, unseen)
    nearest, blocks = (
        Session(quantize(graph, given, scheme="int16x8", rounding_weights=way)).run(unseen)
        for way in ("nearest", "in-turn")
    )
    assert sqnr_db(expected, blocks) > sqnr_db(expected, nearest) + 3


@pytest.mark.parametrize("kind", ["dense", "plain", "depthwise"])
@pytest.mark.parametrize("way", ["bias", "in-turn"])
def test_the_mean_error_of_every_channel_is_less_than_a_step(kind, way):
    graph = layer(kind)
    given = related(graph, 40, seed=1)
    options = {"scheme": "int16x8", "observer": "minmax"}
    expected = floats(graph, given)
    axes = tuple(range(expected.ndim - 1))

    def mean_errors(way: str) -> np.ndarray:
        session = Session(quantize(graph, given, rounding_weights=way, **options))
        return np.abs((session.run(given) - expected).mean(axes)) / session.outputs[0].scale

    assert mean_errors(way).max() < 1
    assert mean_errors("nearest").max() > 3


@pytest.mark.parametrize(
    "name", ["mobilenet_v2_inverted_residuals", "resnet_with_unfolded_batch_norm"]
)
def test_an_exported_network_keeps_more_in_turn(name):
    model = MODELS[name]()
    graph = from_onnx(model)
    x = samples(model, 16, seed=2)
    expected = floats(graph, x)
    nearest, turned = (
        Session(
            quantize(graph, samples(model, 32, seed=1), scheme="int16x8", rounding_weights=way)
        ).run(x)
        for way in ("nearest", "in-turn")
    )
    assert sqnr_db(expected, turned) > sqnr_db(expected, nearest) + 3


def test_a_trained_network_keeps_more_by_default():
    expected = np.concatenate(
        [
            float_executor.execute(DIGITS, {"image": s[None]})[DIGITS.outputs[0]]
            for s in UNSEEN[:200]
        ]
    )
    nearest, default = (
        Session(quantize(DIGITS, IMAGES, scheme="int16x8", **options)).run(UNSEEN[:200])
        for options in ({"rounding_weights": "nearest"}, {})
    )
    assert sqnr_db(expected, default) > sqnr_db(expected, nearest) + 3


def test_a_channel_that_is_constant_stays_constant():
    graph = layer("dense")
    w = graph.constants["w"].copy()
    w[4] *= 1e-9
    dead = replace(graph, constants={**graph.constants, "w": w})
    made = quantize(dead, related(graph, 40, seed=1), rounding_weights="in-turn")
    q = weights_of(made, "layer")
    assert not q[4].any() and q[3].any()


def test_a_channel_whose_accumulator_would_no_longer_be_proven_stays_nearest():
    q = Quantization.per_tensor(1.0)
    types = {"x": TensorType((1, 2), "int8", q)}
    constants = {
        "w": np.array([[1, 1], [1, 1]], "i1"),
        "b": np.array([2**31 - 2 * 128 - 1, 0], "i4"),
    }
    graph = Graph("g", (), types, ("x",), ("y",), constants)
    at = Node("y", ops.QDense(output_zero_point=0, lo=-128, hi=127), ("x", "w", "b"), ("y",))
    changed = np.array([[2, 1], [2, 1]], "i1"), np.array([2**31 - 257, 7])
    made = layers.proven(graph, at, *changed, np.ones(2))
    assert made.weights.tolist() == [[1, 1], [2, 1]]
    assert made.bias.tolist() == [2**31 - 257, 7]


def test_a_layer_too_large_is_said_and_gets_its_bias_alone(monkeypatch, caplog):
    graph = layer("dense")
    given = related(graph, 40, seed=1)
    nearest, bias = (
        quantize(graph, given, observer="minmax", rounding_weights=way)
        for way in ("nearest", "bias")
    )
    monkeypatch.setattr(layers, "_MOST_WORK", 24 * 40 * 40 // 2 - 1)
    with caplog.at_level(logging.INFO, "edgeinfer.quant.rounding"):
        made = quantize(graph, given, observer="minmax", rounding_weights="in-turn")
    assert "layer: rounded to nearest, as it is too large to round in turn" in caplog.messages
    assert np.array_equal(weights_of(made, "layer"), weights_of(nearest, "layer"))
    assert made.constants["layer/bias"].tolist() == bias.constants["layer/bias"].tolist()
    assert made.constants["layer/bias"].tolist() != nearest.constants["layer/bias"].tolist()


def test_two_roundings_are_kept_apart():
    given = related(layer("dense"), 40, seed=1)
    graphs = [
        quantize(layer("dense"), given, observer="minmax", rounding=r, rounding_weights="in-turn")
        for r in ("single", "double")
    ]
    assert [graph.nodes[0].op.rounding for graph in graphs] == ["single", "double"]
    assert np.array_equal(*(weights_of(graph, "layer") for graph in graphs))


def test_the_order_of_the_samples_changes_no_byte():
    given = IMAGES[:60]
    order = np.random.default_rng(3).permutation(60)
    made = [
        to_bytes(quantize(DIGITS, data, observer="minmax", rounding_weights="in-turn"))
        for data in (given, given[order])
    ]
    assert made[0] == made[1]


def test_16_bit_weights_stay_nearest():
    asked, nearest = (
        quantize(DIGITS, IMAGES[:40], scheme="int16", rounding_weights=way)
        for way in ("in-turn", "nearest")
    )
    assert asked.provenance["rounding_weights"] == "nearest"
    assert to_bytes(asked) == to_bytes(nearest)


# ---- the walk


@pytest.mark.parametrize("scheme", ["int8", "int16"])
def test_a_walk_comes_by_what_a_run_computes(scheme):
    model = MODELS["resnet_with_unfolded_batch_norm"]()
    graph = from_onnx(model)
    x = samples(model, 5, seed=1)
    types = choose_types(graph, x, Options(scheme, observer="minmax"))
    integer = lower_to_integers(graph, types)
    stops = [n.name for n in integer.nodes if isinstance(n.op, ops.QConv | ops.QDense)]
    walk = Walk(integer, [Run(i, {"x": s[None]}, {}) for i, s in enumerate(x)], stops)
    session = Session(integer, keep_values=True)
    taken = {node.name: node.inputs[0] for node in integer.nodes}
    expected = []
    for s in x:
        session.run(s[None])
        expected.append({stop: session.value(taken[stop]) for stop in stops})
    assert len(stops) > 3
    for stop in stops:
        assert np.array_equal(walk.before(stop), [run[stop] for run in expected])


# ---- the choice


def test_few_runs_and_models_with_states_get_nearest():
    made = quantize_and_judge(DIGITS, IMAGES[:15], Options())
    assert made.rounded.way == "nearest"
    assert made.graph.provenance["rounding_weights"] == "nearest"
    to = GraphBuilder("sums")
    x, state = to.input("x", TensorType((1, 4))), to.state("s", np.zeros((1, 4), "f4"))
    w = to.constant("w", np.eye(4, dtype="f4"))
    to.keep(state, to.add(ops.Dense(), to.add(ops.Add(), x, state), w, output="y", node="layer"))
    keeping = to.graph("y")
    data = np.random.default_rng(0).normal(size=(20, 4)).astype("f4")
    assert quantize(keeping, data).provenance["rounding_weights"] == "nearest"
    with refused(
        "rounding_weights 'in-turn' takes runs apart from each other, and those of this model "
        "depend on the ones before; give 'nearest'",
        InputError,
    ):
        quantize(keeping, data, rounding_weights="in-turn")


def test_what_is_no_way_to_round_is_refused():
    with refused(
        "rounding_weights must be one of auto, nearest, bias, in-turn, not 'up'", InputError
    ):
        quantize(DIGITS, IMAGES, rounding_weights="up")


def test_one_sample_is_enough_where_it_is_asked_for():
    made = quantize_and_judge(DIGITS, IMAGES[:1], Options(rounding_weights="in-turn"))
    assert made.rounded.way == "in-turn"


def test_runs_held_back_speak_against_a_rounding_that_does_harm(monkeypatch):
    rng = np.random.default_rng(5)

    def harmed(weights, moments, top):
        return np.clip(np.rint(weights) + rng.integers(-6, 7, weights.shape), -top, top)

    monkeypatch.setattr(layers, "rounded_in_turn", harmed)
    made = quantize_and_judge(DIGITS, IMAGES[:40], Options("int16x8"))
    assert made.rounded.way == made.graph.provenance["rounding_weights"] == "bias"
    left = made.rounded.sqnr_db
    assert left["in-turn"] < left["nearest"] - 3 < left["bias"] - 3


def noise(by_run: list[float], by_part: list[float]) -> Noise:
    return Noise(np.array(by_run)[:, None], np.array(by_part))


def test_a_loss_within_the_luck_of_a_few_runs_is_none():
    one = noise([1e-3, 2e-3, 1e-3, 2e-3], [0, 1.0, 1.0])
    mixed = noise([2e-3, 1e-3, 3e-3, 1.5e-3], [0, 1.2, 1.1])
    assert not mixed.is_clearly_worse_than(one)
    assert not one.is_clearly_worse_than(one)
    steady = noise([1.3e-3, 2.5e-3, 1.3e-3, 2.6e-3], [0, 1.2, 1.2])
    assert steady.is_clearly_worse_than(one)
    burst = noise([1e-3, 1.9e-2, 1e-4, 2e-3], [0, 1.2, 1.2])
    assert burst.is_clearly_worse_than(one)
    lost_part = noise([1e-3, 2e-3, 1e-3, 2e-3], [0, 1.0, 5.0])
    assert lost_part.is_clearly_worse_than(one)
