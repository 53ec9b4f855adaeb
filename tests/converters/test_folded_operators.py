"""Constants that fold by the Graph's own arithmetic are those that onnx's evaluator folds."""

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from edgeinfer.converters.folded_operators import SAME_EVERYWHERE

RNG = np.random.default_rng(2)
NUMBERS = RNG.normal(size=(4, 6)).astype("f4")
FUNCTIONS = {"Cos", "Erf", "Exp", "Log", "Sigmoid", "Sin", "Softplus", "Tanh"}


def folded(operator: str, *arrays: np.ndarray, **attributes) -> tuple[np.ndarray, np.ndarray]:
    """By both."""
    names = [f"x{i}" for i in range(len(arrays))]
    node = helper.make_node(operator, names, ["y"], **attributes)
    function = helper.make_function("", "f", names, ["y"], [node], [helper.make_opsetid("", 20)])
    feeds = dict(zip(names, arrays, strict=True))
    (own,) = ReferenceEvaluator(function, new_ops=SAME_EVERYWHERE).run(None, feeds, attributes={})
    (onnxs,) = ReferenceEvaluator(function).run(None, feeds, attributes={})
    assert own.dtype == onnxs.dtype
    assert own.shape == onnxs.shape
    return own, onnxs


def test_each_has_a_test():
    others = {"GatherND", "Pow", "MatMul", "HannWindow", "HammingWindow", "BlackmanWindow"}
    assert {c.__name__ for c in SAME_EVERYWHERE} == FUNCTIONS | others


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("operator", sorted(FUNCTIONS))
def test_functions(operator, dtype):
    x = (np.abs(NUMBERS) if operator == "Log" else NUMBERS).astype(dtype)
    own, onnxs = folded(operator, x)
    assert np.allclose(own, onnxs, rtol=4 * np.finfo(dtype).eps, atol=1e-7)


@pytest.mark.parametrize("kinds", ["ff", "fi", "ii", "if"])
def test_powers(kinds):
    a = np.abs(NUMBERS) if kinds[0] == "f" else RNG.integers(1, 9, (4, 6))
    b = NUMBERS if kinds[1] == "f" else RNG.integers(0, 4, (4, 6))
    own, onnxs = folded("Pow", a, b)
    assert np.allclose(own, onnxs, rtol=1e-6)


@pytest.mark.parametrize(
    "shapes",
    [((4, 6), (6, 5)), ((6,), (6, 5)), ((4, 6), (6,)), ((6,), (6,)), ((2, 1, 4, 6), (3, 6, 5))],
)
@pytest.mark.parametrize("dtype", ["f4", "i8"])
def test_products(shapes, dtype):
    a, b = ((10 * RNG.normal(size=shape)).astype(dtype) for shape in shapes)
    own, onnxs = folded("MatMul", a, b)
    assert np.allclose(own, onnxs, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("data", "indices", "batch"),
    [
        ((3, 4), (5, 2), 0),
        ((3, 4), (2, 5, 1), 0),
        ((2, 3, 4), (2, 5, 1), 1),
        ((2, 3, 4, 5), (2, 3, 6, 2), 2),
        ((2, 3, 4), (2, 2), 1),
    ],
)
def test_elements_by_place(data, indices, batch):
    numbers = RNG.normal(size=data).astype("f4")
    places = RNG.integers(-2, 2, indices)
    own, onnxs = folded("GatherND", numbers, places, batch_dims=batch)
    np.testing.assert_array_equal(own, onnxs)


def test_what_is_computed_in_parts_is_whole():
    x = np.linspace(-3, 3, 2**18 + 5, dtype="f4")
    own, onnxs = folded("Erf", x)
    assert np.allclose(own, onnxs, atol=1e-6)


@pytest.mark.parametrize(
    "attributes", [{}, {"periodic": 0}, {"output_datatype": onnx.TensorProto.DOUBLE}]
)
@pytest.mark.parametrize("operator", ["HannWindow", "HammingWindow", "BlackmanWindow"])
def test_windows(operator, attributes):
    own, onnxs = folded(operator, np.array(25, np.int64), **attributes)
    assert np.allclose(own, onnxs, atol=1e-6)
