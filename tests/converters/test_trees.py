"""Ensembles of decision trees answer as onnxruntime's do, in integers from exact comparisons."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from edgeinfer.converters import from_onnx
from edgeinfer.errors import ModelError, UnsupportedError
from edgeinfer.graph import GraphBuilder, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.meaning.float_executor import execute
from edgeinfer.quant import quantize
from edgeinfer.session import Session
from tests.converters.onnx_agreement import model, node, onnxruntime_values, operators
from tests.refusals import refused

RNG = np.random.default_rng(61)
ML = "ai.onnx.ml"
COLUMNS = 5
MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT")


class Ensemble:
    """Trees of random questions, some of one leaf, as the attributes of a node."""

    def __init__(self, what, targets, trees=6, depth=4, modes=MODES, least=-1.0):
        self.what, self.targets, self.modes, self.least = what, targets, modes, least
        self.nodes = {name: [] for name in (
            "treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids"
        )}  # fmt: skip
        self.leaves = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
        self.count = 0
        for tree in range(trees):
            self.count = 0
            self.grow(tree, 0 if tree == 1 else depth)

    def grow(self, tree, depth):
        place, row, own = self.count, len(self.nodes["modes"]), self.nodes
        self.count += 1
        is_leaf = depth == 0 or (depth < 3 and RNG.random() < 0.3)
        mode = "LEAF" if is_leaf else str(RNG.choice(self.modes))
        # whole numbers, which inputs meet exactly
        value = float(RNG.integers(-3, 4))
        feature = int(RNG.integers(COLUMNS))
        for name, entry in zip(own, (tree, place, feature, value, mode, 0, 0), strict=True):
            own[name].append(entry)
        if is_leaf:
            for target in self.targets:
                weight = float(RNG.uniform(self.least, 1))
                entries = (tree, place, target, weight)
                for name, entry in zip(self.leaves, entries, strict=True):
                    self.leaves[name].append(entry)
        else:
            own["truenodeids"][row] = self.grow(tree, depth - 1)
            own["falsenodeids"][row] = self.grow(tree, depth - 1)
        return place

    def attributes(self):
        return {
            **{f"nodes_{name}": values for name, values in self.nodes.items()},
            **{f"{self.what}_{name}": values for name, values in self.leaves.items()},
        }


def made(operator, outputs, attributes, rows="N"):
    nodes = [node(operator, ["x"], outputs, domain=ML, **attributes)]
    proto = model(nodes, (rows, COLUMNS), outputs=outputs)
    proto.opset_import.append(helper.make_opsetid(ML, 3))
    return proto


def samples(count):
    """Rows of which half meet thresholds exactly."""
    x = RNG.normal(0, 2, (count, 1, COLUMNS)).astype("f4")
    return np.where(RNG.random(x.shape) < 0.5, np.rint(x), x)


def agrees(proto):
    """The Graph, whose floats are onnxruntime's."""
    graph = from_onnx(proto)
    for x in samples(200):
        expected = onnxruntime_values(proto, {"x": x}, graph.outputs)
        found = execute(graph, {"x": x})
        for name in graph.outputs:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6)
    return graph


@pytest.mark.parametrize("mode", MODES)
def test_a_regressor_of_one_mode(mode):
    attributes = Ensemble("target", [0], modes=(mode,)).attributes()
    graph = agrees(made("TreeEnsembleRegressor", ["y"], {**attributes, "n_targets": 1}))
    assert [name for name in operators(graph) if name != "Reshape"] == [
        "Gather", "Exceeds", "Conv", "Dense"
    ]  # fmt: skip


@pytest.mark.parametrize("how", ["SUM", "AVERAGE"])
def test_a_regressor_of_several_targets(how):
    attributes = Ensemble("target", [0, 2]).attributes()
    more = {"n_targets": 3, "base_values": [0.5, 0.0, -1.0], "aggregate_function": how}
    agrees(made("TreeEnsembleRegressor", ["y"], {**attributes, **more}))


@pytest.mark.parametrize("function", ["NONE", "SOFTMAX", "LOGISTIC"])
def test_a_classifier(function):
    attributes = Ensemble("class", [0, 1, 2]).attributes()
    more = {"classlabels_int64s": [4, 7, 9], "post_transform": function}
    agrees(made("TreeEnsembleClassifier", ["l", "p"], {**attributes, **more}))


@pytest.mark.parametrize("base", [None, 0.2])
@pytest.mark.parametrize("least", [-1.0, 0.0])
@pytest.mark.parametrize("function", ["NONE", "LOGISTIC"])
def test_a_classifier_of_two_classes_and_one_score(function, least, base):
    ensemble = Ensemble("class", [0], least=least)
    if least == 0:
        ensemble.leaves["weights"] = [w / 8 for w in ensemble.leaves["weights"]]
    more = {"classlabels_int64s": [0, 1], "post_transform": function}
    if base is not None:
        more["base_values"] = [base]
    agrees(made("TreeEnsembleClassifier", ["l", "p"], {**ensemble.attributes(), **more}))


