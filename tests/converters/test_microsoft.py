"""What onnxruntime's optimizer leaves in a model is imported, and means what it means there."""

from __future__ import annotations

import math

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from edgeinfer.converters import from_onnx, operator_bodies
from edgeinfer.errors import UnsupportedError
from edgeinfer.meaning.float_executor import execute
from edgeinfer.quant import quantize
from edgeinfer.session import Session
from tests.converters.onnx_agreement import TOLERANCE, agreement, model, node, onnxruntime_values
from tests.refusals import refused

RNG = np.random.default_rng(29)
X = (2, 6, 8)


def own(operator, inputs, outputs=("y",), **attributes):
    return node(operator, list(inputs), list(outputs), domain="com.microsoft", **attributes)


def microsoft(nodes, constants=None, inputs=None, outputs=("y",), integers=()):
    proto = model(nodes, X, constants, inputs=inputs, outputs=outputs)
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    for value in proto.graph.input:
        if value.name in integers:
            value.type.tensor_type.elem_type = TensorProto.INT32
    return proto


def numbers(*shape):
    return RNG.normal(size=shape).astype("f4")


def shapes_of(proto):
    return {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in proto.graph.input}


def agrees_on(proto, feeds):
    """As agreement, of inputs that onnxruntime wants in int32."""
    graph = from_onnx(proto, input_shapes=shapes_of(proto))
    found = execute(graph, {name: a.astype(graph.types[name].dtype) for name, a in feeds.items()})
    expected = onnxruntime_values(proto, feeds, ["y"])["y"]
    np.testing.assert_allclose(found["y"], expected, rtol=TOLERANCE, atol=TOLERANCE)


AFFINE = {"scale": numbers(8), "shift": numbers(8), "bias": numbers(8)}
IMAGES = {"x": (2, 4, 9, 7)}
KERNEL = {"w": numbers(6, 4, 3, 3), "b": numbers(6)}

