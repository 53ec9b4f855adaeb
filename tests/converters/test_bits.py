"""Bits of whole numbers that a run computes are those of onnx's evaluator, to the last."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from edgeinfer.converters import from_onnx
from edgeinfer.errors import UnsupportedError
from edgeinfer.meaning.float_executor import execute
from edgeinfer.quant import quantize
from edgeinfer.session import Session
from tests.converters.onnx_agreement import model, node
from tests.refusals import refused

LIMITS = np.iinfo(np.int64)
ANY = np.concatenate(
    [
        np.random.default_rng(7).integers(LIMITS.min, LIMITS.max, 9),
        [0, -1, 1, *(LIMITS.min, LIMITS.max)],
    ]
)
SMALL = np.arange(0, 224, 16) % 199
UNSIGNED = {2: np.uint8, 4: np.uint16, 12: np.uint32, 13: np.uint64}


def of_whole_numbers(nodes, constants):
    proto = model(nodes, (14,), constants, opset=18)
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    return proto


def agrees(nodes, x, constants):
    proto = of_whole_numbers(nodes, constants)
    (expected,) = ReferenceEvaluator(proto).run(None, {"x": x})
    session = Session(quantize(from_onnx(proto), [{"x": x}], scheme="int8"))
    np.testing.assert_array_equal(session.run({"x": x}), expected.astype(np.int64))


@pytest.mark.parametrize(
    "mask", [13, 0, -1, -7, 2**62 + 5, LIMITS.max, LIMITS.min, [3, -4, 7, 0, 255, 1, 9] * 2]
)
@pytest.mark.parametrize("operator", ["BitwiseAnd", "BitwiseOr", "BitwiseXor"])
def test_a_constant_mask_is_any(operator, mask):
    agrees([node(operator, ["x", "c"], ["y"])], ANY, {"c": np.asarray(mask, np.int64)})


@pytest.mark.parametrize("operator", ["BitwiseAnd", "BitwiseOr", "BitwiseXor"])
def test_two_values_within_bounds_have_bits_in_common(operator):
    nodes = [
        node("Clip", ["x", "low", "high"], ["a"]),
        node("Mul", ["a", "seven"], ["m"]),
        node("Mod", ["m", "odd"], ["b"]),
        node(operator, ["a", "b"], ["y"]),
    ]
    numbers = {"low": 0, "high": 160, "seven": 7, "odd": 133}
    agrees(nodes, SMALL, {name: np.array(n) for name, n in numbers.items()})


@pytest.mark.parametrize("kind", UNSIGNED)
@pytest.mark.parametrize("direction", ["LEFT", "RIGHT", "not"])
def test_unsigned_numbers_have_as_many_bits_as_their_type(direction, kind):
    moved = node("BitShift", ["u", "three"], ["m"], direction=direction)
    nodes = [
        node("Clip", ["x", "low", "high"], ["a"]),
        node("Cast", ["a"], ["u"], to=kind),
        node("BitwiseNot", ["u"], ["m"]) if direction == "not" else moved,
        node("Cast", ["m"], ["y"], to=TensorProto.INT64),
    ]
    constants = {"low": np.array(0), "high": np.array(200), "three": UNSIGNED[kind](3)}
    agrees(nodes, SMALL, constants)


@pytest.mark.parametrize("kind", [2, 3, 4, 5, 12])
def test_casts_to_fewer_bits_keep_the_lowest(kind):
    nodes = [node("Cast", ["x"], ["u"], to=kind), node("Cast", ["u"], ["y"], to=TensorProto.INT64)]
    agrees(nodes, ANY, {})


def test_all_bits_are_turned():
    agrees([node("BitwiseNot", ["x"], ["y"])], ANY, {})


@pytest.mark.parametrize(
    "nodes, refusal",
    [
        (
            [node("BitwiseAnd", ["x", "x"], ["y"])],
            "BitwiseAnd (ai.onnx opset 18) at 'y': its inputs are not known to be from 0 to "
            "4294967295: Clip them before",
        ),
        (
            [node("Cast", ["x"], ["u"], to=13), node("BitwiseNot", ["u"], ["y"])],
            "Cast (ai.onnx opset 18) at 'u': a run cannot convert int64 to UINT64 where it may be "
            "below 0",
        ),
        (
            [node("Cast", ["x"], ["u"], to=12), node("Mul", ["u", "u"], ["y"])],
            "Cast (ai.onnx opset 18) at 'u': a run computes Mul of int64, not of UINT32",
        ),
    ],
)
def test_what_would_have_other_bits_is_refused(nodes, refusal):
    with refused(f"1 node cannot be imported: {refusal}", UnsupportedError):
        from_onnx(of_whole_numbers(nodes, {}))


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
def test_bits_of_constants_are_those_of_their_type(direction):
    nodes = [
        node("BitShift", ["n", "one"], ["s"], direction=direction),
        node("Cast", ["s"], ["f"], to=TensorProto.FLOAT),
        node("Mul", ["x", "f"], ["y"]),
    ]
    constants = {"n": np.array([5, 2**64 - 1], np.uint64), "one": np.array(1, np.uint64)}
    proto = model(nodes, (2,), constants, opset=18)
    x = np.ones(2, np.float32)
    (expected,) = ReferenceEvaluator(proto).run(None, {"x": x})
    np.testing.assert_array_equal(execute(from_onnx(proto), {"x": x})["y"], expected)
