"""Normalizations that exporters spell out are recognized, with the constants behind them.

Each model also agrees with onnxruntime.
"""

from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.graph import operators as ops
from tests.converters.onnx_agreement import agreement, model, node, operators

RNG = np.random.default_rng(11)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype("f4")


def integers(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


CONSTANTS = {
    "one": np.float32(1),
    "two": np.float32(2),
    "half": np.float32(0.5),
    "epsilon": np.float32(1e-3),
    "tiny": np.float32(1e-12),
    "huge": np.float32(1e30),
    "root": np.float32(8**0.5),
    "bessel": np.float32(8 / 7),
    "last": integers(-1),
    "shape": integers(2, 5, 8),
    "s": normal(8),
    "b": normal(8),
}

MEAN = [node("ReduceMean", ["x"], ["m"], axes=[-1]), node("Sub", ["x", "m"], ["d"])]
VARIANCE = [
    *MEAN,
    node("Pow", ["d", "two"], ["d2"]),
    node("ReduceMean", ["d2"], ["v"], axes=[-1]),
]
BY_PRODUCT = [*MEAN, node("Mul", ["d", "d"], ["d2"]), node("ReduceMean", ["d2"], ["v"], axes=[-1])]
BY_SQUARES = [
    *MEAN,
    node("Mul", ["x", "x"], ["x2"]),
    node("ReduceMean", ["x2"], ["w"], axes=[-1]),
    node("Mul", ["m", "m"], ["m2"]),
    node("Sub", ["w", "m2"], ["u"]),
    node("Relu", ["u"], ["v"]),
]
SQUARES = [node("Pow", ["x", "two"], ["x2"]), node("ReduceMean", ["x2"], ["v"], axes=[-1])]
SUM = [node("Mul", ["x", "x"], ["x2"]), node("ReduceSum", ["x2", "last"], ["v"], keepdims=1)]
ADDED = node("Add", ["v", "epsilon"], ["e"])
ROOT = [ADDED, node("Sqrt", ["e"], ["r"])]
RECIPROCAL = [*ROOT, node("Reciprocal", ["r"], ["i"])]
NORM = node("ReduceL2", ["x"], ["n"], axes=[-1])

# by name: nodes up to y, without scale and bias
SPELLED = {
    "PyTorch's layer norm": [*VARIANCE, *ROOT, node("Div", ["d", "r"], ["y"])],
    "by a reciprocal": [*BY_PRODUCT, *RECIPROCAL, node("Mul", ["i", "d"], ["y"])],
    "by powers": [
        *VARIANCE, ADDED, node("Pow", ["e", "half"], ["r"]), node("Div", ["d", "r"], ["y"]),
    ],
    "by mean squares": [*BY_SQUARES, *ROOT, node("Div", ["d", "r"], ["y"])],
    "with Bessel's correction": [
        *VARIANCE, node("Mul", ["v", "bessel"], ["c"]), node("Add", ["c", "epsilon"], ["e"]),
        node("Sqrt", ["e"], ["r"]), node("Div", ["d", "r"], ["y"]),
    ],
    "rms": [*SQUARES, *ROOT, node("Div", ["x", "r"], ["y"])],
    "rms by one over": [
        *SQUARES, *ROOT, node("Div", ["one", "r"], ["i"]), node("Mul", ["x", "i"], ["y"]),
    ],
    "rms by a reciprocal": [*SQUARES, *RECIPROCAL, node("Mul", ["x", "i"], ["y"])],
    "PyTorch's normalize": [
        NORM, node("Clip", ["n", "tiny"], ["c"]), node("Expand", ["c", "shape"], ["e"]),
        node("Div", ["x", "e"], ["y"]),
    ],
    "normalize by magnitudes": [
        node("ReduceL1", ["x"], ["n"], axes=[-1]), node("Clip", ["n", "tiny"], ["c"]),
        node("Expand", ["c", "shape"], ["e"]), node("Div", ["x", "e"], ["y"]),
    ],
    "TensorFlow's l2_normalize": [
        *SUM, node("Max", ["v", "tiny"], ["c"]), node("Sqrt", ["c"], ["r"]),
        node("Reciprocal", ["r"], ["i"]), node("Mul", ["x", "i"], ["y"]),
    ],
    "a norm, its axis put back": [
        node("ReduceL2", ["x"], ["n"], axes=[-1], keepdims=0),
        node("Unsqueeze", ["n", "last"], ["u"]), node("Div", ["x", "u"], ["y"]),
    ],
    "a norm of magnitudes": [
        node("Abs", ["x"], ["a"]), node("ReduceL2", ["a"], ["n"], axes=[-1]),
        node("Div", ["x", "n"], ["y"]),
    ],
    "a norm times a root": [
        NORM, node("Div", ["n", "root"], ["r"]), node("Div", ["x", "r"], ["y"]),
    ],
}  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLED)
def test_what_is_spelled_out_is_one_normalization(spelling):
    graph = agreement(model(SPELLED[spelling], (2, 5, 8), CONSTANTS))
    assert operators(graph) == ["Normalization"]


