"""A .tflite model's inputs, operators and outputs as those of an ONNX model."""

from __future__ import annotations

import os
from dataclasses import replace

import onnx
from onnx import TensorProto, helper

from edgeinfer.converters.states import StatedStates
from edgeinfer.converters.tflite.importing import elementwise, layers, recurrent, shaping, stateful
from edgeinfer.converters.tflite.importing.call import OPERATORS, Call, Form
from edgeinfer.converters.tflite.model import HANDLE, Model, Operator, Tensor
from edgeinfer.converters.tflite.reading import parse
from edgeinfer.errors import ModelError, UnsupportedError
from edgeinfer.files.file_name import as_path
from edgeinfer.files.input_file import read_file
from edgeinfer.graph.names import DistinctNames

__all__ = ["OPERATORS", "elementwise", "layers", "recurrent", "shaping", "stateful", "to_onnx"]

# the first with 16-bit integers in QuantizeLinear
_OPSET = 21

_NAMED = 8

# by number, ONNX's operator for an activation, with its bounds
_ACTIVATIONS: dict[float, tuple[str, tuple[float, ...]]] = {
    1: ("Relu", ()),
    2: ("Clip", (-1.0, 1.0)),
    3: ("Clip", (0.0, 6.0)),
    4: ("Tanh", ()),
}


def to_onnx(source: str | os.PathLike[str] | bytes) -> onnx.ModelProto:
    """The ONNX model that says what the .tflite model in ``source``, a path or bytes, does.

    Raises
    ------
    InputError
        The file cannot be read.
    ModelFileError
        It is no .tflite file, or a damaged one.
    UnsupportedError
        Operators that nothing is made of, each named, or tensors of such types.
    ModelError
        The model contradicts itself.
    """
    what = "the file" if isinstance(source, bytes) else str(source)
    content = source if isinstance(source, bytes) else read_file(as_path(source))
    model = parse(content, what)
    _refuse_unknown(model)
    return _Converted(model).proto()


def _refuse_unknown(model: Model) -> None:
    unknown = list(dict.fromkeys(o.name for o in model.operators if o.name not in OPERATORS))
    if unknown:
        named = ", ".join(unknown[:_NAMED]) + (", ..." if unknown[_NAMED:] else "")
        raise UnsupportedError(f"operators of the .tflite model that cannot be imported: {named}")


class _Converted:
    """A model's inputs, operators and outputs in ONNX."""

    def __init__(self, model: Model) -> None:
        self._model = model
        names = DistinctNames(frozenset())
        self._called = {
            place: names.claim(model.labels.get(place) or model.tensors[place].name or "value")
            for place in dict.fromkeys((*model.inputs, *model.outputs))
        }
        self._form = Form(model, frozenset(self._called.values()))

    def proto(self) -> onnx.ModelProto:
        form, model = self._form, self._model
        for place in model.inputs:
            tensor = model.tensors[place]
            form.give(place, form.rounded(tensor, self._called[place]))
        for node in model.operators:
            try:
                self._convert(node)
            except (ModelError, UnsupportedError) as error:
                label = model.tensors[node.outputs[0]].name if node.outputs else ""
                raise type(error)(f"{node.name} {label!r}: {error}") from error
        kept = form.variables.kept
        for variable in kept:
            form.final(variable.value, variable.output)
        for place in model.outputs:
            self._give_out(place)
        # what states are is of one run
        inputs, outputs = (
            [_info(model.tensors[place], self._called[place], not kept) for place in places]
            for places in (model.inputs, model.outputs)
        )
        inputs += [_info(v.tensor, v.input, False) for v in kept]
        outputs += [_info(v.tensor, v.output, False) for v in kept]
        graph = helper.make_graph(form.nodes, model.name, inputs, outputs, form.initializers)
        proto = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=10
        )
        stated = StatedStates({v.input: v.output for v in kept})
        helper.set_model_props(proto, stated.metadata)
        return proto

    def _convert(self, node: Operator) -> None:
        if self._is_dequantized_constant(node):
            # weights that are stored in fewer bytes stay what they are
            of, place = self._model.tensors[node.inputs[0]], node.outputs[0]
            self._model.tensors[place] = replace(of, name=self._model.tensors[place].name)
            return
        call, since = Call(self._form, node), len(self._form.nodes)
        made = OPERATORS[node.name](call)
        for place, value in zip(
            node.outputs, [made] if isinstance(made, str) else made, strict=False
        ):
            self._form.give(place, self._finished(call, place, value, since))

    def _is_dequantized_constant(self, node: Operator) -> bool:
        if node.name != "DEQUANTIZE" or len(node.inputs) != 1 or len(node.outputs) != 1:
            return False
        return node.inputs[0] >= 0 and self._model.tensors[node.inputs[0]].data is not None

    def _finished(self, call: Call, place: int, value: str, since: int) -> str:
        """``value`` behind the operator's activation, as the tensor at ``place`` rounds it."""
        number = call.activation
        if number and number not in _ACTIVATIONS:
            raise UnsupportedError(f"its activation {number} is not supported")
        if number:
            operator, bounds = _ACTIVATIONS[number]
            value = call(operator, value, *map(call.array, bounds))
        value = self._form.call(value, self._model.tensors[place].name or "value", since)
        return self._form.rounded(self._model.tensors[place], value)

    def _give_out(self, place: int) -> None:
        name = self._called[place]
        if place in self._model.inputs:
            raise UnsupportedError(f"input {name!r} is an output as well")
        self._form.final(self._form.value(place), name)


def _info(tensor: Tensor, name: str, may_be_open: bool) -> onnx.ValueInfoProto:
    """The type of an input or output, floats where its integers stand for such."""
    if tensor.dtype == HANDLE:
        raise UnsupportedError(f"{name!r} is a variable's handle: no input or output can be one")
    kind = TensorProto.FLOAT
    if tensor.quantized is None and tensor.dtype.kind in "iu":
        kind = TensorProto.INT64
    if tensor.dtype.kind == "b":
        kind = TensorProto.BOOL
    shape: list[int | str] = [*tensor.shape]
    if may_be_open and tensor.is_open and shape:
        shape[0] = "N"
    return helper.make_tensor_value_info(name, kind, shape)
