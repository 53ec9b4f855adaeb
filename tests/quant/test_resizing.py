"""A resize in integers is the real one, rounded once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeinfer.converters import from_onnx
from edgeinfer.errors import QuantizationError
from edgeinfer.graph import Graph, GraphBuilder, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.meaning import reference
from edgeinfer.meaning.windows import neighbour_sums
from edgeinfer.quant import quantize
from edgeinfer.quant.resizing import integer_resize
from tests.converters.onnx_agreement import model, node


def imported(size, mode, x=(1, 4, 6, 5), **attributes) -> Graph:
    layer = node("Resize", ["x", "", "", "s"], ["y"], mode=mode, **attributes)
    return from_onnx(model([layer], x, {"s": np.array([*x[:2], *size])}, opset=19))


def resize_of(graph: Graph) -> ops.Resize:
    (found,) = (n.op for n in graph.nodes if isinstance(n.op, ops.Resize))
    return found


def real_result(op: ops.Resize, x: np.ndarray) -> np.ndarray:
    """Of x [N,C,H,W], in float64."""
    x = x.transpose(0, 2, 3, 1)
    for axis, side in ((1, op.rows), (2, op.columns)):
        first, weights = zip(*side, strict=True)
        x = neighbour_sums(x, np.array(first), np.array(weights, np.float64), axis)
    return x.transpose(0, 3, 1, 2)


def normal(rng, shape=(1, 4, 6, 5)):
    return rng.normal(size=shape).astype(np.float32)


# how far from the rounded real result an integer may lie: nowhere, where the weights are fractions
# of a small denominator; of other cubic weights, on noise, by what their own rounding makes
CASES = {
    "twice": ((12, 10), "linear", {}, 1e-4, 1e-3),
    "three times": ((18, 15), "linear", {}, 1e-4, 2e-3),
    "to primes": ((13, 17), "linear", {}, 1e-4, 0.01),
    "corners": (
        (65, 33),
        "linear",
        {"coordinate_transformation_mode": "align_corners"},
        1e-4,
        1e-3,
    ),
    "smaller": ((3, 2), "linear", {"antialias": 1}, 1e-4, 2e-3),
    "cubic, twice": ((12, 10), "cubic", {}, 1e-4, 1e-3),
    "cubic, four times": ((24, 20), "cubic", {}, 1e-4, 2e-3),
    "cubic, to primes": ((13, 17), "cubic", {}, 0.1, 4),
}


@pytest.mark.parametrize("name", CASES)
def test_each_integer_is_the_real_result_rounded(name):
    size, mode, attributes, *excesses = CASES[name]
    graph = imported(size, mode, **attributes)
    rng = np.random.default_rng(0)
    data = [normal(rng) for _ in range(32)]
    for scheme, excess in zip(("int8", "int16"), excesses, strict=True):
        integer = quantize(graph, data, scheme=scheme)
        x_type, y_type = integer.types["x"], integer.types["y"]
        x_q, y_q, info = x_type.quantization, y_type.quantization, np.iinfo(y_type.dtype)
        for x in data:
            q = x_q.quantize(x, x_type.dtype)
            y = reference.execute(integer, {"x": q})["y"].astype(np.float64)
            real = real_result(resize_of(graph), x_q.step * (q.astype(np.float64) - x_q.zero_point))
            expected = np.clip(real / y_q.step + y_q.zero_point, info.min, info.max)
            assert np.abs(y - expected).max() <= 0.5 + excess


@pytest.mark.parametrize(
    "size, mode, denominators",
    [
        ((12, 15), "linear", (4, 3)),
        ((6, 20), "linear", (1, 8)),
        ((9, 8), "linear", (6, 16)),
        ((12, 15), "cubic", (256, 54)),
    ],
)
def test_weights_are_fractions_of_the_least_denominator_that_holds_them(size, mode, denominators):
    made = integer_resize(resize_of(imported(size, mode)), "int8")
    assert (made.rows.denominator, made.columns.denominator) == denominators


@settings(deadline=None, max_examples=60)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    mode=st.sampled_from(["linear", "cubic"]),
    antialias=st.integers(0, 1),
    dtype=st.sampled_from(["int8", "int16"]),
)
def test_the_weights_of_each_row_and_column_add_up_to_the_denominator(size, mode, antialias, dtype):
    made = integer_resize(resize_of_any(size, mode, antialias), dtype)
    for side in (made.rows, made.columns):
        np.testing.assert_array_equal(side.weights.sum(1), side.denominator)


def resize_of_any(size, mode, antialias) -> ops.Resize:
    graph = imported(size, mode, antialias=antialias)
    found = [n.op for n in graph.nodes if isinstance(n.op, ops.Resize)]
    return found[0] if found else ops.Resize(((0, (1.0,)),), ((0, (1.0,)),))


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_a_constant_image_stays_constant(mode):
    graph = imported((13, 17), mode)
    rng = np.random.default_rng(1)
    for scheme in ("int8", "int16"):
        integer = quantize(graph, [normal(rng) for _ in range(32)], scheme=scheme)
        kind = integer.types["x"]
        for q in (-100, 0, 77):
            x = np.full(kind.shape, q, kind.dtype)
            y = reference.execute(integer, {"x": x})["y"]
            assert (y == y.ravel()[0]).all()
            if mode == "linear":
                assert y.ravel()[0] == q


def test_an_interpolated_value_has_the_quantization_of_its_neighbours():
    rng = np.random.default_rng(2)
    data = [normal(rng) for _ in range(32)]
    shared = quantize(imported((12, 10), "linear"), data)
    assert shared.types["x"].quantization == shared.types["y"].quantization
    # a cubic one leaves the range of its neighbours, a mean of many is far inside it
    for graph in (imported((12, 10), "cubic"), imported((2, 2), "linear", antialias=1)):
        integer = quantize(graph, data)
        assert integer.types["x"].quantization != integer.types["y"].quantization


@pytest.mark.parametrize(
    "weights, interpolates",
    [
        ((0.25, 0.75), True),
        ((0.0, 0.0), True),
        ((1.0,), True),
        ((0.5, 0.25, 0.25), False),
        ((-0.1, 1.1), False),
        ((0.8, 0.4), False),
    ],
)
def test_weights_of_two_neighbours_that_are_shares_interpolate(weights, interpolates):
    whole = ((0, (1.0,)),)
    assert ops.Resize(((0, weights),), whole).interpolates == interpolates
    assert ops.Resize(whole, ((0, weights),)).interpolates == interpolates


def test_with_double_rounding_it_still_is_rounded_once():
    rng = np.random.default_rng(3)
    integer = quantize(
        imported((12, 10), "linear"), [normal(rng) for _ in range(32)], rounding="double"
    )
    (op,) = (n.op for n in integer.nodes if isinstance(n.op, ops.QResize))
    assert op.rounding == "single"


def test_what_a_crop_fills_in_is_zero():
    roi = np.array([0, 0, -0.5, 0, 1, 1, 0.5, 1], np.float32)
    layer = node(
        "Resize",
        ["x", "roi", "", "s"],
        ["y"],
        mode="linear",
        coordinate_transformation_mode="tf_crop_and_resize",
    )
    graph = from_onnx(model([layer], constants={"roi": roi, "s": np.array([1, 4, 5, 5])}))
    rng = np.random.default_rng(4)
    data = [normal(rng) + 1 for _ in range(32)]
    integer = quantize(graph, data)
    y = reference.execute(integer, {"x": integer.types["x"].quantization.quantize(data[0], "int8")})
    assert (y["y"][:, :, :2] == integer.types["y"].quantization.zero_point).all()
    assert (y["y"][:, :, 2:] != integer.types["y"].quantization.zero_point).any()


def test_a_sum_of_too_many_is_refused():
    taps = 3000
    builder = GraphBuilder("g")
    builder.input("x", TensorType((1, taps, 1, 1)))
    op = ops.Resize(((0, (1 / taps,) * taps),), ((0, (1.0,)),))
    graph = builder.graph(builder.add(op, "x", output="y"))
    data = [np.full((1, taps, 1, 1), i, np.float32) for i in range(4)]
    with pytest.raises(QuantizationError) as caught:
        quantize(graph, data)
    assert str(caught.value) == (
        "Resize 'y': 3000 rows or columns a sum leave the accumulator no room; resize in two steps"
    )