@pytest.mark.parametrize("scheme", ["int8", "int16x8", "int16"])
def test_integers_reach_the_leaves_that_floats_reach(scheme):
    attributes = Ensemble("target", [0, 1], trees=30).attributes()
    graph = from_onnx(made("TreeEnsembleRegressor", ["y"], {**attributes, "n_targets": 2}))
    data = samples(200)
    # a step beside a threshold the input's rounding decides
    data = data + np.where(np.abs(data - np.rint(data)) < 1e-3, 0.3, 0).astype("f4")
    integers = quantize(graph, [{"x": x} for x in data[:100]], scheme=scheme, observer="minmax")
    assert integers.types["x"].dtype == "int16"
    session = Session(integers)
    expected = np.array([execute(graph, {"x": x})["y"] for x in data])
    found = np.array([session.run({"x": x}) for x in data])
    noise = 10 * np.log10((expected**2).sum() / ((found - expected) ** 2).sum())
    assert noise > {"int8": 35, "int16x8": 45, "int16": 75}[scheme]


@pytest.mark.parametrize("width", ["int8", "int16"])
def test_every_integer_is_compared_exactly(width):
    b = GraphBuilder("comparison")
    x = b.input("x", TensorType((1, 4), "float32"))
    thresholds = np.array([-0.5, 0.0, 0.25, 1e9], np.float32)
    b.add(ops.Exceeds(), x, b.constant("t", thresholds), output="y")
    data = [{"x": np.full((1, 4), v, np.float32)} for v in (-1.0, 1.0)]
    integers = quantize(b.graph("y"), data, observer="minmax", overrides={"x": width})
    quantization = integers.types["x"].quantization
    session = Session(integers)
    info = np.iinfo(width)
    for q in np.linspace(info.min, info.max, 999).astype(np.int64):
        value = np.float32(quantization.step) * np.float32(q - quantization.zero_point)
        found = session.run({"x": np.full((1, 4), value, np.float32)})
        np.testing.assert_array_equal(found[0], value > thresholds)


GOOD = Ensemble("target", [0], trees=1, depth=2).attributes() | {"n_targets": 1}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"nodes_values": [0.0]}, "its nodes do not have as many attributes each"),
        ({"target_weights": [1.0]}, "its leaves do not have as many attributes each"),
        ({"nodes_nodeids": [0] * len(GOOD["nodes_nodeids"])}, "two of its nodes are the same"),
        ({"nodes_truenodeids": [99] * len(GOOD["nodes_nodeids"])},
         "each of its trees must have one root"),
        ({"nodes_featureids": [9] * len(GOOD["nodes_nodeids"])},
         "its trees ask for more than the 5 features that there are"),
        ({"base_values": [0.0, 1.0]}, "it has 2 base values, not 1"),
        ({"target_ids": [1] * len(GOOD["target_ids"])}, "a leaf adds to result 1 of 1"),
    ],
)  # fmt: skip
def test_trees_that_contradict_themselves_are_refused(changed, message):
    with refused(f"TreeEnsembleRegressor 'y': {message}", ModelError):
        from_onnx(made("TreeEnsembleRegressor", ["y"], GOOD | changed, rows=1))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"aggregate_function": "MAX"}, "aggregate_function 'MAX' is not supported"),
        ({"nodes_modes": [m if m == "LEAF" else "BRANCH_EQ" for m in GOOD["nodes_modes"]]},
         "nodes of mode 'BRANCH_EQ' are not supported"),
        ({"post_transform": "PROBIT"}, "post_transform 'PROBIT' is not supported"),
    ],
)  # fmt: skip
def test_trees_of_other_kinds_are_refused(changed, message):
    with refused(
        "1 node cannot be imported: TreeEnsembleRegressor (ai.onnx.ml opset 3) at 'y': " + message,
        UnsupportedError,
    ):
        from_onnx(made("TreeEnsembleRegressor", ["y"], GOOD | changed, rows=1))


@pytest.mark.parametrize(
    ("target", "function", "message"),
    [
        (1, "NONE", "one score that is not the first is not supported"),
        (0, "SOFTMAX", "post_transform 'SOFTMAX' of one score is not supported"),
    ],
)
def test_one_score_of_other_forms_is_refused(target, function, message):
    attributes = Ensemble("class", [target]).attributes()
    more = {"classlabels_int64s": [0, 1], "post_transform": function}
    with refused(
        f"1 node cannot be imported: TreeEnsembleClassifier (ai.onnx.ml opset 3) at 'l': {message}",
        UnsupportedError,
    ):
        from_onnx(made("TreeEnsembleClassifier", ["l", "p"], {**attributes, **more}, rows=1))


def test_paths_longer_than_any_memory_are_refused_before_they_are_walked():
    """Each leaf of a chain has all questions above it on its path."""
    inner = 17_000
    leaves = [*range(inner, 2 * inner + 1)]
    attributes = {
        "nodes_treeids": [0] * (2 * inner + 1),
        "nodes_nodeids": [*range(2 * inner + 1)],
        "nodes_featureids": [0] * (2 * inner + 1),
        "nodes_values": [0.0] * (2 * inner + 1),
        "nodes_modes": ["BRANCH_LEQ"] * inner + ["LEAF"] * (inner + 1),
        "nodes_truenodeids": [*range(1, inner), leaves[-1], *[0] * (inner + 1)],
        "nodes_falsenodeids": [*leaves[:-1], *[0] * (inner + 1)],
        "target_treeids": [0],
        "target_nodeids": [leaves[0]],
        "target_ids": [0],
        "target_weights": [1.0],
    }
    with refused(
        "TreeEnsembleRegressor 'y': the constants of the model have more than 67108864 elements"
    ):
        from_onnx(made("TreeEnsembleRegressor", ["y"], attributes, rows=1))
