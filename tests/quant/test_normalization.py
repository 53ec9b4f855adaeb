"""A normalization of integers is the rounded one of the real numbers that they stand for."""

import numpy as np
import pytest

from edgeinfer.errors import InputError, QuantizationError
from edgeinfer.graph import Graph, Node, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.graph.cost import cost
from edgeinfer.graph.shapes import output_shapes
from edgeinfer.meaning import reference
from edgeinfer.quant import quantize
from edgeinfer.runtime.session import Session
from tests.refusals import refused

SCHEMES = ("int8", "int16x8", "int16")
MEASURES = ("variance", "squares", "magnitudes")
RNG = np.random.default_rng(7)


def graph_of(op, shape, scale, bias=None):
    constants = {"s": scale} if bias is None else {"s": scale, "b": bias}
    constants = {name: np.asarray(array, np.float32) for name, array in constants.items()}
    types = {name: TensorType(array.shape) for name, array in constants.items()}
    types |= {name: TensorType(shape) for name in ("x", "y")}
    node = Node("n", op, ("x", *constants), ("y",))
    return Graph("g", (node,), types, ("x",), ("y",), constants)


def reals(integer, name, q):
    """The real numbers that integers of a value stand for."""
    t = integer.types[name].quantization
    return (q.astype(np.float64) - t.zero_point) * t.step


def run(integer, x):
    """What a Session gives of each sample, in integers; it is the reference's too."""
    kind = integer.types["x"]
    q = kind.quantization.quantize(x, kind.dtype)
    session = Session(integer)
    found = [session.run(q[i : i + 1]) for i in range(len(q))]
    for i, y in enumerate(found):
        expected = reference.execute(integer, {"x": q[i : i + 1]})["y"]
        np.testing.assert_array_equal(y, expected, strict=True)
    return q, np.concatenate(found)


def normalized(op, x, scale, bias):
    """The operator in float64."""
    centered = x - x.mean(op.axes, keepdims=True) if op.measure == "variance" else x
    if op.measure == "magnitudes":
        measure = np.abs(centered).mean(op.axes, keepdims=True) ** 2
    else:
        measure = (centered**2).mean(op.axes, keepdims=True)
    total = np.maximum(measure, op.epsilon) if op.is_least else measure + op.epsilon
    return centered / np.sqrt(total) * scale.astype(np.float64) + bias


def largest_error(op, shape, x, scheme, scale, bias):
    """By how many steps of the output it errs at most, of what is not clamped."""
    integer = quantize(graph_of(op, shape, scale, bias), x, scheme=scheme)
    q, y = run(integer, x)
    exact = normalized(op, reals(integer, "x", q), scale, bias)
    info = np.iinfo(y.dtype)
    inside = (y > info.min) & (y < info.max)
    assert inside.mean() > 0.9
    step = integer.types["y"].quantization.step
    return np.abs(reals(integer, "y", y) - exact)[inside].max() / step


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    ("shape", "axes"), [((1, 7, 64), (2,)), ((1, 6, 5, 16), (1, 2)), ((1, 4, 3, 4, 8), (1, 2, 4))]
)
def test_it_errs_by_half_a_step_and_a_hundredth(shape, axes, measure, scheme):
    x = RNG.normal(0.3, 1, (32, *shape[1:])).astype(np.float32)
    scale, bias = RNG.uniform(-2, 2, (2, shape[-1])).astype(np.float32)
    op = ops.Normalization(axes=axes, epsilon=1e-5, measure=measure)
    assert largest_error(op, shape, x, scheme, scale, bias) < 0.51


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("magnitude", [1e-21, 1e-6, 1e9])
def test_it_keeps_its_digits_whatever_the_magnitude_of_its_input(magnitude, measure, scheme):
    x = (RNG.normal(0.3, 1, (32, 5, 24)) * magnitude).astype(np.float32)
    scale, bias = RNG.uniform(-2, 2, (2, 24)).astype(np.float32)
    for epsilon in (0.0, 0.1 * magnitude**2, 100 * magnitude**2):
        for is_least in (False, True):
            op = ops.Normalization(axes=(2,), epsilon=epsilon, measure=measure, is_least=is_least)
            assert largest_error(op, (1, 5, 24), x, scheme, scale, bias) < 0.51


@pytest.mark.parametrize("scheme", SCHEMES)
def test_beside_an_epsilon_that_is_far_larger_it_is_as_small_as_it_should_be(scheme):
    x = (RNG.normal(0.3, 1, (32, 5, 24)) * 1e-21).astype(np.float32)
    scale, bias = RNG.uniform(-2, 2, 24).astype(np.float32), np.zeros(24, np.float32)
    op = ops.Normalization(axes=(2,), epsilon=1e-5)
    assert largest_error(op, (1, 5, 24), x, scheme, scale, bias) < 0.51


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("measure", MEASURES)
def test_of_equal_elements_a_variance_and_of_zeros_all_leave_the_bias(measure, scheme):
    x = RNG.normal(0.3, 1, (32, 5, 24)).astype(np.float32)
    scale, bias = RNG.uniform(-2, 2, (2, 24)).astype(np.float32)
    op = ops.Normalization(axes=(2,), measure=measure)
    integer = quantize(graph_of(op, (1, 5, 24), scale, bias), x, scheme=scheme)
    equal = np.full((1, 5, 24), 0.7 if measure == "variance" else 0.0, np.float32)
    _, y = run(integer, equal)
    kind = integer.types["y"]
    expected = kind.quantization.quantize(np.broadcast_to(bias, y.shape), kind.dtype)
    np.testing.assert_array_equal(y, expected)


