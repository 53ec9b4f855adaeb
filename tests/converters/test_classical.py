"""Linear models and networks of scikit-learn, with scalers and labels, as of onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgeinfer.converters import from_onnx
from edgeinfer.errors import UnsupportedError
from edgeinfer.meaning.float_executor import execute
from edgeinfer.quant import quantize
from edgeinfer.session import Session
from tests.converters.onnx_agreement import agreement, model, node, onnxruntime_values, operators
from tests.refusals import refused

RNG = np.random.default_rng(51)
ML = "ai.onnx.ml"
COLUMNS, CLASSES = 4, 3
COEFFICIENTS = RNG.normal(size=CLASSES * COLUMNS).tolist()
INTERCEPTS = RNG.normal(size=CLASSES).tolist()
X = RNG.normal(size=(40, 1, COLUMNS)).astype("f4")


def ml(operator, inputs, outputs, **attributes):
    return node(operator, inputs, outputs, domain=ML, **attributes)


def made(nodes, outputs=("y",), shape=("N", COLUMNS), **options):
    proto = model(nodes, shape, outputs=outputs, **options)
    proto.opset_import.append(helper.make_opsetid(ML, 3))
    return proto


@pytest.mark.parametrize("count", [1, COLUMNS])
def test_a_scaler(count):
    attributes = {"offset": [0.5] * count, "scale": [3.0, 0.1, 2.0, 1.0][:count]}
    proto = made([ml("Scaler", ["x"], ["y"], **attributes)])
    assert set(operators(agreement(proto))) <= {"Conv", "Reshape", "Pointwise"}


@pytest.mark.parametrize("norm", ["MAX", "L1", "L2"])
def test_a_normalizer(norm):
    proto = made([node("Abs", ["x"], ["a"]), ml("Normalizer", ["a"], ["y"], norm=norm)])
    agreement(proto)


def test_the_largest_magnitude_is_the_norm_as_in_scikit_learn():
    graph = from_onnx(made([ml("Normalizer", ["x"], ["y"], norm="MAX")]))
    found = execute(graph, {"x": np.array([[1, -4, 2, 0]], "f4")})["y"]
    np.testing.assert_allclose(found, [[0.25, -1, 0.5, 0]])


def test_a_binarizer():
    agreement(made([ml("Binarizer", ["x"], ["y"], threshold=0.2)]))


@pytest.mark.parametrize("missing", [float("nan"), 0.0])
def test_an_imputer(missing):
    values = [1.0, 2.0, 3.0, 4.0]
    proto = made(
        [ml("Imputer", ["x"], ["y"], imputed_value_floats=values, replaced_value_float=missing)]
    )
    x = np.array([[missing, 5.0, missing, 0.5]], "f4")
    found = execute(from_onnx(proto), {"x": x})["y"]
    np.testing.assert_array_equal(found, [[1.0, 5.0, 3.0, 0.5]])


@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC", "SOFTMAX"])
def test_a_linear_regressor(transform):
    attributes = {"coefficients": COEFFICIENTS, "intercepts": INTERCEPTS, "targets": CLASSES}
    # onnxruntime transforms no regressor
    proto = made([ml("LinearRegressor", ["x"], ["y"], post_transform=transform, **attributes)])
    if transform == "NONE":
        assert operators(agreement(proto)) == ["Dense"]
    else:
        from_onnx(proto)


LABELS = {
    "places": {"classlabels_ints": [0, 1, 2]},
    "numbers": {"classlabels_ints": [7, -3, 4]},
    "words": {"classlabels_strings": ["setosa", "versicolor", "virginica"]},
}


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC", "SOFTMAX"])
def test_a_linear_classifier(transform, labels):
    attributes = {"coefficients": COEFFICIENTS, "intercepts": INTERCEPTS, **LABELS[labels]}
    classifier = ml(
        "LinearClassifier", ["x"], ["label", "y"], post_transform=transform, **attributes
    )
    proto = made([classifier], ("label", "y"))
    graph = from_onnx(proto)
    session = Session(quantize(graph, X[:, 0], scheme="int16", observer="minmax"))
    names = LABELS["words"]["classlabels_strings"]
    assert graph.labels == (tuple(names) if labels == "words" else ())
    right = 0
    for x in X:
        expected = onnxruntime_values(proto, {"x": x}, ["label", "y"])
        found, integers = execute(graph, {"x": x}), session.run(x)
        wanted = expected["label"]
        if labels == "words":
            wanted = np.array([names.index(str(name)) for name in wanted])
        np.testing.assert_array_equal(found["label"], wanted)
        np.testing.assert_allclose(found["y"], expected["y"], rtol=1e-4, atol=1e-5)
        assert np.abs(integers["y"] - expected["y"]).max() < 0.01
        right += np.array_equal(integers["label"], wanted)
    assert right >= len(X) - 1


@pytest.mark.parametrize("labels", ["words", "numbers"])
def test_a_network_of_scikit_learn(labels):
    """As skl2onnx exports an MLPClassifier: label and a map of probabilities."""
    words = LABELS["words"]["classlabels_strings"]
    known = helper.make_tensor("classes", TensorProto.INT64, [3], [7, -3, 4])
    if labels == "words":
        known = helper.make_tensor("classes", TensorProto.STRING, [3], [w.encode() for w in words])
    zipped = {"classlabels_int64s": [7, -3, 4]}
    zipped = {"classlabels_strings": words} if labels == "words" else zipped
    nodes = [
        ml("Scaler", ["x"], ["s"], offset=[0.1] * COLUMNS, scale=[2.0] * COLUMNS),
        node("MatMul", ["s", "w"], ["m"]),
        node("Relu", ["m"], ["r"]),
        node("MatMul", ["r", "v"], ["n"]),
        node("Softmax", ["n"], ["p"], axis=1),
        node("ArgMax", ["p"], ["a"], axis=1),
        ml("ZipMap", ["p"], ["probabilities"], **zipped),
        ml("ArrayFeatureExtractor", ["classes", "a"], ["f"]),
        node("Reshape", ["f", "flat"], ["label"]),
    ]
    constants = {"w": RNG.normal(size=(4, 8)), "v": RNG.normal(size=(8, 3)), "flat": np.array([-1])}
    proto = made(nodes, ("label", "probabilities"), constants=constants)
    proto.graph.initializer.append(known)
    graph = from_onnx(proto)
    assert graph.free_batch
    names = words if labels == "words" else ["7", "-3", "4"]
    assert graph.labels == tuple(names)
    for x in X:
        expected = onnxruntime_values(proto, {"x": x}, ["label", "p"])
        found = execute(graph, {"x": x})
        label = found["label"][0]
        assert str(expected["label"][0]) == (words[label] if labels == "words" else str(label))
        np.testing.assert_allclose(found["probabilities"], expected["p"], rtol=1e-4, atol=1e-6)


def test_features_are_picked_and_joined():
    nodes = [
        ml("ArrayFeatureExtractor", ["x", "places"], ["a"]),
        ml("FeatureVectorizer", ["a", "x"], ["y"], inputdimensions=[2, 4]),
    ]
    agreement(made(nodes, shape=(3, COLUMNS), constants={"places": np.array([2, 0])}))


def test_what_is_not_linear_is_refused():
    nodes = [ml("LinearRegressor", ["x"], ["y"], coefficients=[1.0] * 4, post_transform="PROBIT")]
    with refused(
        "1 node cannot be imported: LinearRegressor (ai.onnx.ml opset 3) at 'y': "
        "post_transform 'PROBIT' is not supported",
        UnsupportedError,
    ):
        from_onnx(made(nodes))


def test_coefficients_that_do_not_fit_are_refused():
    with refused("LinearRegressor 'y': 3 coefficients do not fit 4 features"):
        from_onnx(made([ml("LinearRegressor", ["x"], ["y"], coefficients=[1.0] * 3)], shape=(1, 4)))


@pytest.mark.parametrize("function", ["NONE", "LOGISTIC"])
def test_a_linear_model_of_one_score_for_two_classes(function):
    attributes = {
        "coefficients": COEFFICIENTS[:COLUMNS], "intercepts": INTERCEPTS[:1],
        "classlabels_ints": [3, 5], "post_transform": function,
    }  # fmt: skip
    proto = made([ml("LinearClassifier", ["x"], ["label", "scores"], **attributes)],
                 ["label", "scores"])  # fmt: skip
    graph = from_onnx(proto)
    for x in X:
        expected = onnxruntime_values(proto, {"x": x}, graph.outputs)
        found = execute(graph, {"x": x})
        for name in graph.outputs:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6)