@pytest.mark.parametrize("spelling", SPELLED)
def test_a_scale_and_a_bias_behind_it_are_its_own(spelling):
    *before, last = SPELLED[spelling]
    nodes = [
        *before,
        node(last.op_type, last.input, ["z"]),
        node("Mul", ["s", "z"], ["scaled"]),
        node("Add", ["scaled", "b"], ["shifted"]),
        node("Mul", ["shifted", "two"], ["y"]),
    ]
    graph = agreement(model(nodes, (2, 5, 8), CONSTANTS))
    assert operators(graph) == ["Normalization"]


@pytest.mark.parametrize("keepdims", [0, 1])
def test_a_root_of_squares_is_one_reduction(keepdims):
    nodes = [
        node("Mul", ["x", "x"], ["x2"]),
        node("ReduceSum", ["x2", "last"], ["v"], keepdims=keepdims),
        node("Sqrt", ["v"], ["y"]),
    ]
    assert operators(agreement(model(nodes, (2, 5, 8), CONSTANTS))) == ["ReduceL2"]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("scale", [True, False])
def test_tensorflows_batch_normalization_of_moments_is_one(scale, bias):
    nodes = [*BY_PRODUCT, *RECIPROCAL]
    if scale:
        nodes.append(node("Mul", ["i", "s"], ["f"]))
    factor = "f" if scale else "i"
    nodes += [node("Mul", ["x", factor], ["p"]), node("Mul", ["m", factor], ["q"])]
    if bias:
        nodes += [node("Sub", ["b", "q"], ["t"]), node("Add", ["p", "t"], ["y"])]
    else:
        nodes.append(node("Sub", ["p", "q"], ["y"]))
    assert operators(agreement(model(nodes, (2, 5, 8), CONSTANTS))) == ["Normalization"]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("scale", [True, False])
def test_keras_layer_norm_with_its_mean_negated_is_one(scale, bias):
    nodes = [*BY_PRODUCT, *RECIPROCAL]
    if scale:
        nodes.append(node("Mul", ["i", "s"], ["f"]))
    factor = "f" if scale else "i"
    nodes += [node("Neg", ["m"], ["o"]), node("Mul", ["o", factor], ["q"])]
    nodes.append(node("Mul", ["x", factor], ["p"]))
    if bias:
        nodes.append(node("Add", ["q", "b"], ["t"]))
    nodes.append(node("Add", ["p", "t" if bias else "q"], ["y"]))
    assert operators(agreement(model(nodes, (2, 5, 8), CONSTANTS))) == ["Normalization"]


def test_a_layer_norm_of_channels_between_convolutions_is_one_of_the_last_axis():
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("ReduceMean", ["c"], ["m"], axes=[1]),
        node("Sub", ["c", "m"], ["d"]),
        node("Pow", ["d", "two"], ["d2"]),
        node("ReduceMean", ["d2"], ["v"], axes=[1]),
        *ROOT,
        node("Div", ["d", "r"], ["n"]),
        node("Mul", ["s", "n"], ["a"]),
        node("Add", ["a", "b"], ["z"]),
        node("Conv", ["z", "w"], ["y"]),
    ]
    constants = {"s": normal(5, 1, 1), "b": normal(5, 1, 1), "w": normal(5, 5, 1, 1)}
    graph = agreement(model(nodes, (1, 5, 4, 3), CONSTANTS | constants))
    assert operators(graph) == ["Transpose", "Conv", "Normalization", "Conv", "Transpose"]
    assert graph.nodes[2].op.axes == (3,)


