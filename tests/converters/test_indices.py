"""Token ids and masks of them are computed with in int64, as onnxruntime does, on every ISA."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgeinfer.converters import from_onnx
from edgeinfer.cython_kernels.runtime import SUPPORTED
from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Graph, GraphBuilder, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.meaning import reference
from edgeinfer.meaning.float_executor import execute
from edgeinfer.quant import quantize
from edgeinfer.session import Session
from tests.converters.onnx_agreement import model, node, onnxruntime_values, operators
from tests.refusals import refused

RNG = np.random.default_rng(41)
LENGTH, ROWS = 9, 20
INT64, FLOAT, BOOL = TensorProto.INT64, TensorProto.FLOAT, TensorProto.BOOL


def of_ids(nodes, constants=None, shape=(1, LENGTH), **options):
    table = RNG.normal(size=(ROWS, 4)).astype("f4")
    proto = model(nodes, shape, {"table": table, **(constants or {})}, **options)
    proto.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", INT64, shape))
    return proto


def agrees(proto, ids=None) -> Graph:
    """Floats as of onnxruntime, and int16 near them."""
    graph = from_onnx(proto)
    if ids is None:
        ids = RNG.integers(0, ROWS, (30, *graph.types["x"].shape))
    wanted = []
    for x in ids:
        expected = onnxruntime_values(proto, {"x": x}, ["y"])["y"]
        found = execute(graph, {"x": x})["y"]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        wanted.append(found)
    session = Session(quantize(graph, [{"x": x} for x in ids], scheme="int16", observer="minmax"))
    for x, expected in zip(ids, wanted, strict=True):
        limit = 0 if expected.dtype == np.int64 else 1e-3 * np.abs(wanted).max()
        assert np.abs(session.run({"x": x}) - expected).max() <= limit
    return graph


EMBEDDED = node("Gather", ["table", "i"], ["y"])
# what makes indices of x, beside floats z of them
BESIDE = [
    node("Gather", ["table", "x"], ["rows"]),
    node("ReduceMax", ["rows"], ["largest"], axes=[2], keepdims=0),
    node("Mul", ["z", "largest"], ["y"]),
]


@pytest.mark.parametrize(
    "nodes, constants",
    [
        ([node("Add", ["x", "c"], ["a"]), node("Mod", ["a", "n"], ["i"])], {"c": 7, "n": ROWS}),
        ([node("Mul", ["x", "c"], ["a"]), node("Mod", ["a", "n"], ["i"])], {"c": -31, "n": ROWS}),
        ([node("Sub", ["x", "c"], ["a"]), node("Abs", ["a"], ["i"])], {"c": 5}),
        ([node("Neg", ["x"], ["a"]), node("Div", ["a", "c"], ["i"])], {"c": 3}),
        ([node("Clip", ["x", "c", "n"], ["i"])], {"c": 2, "n": 9}),
        ([node("Max", ["x", "c"], ["a"]), node("Min", ["a", "n"], ["i"])], {"c": 2, "n": 9}),
        ([node("Sub", ["x", "c"], ["a"]), node("Sign", ["a"], ["i"])], {"c": 5}),
        ([node("Add", ["x", "c"], ["i"])], {"c": np.arange(LENGTH) - 9}),
        ([node("Div", ["x", "c"], ["a"]), node("Neg", ["a"], ["i"])], {"c": -3}),
        ([node("Mod", ["x", "c"], ["i"])], {"c": np.array([-7, 5, 3] * 3)}),
        ([node("Neg", ["x"], ["a"]), node("Mod", ["a", "c"], ["i"], fmod=1)], {"c": 7}),
        ([node("Mod", ["x", "c"], ["a"]), node("Pow", ["a", "n"], ["i"])], {"c": 3, "n": 3}),
        (
            [node("Mod", ["x", "c"], ["a"]), node("Pow", ["a", "n"], ["i"])],
            {"c": 3, "n": np.array([0, 1, 4] * 3)},
        ),
        (
            [
                node("CumSum", ["x", "one"], ["a"], exclusive=1, reverse=1),
                node("Mod", ["a", "n"], ["i"]),
            ],
            {"n": ROWS},
        ),
        ([node("ReduceMax", ["x"], ["i"], axes=[1])], {}),
        ([node("ReduceMin", ["x"], ["i"], axes=[0, 1], keepdims=0)], {}),
        (
            [node("ReduceSum", ["x", "axes"], ["a"]), node("Mod", ["a", "n"], ["i"])],
            {"axes": [1], "n": ROWS},
        ),
        ([node("ArgMax", ["x"], ["i"], axis=1)], {}),
        ([node("ArgMax", ["x"], ["i"], axis=1, select_last_index=1, keepdims=0)], {}),
        ([node("ArgMin", ["x"], ["i"], axis=-1)], {}),
        ([node("Trilu", ["x", "n"], ["i"])], {"n": 4}),
        ([node("CumSum", ["x", "one"], ["a"]), node("Mod", ["a", "n"], ["i"])], {"n": ROWS}),
    ],
)
def test_indices_are_computed_before_rows_are_taken(nodes, constants):
    arrays = {name: np.asarray(value, np.int64) for name, value in constants.items()}
    arrays["one"] = np.array(1)
    assert "IndexArithmetic" in operators(agrees(of_ids([*nodes, EMBEDDED], arrays)))


@pytest.mark.parametrize("shared", [0, 1])
def test_rows_are_taken_at_the_largest_id(shared):
    """As CLIP takes the end of its text."""
    nodes = [
        node("Gather", ["table", "x"], ["e"]),
        node("ArgMax", ["x"], ["p"], axis=1, keepdims=0),
        node("Unsqueeze", ["p", "last"], ["u"]),
        *([] if shared else [node("Concat", ["sample", "u"], ["places"], axis=1)]),
        node("GatherND", ["e", "u" if shared else "places"], ["y"], batch_dims=shared),
    ]
    agrees(of_ids(nodes, {"last": np.array([1]), "sample": np.array([[0]])}))


def test_ids_are_divided_by_constants_alone():
    rows = [node("Gather", ["table", "i"], ["y"])]
    with refused("Div 'i': divides integers by 0"):
        from_onnx(of_ids([node("Div", ["x", "c"], ["i"]), *rows], {"c": np.array(0)}))
    with refused(
        "1 node cannot be imported: Mod (ai.onnx opset 17) at 'i': a run divides int64 by "
        "constants only",
        UnsupportedError,
    ):
        from_onnx(of_ids([node("Mod", ["c", "x"], ["i"]), *rows], {"c": np.array(9)}))


def test_ids_have_no_roots():
    with refused(
        "1 node cannot be imported: Pow (ai.onnx opset 17) at 'y': int64 that a run computes is "
        "raised to constants from 0 to 63 alone",
        UnsupportedError,
    ):
        from_onnx(of_ids([node("Pow", ["x", "c"], ["y"])], {"c": np.float32(0.5)}))


def test_ids_below_zero_count_from_the_end_as_keras_spells_it():
    nodes = [
        node("Cast", ["x"], ["f"], to=FLOAT),
        node("Less", ["f", "zero"], ["b"]),
        node("Add", ["x", "n"], ["a"]),
        node("Where", ["b", "a", "x"], ["i"]),
        EMBEDDED,
    ]
    proto = of_ids(nodes, {"zero": np.float32(0), "n": np.array(ROWS)})
    agrees(proto, RNG.integers(-ROWS, ROWS, (30, 1, LENGTH)))


@pytest.mark.parametrize("bound", [2.5, 3.0, -np.inf, 1e30])
@pytest.mark.parametrize("operator", ["Greater", "Less", "GreaterOrEqual", "LessOrEqual"])
def test_ids_are_compared_with_floats(operator, bound):
    nodes = [
        node("Cast", ["x"], ["f"], to=FLOAT),
        node(operator, ["f", "c"], ["t"]),
        node("Cast", ["t"], ["z"], to=FLOAT),
    ]
    agrees(of_ids([*nodes, *BESIDE], {"c": np.float32(bound)}))


@pytest.mark.parametrize("negated", [False, True])
def test_a_padding_mask_of_ids_masks_floats(negated):
    nodes = [
        node("Gather", ["table", "x"], ["e"]),
        node("Equal", ["x", "pad"], ["p"]),
        *([node("Not", ["p"], ["m"])] if negated else [node("Identity", ["p"], ["m"])]),
        node("Unsqueeze", ["m", "last"], ["u"]),
        node("Where", ["u", "e", "zero"], ["w"]),
        node("ReduceSum", ["w", "one"], ["y"]),
    ]
    constants = {"pad": np.array(3), "last": np.array([2]), "zero": np.float32(0)}
    agrees(of_ids(nodes, {**constants, "one": np.array([1])}))


@pytest.mark.parametrize("low, high", [(0, 2**63 - 1), (-(2**63), 2**53 + 1)])
def test_ids_are_clipped_to_any_int64(low, high):
    proto = model([node("Clip", ["x", "low", "high"], ["y"])], (4,), {"low": low, "high": high})
    proto.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", INT64, (4,)))
    ids = np.array([-3, 7, 2**53 + 3, -(2**62)])
    found = execute(from_onnx(proto), {"x": ids})["y"]
    assert found.tolist() == onnxruntime_values(proto, {"x": ids}, ["y"])["y"].tolist()


@pytest.mark.parametrize("fill", [0, 12])
def test_ids_are_padded(fill):
    """With a token for the class, say, whose row is one of the table's."""
    nodes = [node("Pad", ["x", "pads", "fill"], ["i"]), EMBEDDED]
    agrees(of_ids(nodes, {"pads": np.array([0, 1, 0, 2]), "fill": np.array(fill)}))


