"""Pruning constant channels changes no bit of any output."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.converters import from_onnx
from edgeinfer.graph import Graph, Node, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.graph.cost import cost
from edgeinfer.graph.verification import verify
from edgeinfer.meaning.reference import execute
from edgeinfer.quant import compare, quantize
from edgeinfer.quant.prune import prune_constant_channels
from edgeinfer.runtime.session import Session


def chain(seed: int, padded: bool) -> Graph:
    """conv - depthwise - max pool - tanh - conv - dense, with dead channels in each layer."""
    rng = np.random.default_rng(seed)
    constants, nodes, types = {}, [], {"x": TensorType((1, 7, 7, 3))}

    def layer(op, x, shape, out, name):
        w = rng.normal(size=shape).astype("f4")
        w[rng.random(shape[0]) < 0.4] = 0
        constants[f"{name}/w"], constants[f"{name}/b"] = w, rng.normal(size=shape[0]).astype("f4")
        types[f"{name}/w"], types[f"{name}/b"] = TensorType(shape), TensorType(shape[:1])
        nodes.append(Node(name, op, (x, f"{name}/w", f"{name}/b"), (name,)))
        types[name] = TensorType(out)

    pads = (1, 1, 1, 1) if padded else (0, 0, 0, 0)
    a = 7 if padded else 5
    b = 7 if padded else 3
    layer(ops.Conv(lo=0.0, pads=pads), "x", (8, 3, 3, 3), (1, a, a, 8), "stem")
    layer(ops.Conv(lo=0.0, pads=pads, group=8), "stem", (8, 3, 3, 1), (1, b, b, 8), "depthwise")
    nodes.append(Node("pool", ops.MaxPool(kernel=(2, 2)), ("depthwise",), ("pool",)))
    types["pool"] = TensorType((1, b - 1, b - 1, 8))
    nodes.append(Node("tanh", ops.Pointwise(("tanh", "x")), ("pool",), ("tanh",)))
    types["tanh"] = types["pool"]
    layer(ops.Conv(), "tanh", (6, 1, 1, 8), (1, b - 1, b - 1, 6), "mix")
    nodes.append(Node("mean", ops.ReduceMean((1, 2), False), ("mix",), ("mean",)))
    types["mean"] = TensorType((1, 6))
    layer(ops.Dense(), "mean", (4, 6), (1, 4), "scores")
    return Graph("chain", tuple(nodes), types, ("x",), ("scores",), constants)


@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from(["int8", "int16x8"]))
def test_a_pruned_chain_gives_the_same_bits(seed, padded, scheme):
    data = np.random.default_rng(seed).normal(size=(4, 1, 7, 7, 3)).astype("f4")
    graph = quantize(chain(seed, padded), list(data), scheme=scheme, observer="minmax")
    pruned = prune_constant_channels(graph)
    verify(pruned)
    x = {"x": graph.types["x"].quantization.quantize(data[0], graph.types["x"].dtype)}
    assert np.array_equal(execute(graph, x)["scores"], execute(pruned, x)["scores"])


def test_dead_channels_are_gone():
    data = np.random.default_rng(0).normal(size=(4, 1, 7, 7, 3)).astype("f4")
    graph = quantize(chain(5, False), list(data), observer="minmax")
    dead = int((np.abs(graph.constants["stem/weights"]).reshape(8, -1).max(1) == 0).sum())
    assert dead > 0
    pruned = prune_constant_channels(graph)
    assert pruned.types["stem"].shape[3] <= 8 - dead
    assert pruned.types["scores"] == graph.types["scores"]


def test_what_is_left_is_compared_under_its_names():
    data = np.random.default_rng(0).normal(size=(40, 1, 7, 7, 3)).astype("f4")
    floats = chain(5, False)
    graph = quantize(floats, list(data), observer="minmax")
    pruned = prune_constant_channels(graph)
    narrowed = {"stem", "depthwise", "pool", "tanh"}
    assert {n for n in pruned.types if pruned.types[n].shape != graph.types[n].shape} >= narrowed
    whole, left = ({e.value: e for e in compare(floats, g, list(data))} for g in (graph, pruned))
    assert set(whole) - set(left) == narrowed
    # what no channel left has the same bits, so the same error
    assert left == {name: error for name, error in whole.items() if name not in narrowed}


def test_a_third_of_a_real_mobilenet_goes_and_no_bit_changes(zoo):
    entry = zoo.load("vww_mobilenet")
    graph = quantize(from_onnx(entry.model), entry.calib[:20], observer="minmax")
    pruned = prune_constant_channels(graph)
    weights = [sum(c.size for c in g.constants.values()) for g in (graph, pruned)]
    assert weights[1] < 0.7 * weights[0]
    assert cost(pruned).macs < 0.6 * cost(graph).macs
    assert np.array_equal(Session(graph).run(entry.x[:50]), Session(pruned).run(entry.x[:50]))
