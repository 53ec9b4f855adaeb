"""An imported Graph is canonical: NHWC without Transposes to spare, constants folded, all fused.

Each model also agrees with onnxruntime, so that no rewrite holds by form alone.
"""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgeinfer.converters import from_onnx
from edgeinfer.graph import operators as ops
from edgeinfer.meaning.float_executor import execute
from tests.converters.onnx_agreement import agreement, model, node, onnxruntime_values, operators

RNG = np.random.default_rng(5)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype("f4")


def integers(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def batch_norm(channels: int) -> dict[str, np.ndarray]:
    positive = np.abs(normal(channels)) + 0.2
    return dict(
        zip("sbmv", (normal(channels), normal(channels), normal(channels), positive), strict=True)
    )


def norm(source: str, result: str) -> onnx.NodeProto:
    return node("BatchNormalization", [source, *"sbmv"], [result])


# ---- layout ----------------------------------------------------------------------------------


def test_a_convolution_between_transposes_is_a_convolution():
    graph = agreement(
        model(
            [
                node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
                node("Conv", ["t", "w"], ["c"], pads=[1, 1, 1, 1]),
                node("Transpose", ["c"], ["y"], perm=[0, 2, 3, 1]),
            ],
            (1, 5, 7, 3),
            {"w": normal(4, 3, 3, 3)},
        )
    )
    assert operators(graph) == ["Conv"]


def test_only_the_edges_of_a_channels_first_network_are_transposed():
    graph = agreement(
        model(
            [
                node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
                node("Sigmoid", ["a"], ["s"]),
                node("Mul", ["a", "s"], ["b"]),
                node("Concat", ["b", "x"], ["c"], axis=1),
                node("Softmax", ["c"], ["d"], axis=1),
                node("MaxPool", ["d"], ["y"], kernel_shape=[2, 2]),
            ],
            (2, 4, 6, 5),
            {"w": normal(4, 4, 3, 3)},
        ),
        intermediate=True,
    )
    assert operators(graph).count("Transpose") == 2


@pytest.mark.parametrize("less_the_largest", [False, True])
def test_a_softmax_spelled_out_is_one(less_the_largest):
    nodes = [
        node("Mul", ["x", "scale"], ["m"]),
        node("ReduceMax", ["m"], ["largest"], axes=[2]),
        node("Sub", ["m", "largest"], ["d"]),
        node("Exp", ["d" if less_the_largest else "m"], ["e"]),
        node("ReduceSum", ["e", "axes"], ["s"]),
        node("Div", ["e", "s"], ["y"]),
    ]
    constants = {"scale": normal(1), "axes": integers(2)}
    graph = agreement(model(nodes, (2, 4, 6), constants))
    assert operators(graph) == ["Pointwise", "Softmax"]


def test_a_quotient_by_another_sum_is_no_softmax():
    nodes = [
        node("Exp", ["x"], ["e"]),
        node("ReduceSum", ["e", "axes"], ["s"]),
        node("Div", ["e", "s"], ["y"]),
    ]
    graph = agreement(model(nodes, (2, 4, 6), {"axes": integers(1, 2)}))
    assert operators(graph) == ["Pointwise", "ReduceSum", "Div"]


def test_what_adds_zeros_or_multiplies_by_ones_goes():
    ones, zeros = np.ones((4, 1, 5), "f4"), np.zeros(5, "f4")
    nodes = [
        node("Relu", ["x"], ["r"]),
        node("Add", ["r", "zeros"], ["a"]),
        node("Mul", ["ones", "a"], ["m"]),
        node("Div", ["m", "ones"], ["d"]),
        node("Sub", ["d", "zeros"], ["y"]),
    ]
    graph = agreement(model(nodes, (2, 4, 6, 5), {"ones": ones, "zeros": zeros}))
    assert operators(graph) == ["Pointwise"]
    # which gives more than it takes
    wide = model([node("Add", ["x", "wide"], ["y"])], (1, 6, 5), {"wide": np.zeros((4, 1, 1))})
    assert operators(agreement(wide)) == ["Add"]


def test_a_channel_shuffle_costs_one_transpose():
    graph = agreement(
        model(
            [
                node("Conv", ["x", "w"], ["a"]),
                node("Reshape", ["a", "split"], ["b"]),
                node("Transpose", ["b"], ["c"], perm=[0, 2, 1, 3, 4]),
                node("Reshape", ["c", "join"], ["d"]),
                node("Conv", ["d", "w"], ["e"]),
                node("GlobalAveragePool", ["e"], ["y"]),
            ],
            (2, 6, 5, 3),
            {
                "w": normal(6, 6, 1, 1),
                "split": integers(0, 2, 3, 5, 3),
                "join": integers(0, 6, 5, 3),
            },
        ),
        intermediate=True,
    )
    assert operators(graph).count("Transpose") == 2  # the input's and the shuffle's own


@pytest.mark.parametrize("between", [[], ["Relu"], ["Relu", "Tanh"]])
def test_flattening_an_image_permutes_the_weights_of_the_layer_behind(between):
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Flatten", ["c"], ["f0"])]
    for i, operator in enumerate(between):
        nodes.append(node(operator, [f"f{i}"], [f"f{i + 1}"]))
    nodes.append(node("Gemm", [f"f{len(between)}", "v", "b"], ["y"], transB=1))
    constants = {"w": normal(4, 3, 3, 3), "v": normal(5, 4 * 3 * 5), "b": normal(5)}
    graph = agreement(model(nodes, (2, 3, 5, 7), constants))
    assert operators(graph).count("Transpose") == 1
    assert operators(graph)[:2] == ["Transpose", "Conv"]


def test_an_activation_spelled_out_on_a_flat_image_keeps_it_channels_last():
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("Flatten", ["c"], ["f"]),
        node("Sigmoid", ["f"], ["s"]),
        node("Mul", ["f", "s"], ["m"]),
        node("MatMul", ["m", "v"], ["y"]),
    ]
    constants = {"w": normal(4, 3, 3, 3), "v": normal(4 * 3 * 5, 7)}
    graph = agreement(model(nodes, (2, 3, 5, 7), constants), intermediate=True)
    assert operators(graph) == ["Transpose", "Conv", "Pointwise", "Reshape", "Dense"]


