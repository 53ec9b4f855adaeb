"""Powers of which neither base nor exponent is one constant are near the float model's."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.converters import from_onnx
from edgeinfer.errors import QuantizationError
from edgeinfer.graph import operators as ops
from edgeinfer.quant import quantize
from edgeinfer.session import Session
from tests.accuracy.sqnr import sqnr_db
from tests.converters.onnx_agreement import agreement, model, node, onnxruntime_values, operators
from tests.refusals import refused

RNG = np.random.default_rng(47)
CHANNELS = (1, 5, 6)
TWO = {"x": CHANNELS, "e": (1, 1, 6)}


def powers(base, exponent, count=32):
    return [
        {
            "x": RNG.uniform(*base, CHANNELS).astype("f4"),
            "e": RNG.uniform(*exponent, TWO["e"]).astype("f4"),
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize("scheme, least", [("int8", 33.0), ("int16x8", 60.0), ("int16", 60.0)])
@pytest.mark.parametrize("base, exponent", [((0.1, 4.0), (-1.0, 3.0)), ((0.0, 1.0), (0.3, 2.0))])
def test_a_value_is_raised_to_another(base, exponent, scheme, least):
    proto = model([node("Pow", ["x", "e"], ["y"])], inputs=TWO)
    feeds = powers(base, exponent)
    integer = quantize(from_onnx(proto), feeds, scheme=scheme, observer="minmax")
    if scheme == "int16":
        assert [type(n.op) for n in integer.nodes] == [ops.Lookup, ops.QMul, ops.Lookup]
    session = Session(integer)
    found = np.stack([session.run(feed) for feed in feeds])
    wanted = np.stack([onnxruntime_values(proto, feed, ["y"])["y"] for feed in feeds])
    assert sqnr_db(wanted, found) > least


def test_each_channel_has_an_exponent_of_its_own():
    """As PCEN learns them."""
    exponents = RNG.uniform(0.3, 0.9, TWO["e"])
    proto = model([node("Pow", ["x", "e"], ["y"])], CHANNELS, {"e": exponents})
    feeds = [{"x": feed["x"]} for feed in powers((0.001, 4.0), (0, 1))]
    session = Session(quantize(from_onnx(proto), feeds, scheme="int16", observer="minmax"))
    found = np.stack([session.run(feed) for feed in feeds])
    wanted = np.stack([onnxruntime_values(proto, feed, ["y"])["y"] for feed in feeds])
    assert sqnr_db(wanted, found) > 70


def test_few_constant_exponents_are_functions_of_any_base():
    exponents = np.array([[1, 2, 3, 2, 1, 0]], "f4")
    proto = model([node("Pow", ["x", "e"], ["y"])], CHANNELS, {"e": exponents})
    assert set(operators(agreement(proto))) == {"Pointwise", "Where"}


def test_a_constant_base_is_an_exponential():
    base = RNG.uniform(0.1, 3, CHANNELS)
    proto = model([node("Pow", ["b", "x"], ["y"])], CHANNELS, {"b": base})
    assert operators(agreement(proto)) == ["Mul", "Pointwise"]


def test_a_base_below_0_is_refused():
    graph = from_onnx(model([node("Pow", ["x", "e"], ["y"])], inputs=TWO))
    feeds = [{**feed, "e": np.full(TWO["e"], 3, np.float32)} for feed in powers((0, 2), (1, 2))]
    feeds[3]["x"][0, 0, 0] = -1.5
    with refused(
        "Pow 'y': raises what is as low as -1.5: of a power that a run computes the base must be 0 "
        "or more",
        QuantizationError,
    ):
        quantize(graph, feeds, observer="minmax")