# of nodes, constants and inputs
CASES = {
    "gelu": ([own("Gelu", "x")], {}, None),
    "bias_gelu": ([own("BiasGelu", ["x", "bias"])], AFFINE, None),
    "fast_gelu": ([own("FastGelu", "x")], {}, None),
    "fast_gelu_with_bias": ([own("FastGelu", ["x", "bias"])], AFFINE, None),
    "quick_gelu": ([own("QuickGelu", "x")], {}, None),
    "silu": ([own("QuickGelu", "x", alpha=1.0)], {}, None),
    "rms_norm": (
        [own("SkipSimplifiedLayerNormalization", ["x", "z", "scale", "bias"], epsilon=1e-5)],
        AFFINE,
        {"x": X, "z": X},
    ),
    "skip_of_one_more": (
        [
            own(
                "SkipSimplifiedLayerNormalization",
                ["x", "z", "scale"],
                ["n", "", "", "s"],
                epsilon=1e-5,
            ),
            node("Mul", ["n", "s"], ["y"]),
        ],
        AFFINE,
        {"x": X, "z": X},
    ),
    "layer_norm": (
        [own("SkipLayerNormalization", ["x", "z", "scale", "shift", "bias"], epsilon=1e-5)],
        AFFINE,
        {"x": X, "z": X},
    ),
    "layer_norm_of_one_sample": (
        [
            own(
                "SkipLayerNormalization", ["x", "z", "scale"], ["n", "", "", "s"], epsilon=1e-5
            ),
            node("Mul", ["n", "s"], ["y"]),
        ],
        {**AFFINE, "z": numbers(1, 6, 8)},
        None,
    ),
    "conv": (
        [
            own(
                "FusedConv", ["x", "w", "b"], activation="Clip", activation_params=[0.0, 6.0],
                strides=[2, 1], pads=[1, 1, 0, 1],
            )
        ],
        KERNEL,
        IMAGES,
    ),
    "conv_and_sum": (
        [own("FusedConv", ["x", "w", "b", "z"], activation="Relu", auto_pad="SAME_UPPER")],
        KERNEL,
        {**IMAGES, "z": (2, 6, 9, 7)},
    ),
    "conv_without_bias": (
        [
            own(
                "FusedConv", ["x", "w"], activation="HardSigmoid", activation_params=[0.2, 0.5],
                kernel_shape=[3, 3],
            )
        ],
        KERNEL,
        IMAGES,
    ),
    "conv_leaky": (
        [own("FusedConv", ["x", "w"], activation="LeakyRelu", activation_params=[0.1])],
        KERNEL,
        IMAGES,
    ),
    "gemm": (
        [own("FusedGemm", ["x", "w", "b"], activation="LeakyRelu", activation_alpha=0.2, transB=1,
             alpha=0.5, beta=2.0)],
        {"w": numbers(3, 5), "b": numbers(3)},
        {"x": (4, 5)},
    ),
    "mat_mul": (
        [own("FusedMatMul", ["x", "z"], transB=1, alpha=0.25)], {}, {"x": X, "z": (2, 5, 8)}
    ),
    "mat_mul_by_weights": (
        [own("FusedMatMul", ["x", "w"], transA=1, alpha=-2.0)], {"w": numbers(6, 3)}, {"x": X}
    ),
    "mat_mul_of_batches": (
        [own("FusedMatMul", ["x", "z"], transBatchA=1, transBatchB=1, transA=1)],
        {},
        {"x": (6, 2, 8), "z": (6, 2, 5)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_an_operator_is_onnxruntimes(case):
    nodes, constants, inputs = CASES[case]
    proto = microsoft(nodes, constants, inputs)
    agreement(proto, input_shapes=shapes_of(proto))


def ids(*shape, below=5):
    return RNG.integers(0, below, shape).astype(np.int32)


@pytest.mark.parametrize("given", ["words", "segments", "places", "sum"])
def test_embeddings_are_added_and_normalized(given):
    constants = {
        "words": numbers(5, 8), "places": numbers(9, 8), "kinds": numbers(2, 8), **AFFINE
    }  # fmt: skip
    inputs = {"x": (2, 6)}
    names = ["x", "", "words", "places", "", "scale", "shift"]
    outputs = ["n", ""]
    if given == "segments":
        inputs["z"] = (2, 6)
        names[1], names[4] = "z", "kinds"
    if given == "places":
        inputs["z"] = (2, 6)
        names += ["", "z"]
    nodes = [own("EmbedLayerNormalization", names, outputs, epsilon=1e-5)]
    if given == "sum":
        nodes[0].output.append("s")
    nodes.append(node("Mul", ["n", "s" if given == "sum" else "n"], ["y"]))
    proto = microsoft(nodes, constants, inputs, integers=("x", "z"))
    feeds = {name: ids(*shape, below=2) for name, shape in inputs.items()}
    agrees_on(proto, feeds)


WEIGHTS = {"w": numbers(8, 24), "b": numbers(24)}
MASKS = {
    "lengths": np.array([4, 6], np.int32),
    "keys": np.array([[1, 1, 0, 1, 0, 1], [1, 0, 0, 0, 0, 1]], np.int32),
    "pairs": np.tile(np.tri(6, dtype=np.int32), (2, 1, 1)),
}


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("mask", [None, *MASKS])
def test_attention_is_onnxruntimes(mask, causal):
    given = {} if mask is None else {"m": MASKS[mask]}
    bias = {"added": numbers(1, 2, 6, 6)} if causal else {}
    names = ["x", "w", "b", "m" if mask else "", "", "added" if causal else ""]
    proto = microsoft(
        [own("Attention", names, num_heads=2, unidirectional=causal)],
        {**WEIGHTS, **given, **bias},
        {"x": X},
    )
    agreement(proto, input_shapes=shapes_of(proto))


@pytest.mark.parametrize("mask", ["lengths", "keys"])
def test_a_mask_may_be_an_input(mask):
    given = MASKS[mask]
    proto = microsoft(
        [own("Attention", ["x", "w", "b", "m"], num_heads=2)],
        WEIGHTS,
        {"x": X, "m": given.shape},
        integers=("m",),
    )
    agrees_on(proto, {"x": numbers(*X), "m": given})


def test_attention_may_have_values_of_their_own_width():
    proto = microsoft(
        [own("Attention", ["x", "w", "b"], num_heads=2, qkv_hidden_sizes=[8, 8, 12], scale=0.3)],
        {"w": numbers(8, 28), "b": numbers(28)},
        {"x": X},
    )
    agreement(proto, input_shapes=shapes_of(proto))


@pytest.mark.parametrize("form", ["plain", "bias", "mask", "added", "heads"])
def test_attention_of_several_values_is_onnxruntimes(form):
    inputs = {"q": X, "k": (2, 5, 8), "v": (2, 5, 6)}
    names, constants = ["q", "k", "v"], {}
    if form == "bias":
        names.append("b")
        constants["b"] = numbers(22)
    if form == "mask":
        names += ["", "m"]
        constants["m"] = MASKS["keys"][:, :5]
    if form == "added":
        names += ["", "", "a"]
        inputs["a"] = (2, 2, 6, 5)
    if form == "heads":
        inputs |= {"k": (2, 2, 5, 4), "v": (2, 2, 5, 4)}
    proto = microsoft([own("MultiHeadAttention", names, num_heads=2)], constants, inputs)
    agreement(proto, input_shapes=shapes_of(proto))


@pytest.mark.parametrize("attributes", [{}, {"unidirectional": 1}])
@pytest.mark.parametrize("operator", ["Attention", "MultiHeadAttention"])
def test_what_was_attended_before_comes_first_and_is_given_on(operator, attributes):
    outputs = ["y", "past"] if operator == "Attention" else ["y", "keys", "values"]
    if operator == "Attention":
        names, inputs = ["x", "w", "b", "", "p"], {"x": X, "p": (2, 2, 2, 3, 4)}
        constants = WEIGHTS
    else:
        names = ["x", "k", "v", "b", "", "", "pk", "pv"]
        inputs = {**dict.fromkeys("xkv", X), **dict.fromkeys(("pk", "pv"), (2, 2, 3, 4))}
        constants = {"b": numbers(24)}
    layer = own(operator, names, outputs, num_heads=2, **attributes)
    proto = microsoft([layer], constants, inputs, outputs=outputs)
    agreement(proto, input_shapes=shapes_of(proto))


@pytest.mark.parametrize("together", ["qkv", "kv"])
def test_packed_values_are_those_apart(together):
    """onnxruntime has them on graphics processors alone."""
    packed = numbers(2, 6, 2, len(together), 4)
    apart = {name: packed[:, :, :, i].reshape(2, 6, 8) for i, name in enumerate(together)}
    q = numbers(2, 6, 8) if together == "kv" else apart["q"]
    known = microsoft(
        [own("MultiHeadAttention", ["x", "k", "v"], num_heads=2)],
        {name: apart[name] for name in "kv"},
    )
    expected = onnxruntime_values(known, {"x": q}, ["y"])["y"]
    names = ["x"] if together == "qkv" else ["x", "packed"]
    shapes = {"x": packed.shape} if together == "qkv" else {"x": X, "packed": packed.shape}
    proto = microsoft([own("MultiHeadAttention", names, num_heads=2)], {}, shapes)
    feeds = {"x": packed} if together == "qkv" else {"x": q, "packed": packed}
    found = execute(from_onnx(proto, input_shapes=shapes_of(proto)), feeds)["y"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("places", [(1,), (2, 6)])
@pytest.mark.parametrize("shape", [(2, 6, 16), (2, 4, 6, 4)])
def test_rotary_embeddings_are_onnxruntimes(shape, places, interleaved):
    constants = {"p": RNG.integers(0, 3, places), "cos": numbers(9, 2), "sin": numbers(9, 2)}
    nodes = [own("RotaryEmbedding", ["x", "p", "cos", "sin"], interleaved=interleaved)]
    proto = microsoft(nodes, constants, {"x": shape})
    agreement(proto, input_shapes=shapes_of(proto))


# onnxruntime has them on graphics processors alone
def test_what_no_processor_has_is_what_its_documentation_says():
    x, bias = numbers(*X), numbers(8)
    proto = microsoft([own("BiasAdd", ["x", "bias", "z"])], {"bias": bias, "z": 2 * x}, {"x": X})
    np.testing.assert_allclose(_run(proto, x), 3 * x + bias, rtol=1e-5, atol=1e-5)
    first, gate = np.split(x + bias, 2, axis=-1)
    gelu = gate / 2 * (1 + np.vectorize(math.erf)(gate / math.sqrt(2)))
    proto = microsoft([own("BiasSplitGelu", ["x", "bias"])], {"bias": bias}, {"x": X})
    np.testing.assert_allclose(_run(proto, x), first * gelu, rtol=1e-4, atol=1e-5)
    x = numbers(2, 9, 7, 4)
    attributes = {"strides": [2, 1], "pads": [1, 1, 0, 1], "dilations": [1, 2]}
    last = microsoft(
        [own("NhwcConv", ["x", "w", "b"], **attributes)],
        {"w": KERNEL["w"].transpose(0, 2, 3, 1), "b": KERNEL["b"]},
        {"x": x.shape},
    )
    first = model([node("Conv", ["x", "w", "b"], ["y"], **attributes)], (2, 4, 9, 7), KERNEL)
    expected = _run(first, x.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(_run(last, x), expected, rtol=1e-5, atol=1e-5)

    x, bias = numbers(2, 3, 4, 5), numbers(2, 1, 1, 5)
    shares = own("BiasSoftmax", ["x", "bias"], axis=3, is_inner_broadcast=1)
    expected = np.exp(x + bias)
    expected /= expected.sum(-1, keepdims=True)
    proto = microsoft([shares], {"bias": bias}, {"x": x.shape})
    np.testing.assert_allclose(_run(proto, x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", [0, 1])
@pytest.mark.parametrize("channels_last", [0, 1])
@pytest.mark.parametrize("skip", [None, "whole", "by channel"])
def test_groups_are_normalized_as_documented(skip, channels_last, activation):
    """onnxruntime has them on graphics processors alone."""
    x, scale, shift = numbers(2, 5, 3, 8), numbers(8), numbers(8)
    constants, names, total = {"scale": scale, "shift": shift}, ["x", "scale", "shift"], x
    if skip:
        added = numbers(*x.shape) if skip == "whole" else numbers(2, 8)
        constants |= {"skip": added, "bias": numbers(8)}
        names += ["skip", "bias"]
        total = x + constants["bias"] + (added if skip == "whole" else added[:, None, None])
    groups = total.reshape(2, 15, 4, 2)
    mean, variance = groups.mean((1, 3), keepdims=True), groups.var((1, 3), keepdims=True)
    expected = ((groups - mean) / np.sqrt(variance + 1e-3)).reshape(x.shape) * scale + shift
    if activation:
        expected /= 1 + np.exp(-expected)
    if not channels_last:
        x, expected, total = (a.transpose(0, 3, 1, 2) for a in (x, expected, total))
        if skip == "whole":
            constants["skip"] = added.transpose(0, 3, 1, 2)
    outputs = ["y", "sum"] if skip else ["y"]
    layer = own(
        "SkipGroupNorm" if skip else "GroupNorm",
        names,
        outputs,
        groups=4,
        epsilon=1e-3,
        activation=activation,
        channels_last=channels_last,
    )
    proto = microsoft([layer], constants, {"x": x.shape}, outputs=outputs)
    found = execute(from_onnx(proto, input_shapes={"x": list(x.shape)}), {"x": x})
    np.testing.assert_allclose(found["y"], expected, rtol=1e-4, atol=1e-5)
    if skip:
        np.testing.assert_allclose(found["sum"], total, rtol=1e-5, atol=1e-5)


def _run(proto, x):
    graph = from_onnx(proto, input_shapes={"x": list(x.shape)})
    return execute(graph, {"x": x})["y"]


def transformer():
    """A block of attention and one of two layers, as exporters write them."""
    count, head = 2, 4
    nodes = [node("LayerNormalization", ["x", "scale", "shift"], ["n"], epsilon=1e-5)]
    for name in "qkv":
        order = [0, 2, 3, 1] if name == "k" else [0, 2, 1, 3]
        nodes += [
            node("MatMul", ["n", f"w{name}"], [f"{name}0"]),
            node("Add", [f"{name}0", "bias"], [f"{name}1"]),
            node("Reshape", [f"{name}1", "heads"], [f"{name}2"]),
            node("Transpose", [f"{name}2"], [name], perm=order),
        ]
    nodes += [
        node("MatMul", ["q", "k"], ["s0"]),
        node("Div", ["s0", "root"], ["s1"]),
        node("Softmax", ["s1"], ["shares"], axis=-1),
        node("MatMul", ["shares", "v"], ["m0"]),
        node("Transpose", ["m0"], ["m1"], perm=[0, 2, 1, 3]),
        node("Reshape", ["m1", "whole"], ["m"]),
        node("Add", ["x", "m"], ["r"]),
        node("LayerNormalization", ["r", "scale", "shift"], ["n2"], epsilon=1e-5),
        node("MatMul", ["n2", "up"], ["f0"]),
        node("Add", ["f0", "ub"], ["f1"]),
        node("Div", ["f1", "two"], ["f2"]),
        node("Erf", ["f2"], ["f3"]),
        node("Add", ["f3", "one"], ["f4"]),
        node("Mul", ["f1", "f4"], ["f5"]),
        node("Mul", ["f5", "half"], ["f6"]),
        node("MatMul", ["f6", "down"], ["f7"]),
        node("Add", ["r", "f7"], ["y"]),
    ]
    constants = {
        **AFFINE, **{f"w{name}": numbers(8, 8) for name in "qkv"},
        "heads": np.array([0, 0, count, head]), "whole": np.array([0, 0, 8]),
        "root": np.float32(math.sqrt(head)), "up": numbers(8, 16), "ub": numbers(16),
        "two": np.float32(math.sqrt(2)), "one": np.float32(1), "half": np.float32(0.5),
        "down": numbers(16, 8),
    }  # fmt: skip
    return model(nodes, X, constants)


def test_what_onnxruntimes_optimizer_saves_is_taken(tmp_path):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    plain = transformer()
    session = onnxruntime.InferenceSession(plain.SerializeToString(), options)
    saved = onnx.load(tmp_path / "optimized.onnx")
    left = {f"{n.domain}.{n.op_type}" for n in saved.graph.node if n.domain == "com.microsoft"}
    assert left and left <= set(operator_bodies.OPERATORS)
    samples = [{"x": numbers(*X)} for _ in range(8)]
    graph = from_onnx(saved, input_shapes={"x": list(X)})
    integers = Session(quantize(graph, samples, scheme="int16", observer="minmax"))
    for feeds in samples:
        (expected,) = session.run(None, feeds)
        largest = np.abs(expected).max()
        assert np.abs(execute(graph, feeds)["y"] - expected).max() <= TOLERANCE * largest
        assert np.abs(integers.run(feeds) - expected).max() <= 5e-3 * largest


NAMED = "of onnxruntime's own operators this is none of those that are imported"
REFUSALS = [
    (
        [own("GridSample", ["x", "x"])], {}, ["y"],
        f"GridSample (com.microsoft opset 1) at 'y': {NAMED}: export the model without its "
        "optimizations",
    ),
    (
        [node("ReorderInput", ["x"], ["y"], domain="com.microsoft.nchwc")], {}, ["y"],
        "ReorderInput (com.microsoft.nchwc opset 1) at 'y': onnxruntime has laid it out for one "
        "processor: save the model at its level extended, or without its optimizations",
    ),
    (
        [own("SkipLayerNormalization", ["x", "x", "scale"], ["y", "mean"])],
        AFFINE, ["y", "mean"],
        "SkipLayerNormalization (com.microsoft opset 1) at 'y': its output 1 is not supported",
    ),
    (
        [own("FusedConv", ["x", "w"], activation="Swish")], {"w": numbers(3, 6, 1)}, ["y"],
        "FusedConv (com.microsoft opset 1) at 'y': its activation 'Swish' is not supported",
    ),
    (
        [own("Attention", ["x", "w", "b"], num_heads=2, do_rotary=1)], WEIGHTS, ["y"],
        "Attention (com.microsoft opset 1) at 'y': do_rotary is not supported",
    ),
    (
        [own("Attention", ["x", "w", "b", "", "", "", "n"], num_heads=2)],
        {**WEIGHTS, "n": np.array([3], np.int32)}, ["y"],
        "Attention (com.microsoft opset 1) at 'y': its input past_sequence_length is not supported",
    ),
    (
        [own("Attention", ["x", "w", "b", "m"], num_heads=2)],
        {**WEIGHTS, "m": np.ones((6, 1), np.int32)}, ["y"],
        "Attention (com.microsoft opset 1) at 'y': a mask of shape [6, 1] is not supported",
    ),
    (
        [own("MultiHeadAttention", ["x", "k", "", "b"], num_heads=2)],
        {"k": numbers(2, 6, 2, 2, 4), "b": numbers(24)}, ["y"],
        "MultiHeadAttention (com.microsoft opset 1) at 'y': a bias beside packed values is not "
        "supported",
    ),
    (
        [own("FastGelu", ["x"], of=1)], {}, ["y"],
        "FastGelu (com.microsoft opset 1) at 'y': its attribute 'of' is not supported",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("nodes", "constants", "outputs", "message"), REFUSALS)
def test_what_is_not_taken_is_refused(nodes, constants, outputs, message):
    proto = microsoft(nodes, constants, {"x": X}, outputs=outputs)
    with refused(f"1 node cannot be imported: {message}", UnsupportedError):
        from_onnx(proto, input_shapes={"x": list(X)})


def test_a_mask_larger_than_any_memory_is_refused_before_it_is_made():
    attention = own("Attention", ["x", "w"], num_heads=2, unidirectional=1)
    proto = microsoft([attention], {"w": numbers(8, 24)}, {"x": (1, 100_000, 8)})
    with refused(
        "1 node cannot be imported: Attention (com.microsoft opset 1) at 'y': "
        "a mask of 100000 by 100000 is more than 67108864 elements",
        UnsupportedError,
    ):
        from_onnx(proto, input_shapes={"x": [1, 100_000, 8]})


@pytest.mark.parametrize(
    ("operator", "constants", "attributes", "message"),
    [
        ("BiasGelu", {}, {}, "input 1 is missing"),
        ("Attention", {"w": numbers(8, 25)}, {"num_heads": 2},
         "25 outputs are no query, key and value of [8, 8, 8]"),
        ("Attention", {"w": numbers(8, 24)}, {"num_heads": 3},
         "8 channels do not divide into 3 heads"),
        ("MultiHeadAttention", {}, {"num_heads": 2}, "input 1 is missing"),
        ("MultiHeadAttention", {"k": numbers(2, 6, 2, 3, 4)}, {"num_heads": 2},
         "input 1 holds 3 values for 2"),
        ("MultiHeadAttention", {"k": numbers(2, 6, 2, 2, 4)}, {"num_heads": 4},
         "input 1 has 2 heads, not 4"),
        ("QuickGelu", {}, {"alpha": "one"}, "attribute 'alpha' is no float"),
        ("FusedMatMul", {"w": numbers(5, 4)}, {},
         "MatMul, of which it is made: weights [4, 5] do not fit x of shape [2, 6, 8]"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused(operator, constants, attributes, message):
    proto = microsoft([own(operator, ["x", *constants], **attributes)], constants, {"x": X})
    with refused(f"{operator} 'y': {message}"):
        from_onnx(proto, input_shapes={"x": list(X)})