@pytest.mark.parametrize("fill", [0.0, 3.0, 0.5])
def test_a_padding_mask_of_ids_is_padded(fill):
    nodes = [
        node("Equal", ["x", "pad"], ["p"]),
        node("Cast", ["p"], ["f"], to=FLOAT),
        node("Pad", ["f", "pads", "fill"], ["z"]),
        node("Gather", ["table", "x"], ["rows"]),
        node("ReduceMax", ["rows"], ["largest"], keepdims=0),
        node("Mul", ["z", "largest"], ["y"]),
    ]
    constants = {"pad": np.array(3), "pads": np.array([0, 1, 0, 0]), "fill": np.float32(fill)}
    agrees(of_ids(nodes, constants))


def test_kept_tokens_are_counted():
    nodes = [
        node("Equal", ["x", "pad"], ["p"]),
        node("Not", ["p"], ["m"]),
        node("Cast", ["m"], ["i"], to=INT64),
        node("ReduceSum", ["i", "one"], ["n"]),
        node("Cast", ["n"], ["z"], to=FLOAT),
    ]
    agrees(of_ids([*nodes, *BESIDE], {"pad": np.array(3), "one": np.array([1])}))


def test_a_place_of_a_largest_element_may_be_computed_with():
    nodes = [
        node("Gather", ["table", "x"], ["e"]),
        node("ArgMax", ["e"], ["p"], axis=2, keepdims=0),
        node("Mul", ["p", "two"], ["d"]),
        node("Cast", ["d"], ["f"], to=FLOAT),
        node("Mul", ["f", "half"], ["y"]),
    ]
    agrees(of_ids(nodes, {"two": np.array(2), "half": np.float32(0.25)}))


