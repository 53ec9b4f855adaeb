"""Local response normalization in integers: 16 bits for squares, their sums and the power."""

import numpy as np
import pytest

from edgeinfer.converters import from_onnx
from edgeinfer.errors import QuantizationError
from edgeinfer.graph import operators as ops
from edgeinfer.meaning import reference
from edgeinfer.meaning.float_executor import execute
from edgeinfer.quant import quantize
from edgeinfer.runtime.session import Session
from tests.accuracy.sqnr import sqnr_db
from tests.converters.onnx_agreement import model, node
from tests.refusals import refused

SHAPE = (1, 16, 4, 5)

# attributes, how far x reaches, and the SQNR that 16 bits keep, 1 dB below what was measured
NETWORKS = {
    "as in torchvision": ({"size": 5, "alpha": 1e-4, "beta": 0.75, "bias": 1.0}, 3, 79),
    "as in AlexNet": ({"size": 5, "alpha": 1e-4, "beta": 0.75, "bias": 2.0}, 100, 78),
    "of an even size": ({"size": 4, "alpha": 0.2, "beta": 0.5, "bias": 1.0}, 3, 74),
    "over all channels": ({"size": 99, "alpha": 0.01, "beta": 0.75, "bias": 1.0}, 10, 78),
}


def graph_and_data(attributes, reach):
    graph = from_onnx(model([node("LRN", ["x"], ["y"], **attributes)], SHAPE))
    rng = np.random.default_rng(0)
    return graph, [(rng.normal(size=SHAPE) * reach / 3).astype(np.float32) for _ in range(48)]


@pytest.mark.parametrize("name", NETWORKS)
def test_16_bits_keep_what_they_can_hold(name):
    *network, least = NETWORKS[name]
    graph, data = graph_and_data(*network)
    session = Session(quantize(graph, data, scheme="int16"))
    expected = np.stack([execute(graph, {"x": x})["y"] for x in data])
    assert sqnr_db(expected, np.stack([session.run(x) for x in data])) > least


@pytest.mark.parametrize("rounding", ["single", "double"])
@pytest.mark.parametrize("name", NETWORKS)
def test_an_int8_result_is_within_a_step_of_the_real_one_rounded(name, rounding):
    graph, data = graph_and_data(*NETWORKS[name][:2])
    integer = quantize(graph, data, rounding=rounding)
    x_q, y_q = (integer.types[value].quantization for value in ("x", "y"))
    for x in data:
        q = x_q.quantize(x, "int8")
        real = execute(graph, {"x": x_q.dequantize(q)})["y"]
        y = reference.execute(integer, {"x": q})["y"].astype(np.int64)
        assert np.abs(y - y_q.quantize(real, "int8")).max() <= 1


def test_it_is_made_of_operators_that_there_are():
    graph, data = graph_and_data(*NETWORKS["as in torchvision"][:2])
    made = [n.op for n in quantize(graph, data).nodes if not isinstance(n.op, ops.Moving)]
    assert list(map(type, made)) == [ops.QMul, ops.QDense, ops.Lookup, ops.QMul]


@pytest.mark.parametrize("wrong", [{"bias": 0.0}, {"alpha": -0.1}])
def test_a_divisor_that_may_be_0_is_refused(wrong):
    graph, data = graph_and_data({"size": 3, "alpha": 0.1, "beta": 0.5, "bias": 1.0} | wrong, 3)
    with refused(
        "LRN 'y': divides by what may be 0; a bias above 0 and an alpha that is not negative are "
        "taken",
        QuantizationError,
    ):
        quantize(graph, [np.abs(x) * 0.01 + 0.01 for x in data])


def test_a_matrix_of_windows_larger_than_any_memory_is_refused_before_it_is_made():
    graph = from_onnx(model([node("LRN", ["x"], ["y"], size=3)], (1, 60_000, 1, 1)))
    message = "LRN 'y': has 60000 channels; up to 8192 are taken"
    with refused(message, QuantizationError):
        quantize(graph, [np.ones((1, 60_000, 1, 1), np.float32)], observer="minmax")