def test_flattening_an_image_for_anything_else_keeps_its_order():
    nodes = [node("Conv", ["x", "w"], ["c"]), node("Flatten", ["c"], ["f"])]
    nodes += [node("Softmax", ["f"], ["y"], axis=1)]
    agreement(model(nodes, (2, 3, 5, 7), {"w": normal(4, 3, 3, 3)}))


def test_a_reshape_that_merges_height_and_width_stays_channels_last():
    graph = agreement(
        model(
            [
                node("Conv", ["x", "w"], ["c"]),
                node("Reshape", ["c", "s"], ["r"]),
                node("Transpose", ["r"], ["t"], perm=[0, 2, 1]),
                node("MatMul", ["t", "v"], ["y"]),
            ],
            (2, 3, 5, 7),
            {"w": normal(4, 3, 3, 3), "s": integers(0, 0, -1), "v": normal(4, 6)},
        ),
        intermediate=True,
    )
    assert operators(graph) == ["Transpose", "Conv", "Reshape", "Dense"]


@pytest.mark.parametrize("shape", [(4, 1, 1), (5,), (3, 5), (1, 4, 1, 5), (4, 3, 5)])
def test_constants_of_any_shape_follow_the_channels(shape):
    nodes = [
        node("Conv", ["x", "w"], ["a"]),
        node("Relu", ["a"], ["b"]),
        node("Mul", ["b", "k"], ["c"]),
        node("Sub", ["k", "c"], ["d"]),
        node("MaxPool", ["d"], ["y"], kernel_shape=[2, 2]),
    ]
    constants = {"w": normal(4, 3, 3, 3), "k": normal(*shape)}
    graph = agreement(model(nodes, (2, 3, 5, 7), constants), intermediate=True)
    assert operators(graph).count("Transpose") == 2


