"""Lowering takes types from anywhere, calibration or another tool, and makes the same Graph."""

import numpy as np
import pytest

from edgeinfer.errors import InputError, QuantizationError
from edgeinfer.files.model_file import to_bytes
from edgeinfer.graph import Graph, Node, Quantization, State, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.meaning.float_executor import execute
from edgeinfer.quant import (
    GivenWeights,
    IntegerTypes,
    Options,
    choose_types,
    given_type,
    lower_to_integers,
    quantize,
)
from edgeinfer.runtime.session import Session
from tests.accuracy.sqnr import sqnr_db
from tests.refusals import refused

RNG = np.random.default_rng(2)
WEIGHTS = RNG.integers(-100, 101, (3, 4)).astype(np.int8)
BIAS = np.array([900, 0, -2_000_000_011], np.int32)
SCALE = np.array([0.5, 0.25, 0.125], np.float32)
X_SCALE, Y_SCALE = 0.0625, 8.0

DENSE = Graph(
    "dense",
    (Node("layer", ops.Dense(), ("x", "w", "b"), ("y",)),),
    {
        "x": TensorType((2, 4)),
        "w": TensorType((3, 4)),
        "b": TensorType((3,)),
        "y": TensorType((2, 3)),
    },
    ("x",),
    ("y",),
    {
        "w": WEIGHTS.astype(np.float32) * SCALE[:, None],
        "b": (BIAS * (X_SCALE * SCALE)).astype(np.float32),
    },
)


def types(x_dtype="int8", x_zero_point=3, y_dtype="int8", y_zero_point=-5) -> IntegerTypes:
    return IntegerTypes(
        {
            "x": given_type((2, 4), x_dtype, X_SCALE, x_zero_point),
            "y": given_type((2, 3), y_dtype, Y_SCALE, y_zero_point),
        }
    )


def layer(weights=WEIGHTS, zero_point=0, bias=BIAS) -> dict[str, GivenWeights]:
    return {"layer": GivenWeights(weights, SCALE, zero_point, bias)}


@pytest.mark.parametrize("scheme", ["int8", "int16"])
def test_quantize_is_choosing_types_and_lowering_to_them(scheme):
    data = RNG.normal(size=(8, 2, 4)).astype(np.float32)
    made = quantize(DENSE, list(data), scheme=scheme)
    lowered = lower_to_integers(DENSE, choose_types(DENSE, list(data), Options(scheme=scheme)))
    assert lowered.types == made.types
    assert all(np.array_equal(lowered.constants[k], made.constants[k]) for k in made.constants)


def test_given_integers_are_taken_as_they_are():
    graph = lower_to_integers(DENSE, types(), weights=layer())
    assert np.array_equal(graph.constants["layer/weights"], WEIGHTS)
    # a float32 bias would have lost the last digits
    assert np.array_equal(graph.constants["layer/bias"], BIAS)
    assert graph.types["layer/weights"].quantization == Quantization(tuple(SCALE.tolist()), 0, 0)


def test_a_bias_that_is_not_given_is_rounded_to_the_given_scales():
    graph = lower_to_integers(DENSE, types(), weights=layer(bias=None))
    assert np.abs(graph.constants["layer/bias"] - BIAS.astype(np.int64)).max() <= 128


def test_unsigned_integers_are_the_signed_ones_shifted():
    signed = lower_to_integers(DENSE, types(), weights=layer())
    unsigned = lower_to_integers(
        DENSE,
        types("uint8", 131, "uint8", 123),
        weights=layer((WEIGHTS.astype(np.int16) + 128).astype(np.uint8), 128),
    )
    assert to_bytes(unsigned) == to_bytes(signed)


