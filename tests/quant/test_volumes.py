"""A convolution or pool of volumes is rounded once, and what is moved for it is not rounded."""

import numpy as np
import pytest

from edgeinfer.converters import from_onnx
from edgeinfer.graph import operators as ops
from edgeinfer.meaning.float_executor import execute
from edgeinfer.quant import quantize
from edgeinfer.runtime.session import Session
from tests.accuracy.sqnr import sqnr_db
from tests.converters.onnx_agreement import model, node

# in 8 bits, values of as few elements as these have a quarter more range than was seen
LEAST_SQNR_DB = {"int8": 32.0, "int16x8": 35.0, "int16": 75.0}


def data(count=32):
    return np.random.default_rng(0).normal(size=(count, 1, 4, 6, 5, 7)).astype(np.float32)


@pytest.mark.parametrize("scheme", LEAST_SQNR_DB)
@pytest.mark.parametrize("group", [1, 2])
def test_a_convolution_beside_which_its_input_is_used_is_rounded_once(group, scheme):
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(4, 4 // group, 3, 3, 3))
    layers = [
        node("Conv", ["x", "w"], ["c"], pads=[1] * 6, group=group),
        node("Add", ["x", "c"], ["y"]),
    ]
    graph = from_onnx(model(layers, (1, 4, 6, 5, 7), {"w": weights}))
    integer = quantize(graph, list(data()), scheme=scheme)
    rounding = [type(n.op) for n in integer.nodes if not isinstance(n.op, ops.Moving)]
    assert rounding == [ops.QConv, ops.QAdd]
    session = Session(integer)
    expected = np.stack([execute(graph, {"x": x})["y"] for x in data()])
    found = np.stack([session.run(x) for x in data()])
    assert sqnr_db(expected, found) > LEAST_SQNR_DB[scheme]


@pytest.mark.parametrize("scheme", LEAST_SQNR_DB)
def test_a_transposed_convolution_is_rounded_once(scheme):
    weights = np.random.default_rng(2).normal(size=(4, 2, 3, 3, 2))
    layer = node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2, 2], group=2, pads=[1] * 6)
    graph = from_onnx(model([layer], (1, 4, 6, 5, 7), {"w": weights}))
    integer = quantize(graph, list(data()), scheme=scheme)
    rounding = [type(n.op) for n in integer.nodes if not isinstance(n.op, ops.Moving)]
    assert rounding == [ops.QConv] * 2
    session = Session(integer)
    expected = np.stack([execute(graph, {"x": x})["y"] for x in data()])
    found = np.stack([session.run(x) for x in data()])
    assert sqnr_db(expected, found) > LEAST_SQNR_DB[scheme]


def test_the_largest_elements_are_not_rounded_at_all():
    layer = node("MaxPool", ["x"], ["y"], kernel_shape=[2, 3, 2], strides=[2, 1, 2])
    graph = from_onnx(model([layer], (1, 4, 6, 5, 7)))
    integer = quantize(graph, list(data()))
    assert all(isinstance(n.op, ops.Selecting) for n in integer.nodes)


@pytest.mark.parametrize("kernel, count", [((1, 2, 3), 1), ((3, 1, 1), 1), ((2, 2, 3), 2)])
def test_an_average_is_rounded_once_over_images_and_once_over_depths(kernel, count):
    graph = from_onnx(model([node("AveragePool", ["x"], ["y"], kernel_shape=kernel)],
                            (1, 4, 6, 5, 7)))  # fmt: skip
    integer = quantize(graph, list(data()))
    rounding = [type(n.op) for n in integer.nodes if not isinstance(n.op, ops.Moving)]
    assert rounding == [ops.QAveragePool] * count