def test_a_squeeze_and_excitation_block_moves_nothing():
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        node("GlobalAveragePool", ["a"], ["g"]),
        node("Flatten", ["g"], ["f"]),
        node("Gemm", ["f", "v"], ["h"]),
        node("Relu", ["h"], ["r"]),
        node("Gemm", ["r", "u"], ["e"]),
        node("HardSigmoid", ["e"], ["k"]),
        node("Reshape", ["k", "shape"], ["m"]),
        node("Mul", ["a", "m"], ["s"]),
        node("Conv", ["s", "w2"], ["y"]),
    ]
    constants = {"w": normal(6, 3, 3, 3), "v": normal(6, 2), "u": normal(2, 6)}
    constants |= {"w2": normal(4, 6, 1, 1), "shape": integers(0, 6, 1, 1)}
    graph = agreement(model(nodes, (2, 3, 7, 5), constants), intermediate=True)
    assert operators(graph).count("Transpose") == 2


def test_a_batch_norm_of_a_flat_value_is_one_depthwise_convolution():
    nodes = [node("Tanh", ["x"], ["t"]), norm("t", "n"), node("Relu", ["n"], ["y"])]
    graph = agreement(model(nodes, (3, 7), batch_norm(7)))
    assert operators(graph) == ["Pointwise", "Reshape", "Conv", "Reshape"]
    assert graph.nodes[2].op == ops.Conv(lo=0.0, group=7)


def test_an_expand_before_a_product_is_left_to_the_product():
    nodes = [
        node("Conv", ["x", "w"], ["a"]),
        node("GlobalMaxPool", ["a"], ["g"]),
        node("Expand", ["g", "shape"], ["e"]),
        node("Mul", ["a", "e"], ["b"]),
        node("Conv", ["b", "w"], ["y"]),
    ]
    constants = {"w": normal(3, 3, 1, 1), "shape": integers(2, 3, 5, 7)}
    graph = agreement(model(nodes, (2, 3, 5, 7), constants))
    assert operators(graph) == ["Transpose", "Conv", "ReduceMax", "Mul", "Conv", "Transpose"]


def test_heads_of_an_attention_are_transposed_once_each():
    nodes = [
        node("Reshape", ["x", "split"], ["h"]),
        node("Transpose", ["h"], ["q"], perm=[0, 2, 1, 3]),
        node("Transpose", ["h"], ["k"], perm=[0, 2, 3, 1]),
        node("MatMul", ["q", "k"], ["a"]),
        node("Softmax", ["a"], ["s"]),
        node("MatMul", ["s", "q"], ["o"]),
        node("Transpose", ["o"], ["t"], perm=[0, 2, 1, 3]),
        node("Reshape", ["t", "join"], ["j"]),
        node("MatMul", ["j", "w"], ["y"]),
    ]
    constants = {"split": integers(2, 5, 3, 4), "join": integers(2, 5, 12), "w": normal(12, 7)}
    graph = agreement(model(nodes, (2, 5, 12), constants), intermediate=True)
    assert operators(graph).count("Transpose") == 3


def test_a_residual_network_of_one_dimension_moves_nothing_between():
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1, 1]),
        norm("a", "n"),
        node("Relu", ["n"], ["r"]),
        node("Conv", ["r", "w"], ["c"], pads=[1, 1]),
        node("Add", ["c", "r"], ["d"]),
        node("Relu", ["d"], ["e"]),
        node("MaxPool", ["e"], ["p"], kernel_shape=[3], strides=[2]),
        node("GlobalAveragePool", ["p"], ["y"]),
    ]
    constants = {"w": normal(4, 4, 3)} | batch_norm(4)
    graph = agreement(model(nodes, (2, 4, 11), constants), intermediate=True)
    assert operators(graph).count("Transpose") == 1
    assert operators(graph).count("Conv") == 2
    assert "Pointwise" not in operators(graph)


def test_preparation_of_an_input_becomes_channels_last_and_a_part_of_the_network():
    nodes = [
        node("Sub", ["x", "mean"], ["a"]),
        node("Div", ["a", "std"], ["b"]),
        node("Pad", ["b", "pads"], ["p"]),
        node("Conv", ["p", "w"], ["y"], strides=[2, 2]),
    ]
    constants = {"mean": normal(3, 1, 1), "std": np.abs(normal(1, 3, 1, 1)) + 0.5}
    constants |= {"pads": integers(0, 0, 0, 1, 0, 0, 1, 2), "w": normal(4, 3, 3, 3)}
    graph = agreement(model(nodes, (1, 3, 8, 9), constants))
    assert operators(graph) == ["Transpose", "Conv", "Conv", "Transpose"]
    assert graph.nodes[2].op.pads == (0, 1, 1, 2)


