"""Attention without a Softmax divides sums with the same weights: these are normalized first."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from edgeinfer.converters import from_onnx
from edgeinfer.graph import operators as ops
from edgeinfer.meaning.float_executor import execute
from edgeinfer.quant import quantize
from edgeinfer.runtime.session import Session
from tests.accuracy.sqnr import sqnr_db
from tests.converters.onnx_agreement import agreement, model, node, operators

RNG = np.random.default_rng(7)
TOKENS, WIDTH = 6, 8
CONSTANTS = {
    "v": RNG.normal(size=(1, TOKENS, 4)),
    "one": np.ones((1, TOKENS, 1)),
    "epsilon": np.float32(1e-5),
    "zero": np.array([0]),
    "four": np.array([4]),
    "five": np.array([5]),
    "last": np.array([2]),
}
# what is summed, and the sums of the weights, are columns of one product, or a product each
TOGETHER = [
    node("Concat", ["v", "one"], ["c"], axis=2),
    node("MatMul", ["p", "c"], ["m"]),
    node("MatMul", ["q", "m"], ["s"]),
    node("Slice", ["s", "zero", "four", "last"], ["a"]),
    node("Slice", ["s", "four", "five", "last"], ["d"]),
]
APART = [
    node("MatMul", ["p", "v"], ["m"]),
    node("MatMul", ["p", "one"], ["n"]),
    node("MatMul", ["q", "m"], ["a"]),
    node("MatMul", ["q", "n"], ["d"]),
]
QUOTIENTS = {
    "exact": [node("Div", ["a", "d"], ["y"])],
    "with an epsilon": [node("Add", ["d", "epsilon"], ["e"]), node("Div", ["a", "e"], ["y"])],
}


def attention(products: list[onnx.NodeProto], quotient: str) -> onnx.ModelProto:
    keys = [node("Abs", ["x"], ["q"]), node("Relu", ["z"], ["p"])]
    inputs = {"x": (1, TOKENS, WIDTH), "z": (1, WIDTH, TOKENS)}
    return model([*keys, *products, *QUOTIENTS[quotient]], None, CONSTANTS, inputs=inputs)


@pytest.mark.parametrize("quotient", QUOTIENTS)
@pytest.mark.parametrize("form", [TOGETHER, APART], ids=["together", "apart"])
def test_the_rows_that_multiply_both_are_normalized(form, quotient):
    graph = agreement(attention(form, quotient))
    (normalization,) = (n for n in graph.nodes if isinstance(n.op, ops.Normalization))
    assert normalization.op.measure == "magnitudes"
    assert normalization.op.axes == (2,)
    products = [n.op for n in graph.nodes if normalization.output in n.inputs]
    assert products == [ops.MatMul(), ops.MatMul()]


@pytest.mark.parametrize("products", [TOGETHER, APART], ids=["together", "apart"])
def test_quotients_of_rows_of_all_magnitudes_keep_16_bits_of_accuracy(products):
    made = attention(products, "with an epsilon")

    def feeds(seed: int, count: int) -> list[dict[str, np.ndarray]]:
        rng = np.random.default_rng(seed)
        sizes = 10 ** rng.uniform(-1.5, 1.5, (count, 1, TOKENS, 1))
        return [
            {
                "x": (size * rng.uniform(0.1, 1, (1, TOKENS, WIDTH))).astype("f4"),
                "z": rng.normal(size=(1, WIDTH, TOKENS)).astype("f4"),
            }
            for size in sizes
        ]

    data = feeds(0, 40)
    session = Session(quantize(from_onnx(made), data[:32], scheme="int16"))
    peer = onnxruntime.InferenceSession(made.SerializeToString())
    expected = np.stack([peer.run(None, feed)[0] for feed in data[32:]])
    found = np.stack([session.run(feed) for feed in data[32:]])
    assert sqnr_db(expected, found) > 48


def test_rows_of_zeros_give_zeros_where_an_epsilon_is_added():
    graph = agreement(attention(APART, "with an epsilon"))
    feed = {"x": np.zeros((1, TOKENS, WIDTH), "f4"), "z": np.ones((1, WIDTH, TOKENS), "f4")}
    assert not execute(graph, feed)["y"].any()


def test_quotients_with_other_weights_stay():
    nodes = [
        node("Abs", ["x"], ["q"]),
        node("Exp", ["x"], ["r"]),
        node("Relu", ["z"], ["p"]),
        node("MatMul", ["p", "v"], ["m"]),
        node("MatMul", ["p", "one"], ["n"]),
        node("MatMul", ["q", "m"], ["a"]),
        node("MatMul", ["r", "n"], ["d"]),
        node("Add", ["d", "epsilon"], ["e"]),
        node("Div", ["a", "e"], ["y"]),
    ]
    inputs = {"x": (1, TOKENS, WIDTH), "z": (1, WIDTH, TOKENS)}
    graph = agreement(model(nodes, None, CONSTANTS, inputs=inputs))
    assert "Normalization" not in operators(graph)


def test_an_epsilon_that_is_more_than_one_stays_what_it_is():
    constants = {**CONSTANTS, "epsilon": np.float32(0.5)}
    nodes = [node("Abs", ["x"], ["q"]), node("Relu", ["z"], ["p"])]
    nodes += [*APART, *QUOTIENTS["with an epsilon"]]
    inputs = {"x": (1, TOKENS, WIDTH), "z": (1, WIDTH, TOKENS)}
    graph = agreement(model(nodes, None, constants, inputs=inputs))
    assert "Normalization" not in operators(graph)


def test_a_product_that_is_taken_whole_as_well_stays_one():
    nodes = [node("Abs", ["x"], ["q"]), node("Relu", ["z"], ["p"]), *TOGETHER]
    inputs = {"x": (1, TOKENS, WIDTH), "z": (1, WIDTH, TOKENS)}
    made = model([*nodes, *QUOTIENTS["exact"]], None, CONSTANTS, inputs=inputs, outputs=("y", "s"))
    graph = agreement(made)
    assert any(isinstance(n.op, ops.MatMul) and n.output == "s" for n in graph.nodes)
    assert "Normalization" not in operators(graph)
