"""Quotients by zero, masks that leave nothing and more places than there are: one clear error, or
ONNX's own meaning where it has one."""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.converters import from_onnx
from edgeinfer.errors import InputError, QuantizationError
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
        [node("Div", ["x", "some"], ["y"])],
        [node("Sub", ["x", "x"], ["d"]), node("Div", ["x", "d"], ["y"])],
        [node("Sub", ["x", "x"], ["d"]), node("Reciprocal", ["d"], ["y"])],
        [node("Mod", ["x", "zero"], ["y"], fmod=1)],
    ],
    ids=["constant", "constants", "value", "reciprocal", "remainder"],
)
@pytest.mark.parametrize("scheme", ["int8", "int16"])
def test_a_division_by_zero_is_found_in_calibration(nodes, scheme):
    constants = {"zero": np.float32(0), "some": np.array([1, 0, 2, 4], np.float32)}
    graph = from_onnx(model(nodes, SHAPE, constants))
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


MASKED = {"x": SHAPE, "mask": SHAPE}


def masked_samples(count, hidden):
    """Of which ``hidden`` have a mask that excludes the last two numbers."""
    data = [{**feeds, "mask": np.zeros(SHAPE, np.float32)} for feeds in samples(count)]
    for feeds in data[:hidden]:
        feeds["mask"][..., 2:] = -np.inf
    return data


@pytest.mark.parametrize("hidden", [1, 24])
@pytest.mark.parametrize("scheme", ["int8", "int16x8", "int16"])
def test_a_mask_that_is_fed_may_hold_minus_infinity(hidden, scheme, recwarn):
    nodes = [node("Add", ["x", "mask"], ["s"]), node("Softmax", ["s"], ["y"])]
    proto = model(nodes, inputs=MASKED)
    data = masked_samples(40, hidden)
    session = Session(quantize(from_onnx(proto), data, scheme=scheme))
    assert not recwarn.list
    expected = onnxruntime_values(proto, data[0], ["y"])["y"]
    found = session.run(data[0])
    np.testing.assert_array_equal(found[..., 2:], 0)
    np.testing.assert_allclose(found, expected, atol=2**-6)


def test_minus_infinity_where_its_distance_counts_is_refused():
    graph = from_onnx(model([node("Add", ["x", "mask"], ["y"])], inputs=MASKED))
    with refused(
        "the data for input 'mask' holds minus infinity, and the model computes with it: only a "
        "mask of what a Softmax or a maximum excludes may hold that",
        InputError,
    ):
        quantize(graph, masked_samples(8, 1))