# ---- folding and fusing ----------------------------------------------------------------------


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose"])
def test_a_batch_norm_and_a_clip_become_part_of_the_convolution(operator, group):
    nodes = [
        node(operator, ["x", "w"], ["c"], group=group),
        norm("c", "n"),
        node("Clip", ["n", "lo", "hi"], ["y"]),
    ]
    shape = (6, 4 // group, 3, 3) if operator == "Conv" else (4, 6 // group, 3, 3)
    constants = {"w": normal(*shape), "lo": np.float32(0), "hi": np.float32(6)} | batch_norm(6)
    graph = agreement(model(nodes, (2, 4, 5, 7), constants))
    assert operators(graph) == ["Transpose", operator, "Transpose"]
    assert (graph.nodes[1].op.lo, graph.nodes[1].op.hi) == (0, 6)


def test_a_batch_norm_after_a_dense_layer_becomes_part_of_it():
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Add", ["a", "c"], ["d"]), norm("d", "n")]
    nodes += [node("Relu", ["n"], ["y"])]
    constants = {"w": normal(7, 5), "c": normal(5)} | batch_norm(5)
    assert operators(agreement(model(nodes, (3, 7), constants))) == ["Dense"]


def test_a_batch_norm_before_the_activation_is_one_depthwise_convolution():
    nodes = [
        node("MaxPool", ["x"], ["p"], kernel_shape=[2, 2]),
        norm("p", "n"),
        node("Relu", ["n"], ["r"]),
        node("Conv", ["r", "w"], ["y"]),
    ]
    constants = {"w": normal(3, 4, 1, 1)} | batch_norm(4)
    graph = agreement(model(nodes, (2, 4, 6, 5), constants))
    assert operators(graph) == ["Transpose", "MaxPool", "Conv", "Conv", "Transpose"]
    assert graph.nodes[2].op == ops.Conv(lo=0.0, group=4)


def test_a_layer_that_something_else_takes_keeps_its_value():
    nodes = [node("Conv", ["x", "w"], ["c"]), norm("c", "n"), node("Add", ["c", "n"], ["y"])]
    graph = agreement(model(nodes, (2, 3, 5, 7), {"w": normal(4, 3, 3, 3)} | batch_norm(4)))
    assert operators(graph) == ["Transpose", "Conv", "Conv", "Add", "Transpose"]


def test_a_clip_of_a_clip_is_the_tighter_one():
    nodes = [
        node("Add", ["x", "x2"], ["a"]),
        node("Relu", ["a"], ["b"]),
        node("Clip", ["b", "lo", "hi"], ["y"]),
    ]
    constants = {"lo": np.float32(-2), "hi": np.float32(0.5)}
    graph = agreement(model(nodes, constants=constants, inputs={"x": (3, 5), "x2": (3, 5)}))
    assert [n.op for n in graph.nodes] == [ops.Add(lo=0.0, hi=0.5)]


SPELLINGS = {
    "silu": ([node("Sigmoid", ["x"], ["s"]), node("Mul", ["x", "s"], ["y"])], {}),
    "mish": (
        [
            node("Softplus", ["x"], ["a"]),
            node("Tanh", ["a"], ["b"]),
            node("Mul", ["x", "b"], ["y"]),
        ],
        {},
    ),
    "gelu": (
        [
            node("Div", ["x", "r"], ["a"]),
            node("Erf", ["a"], ["b"]),
            node("Add", ["b", "one"], ["c"]),
            node("Mul", ["x", "c"], ["d"]),
            node("Mul", ["d", "half"], ["y"]),
        ],
        {"r": np.float32(math.sqrt(2)), "one": np.float32(1), "half": np.float32(0.5)},
    ),
    "hard_swish": (
        [
            node("Add", ["x", "three"], ["a"]),
            node("Clip", ["a", "zero", "six"], ["b"]),
            node("Div", ["b", "six"], ["c"]),
            node("Mul", ["c", "x"], ["y"]),
        ],
        {"three": np.float32(3), "zero": np.float32(0), "six": np.float32(6)},
    ),
    "gelu_tanh": (
        [
            node("Pow", ["x", "three"], ["a"]),
            node("Mul", ["a", "k"], ["b"]),
            node("Add", ["x", "b"], ["c"]),
            node("Mul", ["c", "s"], ["d"]),
            node("Tanh", ["d"], ["e"]),
            node("Add", ["e", "one"], ["f"]),
            node("Mul", ["x", "f"], ["g"]),
            node("Mul", ["g", "half"], ["y"]),
        ],
        {
            "three": np.float32(3),
            "k": np.float32(0.044715),
            "s": np.float32(math.sqrt(2 / math.pi)),
            "one": np.float32(1),
            "half": np.float32(0.5),
        },
    ),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_an_activation_spelled_out_is_one_function(name):
    nodes, constants = SPELLINGS[name]
    assert operators(agreement(model(nodes, (3, 11), constants))) == ["Pointwise"]


@pytest.mark.parametrize("value, merged", [(0.0, True), (0.5, False)])
def test_padding_with_zero_is_the_convolutions_own(value, merged):
    nodes = [node("Pad", ["x", "pads", "v"], ["p"]), node("Conv", ["p", "w"], ["y"])]
    constants = {"pads": integers(0, 0, 1, 2, 0, 0, 0, 1), "v": np.float32(value)}
    graph = agreement(model(nodes, (1, 3, 5, 7), constants | {"w": normal(4, 3, 3, 3)}))
    assert ("Pad" not in operators(graph)) == merged


@pytest.mark.parametrize("counted", [0, 1])
def test_padding_before_an_average_is_counted(counted):
    pool = node("AveragePool", ["p"], ["y"], kernel_shape=[3, 3], count_include_pad=counted)
    pads = {"pads": integers(0, 0, 1, 1, 0, 0, 1, 1)}
    graph = agreement(model([node("Pad", ["x", "pads"], ["p"]), pool], (1, 3, 5, 7), pads))
    assert "Pad" not in operators(graph)


@pytest.mark.parametrize("first, merged", [("Relu", True), ("Tanh", False)])
def test_zeros_before_a_max_pool_never_win_over_what_a_relu_gives(first, merged):
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node(first, ["c"], ["r"]),
        node("Pad", ["r", "pads"], ["p"]),
        node("MaxPool", ["p"], ["y"], kernel_shape=[3, 3], strides=[2, 2]),
    ]
    constants = {"w": normal(4, 3, 3, 3), "pads": integers(0, 0, 1, 1, 0, 0, 1, 1)}
    graph = agreement(model(nodes, (1, 3, 9, 8), constants))
    assert ("Pad" not in operators(graph)) == merged


def test_equal_branches_are_one():
    nodes = [
        node("Sigmoid", ["x"], ["a"]),
        node("Sigmoid", ["x"], ["b"]),
        node("MatMul", ["a", "b"], ["y"]),
    ]
    assert operators(agreement(model(nodes, (5, 5)))) == ["Pointwise", "MatMul"]


# ---- shapes and constants --------------------------------------------------------------------


def dynamic_flatten() -> list[onnx.NodeProto]:
    """What PyTorch writes for ``x.view(x.size(0), -1)``."""
    return [
        node("Shape", ["x"], ["shape"]),
        node("Constant", [], ["zero"], value=helper.make_tensor("", TensorProto.INT64, [], [0])),
        node("Gather", ["shape", "zero"], ["n"]),
        node("Unsqueeze", ["n", "axis"], ["n1"]),
        node("Concat", ["n1", "rest"], ["target"], axis=0),
        node("Reshape", ["x", "target"], ["f"]),
        node("Gemm", ["f", "w"], ["y"], transB=1),
    ]


@pytest.mark.parametrize("batch", [1, 3])
def test_an_open_batch_is_bound_and_shape_arithmetic_folded(batch):
    constants = {"axis": integers(0), "rest": integers(-1), "w": normal(4, 30)}
    proto = model(dynamic_flatten(), ["N", 2, 3, 5], constants)
    graph = agreement(proto, batch=batch)
    assert operators(graph) == ["Reshape", "Dense"]
    assert graph.types["x"].shape == (batch, 2, 3, 5)
    assert graph.free_batch


def test_a_batch_of_a_fixed_size_is_not_free():
    assert not agreement(model([node("Relu", ["x"], ["y"])], (2, 3))).free_batch


def test_input_shapes_close_what_else_is_open():
    proto = model([node("GlobalMaxPool", ["x"], ["y"])], ["N", 3, "height", None])
    graph = agreement(proto, input_shapes={"x": (1, 3, 7, 5)})
    assert graph.types["x"].shape == (1, 3, 7, 5)
    assert graph.free_batch


def test_a_branch_whose_condition_is_known_is_taken():
    branches = {
        f"{name}_branch": helper.make_graph(
            [node(operator, ["x"], [f"{name}_y"])],
            name,
            [],
            [helper.make_empty_tensor_value_info(f"{name}_y")],
        )
        for name, operator in (("then", "Relu"), ("else", "Unique"))
    }
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Size", ["s"], ["rank"]),
        node("Equal", ["rank", "two"], ["is_two"]),
        node("If", ["is_two"], ["y"], **branches),
    ]
    # onnxruntime would look into the other branch
    graph = from_onnx(model(nodes, (3, 5), {"two": np.int64(2)}))
    assert [n.op for n in graph.nodes] == [ops.Pointwise(("relu", "x"))]


