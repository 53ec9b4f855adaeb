"""Quotients by zero, masks that leave nothing and more places than there are: one clear error, or
ONNX's own meaning where it has one."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.converters import from_onnx
from edgeinfer.errors import QuantizationError
from edgeinfer.meaning.float_executor import execute
from edgeinfer.quant import quantize
from edgeinfer.session import Session
from tests.converters.onnx_agreement import model, node, onnxruntime_values
from tests.refusals import refused

RNG = np.random.default_rng(71)
SHAPE = (1, 2, 4)


def samples(count=8):
    return [{"x": RNG.normal(size=SHAPE).astype("f4")} for _ in range(count)]


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize(
    "nodes",
    [
        [node("Div", ["x", "zero"], ["y"])],
        [node("Sub", ["x", "x"], ["d"]), node("Div", ["x", "d"], ["y"])],
        [node("Sub", ["x", "x"], ["d"]), node("Reciprocal", ["d"], ["y"])],
        [node("Mod", ["x", "zero"], ["y"], fmod=1)],
    ],
    ids=["constant", "value", "reciprocal", "remainder"],
)
@pytest.mark.parametrize("scheme", ["int8", "int16"])
def test_a_division_by_zero_is_found_in_calibration(nodes, scheme):
    graph = from_onnx(model(nodes, SHAPE, {"zero": np.float32(0)}))
    with refused(
        "value 'y' is not finite on calibration sample 0; the float model overflows or divides by "
        "zero there",
        QuantizationError,
    ):
        quantize(graph, samples(1), scheme=scheme, observer="minmax")


@pytest.mark.parametrize("scheme", ["int8", "int16"])
def test_a_denominator_that_is_zero_after_calibration_saturates(scheme):
    nodes = [node("Relu", ["x"], ["d"]), node("Div", ["x", "d"], ["y"])]
    graph = from_onnx(model(nodes, SHAPE))
    data = [{"x": np.abs(s["x"]) + 0.5} for s in samples()]
    session = Session(quantize(graph, data, scheme=scheme, observer="minmax"))
    found = session.run({"x": np.zeros(SHAPE, np.float32)})
    assert np.isfinite(found).all()


LOWEST = float(np.finfo(np.float32).min)


@pytest.mark.parametrize("never", [LOWEST, -np.inf], ids=["lowest", "infinite"])
@pytest.mark.parametrize("how", ["Add", "Where"])
@pytest.mark.parametrize("scheme", ["int8", "int16"])
def test_what_a_mask_leaves_nothing_of_has_equal_shares(how, never, scheme):
    """As of onnxruntime's lowest numbers; of infinities it makes NaN."""
    mask = np.array([[never] * 4, [0] * 4], np.float32)
    masked = {
        "Add": node("Add", ["x", "mask"], ["s"]),
        "Where": node("Where", ["there", "x", "mask"], ["s"]),
    }
    proto = model(
        [masked[how], node("Softmax", ["s"], ["y"])], SHAPE, {"mask": mask, "there": mask == 0}
    )
    graph = from_onnx(proto)
    data = samples()
    session = Session(quantize(graph, data, scheme=scheme, observer="minmax"))
    for feeds in data:
        found = execute(graph, feeds)["y"]
        np.testing.assert_array_equal(found[0, 0], 0.25)
        expected = onnxruntime_values(proto, feeds, ["y"])["y"]
        same = slice(None) if np.isfinite(never) else slice(1, None)
        np.testing.assert_allclose(found[:, same], expected[:, same], rtol=1e-5)
        np.testing.assert_allclose(session.run(feeds)[0, 0], 0.25, atol=2**-14)


def test_more_places_than_an_axis_has_are_refused():
    proto = model([node("TopK", ["x", "k"], ["y", "i"])], SHAPE, {"k": np.array([5])})
    with refused("TopK 'y': an axis of 4 has no 5 largest elements"):
        from_onnx(proto)