def test_a_scale_of_0_leaves_the_bias_and_a_clamp_is_a_part_of_it():
    x = RNG.normal(0.3, 1, (32, 5, 24)).astype(np.float32)
    scale, bias = RNG.uniform(-2, 2, (2, 24)).astype(np.float32)
    scale[:12] = 0
    op = ops.Normalization(axes=(2,), lo=0.0)
    integer = quantize(graph_of(op, (1, 5, 24), scale, bias), x)
    assert [str(node.op).split("<")[0] for node in integer.nodes] == ["QNormalization"]
    q, y = run(integer, x)
    exact = normalized(op, reals(integer, "x", q), scale, bias)
    found = reals(integer, "y", y)
    assert found.min() == 0
    step = integer.types["y"].quantization.step
    assert (np.abs(found - np.maximum(exact, 0)) < 0.51 * step).mean() > 0.99


@pytest.mark.parametrize("overrides", [{"x": "int16"}, {"y": "int16"}])
def test_either_width_is_normalized_to_the_other(overrides):
    x = RNG.normal(0.3, 1, (32, 5, 24)).astype(np.float32)
    scale, bias = RNG.uniform(-2, 2, (2, 24)).astype(np.float32)
    op = ops.Normalization(axes=(2,), epsilon=1e-5)
    integer = quantize(graph_of(op, (1, 5, 24), scale, bias), x, overrides=overrides)
    assert {integer.types[name].dtype for name in "xy"} == {"int8", "int16"}
    q, y = run(integer, x)
    error = reals(integer, "y", y) - normalized(op, reals(integer, "x", q), scale, bias)
    assert np.abs(error).max() < 0.51 * integer.types["y"].quantization.step


def test_a_scale_and_a_bias_of_other_axes_are_those_of_enough_last_ones():
    x = RNG.normal(0.3, 1, (32, 3, 4, 8)).astype(np.float32)
    scale = RNG.uniform(-2, 2, (4, 1)).astype(np.float32)
    bias = RNG.uniform(-1, 1, (8,)).astype(np.float32)
    op = ops.Normalization(axes=(1, 3), epsilon=1e-5)
    assert largest_error(op, (1, 3, 4, 8), x, "int8", scale, bias) < 0.51


def test_a_scale_for_each_channel_before_the_places_is_kept_once():
    x = RNG.normal(0.3, 1, (32, 6, 5, 7)).astype(np.float32)
    scale, bias = RNG.uniform(-2, 2, (2, 6, 1, 1)).astype(np.float32)
    op = ops.Normalization(axes=(2, 3), epsilon=1e-5)
    integer = quantize(graph_of(op, (1, 6, 5, 7), scale, bias), x)
    (node,) = integer.nodes
    assert node.op.inner == 35 and integer.types[node.input("multiplier")].shape == (6,)
    assert largest_error(op, (1, 6, 5, 7), x, "int16", scale, bias) < 0.51


@pytest.mark.parametrize("shape", [(1, 5, 24), (2, 5, 24)])
def test_samples_of_a_batch_are_normalized_apart(shape):
    x = RNG.normal(0.3, 1, (32, 5, 24)).astype(np.float32)
    op = ops.Normalization(axes=(2,), epsilon=1e-5)
    integer = quantize(graph_of(op, shape, np.ones(24), np.zeros((5, 1))), x)
    session = Session(integer)
    apart = [session.run(x[i : i + shape[0]]) for i in range(0, 32, shape[0])]
    np.testing.assert_array_equal(session.run(x), np.concatenate(apart))
    # each of two samples has a scale of its own
    if shape[0] == 2:
        own = quantize(graph_of(op, shape, RNG.normal(size=(2, 1, 1)), np.zeros(24)), x)
        with pytest.raises(InputError):
            Session(own).run(x)


def test_more_elements_than_fit_are_refused_by_name():
    op = ops.Normalization(axes=(1,), measure="magnitudes")
    x = np.ones((2, 65536), np.float32)
    message = "Normalization 'n': 65536 elements are measured together; 65535 is the most"
    with refused(message, QuantizationError):
        quantize(graph_of(op, (1, 65536), [1.0]), x, scheme="int16")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("axes", "keepdims"), [((2,), True), ((1, 2), False)])
@pytest.mark.parametrize("magnitude", [1e-21, 1.0, 1e9])
def test_a_root_of_squares_errs_by_half_a_step_and_a_hundredth(magnitude, axes, keepdims, scheme):
    x = (RNG.normal(0.3, 1, (32, 5, 24)) * magnitude).astype(np.float32)
    (shape,) = output_shapes(ops.ReduceL2(axes, keepdims), (1, 5, 24))
    types = {"x": TensorType((1, 5, 24)), "y": TensorType(shape)}
    node = Node("n", ops.ReduceL2(axes, keepdims), ("x",), ("y",))
    integer = quantize(Graph("g", (node,), types, ("x",), ("y",), {}), x, scheme=scheme)
    q, y = run(integer, x)
    exact = np.sqrt((reals(integer, "x", q) ** 2).sum(axes, keepdims=keepdims))
    error = reals(integer, "y", y) - exact.reshape(y.shape)
    assert np.abs(error).max() < 0.51 * integer.types["y"].quantization.step


def test_what_it_takes_is_known_before_it_is_quantized():
    x = RNG.normal(0.3, 1, (32, 5, 24)).astype(np.float32)
    graph = graph_of(ops.Normalization(axes=(2,)), (1, 5, 24), np.ones(24), np.zeros(24))
    assert cost(graph).flash == cost(quantize(graph, x)).flash == 12 * 24