def test_functions_of_the_model_are_inlined():
    silu = helper.make_function(
        "custom",
        "SiLU",
        ["a"],
        ["b"],
        [node("Sigmoid", ["a"], ["s"]), node("Mul", ["a", "s"], ["b"])],
        [helper.make_opsetid("", 17)],
    )
    call = node("SiLU", ["x"], ["y"], domain="custom")
    assert operators(agreement(model([call], (2, 5), functions=[silu]))) == ["Pointwise"]


def test_float16_weights_become_float32():
    weights = normal(4, 3).astype(np.float16)
    nodes = [
        node("Cast", ["w"], ["w32"], to=TensorProto.FLOAT),
        node("MatMul", ["x", "w32"], ["y"]),
    ]
    graph = agreement(model(nodes, (2, 4), {"w": weights}))
    assert operators(graph) == ["Dense"]


# ---- names -----------------------------------------------------------------------------------


def test_outputs_that_are_inputs_or_one_another_keep_their_names():
    nodes = [
        node("Identity", ["x"], ["a"]),
        node("Relu", ["x"], ["b"]),
        node("Identity", ["b"], ["c"]),
        node("Dropout", ["b"], ["d"]),
    ]
    graph = agreement(model(nodes, (2, 3), outputs=("a", "b", "c", "d")))
    assert graph.outputs == ("a", "b", "c", "d")


