"""A GraphBuilder makes the Graph that its calls say, and refuses names that are taken."""

import numpy as np

from edgeinfer.errors import ModelError
from edgeinfer.graph import GraphBuilder, Quantization, State, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.graph.verification import verify
from edgeinfer.meaning import float_executor
from tests.refusals import refused

PAIR = TensorType((1, 2))


def test_a_graph_grows_from_its_inputs_to_its_outputs():
    builder = GraphBuilder("sum")
    x = builder.input("x", PAIR)
    weights = builder.constant("weights", np.array([[1, 2], [3, 4], [5, 6]], "f4"))
    y = builder.add(ops.Dense(), x, weights, output="y")
    builder.add(ops.Pointwise(("relu", "x")), x)
    graph = builder.graph(y, labels=("a", "b", "c"))
    verify(graph)
    assert [node.name for node in graph.nodes] == ["y"]
    assert (graph.inputs, graph.outputs, graph.labels) == (("x",), ("y",), ("a", "b", "c"))
    found = float_executor.execute(graph, {"x": np.array([[1, 1]], "f4")})
    np.testing.assert_array_equal(found["y"], [[3, 7, 11]])


def test_values_have_the_types_that_their_operators_give():
    builder = GraphBuilder()
    q = Quantization.per_tensor(0.5, 3)
    x = builder.input("x", TensorType((1, 6), "int8", q))
    a, b = builder.add_several(ops.Split(1, (2, 4)), x)
    assert (a, b) == ("split", "split@2")
    assert builder.types[b] == TensorType((1, 4), "int8", q)
    assert builder.types[builder.add(ops.ArgMax(1), x)] == TensorType((1, 1), "int64")
    wide = builder.add(ops.Rescale(), x, dtype="int16", quantization=Quantization.per_tensor(0.1))
    assert builder.types[wide] == TensorType((1, 6), "int16", Quantization.per_tensor(0.1))


def test_equal_constants_of_one_name_are_one_and_others_get_a_name_of_their_own():
    builder = GraphBuilder()
    one, other = np.zeros(2, "f4"), np.ones(2, "f4")
    names = [builder.constant("c", array) for array in (one, one.copy(), other, other)]
    assert names == ["c", "c", "c@2", "c@2"]
    assert builder.distinct("c") == "c@3"


def test_a_reserved_name_goes_to_who_asks_for_it():
    builder = GraphBuilder(reserved={"c", "c@2", "before/first", "add"})
    x = builder.input("x", PAIR)
    zero, one = np.zeros((1, 2), "f4"), np.ones((1, 2), "f4")
    assert [builder.constant("c", array) for array in (zero, one)] == ["c", "c@3"]
    assert builder.distinct("add") == "add@2"
    assert builder.add(ops.Add(), x, "c") == "add@2"
    assert builder.add(ops.Add(), x, "c", output="add") == "add"
    builder.keep(builder.state("before", zero), x)
    assert builder.graph("add").states == (State("before", "x", "before/first@2"),)


def test_a_state_begins_with_its_first_value_and_becomes_what_is_kept():
    builder = GraphBuilder()
    x = builder.input("x", PAIR)
    before = builder.state("before", np.array([[1, 2]], "f4"))
    y = builder.add(ops.Add(), x, before, output="y")
    builder.keep(before, y)
    graph = builder.graph(y)
    verify(graph)
    assert graph.states == (State("before", "y", "before/first"),)


def test_a_state_that_nothing_is_kept_for_is_refused():
    builder = GraphBuilder()
    before = builder.state("before", np.zeros((1, 2), "f4"))
    y = builder.add(ops.Add(), builder.input("x", PAIR), before)
    with refused("value '' has no type", ModelError):
        verify(builder.graph(y))


def test_a_name_that_is_taken_is_refused():
    builder = GraphBuilder()
    x = builder.input("x", PAIR)
    with refused("value 'x' is given already", ModelError):
        builder.input("x", PAIR)
    with refused("value 'x' is given already", ModelError):
        builder.add(ops.Add(), x, x, output="x")
