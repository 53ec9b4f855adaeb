"""Writes plain tensors and operators as a .tflite file: the same ones as the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import flatbuffers
import numpy as np
import tflite

from edgeinfer.converters.tflite.model import HANDLE, Model, Operator, Quantized, Tensor

__all__ = ["serialize"]

_CODES = {k: v for k, v in vars(tflite.BuiltinOperator).items() if isinstance(v, int)}
_TYPES = {k.lower(): v for k, v in vars(tflite.TensorType).items() if isinstance(v, int)}

# what the old field of an operator's code says of one that came after it
_LAST_OLD = 127
_SCHEMA_VERSION = 3
_ALIGNMENT = 16

# the tables of options, by their names in small letters
_TABLES = {name.lower(): name for name in vars(tflite.BuiltinOptions)}

# by operator, the table of its options, where it is not called as the operator is
_OPTIONS = {
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "REDUCE_MAX": "ReducerOptions",
    "REDUCE_MIN": "ReducerOptions",
    "SUM": "ReducerOptions",
}


def serialize(
    model: Model, versions: Mapping[str, int], metadata: Mapping[str, bytes], description: str
) -> bytes:
    """The file of a model.

    Parameters
    ----------
    model : Model
        The model; its tensors have names of their own.
    versions : mapping of str to int
        By operator, which of its versions has the types that it is given.
    metadata : mapping of str to bytes
        What the file holds beside the model, by name.
    description : str
        Who wrote it.
    """
    return _Writer(model, versions).content(metadata, description)


@dataclass
class _Writer:
    """A file in the making, from its end to its beginning, as flatbuffers are written."""

    model: Model
    versions: Mapping[str, int]
    b: flatbuffers.Builder = field(default_factory=lambda: flatbuffers.Builder(1024))
    buffers: list[int] = field(default_factory=list)

    def content(self, metadata: Mapping[str, bytes], description: str) -> bytes:
        b, model = self.b, self.model
        # the first buffer is of no tensor
        self._buffer(b"")
        kept = {name: self._buffer(raw) for name, raw in metadata.items()}
        models = (model, *(model.once[place] for place in sorted(model.once)))
        codes = list(dict.fromkeys(node.name for each in models for node in each.operators))
        graphs = self._tables([self._graph(each, codes) for each in models])
        signature = self._signature()
        entries = self._tables([self._metadata(name, place) for name, place in kept.items()])
        kinds = self._tables([self._code(name) for name in codes])
        buffers = self._tables(self.buffers)
        text = b.CreateString(description)
        tflite.ModelStart(b)
        tflite.ModelAddVersion(b, _SCHEMA_VERSION)
        tflite.ModelAddOperatorCodes(b, kinds)
        tflite.ModelAddSubgraphs(b, graphs)
        tflite.ModelAddDescription(b, text)
        tflite.ModelAddBuffers(b, buffers)
        tflite.ModelAddMetadata(b, entries)
        tflite.ModelAddSignatureDefs(b, signature)
        b.Finish(tflite.ModelEnd(b), b"TFL3")
        return bytes(b.Output())

    def _tables(self, offsets: Sequence[int]) -> int:
        """A vector of tables."""
        self.b.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.b.PrependUOffsetTRelative(offset)
        return int(self.b.EndVector())

    def _numbers(self, values: Sequence[float] | np.ndarray, dtype: str) -> int:
        return int(self.b.CreateNumpyVector(np.asarray(values, dtype)))

    def _buffer(self, raw: bytes) -> int:
        """The place of a buffer that holds ``raw``."""
        data = 0
        if raw:
            self.b.StartVector(1, len(raw), _ALIGNMENT)
            self.b.head -= len(raw)
            self.b.Bytes[self.b.head : self.b.head + len(raw)] = raw
            data = self.b.EndVector()
        tflite.BufferStart(self.b)
        if raw:
            tflite.BufferAddData(self.b, data)
        self.buffers.append(tflite.BufferEnd(self.b))
        return len(self.buffers) - 1

    def _tensor(self, tensor: Tensor) -> int:
        b = self.b
        place = 0 if tensor.data is None else self._buffer(_bytes(tensor.data))
        name, shape = b.CreateString(tensor.name), self._numbers(tensor.shape, "<i4")
        signature = self._numbers([-1, *tensor.shape[1:]], "<i4") if tensor.is_open else 0
        quantized = 0 if tensor.quantized is None else self._quantized(tensor.quantized)
        tflite.TensorStart(b)
        tflite.TensorAddShape(b, shape)
        kind = tflite.TensorType.RESOURCE if tensor.dtype == HANDLE else _TYPES[tensor.dtype.name]
        tflite.TensorAddType(b, kind)
        tflite.TensorAddBuffer(b, place)
        tflite.TensorAddName(b, name)
        if quantized:
            tflite.TensorAddQuantization(b, quantized)
        tflite.TensorAddIsVariable(b, tensor.is_variable)
        if signature:
            tflite.TensorAddShapeSignature(b, signature)
        tflite.TensorAddHasRank(b, True)
        return int(tflite.TensorEnd(b))

    def _quantized(self, quantized: Quantized) -> int:
        scale = self._numbers(quantized.scale, "<f4")
        zero_point = self._numbers(quantized.zero_point, "<i8")
        tflite.QuantizationParametersStart(self.b)
        tflite.QuantizationParametersAddScale(self.b, scale)
        tflite.QuantizationParametersAddZeroPoint(self.b, zero_point)
        tflite.QuantizationParametersAddQuantizedDimension(self.b, quantized.axis)
        return int(tflite.QuantizationParametersEnd(self.b))

    def _operator(self, node: Operator, codes: Sequence[str]) -> int:
        b = self.b
        inputs, outputs = (self._numbers(places, "<i4") for places in (node.inputs, node.outputs))
        kind = _OPTIONS.get(node.name)
        if kind is None:
            kind = _TABLES.get(f"{node.name.replace('_', '')}options".lower(), "")
        options = 0
        if node.options:
            given = {
                k: b.CreateString(v) if isinstance(v, str) else v for k, v in node.options.items()
            }
            _call(f"{kind}Start")(b)
            for name, value in given.items():
                _call(f"{kind}Add{name}")(b, value)
            options = _call(f"{kind}End")(b)
        tflite.OperatorStart(b)
        tflite.OperatorAddOpcodeIndex(b, codes.index(node.name))
        tflite.OperatorAddInputs(b, inputs)
        tflite.OperatorAddOutputs(b, outputs)
        if node.options:
            tflite.OperatorAddBuiltinOptionsType(b, getattr(tflite.BuiltinOptions, kind))
            tflite.OperatorAddBuiltinOptions(b, options)
        return int(tflite.OperatorEnd(b))

    def _code(self, name: str) -> int:
        number = _CODES[name]
        tflite.OperatorCodeStart(self.b)
        tflite.OperatorCodeAddDeprecatedBuiltinCode(self.b, min(number, _LAST_OLD))
        tflite.OperatorCodeAddBuiltinCode(self.b, number)
        tflite.OperatorCodeAddVersion(self.b, self.versions.get(name, 1))
        return int(tflite.OperatorCodeEnd(self.b))

    def _graph(self, model: Model, codes: Sequence[str]) -> int:
        b = self.b
        tensors = self._tables([self._tensor(t) for t in model.tensors])
        operators = self._tables([self._operator(o, codes) for o in model.operators])
        inputs, outputs = (self._numbers(p, "<i4") for p in (model.inputs, model.outputs))
        name = b.CreateString(model.name)
        tflite.SubGraphStart(b)
        tflite.SubGraphAddTensors(b, tensors)
        tflite.SubGraphAddInputs(b, inputs)
        tflite.SubGraphAddOutputs(b, outputs)
        tflite.SubGraphAddOperators(b, operators)
        tflite.SubGraphAddName(b, name)
        return int(tflite.SubGraphEnd(b))

    def _signature(self) -> int:
        """A vector of the one signature, which names inputs and outputs."""
        b = self.b
        inputs, outputs = (
            self._tables([self._named(place) for place in places])
            for places in (self.model.inputs, self.model.outputs)
        )
        key = b.CreateString("serving_default")
        tflite.SignatureDefStart(b)
        tflite.SignatureDefAddInputs(b, inputs)
        tflite.SignatureDefAddOutputs(b, outputs)
        tflite.SignatureDefAddSignatureKey(b, key)
        return self._tables([tflite.SignatureDefEnd(b)])

    def _named(self, place: int) -> int:
        name = self.b.CreateString(self.model.labels[place])
        tflite.TensorMapStart(self.b)
        tflite.TensorMapAddName(self.b, name)
        tflite.TensorMapAddTensorIndex(self.b, place)
        return int(tflite.TensorMapEnd(self.b))

    def _metadata(self, name: str, place: int) -> int:
        text = self.b.CreateString(name)
        tflite.MetadataStart(self.b)
        tflite.MetadataAddName(self.b, text)
        tflite.MetadataAddBuffer(self.b, place)
        return int(tflite.MetadataEnd(self.b))


def _bytes(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def _call(name: str) -> Callable[..., int]:
    function: Callable[..., int] = getattr(tflite, name)
    return function
