"""An open first axis is a batch where samples provably stay apart; else its extent is asked for."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgeinfer.advice import for_command_line
from edgeinfer.converters import from_onnx
from edgeinfer.errors import InputError, ModelError, UnsupportedError
from edgeinfer.meaning.float_executor import execute
from edgeinfer.quant import quantize
from edgeinfer.session import Session
from tests.converters.onnx_agreement import agreement, model, node, onnxruntime_values

RNG = np.random.default_rng(17)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype("f4")


def refusal(proto: onnx.ModelProto, **options) -> str:
    with pytest.raises(InputError) as caught:
        from_onnx(proto, **options)
    return str(caught.value)


def chain(*operators: tuple[str, dict]) -> list[onnx.NodeProto]:
    """Nodes from x to y; the values between are a, b, c ..."""
    values = ["x", *"abcdefgh"[: len(operators) - 1], "y"]
    return [
        node(operator, [values[i], *attributes.pop("constants", ())], [values[i + 1]], **attributes)
        for i, (operator, attributes) in enumerate(operators)
    ]


# nodes, constants, and what mixes the samples [N,6]
MIXED = {
    "their mean": (
        [node("ReduceMean", ["x"], ["m"], axes=[0]), node("Sub", ["x", "m"], ["y"])],
        {},
        "ReduceMean 'm' mixes what lies along it",
    ),
    "a norm over them": (
        [node("MeanVarianceNormalization", ["x"], ["y"], axes=[0])],
        {},
        "Normalization 'y' mixes what lies along it",
    ),
    "a Softmax over them": (
        [node("Softmax", ["x"], ["y"], axis=0)],
        {},
        "Softmax 'y' mixes what lies along it",
    ),
    "their maximum": (
        [node("ReduceMax", ["x"], ["y"], axes=[0])],
        {},
        "ReduceMax 'y' mixes what lies along it",
    ),
    "their order": (
        [node("Slice", ["x", "s", "e", "a", "t"], ["y"])],
        {"s": [-1], "e": [-99], "a": [0], "t": [-1]},
        "Slice 'y' mixes what lies along it",
    ),
    "a padding before the first": (
        [node("Pad", ["x", "p"], ["y"])],
        {"p": [1, 0, 0, 0]},
        "Pad 'y' mixes what lies along it",
    ),
    "a product of all with all": (
        [node("Transpose", ["x"], ["t"]), node("MatMul", ["x", "t"], ["y"])],
        {},
        "MatMul 'y' mixes what lies along it",
    ),
    "one row of all": (
        chain(("Reshape", {"constants": ["s"]}), ("ReduceMax", {"axes": [1]})),
        {"s": [1, -1]},
        "ReduceMax 'y' mixes what lies along it",
    ),
    "a window over them": (
        [
            node("Reshape", ["x", "s"], ["r"]),
            node("MaxPool", ["r"], ["p"], kernel_shape=[3, 1], pads=[1, 0, 1, 0]),
            node("Reshape", ["p", "t"], ["y"]),
        ],
        {"s": [1, 1, -1, 6], "t": [-1, 6]},
        "MaxPool 'p' mixes what lies along it",
    ),
    "the number of each": (
        [
            node("Shape", ["x"], ["s"]),
            node("Gather", ["s", "zero"], ["n"]),
            node("Range", ["zero", "n", "one"], ["r"]),
            node("Cast", ["r"], ["f"], to=TensorProto.FLOAT),
            node("Unsqueeze", ["f", "last"], ["c"]),
            node("Add", ["x", "c"], ["y"]),
        ],
        {"zero": 0, "one": 1, "last": [1]},
        "Add 'y' mixes what lies along it",
    ),
    "a matrix of each": (
        [
            node("Shape", ["x"], ["s"]),
            node("Gather", ["s", "zero"], ["n"]),
            node("Range", ["zero", "n", "one"], ["r"]),
            node("Cast", ["r"], ["f"], to=TensorProto.FLOAT),
            node("Unsqueeze", ["f", "behind"], ["c"]),
            node("Mul", ["c", "w"], ["m"]),
            node("Unsqueeze", ["x", "rows"], ["u"]),
            node("MatMul", ["u", "m"], ["p"]),
            node("Squeeze", ["p", "rows"], ["y"]),
        ],
        {"zero": 0, "one": 1, "behind": [1, 2], "rows": [1], "w": normal(1, 6, 3)},
        "MatMul 'p' mixes what lies along it",
    ),
    "how many they are": (
        [
            node("Shape", ["x"], ["s"]),
            node("Gather", ["s", "zero"], ["n"]),
            node("Cast", ["n"], ["f"], to=TensorProto.FLOAT),
            node("Div", ["x", "f"], ["y"]),
        ],
        {"zero": 0},
        "Pointwise 'y' computes otherwise with another extent of it",
    ),
    "an output without them": (
        [node("Relu", ["x"], ["y"]), node("Identity", ["k"], ["z"])],
        {"k": normal(1, 2)},
        "output 'z' has no row for each sample",
    ),
    "an output that they are not first in": (
        [node("Transpose", ["x"], ["y"])],
        {},
        "output 'y' has no row for each sample",
    ),
}


@pytest.mark.parametrize("what", MIXED)
def test_samples_that_are_not_apart_are_no_batch(what):
    nodes, constants, reason = MIXED[what]
    outputs = ("y", "z") if "z" in nodes[-1].output else ("y",)
    proto = model(nodes, ["time", 6], constants, outputs=outputs)
    assert refusal(proto) == (
        f"input 'x' leaves its first axis open, which is no batch of samples: {reason}; "
        "give its whole shape, as in input_shapes={'x': [50, 6]}"
    )
    with for_command_line():
        assert refusal(proto).endswith("give its whole shape, as in --shape x=50x6")
    graph = agreement(proto, input_shapes={"x": [5, 6]})
    assert not graph.free_batch


# nodes and constants on samples [N,4,6,6]
APART = {
    "spatial layers": (
        [
            node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            node("MaxPool", ["c"], ["p"], kernel_shape=[2, 2]),
            node("GlobalAveragePool", ["p"], ["g"]),
            node("Flatten", ["g"], ["f"]),
            node("Gemm", ["f", "d"], ["s"]),
            node("Softmax", ["s"], ["y"], axis=1),
        ],
        {"w": normal(4, 4, 3, 3), "d": normal(4, 3)},
    ),
    "samples merged with another axis and parted again": (
        [
            node("Reshape", ["x", "rows"], ["r"]),
            node("MatMul", ["r", "d"], ["m"]),
            node("Reshape", ["m", "apart"], ["y"]),
        ],
        {"rows": [-1, 6], "d": normal(6, 3), "apart": [-1, 4, 6, 3]},
    ),
    "attention": (
        [
            node("Reshape", ["x", "s"], ["r"]),
            node("Transpose", ["r"], ["t"], perm=[0, 2, 1]),
            node("MatMul", ["r", "t"], ["q"]),
            node("Softmax", ["q"], ["p"], axis=-1),
            node("MatMul", ["p", "r"], ["y"]),
        ],
        {"s": [0, 4, 36]},
    ),
    "a constant that is repeated for each": (
        [
            node("Shape", ["x"], ["shape"]),
            node("Slice", ["shape", "zero", "one"], ["n"]),
            node("Concat", ["n", "rest"], ["target"], axis=0),
            node("Expand", ["token", "target"], ["e"]),
            node("Concat", ["e", "x"], ["y"], axis=2),
        ],
        {"zero": [0], "one": [1], "rest": [4, 1, 6], "token": normal(1, 4, 1, 6)},
    ),
    "axes that change places": (
        [
            node("Transpose", ["x"], ["t"], perm=[1, 2, 3, 0]),
            node("Relu", ["t"], ["r"]),
            node("ReduceSum", ["r", "axes"], ["s"], keepdims=0),
            node("Transpose", ["s"], ["y"], perm=[2, 0, 1]),
        ],
        {"axes": [1]},
    ),
    "a norm of each": (
        [
            node("LayerNormalization", ["x", "scale"], ["l"], axis=-1),
            node("Gather", ["l", "chosen"], ["g"], axis=1),
            node("Slice", ["g", "zero", "three", "axis"], ["y"]),
        ],
        {"scale": normal(6), "chosen": [2, 0], "zero": [0], "three": [3], "axis": [3]},
    ),
    "a norm of each, over all places of groups": (
        [
            node("Reshape", ["x", "groups"], ["g"]),
            node("InstanceNormalization", ["g", "one", "zero"], ["n"]),
            node("Shape", ["x"], ["shape"]),
            node("Reshape", ["n", "shape"], ["u"]),
            node("Mul", ["u", "scale"], ["y"]),
        ],
        {"groups": [0, 2, -1], "one": normal(2), "zero": normal(2), "scale": normal(4, 1, 1)},
    ),
}


@pytest.mark.parametrize("what", APART)
def test_samples_that_are_apart_go_through_in_slices(what):
    nodes, constants = APART[what]
    proto = model(nodes, ["N", 4, 6, 6], constants)
    for batch in (1, 2):
        graph = agreement(proto, batch=batch)
        assert graph.free_batch
    assert agreement(proto, input_shapes={"x": [1, 4, 6, 6]}).free_batch


def test_a_model_that_holds_the_batch_to_one_takes_samples_one_by_one():
    nodes = [node("Reshape", ["x", "s"], ["r"]), node("MatMul", ["r", "d"], ["y"])]
    proto = model(nodes, ["N", 1, 4, 4], {"s": [1, 16], "d": normal(16, 3)})
    samples = normal(6, 1, 4, 4)
    session = Session(quantize(from_onnx(proto), samples))
    one_by_one = np.concatenate([session.run(x[np.newaxis]) for x in samples])
    np.testing.assert_array_equal(session.run(samples), one_by_one)


def test_an_axis_that_an_input_shares_with_none_is_no_batch_of_all():
    proto = model(
        [node("Add", ["x", "k"], ["y"])], inputs={"x": ["N", 3], "k": [1, 3]}, outputs=("y",)
    )
    assert not from_onnx(proto).free_batch
    proto = model([node("Add", ["x", "k"], ["y"])], inputs={"x": ["N", 3], "k": [7, 3]})
    assert refusal(proto) == (
        "input 'x' leaves its first axis open, which is no batch of samples: "
        "Add 'y' mixes what lies along it; "
        "give its whole shape, as in input_shapes={'x': [50, 3]}"
    )


def test_an_import_that_fails_says_what_it_took_the_open_axis_to_be():
    proto = model([node("Reshape", ["x", "s"], ["y"])], ["time", 8], {"s": [2, 25, 8]})
    with pytest.raises(ModelError) as caught:
        from_onnx(proto)
    assert type(caught.value) is ModelError
    assert str(caught.value) == (
        "Reshape 'y': a value of shape [1, 8] does not fill shape [2, 25, 8]; "
        "the first axis of input 'x' is open and was taken to be 1: "
        "if it is no batch of samples, give its whole shape, as in input_shapes={'x': [50, 8]}"
    )
    agreement(proto, input_shapes={"x": [50, 8]})


@pytest.mark.parametrize(
    "between",
    [
        [node("Cast", ["x"], ["f"], to=TensorProto.FLOAT)],
        [
            node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
            node("Cast", ["t"], ["f"], to=TensorProto.FLOAT),
        ],
        [
            node("Slice", ["x", "zero", "three", "axis"], ["s"]),
            node("Transpose", ["s"], ["t"], perm=[0, 3, 1, 2]),
            node("Cast", ["t"], ["f"], to=TensorProto.FLOAT16),
            node("Cast", ["f"], ["g"], to=TensorProto.FLOAT),
        ],
        [
            node("Split", ["x", "parts"], ["r", "g", "b"], axis=3),
            node("Concat", ["b", "g", "r"], ["bgr"], axis=3),
            node("CastLike", ["bgr", "half"], ["f"]),
        ],
        [
            node("Pad", ["x", "pads", "grey"], ["p"]),
            node("Clip", ["p", "grey"], ["c"]),
            node("Resize", ["c", "", "scales"], ["r"], mode="nearest"),
            node("Cast", ["r"], ["f"], to=TensorProto.FLOAT),
        ],
    ],
)
def test_pixels_may_be_moved_before_they_are_cast(between):
    constants = {
        "zero": [0],
        "three": [3],
        "axis": [3],
        "half": np.float32(127.5),
        "parts": [1, 1, 2],
        "pads": [0, 1, 0, 0, 0, 0, 2, 0],
        "grey": np.uint8(114),
        "scales": np.array([1, 2, 2, 1], np.float32),
    }
    last = between[-1].output[0]
    proto = model([*between, node("Sub", [last, "half"], ["y"])], (1, 5, 7, 4), constants)
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    pixels = RNG.integers(0, 256, (1, 5, 7, 4)).astype("u1")
    graph = from_onnx(proto)
    assert graph.types["x"].dtype == "float32"
    expected = onnxruntime_values(proto, {"x": pixels}, ["y"])["y"]
    found = execute(graph, {"x": pixels.astype("f4")})["y"]
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_pixels_that_are_computed_with_before_a_cast_are_refused():
    nodes = [node("Add", ["x", "x"], ["s"]), node("Cast", ["s"], ["y"], to=TensorProto.FLOAT)]
    proto = model(nodes, (1, 4))
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    with pytest.raises(ModelError) as caught:
        from_onnx(proto)
    assert type(caught.value) is UnsupportedError
    assert str(caught.value) == (
        "input 'x' holds UINT8, and Add 's' computes with it: that is supported only where a Cast "
        "to float comes first; the model can begin behind that with inputs=['y']"
    )


def test_pixels_joined_with_what_are_none_are_refused():
    nodes = [
        node("Concat", ["x", "k"], ["c"], axis=0),
        node("Cast", ["c"], ["f"], to=TensorProto.FLOAT),
        node("Relu", ["f"], ["y"]),
    ]
    proto = model(nodes, (1, 4), {"k": np.zeros((1, 4), "u1")})
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    with for_command_line(), pytest.raises(UnsupportedError) as caught:
        from_onnx(proto)
    assert str(caught.value) == (
        "input 'x' holds UINT8, and Concat 'c' joins it with others: that is supported only where "
        "a Cast to float comes first; the model can begin behind that with --input f"
    )


def test_a_mask_that_is_only_cast_goes_in_as_numbers():
    nodes = [node("Cast", ["m"], ["f"], to=TensorProto.FLOAT), node("Mul", ["x", "f"], ["y"])]
    proto = model(nodes, inputs={"x": [1, 4], "m": [1, 4]})
    proto.graph.input[1].type.tensor_type.elem_type = TensorProto.BOOL
    graph = from_onnx(proto)
    x, mask = normal(1, 4), np.array([[True, False, True, False]])
    session = Session(quantize(graph, [{"x": x, "m": mask}], scheme="int16"))
    np.testing.assert_allclose(session.run({"x": x, "m": mask}), x * mask, atol=1e-3)


def test_a_signal_of_one_axis_is_no_batch():
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["samples"])
    graph = helper.make_graph(
        [node("ReduceMax", ["x"], ["y"], keepdims=0)],
        "g",
        [value],
        [helper.make_empty_tensor_value_info("y")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert refusal(proto).endswith("as in input_shapes={'x': [50]}")
