"""A width belongs to a sharing group; where widths meet, operators take both or a Rescale does."""

import numpy as np
import pytest

from edgeinfer.converters import from_onnx
from edgeinfer.errors import InputError
from edgeinfer.graph import Graph, GraphBuilder, Node, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.meaning.float_executor import execute as execute_floats
from edgeinfer.meaning.reference import execute
from edgeinfer.quant import choose_types, quantize
from edgeinfer.runtime.session import Session
from tests.accuracy.exported_models import MODELS, samples
from tests.accuracy.sqnr import sqnr_db
from tests.recurrent_models import GATES, recurrent
from tests.refusals import refused

RNG = np.random.default_rng(4)
SHAPE = (1, 4, 6, 8)


def pair(op: ops.Operator) -> Graph:
    """Two inputs through ``op``."""
    types = dict.fromkeys(("a", "b"), TensorType(SHAPE))
    joined = (*SHAPE[:3], 16) if isinstance(op, ops.Concat) else SHAPE
    types["y"] = TensorType(joined)
    return Graph("pair", (Node("n", op, ("a", "b"), ("y",)),), types, ("a", "b"), ("y",), {})


def single(op: ops.Operator) -> Graph:
    types = {"a": TensorType(SHAPE), "y": TensorType(SHAPE)}
    return Graph("single", (Node("n", op, ("a",), ("y",)),), types, ("a",), ("y",), {})


def layer(op: ops.Operator, weights: tuple[int, ...]) -> Graph:
    floats = {
        "w": RNG.normal(size=weights).astype(np.float32),
        "c": RNG.normal(size=weights[0]).astype(np.float32),
    }
    types = {name: TensorType(array.shape) for name, array in floats.items()}
    types |= {"a": TensorType(SHAPE), "y": TensorType((*SHAPE[:3], weights[0]))}
    node = Node("n", op, ("a", "w", "c"), ("y",))
    return Graph("layer", (node,), types, ("a",), ("y",), floats)


GRAPHS = {
    "Add": pair(ops.Add(lo=-1.0)),
    "Sub": pair(ops.Sub()),
    "Mul": pair(ops.Mul()),
    "Maximum": pair(ops.Maximum()),
    "Concat": pair(ops.Concat(3)),
    "Conv": layer(ops.Conv(pads=(1, 1, 1, 1)), (5, 3, 3, 8)),
    "Dense": layer(ops.Dense(hi=2.0), (5, 8)),
    "relu": single(ops.Pointwise(("relu", "x"))),
    "tanh": single(ops.Pointwise(("tanh", "x"))),
    "Softmax": single(ops.Softmax(3)),
    "AveragePool": single(ops.AveragePool(kernel=(3, 3), pads=(1, 1, 1, 1))),
}
MIXTURES = [("int8", "int8"), ("int8", "int16"), ("int16", "int8"), ("int16", "int16")]


@pytest.mark.parametrize(("a", "y"), MIXTURES)
@pytest.mark.parametrize("name", GRAPHS)
def test_an_operator_takes_either_width_and_gives_either(name, a, y):
    graph = GRAPHS[name]
    feeds = [
        {x: RNG.normal(size=SHAPE).astype(np.float32) for x in graph.inputs} for _ in range(12)
    ]
    integer = quantize(graph, feeds, observer="minmax", overrides={"a": a, "y": y})
    # a value that only a join takes is computed at the join's own type
    assert integer.types["y"].dtype == y
    if name not in ("Maximum", "Concat"):
        assert integer.types["a"].dtype == a
    session = Session(integer)
    expected = np.stack([execute_floats(graph, feed)["y"] for feed in feeds])
    got = np.stack([session.run(feed) for feed in feeds])
    assert sqnr_db(expected, got) >= 27
    raw = {
        x: integer.types[x].quantization.quantize(feeds[0][x], integer.types[x].dtype)
        for x in graph.inputs
    }
    assert np.array_equal(session.run(raw), execute(integer, raw)["y"])


def test_what_shares_a_scale_shares_its_width():
    graph = from_onnx(MODELS["two_outputs_and_slices"]())
    moved = next(n for n in graph.nodes if isinstance(n.op, ops.Slice))
    data = samples(MODELS["two_outputs_and_slices"](), 8, seed=1)
    integer = quantize(graph, data, overrides={moved.name: "int16"}, observer="minmax")
    assert integer.types[moved.inputs[0]].dtype == integer.types[moved.outputs[0]].dtype == "int16"


@pytest.mark.parametrize("name", MODELS)
def test_an_export_with_every_second_node_in_sixteen_bits_keeps_20_db(name):
    model = MODELS[name]()
    graph = from_onnx(model)
    data, x = samples(model, 16, seed=1), samples(model, 4, seed=2)
    nodes = dict.fromkeys([node.name for node in graph.nodes][::2], "int16")
    session = Session(quantize(graph, data, observer="minmax", overrides=nodes))
    for output in graph.outputs:
        expected, got = [], []
        for i in range(len(x)):
            expected.append(execute_floats(graph, {"x": x[i : i + 1]})[output])
            y = session.run(x[i : i + 1])
            got.append(y[output] if isinstance(y, dict) else y)
        assert sqnr_db(np.stack(expected), np.stack(got)) >= 20


