"""Models of TensorFlow Lite's with one operator each, of floats, as cases for who reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgeinfer.converters.tflite.model import Model, Operator, Tensor
from edgeinfer.converters.tflite.writing import serialize

__all__ = ["CASES", "Case", "Shape"]

Shape = tuple[int, ...]
IMAGE = (1, 7, 6, 4)


@dataclass(frozen=True)
class Case:
    """An operator, what it takes, and the shapes of what it gives.

    An operand that is a shape is an input of floats, or of ``dtype``.
    """

    operator: str
    operands: tuple[Shape | np.ndarray | None, ...]
    results: tuple[Shape, ...]
    options: Mapping[str, float] = field(default_factory=dict)
    positive: bool = False
    results_dtype: str = "float32"

    def content(self) -> bytes:
        """The file."""
        tensors, inputs = [], []
        for i, operand in enumerate(self.operands):
            if operand is None:
                inputs.append(-1)
                continue
            constant = isinstance(operand, np.ndarray)
            shape = operand.shape if constant else operand
            dtype = operand.dtype if constant else np.dtype(np.float32)
            inputs.append(len(tensors))
            tensors.append(
                Tensor(f"a{i}", shape, dtype, False, None, operand if constant else None)
            )
        outputs = range(len(tensors), len(tensors) + len(self.results))
        dtype = np.dtype(self.results_dtype)
        tensors += [
            Tensor(f"y{i}", s, dtype, False, None, None) for i, s in enumerate(self.results)
        ]
        given = tuple(i for i in inputs if i >= 0 and tensors[i].data is None)
        labels = {i: tensors[i].name for i in (*given, *outputs)}
        node = Operator(self.operator, self.options, tuple(inputs), tuple(outputs))
        model = Model("case", tensors, [node], given, tuple(outputs), labels)
        return serialize(model, {"BROADCAST_TO": 2}, {}, "a test")

    def feeds(self, seed: int = 0) -> dict[str, np.ndarray]:
        """Numbers for the inputs."""
        rng = np.random.default_rng(seed)
        found = {}
        for i, operand in enumerate(self.operands):
            if isinstance(operand, tuple):
                array = rng.normal(size=operand).astype(np.float32)
                found[f"a{i}"] = np.abs(array) + np.float32(0.1) if self.positive else array
        return found


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def whole(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int32)


def windows(padding: int, strides: Sequence[int], activation: int = 0) -> dict[str, float]:
    return {
        "Padding": padding,
        "StrideH": strides[0],
        "StrideW": strides[1],
        "FusedActivationFunction": activation,
    }


SAME, VALID = 0, 1
_DILATED = {"DilationHFactor": 2, "DilationWFactor": 1}
_PLAIN = {"DilationHFactor": 1, "DilationWFactor": 1}
_POOL = {"FilterHeight": 3, "FilterWidth": 2}
_HALF = {"HalfPixelCenters": True, "AlignCorners": False}
_CORNERS = {"HalfPixelCenters": False, "AlignCorners": True}
_NEITHER = {"HalfPixelCenters": False, "AlignCorners": False}

_UNARY = (
    *("ABS", "CEIL", "COS", "ELU", "EXP", "FLOOR", "HARD_SWISH", "LOGISTIC", "LOG_SOFTMAX"),
    *("L2_NORMALIZATION", "NEG", "RELU", "RELU6", "RELU_N1_TO_1", "ROUND", "SIGN", "SIN"),
    *("SQUARE", "TANH"),
)
_OF_POSITIVE = ["LOG", "RSQRT", "SQRT"]
_OF_TWO = ["ADD", "DIV", "MAXIMUM", "MINIMUM", "MUL", "SQUARED_DIFFERENCE", "SUB"]

CASES = {
    "conv": Case(
        "CONV_2D",
        (IMAGE, floats(5, 3, 2, 4), floats(5)),
        ((1, 4, 6, 5),),
        windows(SAME, (2, 1), 1) | _PLAIN,
    ),
    "conv dilated": Case(
        "CONV_2D",
        (IMAGE, floats(5, 3, 2, 4), floats(5)),
        ((1, 3, 5, 5),),
        windows(VALID, (1, 1), 3) | _DILATED,
    ),
    "conv by group": Case(
        "CONV_2D",
        (IMAGE, floats(6, 3, 3, 2), floats(6)),
        ((1, 7, 6, 6),),
        windows(SAME, (1, 1), 2) | _PLAIN,
    ),
    "depthwise": Case(
        "DEPTHWISE_CONV_2D",
        (IMAGE, floats(1, 3, 3, 8), floats(8)),
        ((1, 4, 3, 8),),
        windows(SAME, (2, 2)) | _PLAIN | {"DepthMultiplier": 2},
    ),
    "transposed": Case(
        "TRANSPOSE_CONV",
        (whole(1, 14, 12, 5), floats(5, 3, 3, 4), IMAGE),
        ((1, 14, 12, 5),),
        {"Padding": SAME, "StrideH": 2, "StrideW": 2},
    ),
    "transposed without padding": Case(
        "TRANSPOSE_CONV",
        (whole(1, 16, 13, 5), floats(5, 4, 3, 4), IMAGE, floats(5)),
        ((1, 16, 13, 5),),
        {"Padding": VALID, "StrideH": 2, "StrideW": 2},
    ),
    "dense": Case(
        "FULLY_CONNECTED",
        ((3, 8), floats(5, 8), floats(5)),
        ((3, 5),),
        {"FusedActivationFunction": 1},
    ),
    "dense flattens": Case(
        "FULLY_CONNECTED", ((2, 3, 4), floats(5, 12), None), ((2, 5),), {"KeepNumDims": False}
    ),
    "dense keeps axes": Case(
        "FULLY_CONNECTED", ((2, 3, 8), floats(5, 8), floats(5)), ((2, 3, 5),), {"KeepNumDims": True}
    ),
    "dense of two values": Case(
        "FULLY_CONNECTED", ((3, 8), (5, 8), None), ((3, 5),), {"KeepNumDims": False}
    ),
    "product": Case(
        "BATCH_MATMUL", ((2, 3, 4), (2, 5, 4)), ((2, 3, 5),), {"AdjX": False, "AdjY": True}
    ),
    "average": Case("AVERAGE_POOL_2D", (IMAGE,), ((1, 4, 3, 4),), windows(SAME, (2, 2)) | _POOL),
    "largest": Case("MAX_POOL_2D", (IMAGE,), ((1, 3, 5, 4),), windows(VALID, (2, 1), 1) | _POOL),
    **{name: Case(name, ((2, 3, 5),), ((2, 3, 5),)) for name in _UNARY},
    **{name: Case(name, ((2, 3, 5),), ((2, 3, 5),), positive=True) for name in _OF_POSITIVE},
    **{name: Case(name, ((2, 3, 5), (3, 1)), ((2, 3, 5),)) for name in _OF_TWO},
    "add and clamp": Case("ADD", ((2, 3), floats(3)), ((2, 3),), {"FusedActivationFunction": 3}),
    "power": Case("POW", ((2, 3), np.array([1.5], np.float32)), ((2, 3),), positive=True),
    "softmax": Case("SOFTMAX", ((2, 3, 5),), ((2, 3, 5),), {"Beta": 0.5}),
    "leaky": Case("LEAKY_RELU", ((2, 5),), ((2, 5),), {"Alpha": 0.3}),
    "prelu": Case("PRELU", (IMAGE, floats(1, 1, 4)), (IMAGE,)),
    "gelu": Case("GELU", ((2, 5),), ((2, 5),), {"Approximate": False}),
    "gelu by tanh": Case("GELU", ((2, 5),), ((2, 5),), {"Approximate": True}),
    "reshape": Case("RESHAPE", (IMAGE, whole(7, 24)), ((7, 24),)),
    "squeeze": Case("SQUEEZE", ((1, 3, 1, 5),), ((3, 5),)),
    "expand": Case("EXPAND_DIMS", ((3, 5), whole(1)), ((3, 1, 5),)),
    "transpose": Case("TRANSPOSE", (IMAGE, whole(0, 3, 1, 2)), ((1, 4, 7, 6),)),
    "tile": Case("TILE", ((2, 3), whole(2, 3)), ((4, 9),)),
    "broadcast": Case("BROADCAST_TO", ((1, 3), whole(4, 3)), ((4, 3),)),
    "reverse": Case("REVERSE_V2", ((2, 5), whole(1)), ((2, 5),)),
    "depth to space": Case("DEPTH_TO_SPACE", (IMAGE,), ((1, 14, 12, 1),), {"BlockSize": 2}),
    "space to depth": Case("SPACE_TO_DEPTH", ((1, 6, 4, 3),), ((1, 3, 2, 12),), {"BlockSize": 2}),
    "slice": Case("SLICE", (IMAGE, whole(0, 1, 2, 0), whole(1, 3, -1, 2)), ((1, 3, 4, 2),)),
    "strided slice": Case(
        "STRIDED_SLICE",
        (IMAGE, whole(0, -2, 5, 0), whole(1, 0, 1, 9), whole(1, -2, -3, 1)),
        ((1, 3, 2, 4),),
        {"EndMask": 0b1000, "BeginMask": 0b1001},
    ),
    "strided slice of one": Case(
        "STRIDED_SLICE",
        ((3, 5), whole(-1, 1), whole(0, 4), whole(1, 1)),
        ((3,),),
        {"ShrinkAxisMask": 1},
    ),
    "split": Case("SPLIT", (np.array(1, np.int32), (2, 6)), ((2, 3), (2, 3)), {"NumSplits": 2}),
    "split by sizes": Case(
        "SPLIT_V",
        ((2, 6), whole(1, 5), np.array(-1, np.int32)),
        ((2, 1), (2, 5)),
        {"NumSplits": 2},
    ),
    "unpack": Case("UNPACK", ((2, 3),), ((2,), (2,), (2,)), {"Num": 3, "Axis": 1}),
    "pack": Case("PACK", ((2, 3), (2, 3)), ((2, 2, 3),), {"ValuesCount": 2, "Axis": 1}),
    "concatenation": Case(
        "CONCATENATION", ((2, 3), (2, 4)), ((2, 7),), {"Axis": -1, "FusedActivationFunction": 0}
    ),
    "gather": Case("GATHER", ((5, 3), whole(4, 0)), ((2, 3),), {"Axis": 0}),
    "pad": Case("PAD", ((2, 3), np.array([[0, 1], [2, 0]], np.int32)), ((3, 5),)),
    "pad by a number": Case(
        "PADV2",
        ((2, 3), np.array([[0, 1], [2, 0]], np.int32), np.array([-7], np.float32)),
        ((3, 5),),
    ),
    "mirror": Case(
        "MIRROR_PAD", ((3, 4), np.array([[0, 1], [2, 0]], np.int32)), ((4, 6),), {"Mode": 0}
    ),
    **{
        f"{name} {how}": Case(name, (IMAGE, whole(11, 5)), ((1, 11, 5, 4),), options)
        for name in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
        for how, options in (("half", _HALF), ("corners", _CORNERS), ("plain", _NEITHER))
    },
    "mean": Case("MEAN", (IMAGE, whole(1, 2)), ((1, 4),), {"KeepDims": False}),
    "sum": Case("SUM", (IMAGE, whole(-1)), ((1, 7, 6, 1),), {"KeepDims": True}),
    "maximum of all": Case("REDUCE_MAX", (IMAGE, whole(2)), ((1, 7, 4),), {"KeepDims": False}),
    "minimum of all": Case("REDUCE_MIN", (IMAGE, whole(2)), ((1, 7, 4),), {"KeepDims": False}),
    "place": Case("ARG_MAX", ((2, 5), whole(1)), ((2,),), {"OutputType": 2}, results_dtype="int32"),
}
"""By name, an operator each."""
