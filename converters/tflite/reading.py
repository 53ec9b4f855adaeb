"""Reads a .tflite file into plain tensors and operators.

The file may be hostile. Of a damaged one flatbuffers' accessors raise, or give numbers that no file
of its size has room for: so lengths are held against the size before anything is made of them.
"""

from __future__ import annotations

import inspect
import math
import struct
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import tflite

from edgeinfer.converters.tflite.model import HANDLE, Model, Operator, Quantized, Tensor
from edgeinfer.errors import ModelFileError, UnsupportedError

__all__ = ["parse"]

_OPERATORS = {v: k for k, v in vars(tflite.BuiltinOperator).items() if isinstance(v, int)}
_OPTIONS = {v: k for k, v in vars(tflite.BuiltinOptions).items() if isinstance(v, int)}
_OPTIONS_2 = {v: k for k, v in vars(tflite.BuiltinOptions2).items() if isinstance(v, int)}

_DTYPES: dict[int, np.dtype[Any]] = {
    tflite.TensorType.FLOAT32: np.dtype("<f4"),
    tflite.TensorType.FLOAT16: np.dtype("<f2"),
    tflite.TensorType.INT8: np.dtype("i1"),
    tflite.TensorType.UINT8: np.dtype("u1"),
    tflite.TensorType.INT16: np.dtype("<i2"),
    tflite.TensorType.INT32: np.dtype("<i4"),
    tflite.TensorType.INT64: np.dtype("<i8"),
    tflite.TensorType.BOOL: np.dtype("?"),
    tflite.TensorType.RESOURCE: HANDLE,
}

# what damaged offsets end in
_DAMAGED = (struct.error, IndexError, ValueError, TypeError, OverflowError, AttributeError)


def parse(content: bytes, what: str) -> Model:
    """The model in ``content``, which messages call ``what``.

    Raises
    ------
    ModelFileError
        It is no .tflite file, or a damaged one.
    UnsupportedError
        It has several graphs, or tensors of types that nothing is made of.
    """
    if content[4:8] != b"TFL3":
        raise ModelFileError(f"{what} is not a .tflite file")
    try:
        return _File(content, what).model()
    except _DAMAGED as error:
        raise ModelFileError(f"{what} is damaged: it is not a whole .tflite file") from error