def test_a_layers_value_has_the_name_of_its_activation():
    nodes = [
        node("Conv", ["x", "w"], ["conv"]),
        node("Relu", ["conv"], ["relu"]),
        node("GlobalAveragePool", ["relu"], ["y"]),
    ]
    graph = agreement(model(nodes, (1, 3, 5, 7), {"w": normal(4, 3, 3, 3)}))
    assert graph.types["relu"].shape == (1, 3, 5, 4)
    assert "w" in graph.constants
    assert graph.constants["w"].shape == (4, 3, 3, 3)


# ---- element types ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [TensorProto.UINT8, TensorProto.INT32, TensorProto.FLOAT16])
def test_raw_samples_that_are_cast_to_float_enter_as_floats(kind):
    nodes = [node("Cast", ["x"], ["f"], to=TensorProto.FLOAT), node("Sqrt", ["f"], ["y"])]
    proto = model(nodes, (2, 3))
    proto.graph.input[0].type.tensor_type.elem_type = kind
    graph = from_onnx(proto)
    assert graph.types["x"].dtype == "float32"
    assert operators(graph) == ["Pointwise"]


@pytest.mark.parametrize("kind", ["int64", "int32"])
def test_indices_that_a_run_gives_stay_integers(kind):
    proto = model([node("Gather", ["table", "x"], ["y"])], (5,), {"table": normal(7, 3)})
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.DataType.Value(kind.upper())
    graph = from_onnx(proto)
    index = integers(0, 6, -1, 3, 3)
    expected = onnxruntime_values(proto, {"x": index.astype(kind)}, ["y"])["y"]
    np.testing.assert_array_equal(execute(graph, {"x": index})["y"], expected)
    assert graph.types["x"].dtype == "int64"
