"""Comparisons, logic, choices and casts that a run computes, as onnxruntime computes them."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgeinfer.converters import from_onnx
from edgeinfer.meaning.float_executor import execute
from edgeinfer.quant import quantize
from edgeinfer.session import Session
from tests.converters.onnx_agreement import agreement, model, node, operators
from tests.refusals import refused

RNG = np.random.default_rng(21)
SHAPE = (2, 3, 4)
FLOAT, BOOL, INT64 = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT64


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype("f4")


def as_floats(nodes, constants=None, result="t"):
    """The model whose output y is the truth values ``result`` as floats."""
    return model([*nodes, node("Cast", [result], ["y"], to=FLOAT)], SHAPE, constants)


@pytest.mark.parametrize("operator", ["Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Equal"])
@pytest.mark.parametrize("constant", [np.float32(0.3), normal(3, 1), normal(1, 1, 1, 1)])
def test_a_comparison_with_a_constant_on_either_side(operator, constant):
    for inputs in (["x", "c"], ["c", "x"]):
        agreement(as_floats([node(operator, inputs, ["t"])], {"c": constant}))


@pytest.mark.parametrize("operator", ["Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Equal"])
def test_a_comparison_of_two_values(operator):
    nodes = [node("Abs", ["x"], ["a"]), node(operator, ["x", "a"], ["t"])]
    agreement(as_floats(nodes))


@pytest.mark.parametrize("operator", ["And", "Or", "Xor"])
def test_logic(operator):
    nodes = [
        node("Greater", ["x", "low"], ["a"]),
        node("Less", ["x", "high"], ["b"]),
        node(operator, ["a", "b"], ["c"]),
        node("Not", ["c"], ["t"]),
    ]
    agreement(as_floats(nodes, {"low": np.float32(-0.5), "high": np.float32(0.5)}))


def test_what_is_not_finite_is_told():
    nodes = [
        node("IsNaN", ["x"], ["n"]),
        node("IsInf", ["x"], ["i"], detect_negative=0),
        node("Or", ["n", "i"], ["t"]),
    ]
    x = np.array([[[np.nan, np.inf, -np.inf, 1.0]] * 3] * 2, "f4")
    agreement(as_floats(nodes), feeds={"x": x})


def test_a_choice_by_what_a_run_computes_takes_no_part_of_the_other_branch():
    nodes = [
        node("Greater", ["x", "zero"], ["t"]),
        node("Log", ["x"], ["l"]),
        node("Where", ["t", "l", "zero"], ["y"]),
    ]
    graph = agreement(model(nodes, SHAPE, {"zero": np.float32(0)}))
    assert operators(graph) == ["Pointwise"]


@pytest.mark.parametrize("branches", [["x", "k"], ["k", "x"], ["x", "n"], ["k", "k2"]])
def test_a_choice_between_values_and_constants(branches):
    nodes = [
        node("ReduceMean", ["x"], ["m"], axes=[2], keepdims=1),
        node("Greater", ["m", "zero"], ["t"]),
        node("Neg", ["x"], ["n"]),
        node("Where", ["t", *branches], ["y"]),
    ]
    constants = {"zero": np.float32(0), "k": normal(3, 4), "k2": normal(4)}
    agreement(model(nodes, SHAPE, constants))


@pytest.mark.parametrize("to", [INT64, TensorProto.INT32, TensorProto.UINT8, BOOL])
def test_floats_are_cast_to_whole_numbers_and_back(to):
    nodes = [node("Abs", ["x"], ["a"]), node("Mul", ["a", "k"], ["m"])]
    nodes += [node("Cast", ["m"], ["t"], to=to)]
    agreement(as_floats(nodes, {"k": np.float32(3)}))


def test_whole_numbers_divide_towards_zero():
    nodes = [
        node("Mul", ["x", "k"], ["m"]),
        node("Cast", ["m"], ["i"], to=INT64),
        node("Div", ["i", "three"], ["t"]),
    ]
    agreement(as_floats(nodes, {"k": np.float32(9), "three": np.array(3)}))


def test_an_input_of_bool_is_0_and_1():
    proto = model([node("Not", ["m"], ["n"]), node("Where", ["n", "x", "k"], ["y"])], SHAPE)
    proto.graph.input.append(helper.make_tensor_value_info("m", BOOL, SHAPE))
    proto.graph.initializer.append(helper.make_tensor("k", FLOAT, [], [-1.0]))
    graph = from_onnx(proto)
    mask, x = RNG.random(SHAPE) < 0.5, normal(*SHAPE)
    found = execute(graph, {"x": x, "m": mask.astype("f4")})["y"]
    np.testing.assert_array_equal(found, np.where(mask, np.float32(-1), x))


def test_a_choice_between_floats_and_integers_is_refused():
    nodes = [node("Greater", ["x", "zero"], ["t"]), node("Where", ["t", "x", "i"], ["y"])]
    with refused("Where 'y': chooses between floats and integers"):
        from_onnx(model(nodes, SHAPE, {"zero": np.float32(0), "i": np.array(1)}))


# ---- in integers -----------------------------------------------------------------------------

LEAST_SQNR_DB = {"int8": 28.0, "int16": 70.0}
NEVER = [-np.inf, float(np.finfo("f4").min), -1e9, -1e4]


def sqnr_db(proto, scheme, feeds=None) -> tuple[float, Session]:
    graph = from_onnx(proto)
    feeds = feeds or [{"x": normal(*graph.types["x"].shape)} for _ in range(60)]
    session = Session(quantize(graph, feeds[:40], scheme=scheme, observer="minmax"))
    wanted = np.stack([execute(graph, feed)["y"] for feed in feeds[40:]])
    found = np.stack([session.run(feed) for feed in feeds[40:]])
    return 10 * np.log10((wanted**2).sum() / ((found - wanted) ** 2).sum()), session


@pytest.mark.parametrize("scheme", LEAST_SQNR_DB)
@pytest.mark.parametrize("never", NEVER)
def test_what_a_constant_mask_excludes_from_a_softmax_is_excluded_exactly(never, scheme):
    mask = np.tri(6, dtype=bool)
    nodes = [
        node("MatMul", ["x", "w"], ["s"]),
        node("Where", ["mask", "s", "never"], ["a"]),
        node("Softmax", ["a"], ["y"], axis=2),
    ]
    constants = {"w": normal(8, 6), "mask": mask, "never": np.float32(never)}
    found, session = sqnr_db(model(nodes, (1, 6, 8), constants), scheme)
    assert found > LEAST_SQNR_DB[scheme]
    assert (session.run(normal(1, 6, 8))[:, ~mask] == 0).all()


@pytest.mark.parametrize("scheme", LEAST_SQNR_DB)
@pytest.mark.parametrize("never", NEVER[:3])
def test_a_mask_that_a_run_computes_excludes_as_exactly(never, scheme):
    nodes = [
        node("MatMul", ["x", "w"], ["s"]),
        node("Greater", ["m", "half"], ["t"]),
        node("Where", ["t", "never", "s"], ["a"]),
        node("Softmax", ["a"], ["y"], axis=2),
    ]
    constants = {"w": normal(8, 6), "half": np.float32(0.5), "never": np.float32(never)}
    proto = model(nodes, None, constants, inputs={"x": (1, 6, 8), "m": (1, 1, 6)})
    masks = (np.arange(60)[:, None] % 5 < np.arange(6)).astype("f4").reshape(60, 1, 1, 6)
    feeds = [{"x": normal(1, 6, 8), "m": mask} for mask in masks]
    found, session = sqnr_db(proto, scheme, feeds)
    assert found > LEAST_SQNR_DB[scheme]
    hidden = session.run(feeds[0])[np.broadcast_to(masks[0] > 0, (1, 6, 6))]
    assert (hidden == 0).all()


@pytest.mark.parametrize("scheme", LEAST_SQNR_DB)
def test_a_condition_that_calibration_never_met_still_counts(scheme):
    nodes = [node("Greater", ["m", "half"], ["t"]), node("Where", ["t", "n", "x"], ["y"])]
    nodes.insert(0, node("Neg", ["x"], ["n"]))
    proto = model(nodes, None, {"half": np.float32(0.5)}, inputs={"x": (1, 5), "m": (1, 5)})
    feeds = [{"x": normal(1, 5), "m": np.zeros((1, 5), "f4")} for _ in range(20)]
    feeds.append({"x": feeds[0]["x"], "m": np.zeros((1, 5), "f4")})
    session = Session(quantize(from_onnx(proto), feeds, scheme=scheme, observer="minmax"))
    x = feeds[0]["x"] / 2
    np.testing.assert_allclose(session.run({"x": x, "m": np.ones((1, 5), "f4")}), -x, atol=0.05)