def test_a_weight_zero_point_is_taken_away_where_the_rest_fits():
    narrow = (WEIGHTS // 2).astype(np.int8)
    moved = lower_to_integers(DENSE, types(), weights=layer(narrow + np.int8(7), 7))
    plain = lower_to_integers(DENSE, types(), weights=layer(narrow))
    assert to_bytes(moved) == to_bytes(plain)


def test_a_weight_zero_point_that_leaves_too_much_is_refused():
    weights = np.full((3, 4), 120, np.int8)
    with refused(
        "Dense 'layer': the given weights are 220 to 220 from their zero point, which int8 cannot "
        "hold; give weights with zero point 0, or 128 of uint8, or the float model",
        QuantizationError,
    ):
        lower_to_integers(DENSE, types(), weights=layer(weights, -100))


def test_a_given_bias_that_leaves_the_accumulator_is_refused():
    with refused(
        "Dense 'layer': an accumulator of up to 2.14755e+09 is not below 2^31", QuantizationError
    ):
        lower_to_integers(
            DENSE, types(), weights=layer(np.full((3, 4), 127, np.int8), bias=np.full(3, 2**31 - 9))
        )


def test_weights_for_a_layer_that_is_not_there_are_refused():
    with refused("weights are given for 'other', but no layer has that name", InputError):
        lower_to_integers(DENSE, types(), weights={"other": layer()["layer"]})


def test_sixteen_bits_with_a_zero_point_are_refused():
    with refused(
        "uint16 with zero point 100 cannot be taken; 16 bits are symmetric, with zero point 32768",
        QuantizationError,
    ):
        given_type((1,), "uint16", 0.5, 100)


def test_activations_of_another_width_are_refused():
    with refused(
        "an activation of type int32 cannot be taken; it has int8, uint8, int16, uint16",
        QuantizationError,
    ):
        given_type((1,), "int32", 0.5)


def test_a_given_model_computes_its_float_layer():
    x = RNG.integers(-128, 128, (2, 4)).astype(np.int8)
    graph = lower_to_integers(DENSE, types(), weights=layer())
    floats = (x.astype(np.float32) - 3) * np.float32(X_SCALE)
    expected = execute(DENSE, {"x": floats})["y"]
    y = Session(graph).run(floats)
    low, high = Y_SCALE * (-128 + 5), Y_SCALE * (127 + 5)
    assert np.abs(y - expected.clip(low, high)).max() <= Y_SCALE / 2 * 1.001


def test_names_that_lowering_makes_take_no_name_of_the_model():
    names = {"x": "layer/weights", "y": "layer/bias"}
    types = {names.get(name, name): t for name, t in DENSE.types.items()}
    graph = Graph(
        "dense",
        (Node("layer", ops.Dense(), ("layer/weights", "w", "b"), ("layer/bias",)),),
        types,
        ("layer/weights",),
        ("layer/bias",),
        DENSE.constants,
    )
    data = list(RNG.normal(size=(4, 2, 4)).astype(np.float32))
    integer = quantize(graph, data)
    assert integer.nodes[0].inputs == (
        "layer/weights",
        "layer/weights@2",
        "layer/bias@2",
        "layer/multiplier",
        "layer/shift",
    )
    plain = quantize(DENSE, data)
    assert np.array_equal(Session(integer).run(data[0]), Session(plain).run(data[0]))


def test_a_state_keeps_one_scale_from_run_to_run_and_its_first_value():
    kind = TensorType((1, 3))
    graph = Graph(
        "decay",
        (
            Node("half", ops.Pointwise(("mul", "x", 0.5)), ("before",), ("halved",)),
            Node("sum", ops.Add(), ("x", "halved"), ("after",)),
            Node("y", ops.Pointwise(("tanh", "x")), ("after",), ("y",)),
        ),
        dict.fromkeys(("x", "before", "halved", "after", "y", "first"), kind),
        ("x",),
        ("y",),
        {"first": np.array([[1, -2, 0.5]], np.float32)},
        states=(State("before", "after", "first"),),
    )
    data = RNG.normal(size=(60, 1, 3)).astype(np.float32)
    integer = quantize(graph, list(data))
    before, after = (integer.types[name] for name in ("before", "after"))
    assert before == after == integer.types[integer.states[0].first]
    stream, state = Session(integer).stream(), {}
    expected = np.stack([execute(graph, {"x": x}, state=state)["y"] for x in data])
    assert sqnr_db(expected, np.stack([stream.run(x) for x in data])) > 30