def test_numbers_without_bounds_are_no_floats():
    nodes = [node("Cast", ["x"], ["f"], to=FLOAT), node("Gather", ["table", "x"], ["e"])]
    nodes += [
        node("ReduceMean", ["e"], ["m"], axes=[2], keepdims=0),
        node("Mul", ["f", "m"], ["y"]),
    ]
    with refused(
        "1 node cannot be imported: Mul (ai.onnx opset 17) at 'y': a run cannot convert 'f' from "
        "int64 to floats beyond a known range: Clip it before; the model can be cut before with "
        "outputs=['f', 'm']",
        UnsupportedError,
    ):
        from_onnx(of_ids(nodes))


# ---- the operator ----------------------------------------------------------------------------

LIMITS = np.iinfo(np.int64)
NUMBERS = np.array([LIMITS.min, -(2**40), -7, -1, 0, 1, 6, 7, 2**40, LIMITS.max])
FUNCTIONS = ["add", "sub", "mul", "div", "mod", "max", "min", "equal", "greater"]


def computing(function: str, b: np.ndarray) -> Graph:
    builder = GraphBuilder("indices")
    builder.input("x", TensorType((10, 1), "int64"))
    y = builder.add(ops.IndexArithmetic(function), "x", builder.constant("b", b))
    return builder.graph(y)


@pytest.mark.parametrize("isa", SUPPORTED)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_instruction_set_computes_with_the_farthest_numbers(function, isa):
    b = NUMBERS[NUMBERS > 0] if function in ("div", "mod") else NUMBERS
    graph = computing(function, b)
    x = NUMBERS.reshape(10, 1)
    (wanted,) = reference.execute(graph, {"x": x}).values()
    np.testing.assert_array_equal(Session(graph, isa=isa).run({"x": x}), wanted, strict=True)


def test_quotients_are_rounded_towards_zero_and_remainders_have_the_divisors_sign():
    x = np.array([-7, -6, -1, 0, 1, 6, 7, 8, 9, 10]).reshape(10, 1)
    for function, expected in (("div", np.trunc(x / 3)), ("mod", x - 3 * np.floor(x / 3))):
        graph = computing(function, np.array([3]))
        np.testing.assert_array_equal(
            reference.execute(graph, {"x": x})[graph.outputs[0]], expected
        )


@pytest.mark.parametrize("divisor", [0, -3])
def test_only_positive_constants_divide(divisor):
    from edgeinfer.graph.verification import verify

    graph = computing("div", np.array([divisor]))
    name = graph.nodes[0].name
    with refused(f"IndexArithmetic {name!r}: divides by constants of 1 and more"):
        verify(graph)