@pytest.mark.parametrize("behind", ["[C,1,1]", "one number"])
def test_a_group_norm_of_pytorch_moves_nothing(behind):
    shape = (6, 1, 1) if behind == "[C,1,1]" else ()
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("Reshape", ["c", "groups"], ["g"]),
        node("InstanceNormalization", ["g", "i", "o"], ["n"]),
        node("Shape", ["c"], ["whole"]),
        node("Reshape", ["n", "whole"], ["u"]),
        node("Mul", ["u", "s"], ["a"]),
        node("Add", ["a", "b"], ["z"]),
        node("Relu", ["z"], ["v"]),
        node("Conv", ["v", "w"], ["y"]),
    ]
    constants = {
        "w": normal(6, 6, 1, 1), "s": normal(*shape), "b": normal(*shape),
        "groups": integers(0, 3, -1), "i": normal(3), "o": normal(3),
    }  # fmt: skip
    graph = agreement(model(nodes, (1, 6, 4, 3), constants))
    middle = ["Conv", "Reshape", "Normalization", "Reshape", "Conv"]
    assert operators(graph) == ["Transpose", *middle, "Transpose"]
    assert graph.nodes[3].op == ops.Normalization(axes=(1, 2, 4), epsilon=1e-5, lo=0.0)


# by name: nodes that are nearly a normalization
OTHERS = {
    "another's root": [
        *VARIANCE, *ROOT, node("Mul", ["x", "two"], ["z"]), node("Div", ["z", "r"], ["y"]),
    ],
    "with its mean": [*VARIANCE, *ROOT, node("Div", ["x", "r"], ["y"])],
    "without a root": [*VARIANCE, ADDED, node("Div", ["d", "e"], ["y"])],
    "times the root": [*VARIANCE, *ROOT, node("Mul", ["d", "r"], ["y"])],
    "epsilon beside the root": [
        NORM, node("Add", ["n", "epsilon"], ["e"]), node("Div", ["x", "e"], ["y"]),
    ],
    "an epsilon whose square is infinite": [
        NORM, node("Clip", ["n", "huge"], ["c"]), node("Div", ["x", "c"], ["y"]),
    ],
    "a mean over another axis": [
        node("ReduceMean", ["x"], ["m"], axes=[1]), node("Sub", ["x", "m"], ["d"]),
        node("ReduceMean", ["x"], ["n"], axes=[2]), node("Sub", ["x", "n"], ["f"]),
        node("Mul", ["f", "f"], ["f2"]), node("ReduceMean", ["f2"], ["v"], axes=[2]),
        *ROOT, node("Div", ["d", "r"], ["y"]),
    ],
    "a norm that lies across": [
        node("ReduceL2", ["x"], ["n"], axes=[0], keepdims=0), node("Div", ["x", "n"], ["y"]),
    ],
}  # fmt: skip


@pytest.mark.parametrize("spelling", OTHERS)
def test_what_is_nearly_a_normalization_is_none(spelling):
    shape = (2, 5, 8)
    graph = agreement(model(OTHERS[spelling], shape, CONSTANTS))
    assert "Normalization" not in operators(graph)


def test_what_others_take_of_it_stays():
    nodes = [*VARIANCE, *ROOT, node("Div", ["d", "r"], ["n"]), node("Add", ["n", "r"], ["y"])]
    graph = agreement(model(nodes, (2, 5, 8), CONSTANTS))
    assert operators(graph).count("Normalization") == 1
    assert operators(graph).count("ReduceMean") == 2
    nodes = [
        *VARIANCE, *ROOT, node("Div", ["d", "r"], ["n"]), node("Mul", ["n", "s"], ["a"]),
        node("Add", ["a", "n"], ["y"]),
    ]  # fmt: skip
    assert "Normalization" in operators(agreement(model(nodes, (2, 5, 8), CONSTANTS)))


# ---- what a run computes beside --------------------------------------------------------------


@pytest.mark.parametrize("computed", [("s", "b"), ("s",), ("b",)])
@pytest.mark.parametrize(
    "operator, attributes, opset",
    [
        ("LayerNormalization", {}, 17),
        ("InstanceNormalization", {}, 17),
        ("GroupNormalization", {"num_groups": 2}, 21),
    ],
)
def test_a_scale_or_a_bias_may_be_computed(operator, attributes, opset, computed):
    """As style transfer and conditioned networks have them."""
    shape = (2, 5, 8) if operator == "LayerNormalization" else (2, 8, 5, 6)
    proto = model(
        [node(operator, ["x", "s", "b"], ["y"], **attributes)],
        constants={name: CONSTANTS[name] for name in "sb" if name not in computed},
        inputs={"x": shape, **dict.fromkeys(computed, (8,))},
        opset=opset,
    )
    assert operators(agreement(proto)).count("Normalization") == 1


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_a_layer_norm_gives_its_statistics(axis):
    shape = (2, 5, 8)
    scale = normal(*shape[axis:])
    layer = node("LayerNormalization", ["x", "scale"], ["y", "mean", "inverse"], axis=axis)
    agreement(model([layer], shape, {"scale": scale}, outputs=["y", "mean", "inverse"]))