class _File:
    """The accessors of a file, and its size."""

    def __init__(self, content: bytes, what: str) -> None:
        self._content, self._what = content, what
        self._root = tflite.Model.GetRootAsModel(bytearray(content), 0)

    def model(self) -> Model:
        first, *others = self._all(self._root.SubgraphsLength, self._root.Subgraphs)
        model = self._graph(first)
        once = {
            int(node.options.get("InitSubgraphIndex", 0))
            for node in model.operators
            if node.name == "CALL_ONCE"
        }
        if once != set(range(1, len(others) + 1)):
            raise UnsupportedError(
                f"{self._what} has {len(others) + 1} graphs: those with loops and branches are not "
                "supported"
            )
        graphs = {place: self._graph(others[place - 1]) for place in sorted(once)}
        return replace(model, labels=self._labels(len(model.tensors)), once=graphs)

    def _graph(self, graph: Any) -> Model:
        tensors = [self._tensor(t) for t in self._all(graph.TensorsLength, graph.Tensors)]
        codes = self._all(self._root.OperatorCodesLength, self._root.OperatorCodes)
        operators = self._all(graph.OperatorsLength, graph.Operators)
        count = len(tensors)
        return Model(
            _text(graph.Name()) or "graph",
            tensors,
            [self._operator(operator, codes, count) for operator in operators],
            self._places(graph.InputsLength, graph.Inputs, count),
            self._places(graph.OutputsLength, graph.Outputs, count),
            {},
        )

    def _all(
        self, length: Callable[[], int], item: Callable[[int], Any], size: int = 4
    ) -> list[Any]:
        """A vector of as many items of ``size`` bytes or more."""
        count = length()
        if not 0 <= count * size <= len(self._content):
            raise ValueError("a vector is longer than the file")
        return [item(i) for i in range(count)]

    def _places(
        self, length: Callable[[], int], item: Callable[[int], int], count: int, least: int = 0
    ) -> tuple[int, ...]:
        found = tuple(int(i) for i in self._all(length, item))
        if not all(least <= place < count for place in found):
            raise ValueError("a tensor is none of the graph's")
        return found

    def _tensor(self, tensor: Any) -> Tensor:
        name = _text(tensor.Name()).split(";")[0]
        if tensor.Type() not in _DTYPES:
            raise UnsupportedError(
                f"tensor {name!r} is of a type that is not supported; "
                "float32, float16, int8, uint8, int16, int32, int64 and bool are"
            )
        if tensor.Sparsity() is not None:
            raise UnsupportedError(f"tensor {name!r} is sparse, which is not supported")
        dtype = _DTYPES[tensor.Type()]
        shape = tuple(int(n) for n in self._all(tensor.ShapeLength, tensor.Shape))
        if any(extent < 0 for extent in shape):
            raise ValueError("an extent is below 0")
        signature = self._all(tensor.ShapeSignatureLength, tensor.ShapeSignature)
        return Tensor(
            name,
            shape,
            dtype,
            bool(signature) and signature[0] == -1,
            self._quantized(tensor.Quantization()),
            self._data(tensor.Buffer(), dtype, shape),
            bool(tensor.IsVariable()),
        )

    def _quantized(self, parameters: Any) -> Quantized | None:
        if parameters is None or not parameters.ScaleLength():
            return None
        scale = np.array(self._all(parameters.ScaleLength, parameters.Scale), np.float32)
        zero_point = np.zeros(len(scale), np.int64)
        if parameters.ZeroPointLength():
            zero_point[:] = self._all(parameters.ZeroPointLength, parameters.ZeroPoint, 8)
        return Quantized(scale, zero_point, int(parameters.QuantizedDimension()))

    def _data(self, place: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray | None:
        if not 0 <= place < self._root.BuffersLength():
            raise ValueError("a buffer is none of the file's")
        buffer = self._root.Buffers(place)
        if buffer.Offset() > 1:
            # of a file beyond 2 GB
            start, size = buffer.Offset(), buffer.Size()
            raw = np.frombuffer(self._content[start : start + size], np.uint8)
        elif buffer.DataLength():
            raw = buffer.DataAsNumpy()
        else:
            return None
        if raw.size != math.prod(shape) * dtype.itemsize:
            raise ValueError("a constant has not as many bytes as its shape asks for")
        return np.frombuffer(raw.tobytes(), dtype).reshape(shape)

    def _operator(self, operator: Any, codes: list[Any], count: int) -> Operator:
        code = codes[operator.OpcodeIndex()]
        number = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
        name = _OPERATORS.get(number, str(number))
        if name == "CUSTOM":
            name = f"custom operator {_text(code.CustomCode())!r}"
        first = _options(operator.BuiltinOptionsType(), operator.BuiltinOptions(), _OPTIONS)
        later = _options(operator.BuiltinOptions2Type(), operator.BuiltinOptions2(), _OPTIONS_2)
        return Operator(
            name,
            first or later,
            self._places(operator.InputsLength, operator.Inputs, count, -1),
            self._places(operator.OutputsLength, operator.Outputs, count),
        )

    def _labels(self, count: int) -> dict[int, str]:
        found: dict[int, str] = {}
        if self._root.SignatureDefsLength() != 1:
            return found
        signature = self._root.SignatureDefs(0)
        for entry in (
            *self._all(signature.InputsLength, signature.Inputs),
            *self._all(signature.OutputsLength, signature.Outputs),
        ):
            if entry.TensorIndex() < count:
                found[int(entry.TensorIndex())] = _text(entry.Name())
        return found


def _options(kind: int, table: Any, names: dict[int, str]) -> dict[str, Any]:
    """The numbers and strings among an operator's options, which lie in ``table``."""
    name = names.get(kind, "NONE")
    if table is None or name == "NONE" or not hasattr(tflite, name):
        return {}
    options = getattr(tflite, name)()
    options.Init(table.Bytes, table.Pos)
    found = {field: getattr(options, field)() for field in _fields(name)}
    return {
        k: "" if v is None else _text(v) if isinstance(v, bytes) else v for k, v in found.items()
    }


@cache
def _fields(name: str) -> tuple[str, ...]:
    """The numbers and strings of the schema's table ``name``, as its accessors are called."""
    # vectors have a length beside their items
    given = vars(getattr(tflite, name))
    return tuple(
        field
        for field, accessor in given.items()
        if field[:1].isupper()
        and inspect.isfunction(accessor)
        and len(inspect.signature(accessor).parameters) == 1
        and not field.endswith(("AsNumpy", "IsNone", "Length"))
    )


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode("utf-8", "replace")
