"""Small networks as exporters write them, with seeded He-initialised weights.

Each function builds one ONNX model in the habits of an exporter: batch norms unfolded, dynamic
batches with shape arithmetic, ReLU6 as Clip, activations spelled out in primitives.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["MODELS", "Builder", "samples"]

MODELS: dict[str, Callable[[], onnx.ModelProto]] = {}


class Builder:
    """Appends nodes with fresh names; every method gives its output's name."""

    def __init__(self, seed: int, opset: int = 17) -> None:
        self.rng = np.random.default_rng(seed)
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes):
        names = [f"{kind.lower()}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, array) -> str:
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def floats(self, array) -> str:
        return self.constant(np.asarray(array, np.float32))

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def conv(self, x: str, cin: int, cout: int, k=3, *, bias=True, group=1, **attributes) -> str:
        kernel = (k,) * 2 if isinstance(k, int) else tuple(k)
        attributes.setdefault("pads", [n // 2 for n in kernel] * 2)
        fan_in = cin // group * int(np.prod(kernel))
        w = self.rng.normal(size=(cout, cin // group, *kernel)) * np.sqrt(2 / fan_in)
        inputs = [x, self.floats(w)]
        if bias:
            inputs.append(self.floats(self.rng.normal(size=cout) * 0.1))
        return self.op("Conv", *inputs, group=group, kernel_shape=kernel, **attributes)

    def batch_norm(self, x: str, channels: int) -> str:
        scale, bias, mean = (self.rng.normal(m, 0.2, channels) for m in (1, 0, 0))
        variance = self.rng.uniform(0.5, 2, channels)
        return self.op("BatchNormalization", x, *map(self.floats, (scale, bias, mean, variance)))

    def conv_bn_relu(self, x: str, cin: int, cout: int, k=3, **attributes) -> str:
        y = self.conv(x, cin, cout, k, bias=False, **attributes)
        return self.op("Relu", self.batch_norm(y, cout))

    def affine(self, *shape: int) -> tuple[str, str]:
        scale, bias = (self.rng.normal(mean, 0.2, shape) for mean in (1, 0))
        return self.floats(scale), self.floats(bias)

    def relu6(self, x: str) -> str:
        return self.op("Clip", x, self.floats(0), self.floats(6))

    def dense(self, x: str, cin: int, cout: int) -> str:
        w = self.rng.normal(size=(cout, cin)) * np.sqrt(2 / cin)
        b = self.rng.normal(size=cout) * 0.1
        return self.op("Gemm", x, self.floats(w), self.floats(b), transB=1)

    def recurrent(self, kind: str, x: str, cin: int, hidden: int, **attributes) -> list[str]:
        """Y and Y_h of a layer, time first, with weights as wide as trained ones."""
        count = 2 if attributes.get("direction") == "bidirectional" else 1
        rows = {"RNN": 1, "GRU": 3, "LSTM": 4}[kind] * hidden
        w, r, bias = (
            self.floats(self.rng.uniform(-2, 2, (count, *shape)) / np.sqrt(hidden))
            for shape in ((rows, cin), (rows, hidden), (2 * rows,))
        )
        return self.op(kind, x, w, r, bias, outputs=2, hidden_size=hidden, **attributes)

    def head(self, x: str, channels: int, classes: int = 10) -> str:
        pooled = self.op("Flatten", self.op("GlobalAveragePool", x))
        return self.dense(pooled, channels, classes)

    def model(self, shape: list[int | str], outputs: str | list[str]) -> onnx.ModelProto:
        outputs = [outputs] if isinstance(outputs, str) else outputs
        graph = helper.make_graph(
            self.nodes,
            "exported",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs],
            self.initializers,
        )
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def listed(build: Callable[[], onnx.ModelProto]) -> Callable[[], onnx.ModelProto]:
    MODELS[build.__name__] = build
    return build


def samples(model: onnx.ModelProto, count: int, seed: int) -> np.ndarray:
    """Data such as the model's input takes: smooth images, or 0..255 where it divides by 255."""
    shape = [d.dim_value or 1 for d in model.graph.input[0].type.tensor_type.shape.dim][1:]
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, *shape))
    for axis in range(2, x.ndim):
        x = (x + np.roll(x, 1, axis) + np.roll(x, 2, axis)) / np.sqrt(3)
    x = x * rng.uniform(0.5, 1.5, (count,) + (1,) * len(shape))
    if "raw" in model.graph.doc_string:
        x = np.clip(x * 64 + 128, 0, 255).round()
    return x.astype(np.float32)


@listed
def plain_cnn() -> onnx.ModelProto:
    b = Builder(1)
    x = b.op("Relu", b.conv("x", 3, 16))
    x = b.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = b.op("Relu", b.conv(x, 16, 24))
    x = b.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = b.op("Relu", b.dense(b.op("Flatten", x), 24 * 16, 32))
    return b.model([1, 3, 16, 16], b.op("Softmax", b.dense(x, 32, 10), axis=1))


@listed
def torch_flatten_by_shape_arithmetic() -> onnx.ModelProto:
    b = Builder(2)
    x = b.conv_bn_relu("x", 3, 12, strides=[2, 2])
    x = b.conv_bn_relu(x, 12, 20, strides=[2, 2])
    batch = b.op("Gather", b.op("Shape", x), b.constant(np.int64(0)), axis=0)
    target = b.op("Concat", b.op("Unsqueeze", batch, b.integers(0)), b.integers(-1), axis=0)
    return b.model(["N", 3, 16, 16], b.dense(b.op("Reshape", x, target), 20 * 16, 7))


@listed
def resnet_with_unfolded_batch_norm() -> onnx.ModelProto:
    b = Builder(3)
    x = b.conv_bn_relu("x", 3, 16)
    for cin, cout, stride in ((16, 16, 1), (16, 32, 2), (32, 32, 1)):
        y = b.conv_bn_relu(x, cin, cout, strides=[stride] * 2)
        y = b.batch_norm(b.conv(y, cout, cout, bias=False), cout)
        if cin != cout:
            short = b.conv(x, cin, cout, 1, bias=False, strides=[stride] * 2)
            x = b.batch_norm(short, cout)
        x = b.op("Relu", b.op("Add", y, x))
    return b.model(["N", 3, 16, 16], b.head(x, 32))


@listed
def preactivation_resnet() -> onnx.ModelProto:
    b = Builder(4)
    x = b.conv("x", 3, 16)
    for _ in range(3):
        y = b.conv(b.op("Relu", b.batch_norm(x, 16)), 16, 16)
        y = b.conv(b.op("Relu", b.batch_norm(y, 16)), 16, 16)
        x = b.op("Add", x, y)
    return b.model(["N", 3, 12, 12], b.head(b.op("Relu", b.batch_norm(x, 16)), 16))


@listed
def mobilenet_v1_relu6() -> onnx.ModelProto:
    b = Builder(5)
    x = b.relu6(b.batch_norm(b.conv("x", 3, 8, bias=False, strides=[2, 2]), 8))
    for cin, cout, stride in ((8, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2)):
        y = b.conv(x, cin, cin, bias=False, group=cin, strides=[stride] * 2)
        x = b.relu6(b.batch_norm(y, cin))
        x = b.relu6(b.batch_norm(b.conv(x, cin, cout, 1, bias=False), cout))
    return b.model(["N", 3, 32, 32], b.head(x, 64))


@listed
def mobilenet_v2_inverted_residuals() -> onnx.ModelProto:
    b = Builder(6)
    x = b.relu6(b.conv("x", 3, 16, strides=[2, 2]))
    for _ in range(3):
        y = b.relu6(b.conv(x, 16, 64, 1))
        y = b.relu6(b.conv(y, 64, 64, group=64))
        x = b.op("Add", x, b.conv(y, 64, 16, 1))
    return b.model(["N", 3, 24, 24], b.head(b.relu6(b.conv(x, 16, 64, 1)), 64))


@listed
def squeeze_excite_hard_swish() -> onnx.ModelProto:
    b = Builder(7)
    x = b.op("HardSwish", b.conv("x", 3, 16))
    y = b.op("GlobalAveragePool", x)
    y = b.op("Relu", b.conv(y, 16, 8, 1))
    y = b.op("HardSigmoid", b.conv(y, 8, 16, 1), alpha=1 / 6)
    x = b.op("HardSwish", b.conv(b.op("Mul", x, y), 16, 32, strides=[2, 2]))
    return b.model(["N", 3, 16, 16], b.head(x, 32))


@listed
def hard_swish_in_primitives() -> onnx.ModelProto:
    b = Builder(8)

    def hard_swish(x: str) -> str:
        gate = b.relu6(b.op("Add", x, b.floats(3)))
        return b.op("Div", b.op("Mul", x, gate), b.floats(6))

    x = hard_swish(b.conv("x", 3, 16))
    x = hard_swish(b.conv(x, 16, 16, group=16))
    return b.model([1, 3, 16, 16], b.head(hard_swish(b.conv(x, 16, 32, 1)), 32))


@listed
def efficientnet_silu() -> onnx.ModelProto:
    b = Builder(9)

    def silu(x: str) -> str:
        return b.op("Mul", x, b.op("Sigmoid", x))

    x = silu(b.batch_norm(b.conv("x", 3, 16, bias=False, strides=[2, 2]), 16))
    y = silu(b.conv(x, 16, 48, 1))
    y = silu(b.conv(y, 48, 48, 5, group=48))
    gate = b.op("ReduceMean", y, axes=[2, 3], keepdims=1)
    gate = b.op("Sigmoid", b.conv(silu(b.conv(gate, 48, 4, 1)), 4, 48, 1))
    x = b.op("Add", x, b.conv(b.op("Mul", y, gate), 48, 16, 1))
    return b.model(["N", 3, 20, 20], b.head(x, 16))


@listed
def densenet_concats() -> onnx.ModelProto:
    b = Builder(10)
    x, channels = b.conv("x", 3, 12), 12
    for _ in range(4):
        y = b.op("Relu", b.batch_norm(x, channels))
        x = b.op("Concat", x, b.conv(y, channels, 8, bias=False), axis=1)
        channels += 8
    x = b.op("AveragePool", b.conv_bn_relu(x, channels, 24, 1), kernel_shape=[2, 2], strides=[2, 2])
    return b.model(["N", 3, 12, 12], b.head(x, 24))


@listed
def squeezenet_fire() -> onnx.ModelProto:
    b = Builder(11)
    x = b.op("Relu", b.conv("x", 3, 16, strides=[2, 2]))
    for cin in (16, 32):
        s = b.op("Relu", b.conv(x, cin, 8, 1))
        parts = [b.op("Relu", b.conv(s, 8, 16, k)) for k in (1, 3)]
        x = b.op("Concat", *parts, axis=1)
        x = b.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    x = b.op("Relu", b.conv(x, 32, 10, 1))
    return b.model([1, 3, 33, 33], b.op("Softmax", b.op("Flatten", b.op("GlobalAveragePool", x))))


@listed
def shufflenet_channel_shuffle() -> onnx.ModelProto:
    b = Builder(12)
    x = b.conv_bn_relu("x", 3, 24, strides=[2, 2])
    y = b.conv_bn_relu(x, 24, 24, 1, group=3)
    y = b.op("Reshape", y, b.integers(-1, 3, 8, 8, 8))
    y = b.op("Transpose", y, perm=[0, 2, 1, 3, 4])
    y = b.op("Reshape", y, b.integers(-1, 24, 8, 8))
    y = b.batch_norm(b.conv(y, 24, 24, bias=False, group=24), 24)
    x = b.op("Relu", b.op("Add", x, b.conv(y, 24, 24, 1, group=3)))
    return b.model(["N", 3, 16, 16], b.head(x, 24))


@listed
def raw_pixels() -> onnx.ModelProto:
    b = Builder(13)
    x = b.op("Div", "x", b.floats(255))
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    x = b.op("Sub", x, b.floats(np.reshape(mean, (3, 1, 1))))
    x = b.op("Div", x, b.floats(np.reshape(std, (3, 1, 1))))
    x = b.conv_bn_relu(x, 3, 16, strides=[2, 2])
    model = b.model(["N", 3, 20, 20], b.head(b.conv_bn_relu(x, 16, 24), 24))
    model.graph.doc_string = "raw pixels"
    return model


@listed
def one_dimensional_convolutions() -> onnx.ModelProto:
    b = Builder(14)
    x = b.conv_bn_relu("x", 6, 16, (5,), strides=[2])
    x = b.op("MaxPool", x, kernel_shape=[3], strides=[2], pads=[1, 1])
    y = b.conv_bn_relu(x, 16, 16, (3,), dilations=[2], pads=[2, 2])
    x = b.op("Add", x, y)
    return b.model(["N", 6, 64], b.dense(b.op("ReduceMean", x, axes=[2], keepdims=0), 16, 5))


@listed
def depthwise_keyword_spotting() -> onnx.ModelProto:
    b = Builder(15)
    x = b.conv_bn_relu("x", 1, 32, (10, 4), strides=[2, 2], pads=[4, 1, 5, 1])
    for _ in range(2):
        x = b.conv_bn_relu(x, 32, 32, group=32)
        x = b.conv_bn_relu(x, 32, 32, 1)
    x = b.op("AveragePool", x, kernel_shape=[25, 5])
    x = b.op("Squeeze", x, b.integers(2, 3))
    return b.model([1, 1, 49, 10], b.op("Softmax", b.dense(x, 32, 12)))


@listed
def dense_autoencoder_with_mul_and_add() -> onnx.ModelProto:
    b = Builder(16)
    x = "x"
    for cin, cout in ((128, 64), (64, 8), (8, 64)):
        w = b.floats(b.rng.normal(size=(cin, cout)) * np.sqrt(2 / cin))
        x = b.op("Mul", b.op("MatMul", x, w), b.floats(b.rng.uniform(0.5, 1.5, cout)))
        x = b.op("Relu", b.op("Add", x, b.floats(b.rng.normal(size=cout) * 0.1)))
    return b.model(["N", 128], b.dense(x, 64, 128))


@listed
def mlp_of_many_activations() -> onnx.ModelProto:
    b = Builder(17)
    x = b.op("Tanh", b.dense("x", 32, 48))
    x = b.op("Elu", b.dense(x, 48, 48), alpha=0.8)
    x = b.op("Selu", b.dense(x, 48, 48))
    x = b.op("Softplus", b.dense(x, 48, 48))
    x = b.op("LeakyRelu", b.dense(x, 48, 32), alpha=0.1)
    return b.model(["N", 32], b.op("Sigmoid", b.dense(x, 32, 4)))


@listed
def prelu_face_embedding() -> onnx.ModelProto:
    b = Builder(18)

    def prelu(x: str, channels: int) -> str:
        return b.op("PRelu", x, b.floats(b.rng.uniform(0, 0.5, (channels, 1, 1))))

    x = prelu(b.batch_norm(b.conv("x", 3, 16, bias=False, strides=[2, 2]), 16), 16)
    x = prelu(b.conv(x, 16, 32, strides=[2, 2]), 32)
    return b.model(["N", 3, 24, 24], b.dense(b.op("Flatten", x), 32 * 36, 16))


@listed
def gelu_mixer_by_erf() -> onnx.ModelProto:
    b = Builder(19)

    def gelu(x: str) -> str:
        gate = b.op("Add", b.op("Erf", b.op("Div", x, b.floats(np.sqrt(2)))), b.floats(1))
        return b.op("Mul", b.op("Mul", x, gate), b.floats(0.5))

    x = b.conv("x", 3, 24, 4, strides=[4, 4], pads=[0] * 4)
    x = b.batch_norm(gelu(x), 24)
    for _ in range(2):
        x = b.op("Add", x, b.batch_norm(gelu(b.conv(x, 24, 24, 5, group=24)), 24))
        x = b.batch_norm(gelu(b.conv(x, 24, 24, 1)), 24)
    return b.model(["N", 3, 24, 24], b.head(x, 24))


@listed
def upsampling_decoder() -> onnx.ModelProto:
    b = Builder(20)
    down = b.conv_bn_relu("x", 3, 16, strides=[2, 2])
    low = b.conv_bn_relu(down, 16, 24, strides=[2, 2])
    up = b.op("Resize", low, "", b.floats([1, 1, 2, 2]), mode="nearest")
    x = b.conv_bn_relu(b.op("Concat", up, down, axis=1), 40, 16)
    x = b.op("DepthToSpace", b.conv(x, 16, 8), blocksize=2, mode="CRD")
    return b.model(["N", 3, 16, 16], b.op("Sigmoid", x))


@listed
def two_outputs_and_slices() -> onnx.ModelProto:
    b = Builder(21)
    x = b.conv_bn_relu("x", 4, 16)
    left, right = b.op("Split", x, b.integers(8, 8), outputs=2, axis=1)
    x = b.op("Max", b.conv(left, 8, 8), b.op("Tanh", right))
    x = b.op("Pad", x, b.integers(0, 0, 1, 1, 0, 0, 1, 1), mode="reflect")
    x = b.op("Slice", x, b.integers(1), b.integers(-1), b.integers(3))
    return b.model(["N", 4, 10, 10], [b.head(x, 8, 3), b.op("ReduceMax", x, axes=[2, 3])])


@listed
def stereo_regression_with_sub_and_mul() -> onnx.ModelProto:
    b = Builder(22)
    x = b.conv_bn_relu("x", 2, 16)
    y = b.conv_bn_relu(x, 16, 16)
    difference, product = b.op("Sub", x, y), b.op("Mul", x, y)
    x = b.op("Concat", difference, product, axis=1)
    return b.model(["N", 2, 12, 12], b.head(b.conv_bn_relu(x, 32, 16), 16, 1))


def transformer(seed: int, norm: Callable[[Builder, str, int], str]) -> onnx.ModelProto:
    """Two blocks of attention with two heads, with ``norm`` before each of their halves."""
    b = Builder(seed)
    count, width, heads = 16, 24, 2

    def linear(x: str, cin: int, cout: int) -> str:
        w = b.floats(b.rng.normal(size=(cin, cout)) / np.sqrt(cin))
        return b.op("Add", b.op("MatMul", x, w), b.floats(b.rng.normal(size=cout) * 0.1))

    def head_first(x: str, *order: int) -> str:
        apart = b.op("Reshape", x, b.integers(0, count, heads, width // heads))
        return b.op("Transpose", apart, perm=order)

    x = b.op(
        "Reshape",
        b.conv("x", 3, width, 4, strides=[4, 4], pads=[0] * 4),
        b.integers(0, width, count),
    )
    x = b.op("Transpose", x, perm=[0, 2, 1])
    for _ in range(2):
        y = norm(b, x, width)
        query = head_first(linear(y, width, width), 0, 2, 1, 3)
        key = head_first(linear(y, width, width), 0, 2, 3, 1)
        value = head_first(linear(y, width, width), 0, 2, 1, 3)
        scores = b.op("Mul", b.op("MatMul", query, key), b.floats((width // heads) ** -0.5))
        seen = b.op("MatMul", b.op("Softmax", scores, axis=-1), value)
        seen = b.op(
            "Reshape", b.op("Transpose", seen, perm=[0, 2, 1, 3]), b.integers(0, count, width)
        )
        x = b.op("Add", x, linear(seen, width, width))
        hidden = b.op("Relu", linear(norm(b, x, width), width, 2 * width))
        x = b.op("Add", x, linear(hidden, 2 * width, width))
    return b.model(["N", 3, 16, 16], b.dense(b.op("ReduceMean", x, axes=[1], keepdims=0), width, 5))


@listed
def transformer_of_two_heads() -> onnx.ModelProto:
    return transformer(24, lambda b, x, width: x)


@listed
def transformer_of_layer_norms_in_primitives() -> onnx.ModelProto:
    def layer_norm(b: Builder, x: str, width: int) -> str:
        centered = b.op("Sub", x, b.op("ReduceMean", x, axes=[-1]))
        variance = b.op("ReduceMean", b.op("Pow", centered, b.floats(2)), axes=[-1])
        y = b.op("Div", centered, b.op("Sqrt", b.op("Add", variance, b.floats(1e-5))))
        scale, bias = b.affine(width)
        return b.op("Add", b.op("Mul", y, scale), bias)

    return transformer(25, layer_norm)


@listed
def transformer_of_rms_norms() -> onnx.ModelProto:
    def rms_norm(b: Builder, x: str, width: int) -> str:
        squares = b.op("ReduceMean", b.op("Pow", x, b.floats(2)), axes=[-1])
        root = b.op("Sqrt", b.op("Add", squares, b.floats(1e-6)))
        y = b.op("Mul", x, b.op("Div", b.floats(1), root))
        return b.op("Mul", b.floats(b.rng.normal(1, 0.2, width)), y)

    return transformer(26, rms_norm)


@listed
def convnext_of_layer_norms() -> onnx.ModelProto:
    b = Builder(27)
    width = 24

    def layer_norm(x: str) -> str:
        return b.op("LayerNormalization", x, *b.affine(width), axis=-1, epsilon=1e-6)

    def linear(x: str, cin: int, cout: int) -> str:
        w = b.floats(b.rng.normal(size=(cin, cout)) / np.sqrt(cin))
        return b.op("Add", b.op("MatMul", x, w), b.floats(b.rng.normal(size=cout) * 0.1))

    x = b.conv("x", 3, width, 4, strides=[4, 4], pads=[0] * 4)
    x = b.op("Transpose", layer_norm(b.op("Transpose", x, perm=[0, 2, 3, 1])), perm=[0, 3, 1, 2])
    for _ in range(2):
        y = b.op("Transpose", b.conv(x, width, width, 7, group=width), perm=[0, 2, 3, 1])
        y = linear(layer_norm(y), width, 4 * width)
        gate = b.op("Add", b.op("Erf", b.op("Div", y, b.floats(np.sqrt(2)))), b.floats(1))
        y = b.op("Mul", b.op("Mul", y, gate), b.floats(0.5))
        y = b.op("Transpose", linear(y, 4 * width, width), perm=[0, 3, 1, 2])
        x = b.op("Add", x, b.op("Mul", b.floats(b.rng.uniform(0.1, 0.5, (width, 1, 1))), y))
    x = b.op("Flatten", b.op("GlobalAveragePool", x))
    return b.model(["N", 3, 32, 32], b.dense(layer_norm(x), width, 10))


@listed
def resnet_of_group_norms() -> onnx.ModelProto:
    b = Builder(28)

    def group_norm(x: str, channels: int, groups: int = 4) -> str:
        y = b.op("Reshape", x, b.integers(0, groups, -1))
        one, zero = b.floats(np.ones(groups)), b.floats(np.zeros(groups))
        y = b.op("Reshape", b.op("InstanceNormalization", y, one, zero), b.op("Shape", x))
        scale, bias = b.affine(channels, 1, 1)
        return b.op("Add", b.op("Mul", y, scale), bias)

    x = b.op("Relu", group_norm(b.conv("x", 3, 16, bias=False), 16))
    for cin, cout, stride in ((16, 16, 1), (16, 32, 2)):
        y = b.conv(x, cin, cout, bias=False, strides=[stride] * 2)
        y = group_norm(b.conv(b.op("Relu", group_norm(y, cout)), cout, cout, bias=False), cout)
        if cin != cout:
            x = group_norm(b.conv(x, cin, cout, 1, bias=False, strides=[stride] * 2), cout)
        x = b.op("Relu", b.op("Add", y, x))
    return b.model(["N", 3, 16, 16], b.head(x, 32))


@listed
def style_transfer_of_instance_norms() -> onnx.ModelProto:
    b = Builder(29)

    def conv(x: str, cin: int, cout: int, stride: int = 1) -> str:
        padded = b.op("Pad", x, b.integers(0, 0, 1, 1, 0, 0, 1, 1), mode="reflect")
        y = b.conv(padded, cin, cout, pads=[0] * 4, strides=[stride] * 2)
        return b.op("InstanceNormalization", y, *b.affine(cout))

    first = b.op("Relu", conv("x", 3, 12))
    x = b.op("Relu", conv(first, 12, 24, 2))
    for _ in range(2):
        x = b.op("Add", x, conv(b.op("Relu", conv(x, 24, 24)), 24, 24))
    x = b.op("Resize", x, "", b.floats([1, 1, 2, 2]), mode="nearest")
    x = b.op("Relu", conv(x, 24, 12))
    return b.model(["N", 3, 16, 16], b.op("Tanh", b.conv(x, 12, 3)))


@listed
def face_embedding_of_unit_length() -> onnx.ModelProto:
    b = Builder(30)
    x = b.conv_bn_relu("x", 3, 16, strides=[2, 2])
    x = b.conv_bn_relu(x, 16, 32, strides=[2, 2])
    x = b.dense(b.op("Flatten", x), 32 * 36, 24)
    length = b.op("Clip", b.op("ReduceL2", x, axes=[1], keepdims=1), b.floats(1e-12))
    return b.model(["N", 3, 24, 24], b.op("Div", x, b.op("Expand", length, b.op("Shape", x))))


@listed
def unet_of_transposed_convolutions() -> onnx.ModelProto:
    b = Builder(23)

    def up(x: str, cin: int, cout: int, k: int, **attributes) -> str:
        w = b.rng.normal(size=(cin, cout, k, k)) * np.sqrt(8 / (cin * k * k))
        bias = b.rng.normal(size=cout) * 0.1
        return b.op("ConvTranspose", x, b.floats(w), b.floats(bias), strides=[2, 2], **attributes)

    first = b.conv_bn_relu("x", 3, 16)
    second = b.conv_bn_relu(b.op("MaxPool", first, kernel_shape=[2, 2], strides=[2, 2]), 16, 24)
    low = b.conv_bn_relu(second, 24, 32, strides=[2, 2])
    x = b.op("Relu", b.batch_norm(up(low, 32, 24, 2), 24))
    x = b.conv_bn_relu(b.op("Concat", x, second, axis=1), 48, 24)
    x = b.op("Relu", up(x, 24, 16, 4, pads=[1, 1, 1, 1]))
    x = b.conv_bn_relu(b.op("Concat", x, first, axis=1), 32, 16)
    return b.model(["N", 3, 16, 16], b.op("Sigmoid", b.conv(x, 16, 2, 1)))


@listed
def unet_of_linear_resizes() -> onnx.ModelProto:
    b = Builder(29)

    def twice(x: str) -> str:
        return b.op("Resize", x, "", b.floats([1, 1, 2, 2]), mode="linear")

    first = b.conv_bn_relu("x", 3, 8)
    second = b.conv_bn_relu(b.op("MaxPool", first, kernel_shape=[2, 2], strides=[2, 2]), 8, 16)
    low = b.conv_bn_relu(second, 16, 24, strides=[2, 2])
    x = b.conv_bn_relu(b.op("Concat", twice(low), second, axis=1), 40, 16)
    x = b.conv_bn_relu(b.op("Concat", twice(x), first, axis=1), 24, 8)
    return b.model(["N", 3, 16, 16], b.conv(x, 8, 3, 1))


@listed
def segmentation_by_interpolation() -> onnx.ModelProto:
    b = Builder(24)

    def resized(x: str, size: int, mode: str, channels: int, how: str) -> str:
        sizes = b.integers(1, channels, size, size)
        return b.op("Resize", x, "", "", sizes, mode=mode, coordinate_transformation_mode=how)

    first = b.conv_bn_relu("x", 3, 16, strides=[2, 2])
    low = b.conv_bn_relu(first, 16, 24, strides=[2, 2])
    pooled = b.op("Relu", b.conv(b.op("GlobalAveragePool", low), 24, 8, 1))
    x = b.op("Concat", low, resized(pooled, 5, "linear", 8, "half_pixel"), axis=1)
    up = resized(b.conv_bn_relu(x, 32, 16), 10, "linear", 16, "align_corners")
    x = b.conv_bn_relu(b.op("Add", up, first), 16, 16)
    x = resized(b.conv(x, 16, 5, 1), 20, "cubic", 5, "half_pixel")
    return b.model([1, 3, 20, 20], resized(x, 33, "linear", 5, "pytorch_half_pixel"))


@listed
def video_of_volumes() -> onnx.ModelProto:
    b = Builder(25)
    x = b.op("Relu", b.batch_norm(b.conv("x", 3, 16, (3, 3, 3)), 16))
    x = b.op("MaxPool", x, kernel_shape=[1, 2, 2], strides=[1, 2, 2])
    y = b.op("Relu", b.batch_norm(b.conv(x, 16, 16, (1, 3, 3)), 16))
    x = b.op("Add", x, b.conv(y, 16, 16, (3, 1, 1)))
    x = b.op("Relu", b.conv(x, 16, 24, (3, 3, 3), strides=[2, 1, 1], group=2))
    x = b.op("AveragePool", x, kernel_shape=[2, 2, 2], strides=[2, 2, 2])
    return b.model(["N", 3, 8, 12, 12], b.head(x, 24))


@listed
def crnn_of_bidirectional_lstms() -> onnx.ModelProto:
    b = Builder(28)
    x = b.conv_bn_relu("x", 1, 12, strides=[2, 1])
    x = b.conv_bn_relu(x, 12, 16, strides=[2, 1])
    x = b.op("MaxPool", x, kernel_shape=[2, 1], strides=[2, 1])
    x = b.op("Transpose", b.op("Squeeze", x, b.integers(2)), perm=[2, 0, 1])
    for cin in (16, 32):
        y, _ = b.recurrent("LSTM", x, cin, 16, direction="bidirectional")
        x = b.op("Transpose", y, perm=[0, 2, 1, 3])
        x = b.op("Reshape", x, b.integers(0, 0, -1))
    x = b.op("Transpose", x, perm=[1, 0, 2])
    w, bias = b.floats(b.rng.normal(size=(32, 11)) * 0.3), b.floats(b.rng.normal(size=11) * 0.1)
    return b.model(["N", 1, 8, 12], b.op("Add", b.op("MatMul", x, w), bias))


@listed
def keyword_spotting_by_stacked_grus() -> onnx.ModelProto:
    b = Builder(27)
    x = b.op("Transpose", "x", perm=[1, 0, 2])
    y, _ = b.recurrent("GRU", x, 10, 24, linear_before_reset=1)
    _, last = b.recurrent("GRU", b.op("Squeeze", y, b.integers(1)), 24, 20, linear_before_reset=1)
    x = b.dense(b.op("Squeeze", last, b.integers(0)), 20, 12)
    return b.model(["N", 16, 10], b.op("Softmax", x, axis=-1))