def chosen(graph: Graph, seed: int = 1):
    """The types that int8 has by default."""
    rng = np.random.default_rng(seed)
    feeds = [
        {
            name: rng.integers(0, 3, graph.types[name].shape)
            if graph.types[name].dtype == "int64"
            else rng.normal(size=graph.types[name].shape).astype("f4")
            for name in graph.inputs
        }
        for _ in range(12)
    ]
    return choose_types(graph, feeds).values


@pytest.mark.parametrize("kind", GATES)
def test_what_a_recurrent_layer_takes_has_sixteen_bits_in_int8_and_its_h_has_eight(kind):
    graph = from_onnx(recurrent(kind, "b", sizes=(1, 5, 4, 3), layout=1, outputs=("y",)))
    (layer,) = (node for node in graph.nodes if isinstance(node.op, ops.Recurrent))
    types = chosen(graph)
    assert types[layer.input("x")].dtype == "int16"
    assert types[layer.outputs[0]].dtype == "int8"


def recurrence(b: GraphBuilder, x: str, name: str, *, width: int = 3) -> str:
    rng = np.random.default_rng(2)
    shapes = {"w": (4, width), "r": (4, 4), "b": (4,), "rb": (4,)}
    constants = [
        b.constant(f"{name}/{role}", rng.normal(size=shape).astype("f4"))
        for role, shape in shapes.items()
    ]
    return b.add(ops.RNN(), x, *constants, output=name)


def test_the_h_of_one_layer_that_another_takes_has_eight_bits():
    b = GraphBuilder("stacked")
    h = recurrence(b, b.input("x", TensorType((1, 5, 3))), "h")
    both = b.add(ops.Concat(2), h, h, output="both")
    types = chosen(b.graph(recurrence(b, both, "y", width=8)))
    assert {name: types[name].dtype for name in ("x", "h", "both")} == {
        "x": "int16",
        "h": "int8",
        "both": "int8",
    }


def test_a_table_of_words_has_eight_bits_before_a_recurrent_layer():
    b = GraphBuilder("words")
    table = b.constant("table", RNG.normal(size=(3, 3)).astype("f4"))
    words = b.input("words", TensorType((1, 5), "int64"))
    taken = b.add(ops.Gather(0), table, words, output="taken")
    assert chosen(b.graph(recurrence(b, taken, "y")))["taken"].dtype == "int8"


def test_a_sum_of_two_dense_layers_is_rounded_once():
    b = GraphBuilder("cell")
    x, h = b.input("x", TensorType((1, 8))), b.input("h", TensorType((1, 8)))
    for name in ("w", "r"):
        b.constant(name, RNG.normal(size=(4, 8)).astype("f4"))
    b.constant("bias", np.zeros(4, "f4"))
    parts = [
        b.add(ops.Dense(), *operands, "bias", output=f"{operands[1]} product")
        for operands in ((x, "w"), (h, "r"))
    ]
    types = chosen(b.graph(b.add(ops.Add(), *parts, output="y")))
    assert {name: types[name].dtype for name in (*parts, "y")} == {
        "w product": "int16",
        "r product": "int16",
        "y": "int8",
    }


DATA = [{"a": RNG.normal(size=SHAPE).astype(np.float32)} for _ in range(4)]


def test_the_last_pattern_that_names_a_value_counts():
    graph = GRAPHS["tanh"]
    integer = quantize(graph, DATA, overrides={"*": "int16", "[ab]": "int8"})
    assert integer.types["a"].dtype == "int8"
    assert integer.types["y"].dtype == "int16"


def test_overrides_are_in_the_provenance():
    integer = quantize(GRAPHS["tanh"], DATA, overrides={"*": "int16", "a": "int8"})
    assert integer.provenance["overrides"] == "*=int16, a=int8"


def test_a_pattern_that_names_nothing_names_near_ones():
    graph = from_onnx(MODELS["two_outputs_and_slices"]())
    with refused(
        "no node and no value that is computed is named 'gemm_11_1'; near it are 'gemm_11_0', "
        "'reducemax_12_0', 'reducemax_12_0@2'",
        InputError,
    ):
        quantize(graph, [], overrides={"gemm_11_1": "int16"})


def test_an_unknown_width_is_refused():
    with refused("the width for 'a' must be one of int8, int16, not 'int4'", InputError):
        quantize(GRAPHS["tanh"], DATA, overrides={"a": "int4"})


def test_double_rounding_with_sixteen_bits_anywhere_is_refused():
    with refused("rounding 'double' is for int8 only, in every layer", InputError):
        quantize(GRAPHS["tanh"], DATA, rounding="double", overrides={"y": "int16"})
