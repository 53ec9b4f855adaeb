"""What is joined and taken apart again is taken from its parts, so that each has its own scale."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.converters import from_onnx
from edgeinfer.quant import quantize
from edgeinfer.runtime.session import Session
from tests.converters.onnx_agreement import agreement, model, node, operators

BOXES, SCORES = 4, 3
CONSTANTS = {
    "sizes": np.array([BOXES, SCORES]),
    "extent": np.float32(200),
    "begin": np.array([0]),
    "four": np.array([BOXES]),
    "five": np.array([BOXES + 1]),
    "all": np.array([BOXES + SCORES]),
    "last": np.array([2]),
}
DECODED = [
    node("Split", ["x", "sizes"], ["p", "q"], axis=2),
    node("Sigmoid", ["p"], ["b"]),
    node("Mul", ["b", "extent"], ["boxes"]),
    node("Sigmoid", ["q"], ["scores"]),
    node("Concat", ["boxes", "scores"], ["joined"], axis=2),
]


@pytest.mark.parametrize(("begin", "end"), [("begin", "four"), ("four", "five"), ("five", "all")])
def test_a_slice_of_one_part_is_a_slice_of_that_part(begin, end):
    nodes = [*DECODED, node("Slice", ["joined", begin, end, "last"], ["y"])]
    graph = agreement(model(nodes, (1, 5, BOXES + SCORES), CONSTANTS))
    assert "Concat" not in operators(graph)


def test_a_slice_of_two_parts_stays():
    nodes = [
        node("Abs", ["x"], ["a"]),
        node("Neg", ["x"], ["n"]),
        node("Concat", ["a", "n"], ["joined"], axis=2),
        node("Slice", ["joined", "four", "all", "last"], ["y"]),
    ]
    graph = agreement(model(nodes, (1, 3, 5), CONSTANTS))
    assert "Concat" in operators(graph)


@pytest.mark.parametrize("scheme", ["int8", "int16x8", "int16"])
def test_the_best_scores_beside_boxes_are_found_and_none_is_0(scheme):
    nodes = [
        *DECODED,
        node("Slice", ["joined", "begin", "four", "last"], ["where"]),
        node("Slice", ["joined", "four", "all", "last"], ["what"]),
        node("ReduceMax", ["what"], ["best"], axes=[2], keepdims=0),
        node("TopK", ["best", "k"], ["high", "cells"], axis=1),
    ]
    constants = {**CONSTANTS, "k": np.array([5])}
    made = model(nodes, (1, 40, BOXES + SCORES), constants, outputs=("high", "where"))
    graph = from_onnx(made)
    data = np.random.default_rng(0).normal(size=(40, 1, 40, BOXES + SCORES)).astype("f4")
    session = Session(quantize(graph, data[:32], scheme=scheme))
    for x in data[32:]:
        scores = np.sort((1 / (1 + np.exp(-x[..., BOXES:]))).max(-1))[:, ::-1][:, :5]
        np.testing.assert_allclose(session.run({"x": x})["high"], scores, atol=0.02)


def test_a_class_is_joined_with_floats():
    nodes = [
        node("ArgMax", ["x"], ["i"], axis=2, keepdims=1),
        node("Cast", ["i"], ["f"], to=1),
        node("Concat", ["x", "f"], ["y"], axis=2),
    ]
    agreement(model(nodes, (1, 6, 5)))
