"""Each ONNX operator means to the float executor what it means to onnxruntime.

Over opsets and attributes, on shapes with 1, primes and odd extents.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from edgeinfer.converters import from_onnx
from edgeinfer.meaning.float_executor import execute
from tests.converters.onnx_agreement import NEWEST, agreement, model, node, operators
from tests.refusals import refused

RNG = np.random.default_rng(3)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype("f4")


def integers(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


# ---- functions of one value ------------------------------------------------------------------

FUNCTIONS = {
    "Abs": [{}],
    "Asinh": [{}],
    "Atan": [{}],
    "Ceil": [{}],
    "Celu": [{}, {"alpha": 0.5}],
    "Cos": [{}],
    "Cosh": [{}],
    "Elu": [{}, {"alpha": 0.5}],
    "Erf": [{}],
    "Exp": [{}],
    "Floor": [{}],
    "Gelu": [{}, {"approximate": "tanh"}],
    "HardSigmoid": [{}, {"alpha": 0.3, "beta": 0.4}],
    "HardSwish": [{}],
    "LeakyRelu": [{}, {"alpha": 0.3}],
    "Mish": [{}],
    "Neg": [{}],
    "Relu": [{}],
    "Round": [{}],
    "Selu": [{}, {"alpha": 1.5, "gamma": 1.1}],
    "Sigmoid": [{}],
    "Sign": [{}],
    "Shrink": [{}, {"bias": 0.2, "lambd": 0.4}],
    "Sin": [{}],
    "Sinh": [{}],
    "Softplus": [{}],
    "Softsign": [{}],
    "Tanh": [{}],
    "ThresholdedRelu": [{}, {"alpha": 0.2}],
}
SINCE = {"Celu": 12, "Erf": 9, "Gelu": 20, "HardSwish": 14, "Mish": 18, "Round": 11, "Sign": 9}
SINCE |= {"Asinh": 9, "Cosh": 9, "Shrink": 9, "Sinh": 9, "ThresholdedRelu": 10}


@pytest.mark.parametrize("operator", FUNCTIONS)
def test_a_function_of_one_value(operator):
    for attributes in FUNCTIONS[operator]:
        for opset in sorted({SINCE.get(operator, 7), 17, NEWEST}):
            if opset >= SINCE.get(operator, 7):
                proto = model([node(operator, ["x"], ["y"], **attributes)], (2, 3, 7), opset=opset)
                assert operators(agreement(proto)) == ["Pointwise"]


@pytest.mark.parametrize("operator", ["Log", "Sqrt", "Reciprocal"])
def test_a_function_of_positive_values(operator):
    proto = model([node(operator, ["x"], ["y"])], (2, 11))
    agreement(proto, feeds={"x": np.abs(normal(2, 11)) + 0.1})


@pytest.mark.parametrize("opset", [7, 10, 11, 12, 13, NEWEST])
@pytest.mark.parametrize("bounds", [(-0.5, 0.7), (0.0, None), (None, 0.3)])
def test_clip_takes_its_bounds_from_attributes_or_inputs(opset, bounds):
    named = {k: v for k, v in zip(("min", "max"), bounds, strict=True) if v is not None}
    if opset < 11:
        proto = model([node("Clip", ["x"], ["y"], **named)], opset=opset)
    else:
        inputs = ["x", *(name if name in named else "" for name in ("min", "max"))]
        constants = {name: np.float32(value) for name, value in named.items()}
        proto = model([node("Clip", inputs, ["y"])], constants=constants, opset=opset)
    agreement(proto)


def test_clip_with_bounds_that_cross_gives_the_upper_one():
    constants = {"min": np.float32(2), "max": np.float32(-1)}
    agreement(model([node("Clip", ["x", "min", "max"], ["y"])], constants=constants))


@pytest.mark.parametrize("shape", [(1,), (4, 1, 1), (1, 5), (4, 6, 5)])
def test_prelu_by_channel_row_element_or_number(shape):
    agreement(model([node("PRelu", ["x", "s"], ["y"])], constants={"s": normal(*shape)}))


# ---- two values and more ---------------------------------------------------------------------


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div", "Max", "Min"])
@pytest.mark.parametrize("shape", [(), (1, 1, 1, 1, 1), (5,), (4, 1, 1), (6, 1), (1, 4, 6, 5)])
@pytest.mark.parametrize("opset", [8, NEWEST])
def test_a_binary_operator_broadcasts_a_constant_on_either_side(operator, shape, opset):
    constants = {"c": np.abs(normal(*shape)) + 0.5}
    for inputs in (["x", "c"], ["c", "x"]):
        proto = model([node(operator, inputs, ["y"])], constants=constants, opset=opset)
        agreement(proto, feeds={"x": np.abs(normal(1, 4, 6, 5)) + 0.5})


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div", "Max", "Min", "Pow"])
@pytest.mark.parametrize("shapes", [((2, 3), (2, 3)), ((3, 1, 5), (7, 1)), ((1,), (2, 3))])
def test_a_binary_operator_of_two_values(operator, shapes):
    inputs = dict(zip("ab", shapes, strict=True))
    feeds = {name: np.abs(normal(*shape)) + 0.5 for name, shape in inputs.items()}
    agreement(model([node(operator, ["a", "b"], ["y"])], inputs=inputs), feeds=feeds)


@pytest.mark.parametrize("exponent", [2.0, 0.5, -1.0, 3.0])
def test_pow_by_a_constant_is_a_function(exponent):
    proto = model([node("Pow", ["x", "e"], ["y"])], (3, 7), {"e": np.float32(exponent)})
    assert operators(agreement(proto, feeds={"x": np.abs(normal(3, 7)) + 0.1})) == ["Pointwise"]


def test_pow_takes_integer_exponents_by_column():
    proto = model([node("Pow", ["x", "e"], ["y"])], (2, 3), {"e": integers(1, 2, 3)})
    agreement(proto)


@pytest.mark.parametrize("dynamic", ["x x", "x k", "k x"])
@pytest.mark.parametrize("condition", [(1, 1, 5, 5), (3, 1, 5), (5,), ()])
def test_where_by_a_constant_condition(dynamic, condition):
    constants = {"b": RNG.random(condition) < 0.5, "k": normal(5)}
    nodes = [
        node("Neg", ["x"], ["n"]),
        node("Where", ["b", *dynamic.replace("x x", "x n").split()], ["y"]),
    ]
    agreement(model(nodes, (1, 3, 5, 5), constants))


@pytest.mark.parametrize("operator", ["Sum", "Mean", "Max", "Min"])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_an_operator_of_any_number_of_values(operator, count):
    names = [f"x{i}" for i in range(count)]
    agreement(model([node(operator, names, ["y"])], inputs=dict.fromkeys(names, (2, 3, 5))))


# ---- convolutions and products ---------------------------------------------------------------

CONVS = [
    {},
    {"pads": [1, 1, 1, 1]},
    {"pads": [0, 1, 2, 3], "strides": [2, 3]},
    {"dilations": [2, 1], "pads": [2, 1, 2, 1]},
    {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
    {"auto_pad": "SAME_LOWER", "strides": [3, 2]},
    {"auto_pad": "VALID"},
]


@pytest.mark.parametrize("attributes", CONVS)
@pytest.mark.parametrize("group", [1, 2, 4])
def test_conv_2d(attributes, group):
    constants = {"w": normal(8, 4 // group, 3, 2), "b": normal(8)}
    conv = node("Conv", ["x", "w", "b"], ["y"], group=group, **attributes)
    agreement(model([conv], (2, 4, 9, 7), constants))


@pytest.mark.parametrize("opset", [7, 11, NEWEST])
@pytest.mark.parametrize(
    "attributes",
    [{}, {"strides": [2], "pads": [1, 2]}, {"dilations": [3]}, {"auto_pad": "SAME_UPPER"}],
)
def test_conv_1d_is_an_image_of_one_row(opset, attributes):
    conv = node("Conv", ["x", "w"], ["y"], group=1, **attributes)
    graph = agreement(model([conv], (2, 3, 11), {"w": normal(5, 3, 3)}, opset=opset))
    assert operators(graph).count("Conv") == 1


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"strides": [2, 3]},
        {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]},
        {"strides": [2, 2], "pads": [0, 1, 1, 0]},
        {"dilations": [2, 1]},
        {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
        {"strides": [2, 2], "auto_pad": "SAME_LOWER"},
        {"strides": [3, 3], "output_shape": [14, 13]},
        {"strides": [3, 3], "output_shape": [14, 11], "auto_pad": "SAME_UPPER"},
    ],
)
@pytest.mark.parametrize("group", [1, 2])
def test_conv_transpose(attributes, group):
    constants = {"w": normal(4, 6 // group, 3, 3), "b": normal(6)}
    layer = node("ConvTranspose", ["x", "w", "b"], ["y"], group=group, **attributes)
    agreement(model([layer], (2, 4, 5, 4), constants))


def test_conv_transpose_1d():
    layer = node("ConvTranspose", ["x", "w"], ["y"], strides=[2], pads=[1, 0])
    agreement(model([layer], (1, 3, 7), {"w": normal(3, 5, 4)}))


@pytest.mark.parametrize("opset", [7, 9, 11, 13])
@pytest.mark.parametrize("bias", [(5,), (1, 5), (1,), (3, 5), (3, 1)])
def test_gemm_with_every_kind_of_bias(opset, bias):
    gemm = node("Gemm", ["x", "w", "c"], ["y"], transB=1, alpha=0.5, beta=2.0)
    agreement(model([gemm], (3, 7), {"w": normal(5, 7), "c": normal(*bias)}, opset=opset))


def test_gemm_without_a_bias():
    agreement(model([node("Gemm", ["x", "w"], ["y"])], (3, 7), {"w": normal(7, 5)}))


def test_gemm_transposes_either_side():
    gemm = node("Gemm", ["x", "w"], ["y"], transA=1)
    agreement(model([gemm], (7, 3), {"w": normal(7, 5)}))
    gemm = node("Gemm", ["a", "b"], ["y"], transB=1, alpha=0.5)
    agreement(model([gemm], inputs={"a": (3, 7), "b": (5, 7)}))


@pytest.mark.parametrize("a", [(7,), (3, 7), (2, 3, 7), (2, 1, 3, 7)])
@pytest.mark.parametrize("b", [(7,), (7, 5), (2, 7, 5)])
def test_matmul_of_any_ranks(a, b):
    agreement(model([node("MatMul", ["a", "b"], ["y"])], inputs={"a": a, "b": b}))
    agreement(model([node("MatMul", ["x", "w"], ["y"])], a, {"w": normal(*b)}))
    agreement(model([node("MatMul", ["w", "x"], ["y"])], b, {"w": normal(*a)}))


# ---- pools and reductions --------------------------------------------------------------------

POOLS = [
    {"kernel_shape": [2, 2]},
    {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1},
    {"kernel_shape": [2, 2], "strides": [3, 3], "ceil_mode": 1},
    {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    {"kernel_shape": [2, 3], "strides": [2, 2], "auto_pad": "SAME_LOWER"},
]


@pytest.mark.parametrize("attributes", POOLS)
@pytest.mark.parametrize("size", [(7, 8), (8, 9), (5, 5)])
def test_pools(attributes, size):
    shape = (2, 3, *size)
    agreement(model([node("MaxPool", ["x"], ["y"], **attributes)], shape))
    for counted in (0, 1):
        pool = node("AveragePool", ["x"], ["y"], count_include_pad=counted, **attributes)
        agreement(model([pool], shape, opset=19))


@pytest.mark.parametrize("counted", [0, 1])
@pytest.mark.parametrize(
    "attributes", [{}, {"pads": [1, 1, 1, 0]}, {"pads": [1, 1, 1, 1], "ceil_mode": 1}]
)
def test_a_dilated_average_counts_what_is_there(attributes, counted):
    common = {"kernel_shape": [3, 2], "strides": [2, 2], "dilations": [2, 3], **attributes}
    pool = node("AveragePool", ["x"], ["y"], count_include_pad=counted, **common)
    graph = agreement(model([pool], (2, 3, 12, 9), opset=19))
    assert "Conv" in operators(graph)


def test_a_dilated_max_pool_and_pools_of_one_dimension():
    agreement(model([node("MaxPool", ["x"], ["y"], kernel_shape=[2, 3], dilations=[2, 1])]))
    for operator in ("MaxPool", "AveragePool"):
        pool = node(operator, ["x"], ["y"], kernel_shape=[3], strides=[2], pads=[1, 1])
        agreement(model([pool], (1, 3, 11)))


@pytest.mark.parametrize("operator", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("shape", [(2, 3, 7), (1, 3, 5, 4), (1, 2, 3, 4, 5)])
def test_a_global_pool_is_a_reduction(operator, shape):
    reduction = {"GlobalAveragePool": "ReduceMean", "GlobalMaxPool": "ReduceMax"}[operator]
    assert operators(agreement(model([node(operator, ["x"], ["y"])], shape))) == [reduction]


@pytest.mark.parametrize("p", [1, 2, 3])
def test_a_pool_of_norms_is_sums_of_powers(p):
    for attributes in (
        {"pads": [1, 0, 1, 1], "strides": [2, 1]},
        {"dilations": [2, 1]},
        {"auto_pad": "SAME_UPPER"},
        {"strides": [2, 2], "ceil_mode": 1},
    ):
        pool = node("LpPool", ["x"], ["y"], p=p, kernel_shape=[3, 2], **attributes)
        agreement(model([pool], opset=18))
    agreement(model([node("LpPool", ["x"], ["y"], p=p, kernel_shape=[3])], (1, 3, 11)))
    agreement(model([node("GlobalLpPool", ["x"], ["y"], p=p)], (2, 3, 7, 4)))


@pytest.mark.skipif(onnx.defs.onnx_opset_version() < 26, reason="onnx knows CumProd from 26 on")
@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("count", [1, 6])
def test_products_on_the_way(exclusive, reverse, count):
    layer = node("CumProd", ["x", "axis"], ["y"], exclusive=exclusive, reverse=reverse)
    proto = model([layer], (2, count, 3), {"axis": integers(1)}, opset=26)
    x = normal(2, count, 3)
    expected = np.flip(x, 1) if reverse else x
    expected = np.cumprod(expected, 1)
    if exclusive:
        expected = np.concatenate([np.ones_like(x[:, :1]), expected[:, :-1]], 1)
    expected = np.flip(expected, 1) if reverse else expected
    graph = from_onnx(proto)
    np.testing.assert_allclose(execute(graph, {"x": x})["y"], expected, rtol=1e-5)


REDUCTIONS = [f"Reduce{name}" for name in ("Mean", "Sum", "Max", "Min", "L1", "L2", "SumSquare")]


@pytest.mark.parametrize("operator", REDUCTIONS)
@pytest.mark.parametrize("axes", [None, [1], [-1, 1], [0, 2, 3]])
@pytest.mark.parametrize("opset", [7, 13, 18])
def test_a_reduction_takes_its_axes_from_an_attribute_or_an_input(operator, axes, opset):
    as_input = opset >= (13 if operator == "ReduceSum" else 18)
    for keepdims in (0, 1):
        constants, attributes, inputs = {}, {"keepdims": keepdims}, ["x"]
        if axes is not None and as_input:
            constants["axes"] = integers(*axes)
            inputs.append("axes")
        elif axes is not None:
            attributes["axes"] = axes
        if opset < 11 and axes and min(axes) < 0:
            continue
        reduction = node(operator, inputs, ["y"], **attributes)
        agreement(model([reduction], (2, 3, 5, 1), constants, opset=opset))


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("last", [0, 1])
def test_argmax_with_equals(axis, keepdims, last):
    argmax = node("ArgMax", ["x"], ["y"], axis=axis, keepdims=keepdims, select_last_index=last)
    feeds = {"x": RNG.integers(0, 3, (3, 5, 7)).astype("f4")}
    agreement(model([argmax], (3, 5, 7), opset=12), feeds=feeds)


@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("opset", [7, 11, 13])
def test_softmax_of_a_matrix_before_opset_13_of_an_axis_since(operator, opset):
    for shape in ((2, 3, 4, 5), (1, 10, 1, 1), (3, 7)):
        for axis in range(len(shape)):
            agreement(model([node(operator, ["x"], ["y"], axis=axis)], shape, opset=opset))
        agreement(model([node(operator, ["x"], ["y"])], shape, opset=opset))


# ---- normalizations --------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [7, 9, 14, 15])
@pytest.mark.parametrize("shape", [(2, 5), (2, 5, 7), (1, 5, 4, 3), (1, 5, 2, 3, 4)])
def test_batch_normalization(opset, shape):
    constants = {"s": normal(5), "b": normal(5), "m": normal(5), "v": np.abs(normal(5)) + 0.1}
    layer = node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"], epsilon=1e-3)
    agreement(model([layer], shape, constants, opset=opset))


@pytest.mark.parametrize("operator", REDUCTIONS)
def test_a_reduction_over_no_axes_is_of_each_element(operator):
    reduction = node(operator, ["x", "axes"], ["y"], noop_with_empty_axes=1)
    graph = from_onnx(model([reduction], (2, 3), {"axes": integers()}, opset=18))
    x = normal(2, 3)
    expected = {"ReduceL1": np.abs(x), "ReduceL2": np.abs(x), "ReduceSumSquare": x * x}
    np.testing.assert_array_equal(execute(graph, {"x": x})["y"], expected.get(operator, x))


@pytest.mark.parametrize("shape", [(2, 5, 7), (2, 5, 4, 3), (2, 5, 2, 4, 3)])
def test_instance_normalization(shape):
    layer = node("InstanceNormalization", ["x", "s", "b"], ["y"], epsilon=1e-3)
    agreement(model([layer], shape, {"s": normal(5), "b": normal(5)}))


@pytest.mark.parametrize("axis", [-1, 1])
def test_layer_normalization(axis):
    shape = (3, 5, 7)
    constants = {"s": normal(*shape[axis:]), "b": normal(*shape[axis:])}
    layer = node("LayerNormalization", ["x", "s", "b"], ["y"], axis=axis)
    agreement(model([layer], shape, constants))


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("operator", ["RMSNormalization", "SimplifiedLayerNormalization"])
def test_rms_normalization(operator, axis):
    shape = (3, 5, 7)
    layer = node(operator, ["x", "s"], ["y"], axis=axis, epsilon=0.1)
    graph = agreement(model([layer], shape, {"s": normal(*shape[axis:])}, opset=23))
    assert operators(graph) == ["Normalization"]


def test_rms_normalization_of_onnxruntimes_own_domain():
    layer = node("SimplifiedLayerNormalization", ["x", "s"], ["y"], domain="com.microsoft")
    proto = model([layer], (3, 7), {"s": normal(7)})
    proto.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    assert operators(from_onnx(proto)) == ["Normalization"]


@pytest.mark.parametrize("opset", [18, 21])
@pytest.mark.parametrize("shape", [(2, 6, 7), (1, 6, 4, 3), (1, 6, 2, 3, 4)])
@pytest.mark.parametrize("groups", [1, 3, 6])
def test_group_normalization(groups, shape, opset):
    numbers = groups if opset < 21 else 6
    layer = node("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=groups)
    agreement(model([layer], shape, {"s": normal(numbers), "b": normal(numbers)}, opset=opset))


@pytest.mark.parametrize("axes", [None, [1], [2, 3], [0, 1, 2, 3]])
def test_mean_variance_normalization(axes):
    attributes = {} if axes is None else {"axes": axes}
    layer = node("MeanVarianceNormalization", ["x"], ["y"], **attributes)
    proto = model([layer], (2, 5, 4, 3), opset=13)
    x = normal(2, 5, 4, 3)
    found = execute(from_onnx(proto), {"x": x})["y"]
    # onnxruntime knows but two sets of axes
    (expected,) = ReferenceEvaluator(proto).run(None, {"x": x})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("axis", [-1, 1])
def test_lp_normalization(p, axis):
    agreement(model([node("LpNormalization", ["x"], ["y"], p=p, axis=axis)]))


@pytest.mark.parametrize("p", [1, 2])
def test_lp_normalization_of_zeros_is_zero(p):
    proto = model([node("LpNormalization", ["x"], ["y"], p=p)], (2, 3), opset=22)
    x = np.array([[0, 0, 0], [0, 3, -4]], np.float32)
    found = execute(from_onnx(proto), {"x": x})["y"]
    norm = 7 if p == 1 else 5
    np.testing.assert_allclose(found, x / norm, rtol=1e-6)


@pytest.mark.parametrize(
    ("layer", "constants", "message"),
    [
        (node("InstanceNormalization", ["x", "s", "s"], ["y"]), {"s": normal(4)},
         "its scale must have shape [6]"),
        (node("InstanceNormalization", ["x", "s", "s"], ["y"], epsilon=-1.0), {"s": normal(6)},
         "its epsilon -1.0 is negative"),
        (node("GroupNormalization", ["x", "s", "s"], ["y"], num_groups=4), {"s": normal(6)},
         "6 channels do not divide into 4 groups"),
        (node("GroupNormalization", ["x", "s", "s"], ["y"], num_groups=3), {"s": normal(3)},
         "its scale must have shape [6]"),
        (node("LpNormalization", ["x"], ["y"], p=3), {}, "p must be 1 or 2, not 3"),
    ],
)  # fmt: skip
def test_a_normalization_that_is_none_is_refused(layer, constants, message):
    with refused(f"{layer.op_type} 'y': {message}"):
        from_onnx(model([layer], (1, 6, 4, 3), constants, opset=21))


@pytest.mark.parametrize("size", [1, 3, 5])
def test_lrn(size):
    layer = node("LRN", ["x"], ["y"], size=size, alpha=0.1, beta=0.6, bias=1.5)
    agreement(model([layer], (2, 7, 3, 5)))


# ---- movement --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [[-1, 10], [0, 0, -1], [1, 2, 2, 3, 2, 5], [120]])
def test_reshape(shape):
    agreement(model([node("Reshape", ["x", "s"], ["y"])], constants={"s": integers(*shape)}))


@pytest.mark.parametrize("axis", [0, 1, 2, 4, -1])
def test_flatten(axis):
    agreement(model([node("Flatten", ["x"], ["y"], axis=axis)], opset=11))


@pytest.mark.parametrize("opset", [11, 13])
def test_squeeze_and_unsqueeze_take_axes_either_way(opset):
    for operator, shape, axes in (
        ("Squeeze", (1, 3, 1, 5), [0, -2]),
        ("Unsqueeze", (3, 5), [0, 3]),
    ):
        if opset < 13:
            proto = model([node(operator, ["x"], ["y"], axes=axes)], shape, opset=opset)
        else:
            constants = {"axes": integers(*axes)}
            proto = model([node(operator, ["x", "axes"], ["y"])], shape, constants, opset=opset)
        agreement(proto)


@pytest.mark.parametrize("order", [None, [0, 2, 3, 1], [3, 2, 1, 0], [1, 0, 2, 3]])
def test_transpose(order):
    attributes = {} if order is None else {"perm": order}
    agreement(model([node("Transpose", ["x"], ["y"], **attributes)]))


def test_concat_begins_with_nothing():
    empty = np.zeros((1, 0, 6, 5), "f4")
    agreement(model([node("Concat", ["k", "x", "x"], ["y"], axis=1)], constants={"k": empty}))
    agreement(model([node("Concat", ["k", "x"], ["y"], axis=1)], constants={"k": empty}))


def test_the_domain_of_onnx_has_two_names():
    proto = model([node("Relu", ["x"], ["y"], domain="ai.onnx")])
    proto.opset_import[0].domain = "ai.onnx"
    agreement(proto)


@pytest.mark.parametrize("opset", [7, 13, 18])
def test_split_into_parts_given_or_equal(opset):
    outputs = ("a", "b")
    sizes = {} if opset >= 13 else {"split": [1, 3]}
    constants = {"sizes": integers(1, 3)} if opset >= 13 else {}
    split = node("Split", ["x", *constants], outputs, axis=1, **sizes)
    agreement(model([split], constants=constants, opset=opset, outputs=outputs))
    attributes = {"num_outputs": 2} if opset >= 18 else {}
    split = node("Split", ["x"], outputs, axis=1, **attributes)
    agreement(model([split], opset=opset, outputs=outputs))


def test_split_leaves_the_last_part_smaller():
    outputs = ("a", "b", "c")
    split = node("Split", ["x"], outputs, axis=0, num_outputs=3)
    agreement(model([split], (8, 3), opset=18, outputs=outputs))


SLICES = [
    ([0], [3], [2], None),
    ([1, -3], [4, -1], [1, 2], None),
    ([-1], [-1000], [3], [-2]),
    ([0, 0], [1000, 2**62], [2, 3], [2, 3]),
    ([4], [1], [2], [-1]),
]


@pytest.mark.parametrize("starts, ends, axes, steps", SLICES)
def test_slice(starts, ends, axes, steps):
    constants = {"starts": integers(*starts), "ends": integers(*ends), "axes": integers(*axes)}
    if steps is not None:
        constants["steps"] = integers(*steps)
    agreement(model([node("Slice", ["x", *constants], ["y"])], constants=constants))
    if steps is None:
        old = node("Slice", ["x"], ["y"], starts=starts, ends=ends, axes=axes)
        agreement(model([old], opset=9))


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
@pytest.mark.parametrize("pads", [[0, 0, 1, 2, 0, 0, 2, 1], [0, 1, 0, 0, 0, 2, 0, 0], [0] * 8])
def test_pad(mode, pads):
    agreement(model([node("Pad", ["x"], ["y"], mode=mode, pads=pads, value=1.5)], opset=7))
    constants = {"pads": integers(*pads), "value": np.float32(-0.5)}
    agreement(model([node("Pad", ["x", *constants], ["y"], mode=mode)], constants=constants))


def test_pad_of_some_axes_and_by_negative_amounts():
    constants = {"pads": integers(2, 1), "value": np.float32(0), "axes": integers(-1)}
    agreement(model([node("Pad", ["x", *constants], ["y"])], constants=constants, opset=18))
    constants = {"pads": integers(0, 0, -1, 2, 0, 0, -2, -1)}
    agreement(model([node("Pad", ["x", "pads"], ["y"])], constants=constants))


def test_expand_and_tile():
    for operator, numbers, shape in (
        ("Expand", [2, 1, 3, 5], (3, 1)),
        ("Expand", [1, 1], (3, 5)),
        ("Tile", [2, 1, 3], (1, 2, 3)),
    ):
        constants = {"n": integers(*numbers)}
        agreement(model([node(operator, ["x", "n"], ["y"])], shape, constants))


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("indices", [1, [0], [1, 0, 2], [[0, -1], [1, 1]]])
def test_gather(axis, indices):
    gather = node("Gather", ["x", "i"], ["y"], axis=axis)
    agreement(model([gather], (3, 4, 5), {"i": np.array(indices, np.int64)}))


@pytest.mark.parametrize("indices", [[[2], [0], [-1]], [[1]], [[[0], [1]], [[3], [3]]]])
def test_gather_nd_of_rows(indices):
    proto = model([node("GatherND", ["x", "i"], ["y"])], (4, 6, 5), {"i": np.array(indices)})
    agreement(proto)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space_and_back(mode):
    layer = node("DepthToSpace", ["x"], ["y"], blocksize=2, mode=mode)
    agreement(model([layer], (2, 12, 3, 5)))
    agreement(model([node("SpaceToDepth", ["x"], ["y"], blocksize=3)], (2, 2, 6, 9)))


# ---- volumes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize(
    "kernel, attributes",
    [
        ((3, 3, 3), {"pads": [1] * 6}),
        ((2, 3, 2), {"pads": [1, 0, 1, 0, 2, 0], "strides": [2, 1, 2], "dilations": [2, 1, 1]}),
        ((3, 1, 1), {"pads": [1, 0, 0, 1, 0, 0], "strides": [2, 1, 1]}),
        ((1, 3, 3), {"pads": [0, 1, 1, 0, 1, 1]}),
        ((1, 1, 1), {"strides": [2, 1, 1]}),
        ((1, 1, 1), {}),
        ((2, 2, 2), {"auto_pad": "SAME_LOWER"}),
        ((3, 2, 1), {"auto_pad": "VALID"}),
    ],
)
def test_conv_3d(kernel, attributes, group):
    constants = {"w": normal(8, 4 // group, *kernel), "b": normal(8)}
    layer = node("Conv", ["x", "w", "b"], ["y"], group=group, **attributes)
    graph = agreement(model([layer], (2, 4, 5, 6, 4), constants))
    assert operators(graph).count("Conv") == 1


@pytest.mark.parametrize("ceil_mode", [0, 1])
@pytest.mark.parametrize(
    "kernel, attributes",
    [
        ((2, 2, 2), {"strides": [2, 2, 2]}),
        ((3, 2, 3), {"pads": [1, 0, 1, 1, 1, 1], "strides": [2, 1, 2]}),
        ((1, 2, 2), {"strides": [1, 2, 2]}),
        ((5, 1, 1), {}),
    ],
)
def test_pools_3d(kernel, attributes, ceil_mode):
    common = {"kernel_shape": kernel, "ceil_mode": ceil_mode, **attributes}
    for layer in (
        node("MaxPool", ["x"], ["y"], **common),
        node("AveragePool", ["x"], ["y"], **common),
        node("AveragePool", ["x"], ["y"], count_include_pad=1, **common),
    ):
        agreement(model([layer], (2, 3, 7, 6, 5), opset=19))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("size", [(8, 10, 6), (8, 5, 3), (4, 10, 3), (2, 2, 7)])
def test_resize_3d(mode, size):
    layer = node("Resize", ["x", "", "", "sizes"], ["y"], mode=mode)
    agreement(model([layer], (2, 3, 4, 5, 3), {"sizes": integers(2, 3, *size)}))


@pytest.mark.parametrize(
    "kernel, group, attributes",
    [
        ((2, 2, 2), 1, {"strides": [2, 2, 2]}),
        ((3, 3, 3), 1, {"pads": [1] * 6}),
        ((2, 3, 3), 4, {"strides": [3, 2, 2], "pads": [0, 1, 1, 1, 1, 1]}),
        ((3, 2, 3), 2, {"strides": [2, 1, 3], "dilations": [3, 1, 1], "pads": [2, 0, 0, 1, 0, 0]}),
        ((4, 1, 1), 1, {"strides": [3, 1, 1], "output_padding": [2, 0, 0]}),
        ((3, 3, 3), 1, {"strides": [2, 2, 2], "auto_pad": "SAME_LOWER"}),
        ((2, 2, 2), 1, {"strides": [2, 2, 2], "output_shape": [7, 11, 8]}),
        ((1, 2, 2), 2, {"strides": [5, 2, 2], "pads": [2, 0, 0, 0, 0, 0]}),
    ],
)
def test_transposed_convolutions_3d(kernel, group, attributes):
    layer = node("ConvTranspose", ["x", "w", "b"], ["y"], group=group, **attributes)
    constants = {"w": normal(4, 6 // group, *kernel), "b": normal(6 // group * group)}
    agreement(model([layer], (2, 4, 3, 5, 4), constants))


def test_nothing_is_transposed_between_layers_of_volumes():
    constants = {"v": normal(8, 4, 3, 3, 3), "w": normal(6, 8, 1, 3, 3), "u": normal(6, 6, 3, 1, 1)}
    layers = [
        node("Conv", ["x", "v"], ["a"], pads=[1] * 6),
        node("Relu", ["a"], ["b"]),
        node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2, 2], strides=[2, 2, 2]),
        node("Conv", ["c", "w"], ["d"], pads=[0, 1, 1, 0, 1, 1]),
        node("Conv", ["d", "u"], ["y"], pads=[1, 0, 0, 1, 0, 0]),
    ]
    graph = agreement(model(layers, (1, 4, 6, 8, 8), constants))
    assert operators(graph).count("Transpose") == 2


# ---- resizing --------------------------------------------------------------------------------

TRANSFORMATIONS = ["asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"]


@pytest.mark.parametrize("transformation", [*TRANSFORMATIONS, "half_pixel_symmetric"])
@pytest.mark.parametrize("size", [(12, 10), (9, 7), (3, 11), (1, 1), (6, 5)])
def test_resize_to_sizes(transformation, size):
    sizes = integers(1, 4, *size)
    inputs = ["x", "", "", "sizes"]
    common = {"coordinate_transformation_mode": transformation}
    opset = 19 if transformation == "half_pixel_symmetric" else 13
    linear = node("Resize", inputs, ["y"], mode="linear", **common)
    agreement(model([linear], constants={"sizes": sizes}, opset=opset))
    for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
        nearest = node("Resize", inputs, ["y"], mode="nearest", nearest_mode=rounding, **common)
        agreement(model([nearest], constants={"sizes": sizes}, opset=opset))


@pytest.mark.parametrize("transformation", [*TRANSFORMATIONS, "half_pixel_symmetric"])
@pytest.mark.parametrize("size", [(12, 10), (9, 7), (3, 11), (1, 1), (6, 5)])
def test_cubic_resize_to_sizes(transformation, size):
    constants = {"sizes": integers(1, 4, *size)}
    for attributes in ({}, {"cubic_coeff_a": -0.5}, {"exclude_outside": 1}):
        layer = node(
            "Resize",
            ["x", "", "", "sizes"],
            ["y"],
            mode="cubic",
            coordinate_transformation_mode=transformation,
            **attributes,
        )
        agreement(model([layer], constants=constants, opset=19))


# onnxruntime excludes what lies outside from cubic weights alone
@pytest.mark.parametrize("mode, exclude_outside", [("linear", 0), ("cubic", 0), ("cubic", 1)])
@pytest.mark.parametrize("size", [(3, 4), (2, 9), (1, 1)])
def test_resize_with_antialias(mode, exclude_outside, size):
    layer = node(
        "Resize",
        ["x", "", "", "sizes"],
        ["y"],
        mode=mode,
        antialias=1,
        exclude_outside=exclude_outside,
    )
    constants = {"sizes": integers(1, 4, *size)}
    agreement(model([layer], (1, 4, 11, 7), constants, opset=19))


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("roi", [(0.2, 0.1, 0.9, 0.6), (-0.3, 0.4, 0.5, 1.2), (0.9, 0.9, 0.1, 0.2)])
def test_resize_of_a_crop(mode, roi):
    layer = node(
        "Resize",
        ["x", "roi", "", "sizes"],
        ["y"],
        mode=mode,
        coordinate_transformation_mode="tf_crop_and_resize",
    )
    constants = {
        "roi": np.array([0, 0, *roi[:2], 1, 1, *roi[2:]], "f4"),
        "sizes": integers(1, 4, 9, 7),
    }
    agreement(model([layer], constants=constants))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scales", [(2.0, 2.0), (1.7, 2.3), (0.6, 0.4), (3.0, 1.0)])
def test_resize_by_scales_at_every_opset(mode, scales):
    constants = {"scales": np.array([1, 1, *scales], "f4")}
    agreement(
        model(
            [node("Resize", ["x", "scales"], ["y"], mode=mode)], (1, 4, 10, 5), constants, opset=10
        )
    )
    for opset in (11, 13, 18):
        roi = {"roi": np.zeros(0, "f4")} if opset < 13 else {}
        inputs = ["x", *(roi or [""]), "scales"]
        for transformation in TRANSFORMATIONS:
            layer = node(
                "Resize", inputs, ["y"], mode=mode, coordinate_transformation_mode=transformation
            )
            agreement(model([layer], (1, 4, 10, 5), constants | roi, opset=opset))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_upsample(mode):
    scales = [1.0, 1.0, 2.0, 3.0]
    agreement(model([node("Upsample", ["x"], ["y"], mode=mode, scales=scales)], opset=7))
    constants = {"scales": np.array(scales, "f4")}
    agreement(
        model([node("Upsample", ["x", "scales"], ["y"], mode=mode)], constants=constants, opset=9)
    )


def test_resize_of_height_and_width_by_name_and_keeping_the_aspect():
    constants = {"sizes": integers(9, 9)}
    for policy in ("stretch", "not_larger", "not_smaller"):
        layer = node(
            "Resize", ["x", "", "", "sizes"], ["y"], axes=[2, 3], keep_aspect_ratio_policy=policy
        )
        agreement(model([layer], constants=constants, opset=18))


def test_resize_of_a_channels_last_value_and_of_a_sequence():
    for shape, scales in (((1, 6, 5, 4), [1, 2, 3, 1]), ((1, 4, 7), [1, 1, 2])):
        constants = {"scales": np.array(scales, "f4")}
        for mode in ("nearest", "linear"):
            agreement(
                model([node("Resize", ["x", "", "scales"], ["y"], mode=mode)], shape, constants)
            )


# ---- selections ------------------------------------------------------------------------------


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_the_largest_elements_and_where_they_are(axis, largest):
    nodes = [
        node("TopK", ["x", "k"], ["y", "i"], axis=axis, largest=largest),
        node("GatherElements", ["other", "i"], ["z"], axis=axis),
    ]
    inputs = {"x": (5, 6, 7), "other": (5, 6, 7)}
    proto = model(nodes, constants={"k": integers(4)}, inputs=inputs, outputs=("y", "i", "z"))
    graph = agreement(proto)
    assert sorted(operators(graph)) == ["GatherElements", "GatherElements", "TopIndices"]


def test_the_largest_elements_of_old_opsets():
    top = [node("TopK", ["x"], ["y", "i"], k=3, axis=1)]
    agreement(model(top, (2, 5), opset=7, outputs=("y", "i")))


# ---- by ONNX's own definition ----------------------------------------------------------------

HEADS = {"q": (1, 4, 5, 8), "k": (1, 4, 7, 8), "v": (1, 4, 7, 6)}
ATTENTIONS = {
    "of heads apart": (HEADS, {}, {}),
    "of heads side by side": (
        {"q": (1, 5, 16), "k": (1, 7, 16), "v": (1, 7, 24)},
        {},
        {"q_num_heads": 2, "kv_num_heads": 2},
    ),
    "of fewer keys": ({"q": (1, 4, 5, 8), "k": (1, 2, 7, 8), "v": (1, 2, 7, 6)}, {}, {}),
    "of the past": (HEADS, {}, {"is_causal": 1}),
    "with a mask": (HEADS, {"mask": np.where(RNG.random((5, 7)) < 0.3, -1e9, 0.0)}, {}),
    "with a mask of bool": (HEADS, {"mask": RNG.random((5, 7)) < 0.7}, {"scale": 0.3}),
    "capped": (HEADS, {}, {"softcap": 2.0}),
}


@pytest.mark.parametrize("name", ATTENTIONS)
def test_attention(name):
    inputs, constants, attributes = ATTENTIONS[name]
    operands = [*inputs, *constants]
    proto = model(
        [node("Attention", operands, ["y"], **attributes)],
        constants=constants,
        inputs=inputs,
        opset=23,
    )
    assert {"MatMul", "Softmax"} <= set(operators(agreement(proto)))


@pytest.mark.parametrize("interleaved", [0, 1])
def test_rotary_embedding(interleaved):
    angles = RNG.uniform(0, 6, (1, 5, 4))
    proto = model(
        [node("RotaryEmbedding", ["x", "cos", "sin"], ["y"], interleaved=interleaved)],
        (1, 2, 5, 8),
        {"cos": np.cos(angles), "sin": np.sin(angles)},
        opset=23,
    )
    agreement(proto)


# ---- by composition ------------------------------------------------------------------------------

X = (2, 3, 4)
TRIANGLE = {"k": integers(-1).reshape(())}
COMPOSED = {
    "ReduceL1": (node("ReduceL1", ["x"], ["y"], axes=[1], keepdims=0), {}),
    "ReduceL2": (node("ReduceL2", ["x"], ["y"], axes=[0, 2]), {}),
    "ReduceSumSquare": (node("ReduceSumSquare", ["x"], ["y"], axes=[2]), {}),
    "ReduceLogSumExp": (node("ReduceLogSumExp", ["x"], ["y"], axes=[1], keepdims=0), {}),
    "ReduceProd": (node("ReduceProd", ["x"], ["y"], axes=[0, 2], keepdims=0), {}),
    "ArgMin": (node("ArgMin", ["x"], ["y"], axis=1), {}),
    "Hardmax": (node("Hardmax", ["x"], ["y"], axis=1), {}),
    "LpNormalization": (node("LpNormalization", ["x"], ["y"], axis=2, p=1), {}),
    "CumSum": (node("CumSum", ["x", "i"], ["y"], exclusive=1, reverse=1), {"i": integers(1)}),
    "Trilu": (node("Trilu", ["x", "k"], ["y"], upper=0), TRIANGLE),
    "Mod": (node("Mod", ["x", "m"], ["y"], fmod=1), {"m": np.float32(0.7)}),
    "Pad": (node("Pad", ["x", "p"], ["y"], mode="wrap"), {"p": integers(0, 2, 1, 0, 1, 3)}),
    "Compress": (
        node("Compress", ["x", "b"], ["y"], axis=2),
        {"b": np.array([True, False, True, True])},
    ),
    "GatherElements": (
        node("GatherElements", ["x", "i"], ["y"], axis=1),
        {"i": RNG.integers(-3, 3, (2, 5, 4))},
    ),
    "GatherND": (
        node("GatherND", ["x", "i"], ["y"], batch_dims=1),
        {"i": integers(0, 1, 2, 3).reshape(2, 1, 2)},
    ),
    "ScatterND": (
        node("ScatterND", ["x", "i", "u"], ["y"]),
        {"i": integers(1, 2, 0, 1).reshape(2, 2), "u": normal(2, 4)},
    ),
    "ScatterElements": (
        node("ScatterElements", ["x", "i", "u"], ["y"], axis=2),
        {"i": integers(3, 0).reshape(1, 1, 2), "u": normal(1, 1, 2)},
    ),
    "ReverseSequence": (
        node("ReverseSequence", ["x", "n"], ["y"], time_axis=1, batch_axis=0),
        {"n": integers(2, 3)},
    ),
}


@pytest.mark.parametrize("reduction", ["add", "mul", "max", "min"])
def test_what_is_scattered_is_added_say_also_twice_to_a_place(reduction):
    u = normal(4, 4)
    rows = node("ScatterND", ["x", "i", "u"], ["y"], reduction=reduction)
    agreement(model([rows], (3, 4), {"i": integers(1, 0, 1, 1).reshape(4, 1), "u": u}, opset=18))
    elements = node("ScatterElements", ["x", "i", "u"], ["y"], axis=0, reduction=reduction)
    places = RNG.integers(-3, 3, (4, 4))
    agreement(model([elements], (3, 4), {"i": places, "u": u}, opset=18))


@pytest.mark.parametrize("operator", COMPOSED)
def test_what_other_operators_make_up(operator):
    layer, constants = COMPOSED[operator]
    agreement(model([layer], X, constants, opset=19 if operator == "Pad" else 17))
