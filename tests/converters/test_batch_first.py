"""Whatever comes first in a model, a sequence or heads, the canonical Graph has its batch first."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from tests.converters.onnx_agreement import agreement, model, node, operators
from tests.keyword_transformers import keyword_transformer

RNG = np.random.default_rng(7)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype("f4")


def integers(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def first_extents(graph: Graph) -> set[int]:
    values = (name for each in graph.nodes for name in each.outputs)
    return {graph.types[name].shape[0] for name in values}


def test_a_keyword_transformer_has_its_batch_first():
    graph = agreement(keyword_transformer(frames=8, mels=6, width=16, heads=2, blocks=1))
    assert first_extents(graph) == {1}
    assert graph.types[graph.inputs[0]].shape == (1, 6, 8)


def between_transposes(*nodes, constants=None) -> Graph:
    """``nodes`` from s to t, both with the sequence first, [6, 1, 4]."""
    moves = [node("Transpose", ["x"], ["s"], perm=[1, 0, 2])]
    back = [node("Transpose", ["t"], ["m"], perm=[1, 2, 0]), node("MatMul", ["m", "w"], ["y"])]
    own = {"w": normal(6, 3), **(constants or {})}
    return agreement(model([*moves, *nodes, *back], (1, 6, 4), own, opset=18))


# what keeps a Transpose from going through: a product over the last axis of a flattened value
HELD_UP = [node("Reshape", ["s", "flat"], ["f"]), node("MatMul", ["f", "d"], ["h"])]
CONSTANTS = {"flat": integers(6, 4), "d": normal(4, 4), "apart": integers(6, 1, 4)}


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Softmax", ["a"], ["t"], axis=0)],
        [node("Softmax", ["a"], ["t"], axis=-1)],
        [node("Add", ["a", "s"], ["t"])],
        [node("Mul", ["bias", "a"], ["t"])],
        [node("Concat", ["a", "row"], ["c"], axis=0), node("Slice", ["c", "one", "seven"], ["t"])],
        [node("ReduceMean", ["a", "zero"], ["r"]), node("Sub", ["a", "r"], ["t"])],
        [node("PRelu", ["a", "bias"], ["t"])],
        [
            node("LayerNormalization", ["a", "scale", "bias"], ["n"]),
            node("Sigmoid", ["n"], ["t"]),
        ],
    ],
    ids=lambda nodes: nodes[0].op_type,
)
def test_what_reads_a_sequence_reads_it_behind_the_batch(nodes):
    constants = {
        **CONSTANTS,
        "bias": normal(4),
        "scale": normal(4),
        "row": normal(1, 1, 4),
        "zero": integers(0),
        "one": integers(1),
        "seven": integers(7),
    }
    apart = node("Reshape", ["h", "apart"], ["a"])
    graph = between_transposes(*HELD_UP, apart, *nodes, constants=constants)
    assert first_extents(graph) == {1}


def test_heads_of_products_get_a_batch():
    nodes = [
        node("Reshape", ["x", "apart"], ["r"]),
        node("Transpose", ["r"], ["q"], perm=[1, 0, 2]),
        node("Transpose", ["r"], ["k"], perm=[1, 2, 0]),
        node("MatMul", ["q", "k"], ["m"]),
        node("Softmax", ["m"], ["s"], axis=2),
        node("MatMul", ["s", "q"], ["a"]),
        node("Transpose", ["a"], ["b"], perm=[1, 0, 2]),
        node("Reshape", ["b", "joined"], ["y"]),
    ]
    shapes = {"apart": integers(6, 2, 4), "joined": integers(1, 6, 8)}
    graph = agreement(model(nodes, (1, 6, 8), shapes))
    assert first_extents(graph) == {1}


def test_samples_side_by_side_stay_where_they_are():
    nodes = [
        node("Reshape", ["x", "flat"], ["f"]),
        node("MatMul", ["f", "d"], ["h"]),
        node("Sigmoid", ["h"], ["s"]),
        node("MatMul", ["s", "d"], ["y"]),
    ]
    constants = {"flat": integers(18, 4), "d": normal(4, 4)}
    assert first_extents(agreement(model(nodes, (3, 6, 4), constants))) == {18}


def test_an_operator_alone_gets_no_reshapes():
    wide = model([node("Add", ["x", "wide"], ["y"])], (1, 6, 5), {"wide": normal(4, 1, 1)})
    assert operators(agreement(wide)) == ["Add"]


@pytest.mark.parametrize(("begin", "end"), [(0, 1), (1, 3)])
def test_parts_of_a_product_are_stretches_of_its_channels(begin, end):
    nodes = [
        node("MatMul", ["x", "w"], ["m"]),
        node("Reshape", ["m", "apart"], ["p"]),
        node("Slice", ["p", "begin", "end", "axis"], ["y"]),
    ]
    constants = {
        "w": normal(4, 30),
        "apart": integers(1, 6, 3, 2, 5),
        "begin": integers(begin),
        "end": integers(end),
        "axis": integers(2),
    }
    graph = agreement(model(nodes, (1, 6, 4), constants))
    assert operators(graph) == ["Dense", "Slice", "Reshape"]
    (cut,) = (each.op for each in graph.nodes if isinstance(each.op, ops.Slice))
    assert cut == ops.Slice((0, 0, 10 * begin), (1, 6, 10 * (end - begin)), (1, 1, 1))


def test_every_second_part_is_no_stretch():
    nodes = [
        node("Reshape", ["x", "apart"], ["p"]),
        node("Slice", ["p", "begin", "end", "axis", "step"], ["y"]),
    ]
    constants = {
        "apart": integers(1, 6, 4, 2),
        "begin": integers(0),
        "end": integers(4),
        "axis": integers(2),
        "step": integers(2),
    }
    assert operators(agreement(model(nodes, (1, 6, 8), constants))) == ["Reshape", "Slice"]
