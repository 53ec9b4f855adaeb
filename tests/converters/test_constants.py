"""What no input of a model reaches is computed at import, whatever its operators."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgeinfer.converters import from_onnx
from edgeinfer.errors import ModelError, UnsupportedError
from edgeinfer.meaning.float_executor import execute
from edgeinfer.quant import quantize
from edgeinfer.session import Session
from tests.converters.onnx_agreement import agreement, model, node, operators
from tests.refusals import refused

RNG = np.random.default_rng(11)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype("f4")


IMAGE = {"k": normal(1, 4, 6, 6)}
SIZES = np.array([1, 4, 6, 6], np.int64)
# by what makes the constant c [1,4,6,6] of k: nodes and constants
BRANCHES = {
    "a Conv": ([node("Conv", ["k", "w"], ["c"])], {**IMAGE, "w": normal(4, 4, 1, 1)}),
    "a Gemm": (
        [node("Gemm", ["k", "w", "b"], ["g"]), node("Reshape", ["g", "s"], ["c"])],
        {"k": normal(4, 2), "w": normal(2, 36), "b": normal(36), "s": SIZES},
    ),
    "a MaxPool": (
        [node("MaxPool", ["k"], ["c"], kernel_shape=[2, 2])],
        {"k": normal(1, 4, 7, 7)},
    ),
    "an average": ([node("GlobalAveragePool", ["k"], ["c"])], IMAGE),
    "a Softmax": ([node("Softmax", ["k"], ["c"], axis=1)], IMAGE),
    "a normalization": (
        [node("LayerNormalization", ["k", "g"], ["c"])],
        {**IMAGE, "g": normal(6)},
    ),
    "a batch's own statistics": (
        # onnxruntime writes the new statistics over the old ones: each is an array of its own
        [node("BatchNormalization", ["k", *"gbmv"], ["c", "mean", "variance"], training_mode=1)],
        {**IMAGE, **{name: normal(4) for name in "gbm"}, "v": np.ones(4, "f4")},
    ),
    "a linear Resize": (
        [node("Resize", ["k", "", "", "s"], ["c"], mode="linear")],
        {"k": normal(1, 4, 3, 5), "s": SIZES},
    ),
    "a cubic Resize": (
        [node("Resize", ["k", "", "", "s"], ["c"], mode="cubic")],
        {"k": normal(1, 4, 3, 5), "s": SIZES},
    ),
    "DepthToSpace": ([node("DepthToSpace", ["k"], ["c"], blocksize=2)], {"k": normal(1, 16, 3, 3)}),
    "an Einsum": ([node("Einsum", ["k", "k"], ["c"], equation="...hw,...hw->...hw")], IMAGE),
    "a norm": ([node("ReduceL2", ["k"], ["c"], axes=[2, 3])], IMAGE),
    "a function that no run computes": ([node("Atan", ["k"], ["c"])], IMAGE),
    "a choice": (
        [node("Where", ["b", "k", "z"], ["c"])],
        {**IMAGE, "b": RNG.random((4, 1, 1)) < 0.5, "z": np.float32(0)},
    ),
    "some elements": (
        [node("Compress", ["k", "b"], ["c"], axis=2)],
        {"k": normal(1, 4, 9, 6), "b": np.arange(9) % 3 > 0},
    ),
    "different elements": (
        [node("Unique", ["k"], ["u"]), node("Reshape", ["u", "s"], ["c"])],
        {**IMAGE, "s": SIZES},
    ),
    "a standardized image": ([node("MeanVarianceNormalization", ["k"], ["c"])], IMAGE),
    "a mask that keeps all": (
        [node("Dropout", ["k"], ["d", "m"]), node("Cast", ["m"], ["c"], to=TensorProto.FLOAT)],
        IMAGE,
    ),
    "a function with parameters": ([node("HardSigmoid", ["k"], ["c"], alpha=0.3)], IMAGE),
    "a chain": (
        [
            node("LeakyRelu", ["k"], ["l"]),
            node("Conv", ["l", "w"], ["v"]),
            node("Tanh", ["v"], ["t"]),
            node("Softmax", ["t"], ["c"], axis=1),
        ],
        {**IMAGE, "w": normal(4, 4, 1, 1)},
    ),
}


@pytest.mark.parametrize("branch", BRANCHES)
def test_a_branch_of_constants_is_a_constant(branch):
    nodes, constants = BRANCHES[branch]
    proto = model([*nodes, node("Add", ["x", "c"], ["y"])], (1, 4, 6, 6), constants)
    graph = agreement(proto)
    assert all(set(n.inputs) - set(graph.constants) for n in graph.nodes)
    quantize(graph, normal(8, 4, 6, 6), observer="minmax")


@pytest.mark.parametrize("opset", [13, 17])
def test_weights_standardized_by_a_batch_norm_are_weights(opset):
    nodes = [
        node("Reshape", ["w", "rows"], ["flat"]),
        node(
            "BatchNormalization",
            ["flat", "gain", "bias", "old", "one"],
            ["standard", "mean", "variance"] if opset >= 14 else ["standard"],
            epsilon=1e-6,
            **({"training_mode": 1} if opset >= 14 else {}),
        ),
        node("Reshape", ["standard", "shape"], ["v"]),
        node("Conv", ["x", "v"], ["y"], pads=[1, 1, 1, 1]),
    ]
    constants = {
        "w": normal(5, 4, 3, 3),
        "rows": np.array([1, 5, -1]),
        "shape": np.array([5, 4, 3, 3]),
        "gain": np.linspace(0.5, 1, 5, dtype="f4"),
        "bias": np.zeros(5, "f4"),
        "old": np.zeros(5, "f4"),
        "one": np.ones(5, "f4"),
    }
    graph = agreement(model(nodes, (1, 4, 6, 5), constants, opset=opset))
    assert "Conv" in operators(graph)


@pytest.mark.parametrize("axis, shape", [(1, (1, 77)), (0, (5, 512)), (-1, (3, 600))])
def test_elements_are_gathered_from_a_constant(axis, shape):
    constants = {"k": normal(4, 512), "i": RNG.integers(-4, 4, shape)}
    nodes = [
        node("GatherElements", ["k", "i"], ["g"], axis=axis),
        node("Add", ["x", "g"], ["y"]),
    ]
    agreement(model(nodes, shape, constants))


def test_elements_gathered_from_beyond_a_constant_are_refused():
    constants = {"k": normal(1, 4), "i": np.array([[4]])}
    nodes = [node("GatherElements", ["k", "i"], ["g"], axis=1), node("Add", ["x", "g"], ["y"])]
    with pytest.raises(ModelError) as caught:
        from_onnx(model(nodes, (1, 1), constants))
    assert str(caught.value) == (
        "GatherElements 'g': its inputs do not fit the operator: "
        "index 4 is out of bounds for axis 1 with size 4"
    )


@pytest.mark.parametrize("opset", [10, 13, 18, 19, 21])
def test_weights_that_only_dequantize_are_weights(opset):
    constants = {
        "q": RNG.integers(-127, 128, (4, 3)).astype("i1"),
        "scale": np.float32(0.02),
        "zero": np.int8(3),
    }
    nodes = [
        node("DequantizeLinear", ["q", "scale", "zero"], ["w"]),
        node("MatMul", ["x", "w"], ["y"]),
    ]
    assert operators(agreement(model(nodes, (2, 4), constants, opset=opset))) == ["Dense"]


@pytest.mark.parametrize("scheme", ["int8", "int16x8", "int16"])
def test_an_output_may_be_a_constant(scheme):
    nodes = [
        node("Relu", ["x"], ["y"]),
        node("Identity", ["k"], ["same"]),
        node("Softmax", ["k"], ["computed"], axis=1),
        node("Shape", ["k"], ["shape"]),
    ]
    k = normal(2, 3)
    outputs = ("y", "same", "computed", "shape")
    graph = agreement(model(nodes, (2, 5), {"k": k}, outputs=outputs))
    session = Session(quantize(graph, normal(8, 2, 5), scheme=scheme))
    found = session.run(normal(2, 5))
    step = next(info.scale for info in session.outputs if info.name == "same")
    assert np.abs(found["same"] - k).max() <= step * 0.5001
    assert np.abs(found["computed"] - execute(graph, {"x": normal(2, 5)})["computed"]).max() < 0.01
    np.testing.assert_array_equal(found["shape"], [2, 3])


def test_what_each_run_would_draw_anew_is_no_constant():
    proto = model([node("RandomNormal", [], ["r"], shape=[2, 3]), node("Add", ["x", "r"], ["y"])])
    with pytest.raises(UnsupportedError, match="1 node cannot be imported: RandomNormal "):
        from_onnx(proto)


ZERO = helper.make_tensor("zero", TensorProto.INT64, [1], [0])


@pytest.mark.parametrize(
    "nodes, constants, error",
    [
        (
            [node("Einsum", ["k", "k", "k"], ["c"], equation="a,b,c->abc")],
            {"k": np.ones(1000, "f4")},
            "Einsum 'c': the constants of the model have more than 67108864 elements",
        ),
        (
            [node("MaxPool", ["k"], ["c"], kernel_shape=[20000, 20000], pads=[19999] * 4)],
            {"k": np.ones((1, 1, 2, 2), "f4")},
            "MaxPool 'c': the constants of the model have more than 67108864 elements",
        ),
        (
            [
                node("ConstantOfShape", ["places"], ["at"], value=ZERO),
                node("GatherND", ["k", "at"], ["c"]),
            ],
            {"k": np.ones((1, 30000), "f4"), "places": np.array([30000, 1])},
            "GatherND 'c': the constants of the model have more than 67108864 elements",
        ),
    ],
)
def test_what_no_real_model_computes_at_import_is_refused_beforehand(nodes, constants, error):
    proto = model([*nodes, node("Add", ["x", "c"], ["y"])], (1,), constants)
    with pytest.raises(ModelError) as caught:
        from_onnx(proto)
    assert str(caught.value) == error


@pytest.mark.parametrize("operator", ["Div", "Mod"])
def test_integers_are_not_divided_by_zero(operator):
    nodes = [
        node(operator, ["n", "zeros"], ["q"]),
        node("Cast", ["q"], ["c"], to=TensorProto.FLOAT),
        node("Add", ["x", "c"], ["y"]),
    ]
    constants = {"n": np.array([5, 6]), "zeros": np.array([1, 0])}
    with refused(f"{operator} 'q': divides integers by 0"):
        from_onnx(model(nodes, (2,), constants))


def test_text_is_no_output():
    nodes = [node("Constant", [], ["t"], value_string="text"), node("Relu", ["x"], ["y"])]
    with refused("initializer 't' holds text, not numbers"):
        from_onnx(model(nodes, (2,), outputs=("y", "t")))


def test_a_size_that_only_the_evaluation_tells_is_not_computed():
    nodes = [
        node("MaxUnpool", ["numbers", "places", "shape"], ["kept"], kernel_shape=[1]),
        node("Cast", ["kept"], ["c"], to=TensorProto.FLOAT),
        node("Add", ["x", "c"], ["y"]),
    ]
    constants = {
        "numbers": np.ones((1, 1, 4), "f4"),
        "places": np.arange(4).reshape(1, 1, 4),
        "shape": np.array([1, 1, 9]),
    }
    with pytest.raises(UnsupportedError) as caught:
        from_onnx(model(nodes, (1,), constants))
    assert str(caught.value) == (
        "1 node cannot be imported: MaxUnpool (ai.onnx opset 17) at 'kept': "
        "the size of its constant result cannot be told beforehand"
    )


def test_a_computed_constant_keeps_the_name_of_its_value():
    value = helper.make_tensor("k", TensorProto.FLOAT, [2], [1.0, 2.0])
    nodes = [
        node("Constant", [], ["k"], value=value),
        node("Softmax", ["k"], ["probabilities"]),
        node("Max", ["x", "probabilities"], ["y"]),
    ]
    proto: onnx.ModelProto = model(nodes, (3, 2))
    assert set(from_onnx(proto).constants) == {"probabilities"}


def test_an_operator_of_nothing_is_refused():
    nodes = [node("Div", [], ["d"]), node("Add", ["x", "d"], ["y"])]
    with refused(
        "Div 'd': its constant result cannot be computed: OpRunBinaryNum.run() missing 2 required "
        "positional arguments: 'x' and 'y'"
    ):
        from_onnx(model(nodes, (1, 4)))
