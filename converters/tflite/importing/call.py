"""One operator of a .tflite model on its way to ONNX's: what it takes, and the nodes it becomes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgeinfer.converters.tflite.importing.variables import Variables
from edgeinfer.converters.tflite.model import HANDLE, Model, Operator, Quantized, Tensor
from edgeinfer.errors import ModelError, UnsupportedError
from edgeinfer.graph.names import DistinctNames

__all__ = ["OPERATORS", "Call", "Form", "operator"]

_CODES = {
    "int8": TensorProto.INT8,
    "uint8": TensorProto.UINT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
}


class Form:
    """The ONNX model of a .tflite one in the making.

    A tensor of quantized integers is there as the floats that they stand for, behind a
    QuantizeLinear and a DequantizeLinear, or, where it is a constant, a DequantizeLinear.

    Parameters
    ----------
    model : Model
        The .tflite one.
    called : collection of str
        Names of inputs and outputs, which nothing else gets.
    """

    def __init__(self, model: Model, called: Collection[str]) -> None:
        self.model = model
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._names = DistinctNames(frozenset(called))
        self._values: dict[int, str] = {}
        self.variables = Variables(self._names)

    def final(self, value: str, name: str) -> None:
        """Let ``value`` be the output ``name``."""
        self.nodes.append(helper.make_node("Identity", [value], [name], name))

    def node(self, operator: str, *inputs: str, output: str, **attributes: Any) -> str:
        """A node that gives one value; the value's name."""
        (name,) = self.several(operator, *inputs, outputs=[output], **attributes)
        return name

    def several(
        self, operator: str, *inputs: str, outputs: Sequence[str], **attributes: Any
    ) -> list[str]:
        """A node that gives several values; their names."""
        names = [self._named(name) for name in outputs]
        self.nodes.append(helper.make_node(operator, inputs, names, names[0], **attributes))
        return names

    def call(self, value: str, name: str, since: int) -> str:
        """Call ``value``, which one of the nodes from place ``since`` on gives, ``name``."""
        made = self.nodes[since:]
        if not any(value in node.output for node in made):
            return value
        name = self._named(name)
        for node in made:
            for names in (node.input, node.output):
                names[:] = [name if each == value else each for each in names]
            if name in node.output:
                node.name = name
        return name

    def initializer(self, array: np.ndarray, name: str) -> str:
        """A constant; its name."""
        name = self._named(name)
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def value(self, place: int) -> str:
        """What the tensor at ``place`` is called in ONNX."""
        if place not in self._values:
            tensor = self.model.tensors[place]
            if tensor.data is None:
                raise ModelError(f"tensor {tensor.name!r} is taken before it is made")
            self._values[place] = self.constant(tensor, tensor.data)
        return self._values[place]

    def constant(self, tensor: Tensor, array: np.ndarray, axis: int = 0) -> str:
        """``array``, which holds the constant ``tensor``'s elements, its channels on ``axis``."""
        quantized = tensor.quantized
        if quantized is None:
            wide = np.float32 if array.dtype.kind == "f" else np.int64
            array = array if array.dtype == bool else array.astype(wide)
            return self.initializer(array, tensor.name)
        if array.dtype == np.int64:
            # of a bias beside 16 bits; ONNX has none so wide
            if np.abs(array).max(initial=0) > np.iinfo(np.int32).max:
                steps = quantized.scale.astype(np.float64)
                return self.initializer((array * steps).astype(np.float32), tensor.name)
            array = array.astype(np.int32)
            tensor = replace(tensor, dtype=array.dtype)
        integers = self.initializer(array, f"{tensor.name}/integers")
        parameters = self._parameters(tensor, quantized)
        return self.node("DequantizeLinear", integers, *parameters, output=tensor.name, axis=axis)

    def give(self, place: int, value: str) -> None:
        """Let ``value``, which is rounded as the tensor at ``place`` is, stand for it."""
        self._values[place] = value

    def rounded(self, tensor: Tensor, value: str) -> str:
        """``value`` as the integers of ``tensor`` have it; itself where that has floats."""
        if tensor.quantized is None:
            return value
        parameters = self._parameters(tensor, tensor.quantized)
        integers = self.node("QuantizeLinear", value, *parameters, output=f"{value}/integers")
        return self.node("DequantizeLinear", integers, *parameters, output=f"{value}/rounded")

    def _named(self, name: str) -> str:
        """``name``, or a copy where something has it, or an output is to have it."""
        return self._names.claim(self._names.made(name))

    def _parameters(self, tensor: Tensor, quantized: Quantized) -> tuple[str, str]:
        dtype = tensor.dtype.name
        if dtype not in _CODES:
            raise UnsupportedError(f"tensor {tensor.name!r} is quantized to {dtype}")
        info = np.iinfo(tensor.dtype)
        scale, zero_point = quantized.scale, quantized.zero_point
        if not (np.isfinite(scale).all() and (scale > 0).all()):
            raise ModelError(f"tensor {tensor.name!r}: its scales must be above 0 and finite")
        if (zero_point < info.min).any() or (zero_point > info.max).any():
            raise ModelError(f"tensor {tensor.name!r}: its zero points are no {dtype}")
        if scale.size == 1:
            scale, zero_point = scale[0], zero_point[0]
        return (
            self.initializer(np.asarray(scale, np.float32), f"{tensor.name}/scale"),
            self.initializer(np.asarray(zero_point, tensor.dtype), f"{tensor.name}/zero_point"),
        )


class Call:
    """An operator, with what it takes.

    Parameters
    ----------
    form : Form
        The model in the making.
    node : Operator
        The operator.

    Attributes
    ----------
    activation : int
        The function that its result goes through behind the nodes that are made of it, by the
        schema's number; 0 for none.
    """

    def __init__(self, form: Form, node: Operator) -> None:
        self.form, self.options, self.name = form, node.options, node.name
        self.activation = int(node.options.get("FusedActivationFunction", 0))
        self._inputs, self._outputs = node.inputs, node.outputs
        self.label = self.output(0).name if node.outputs else ""

    @property
    def inputs(self) -> int:
        """How many it takes."""
        return len(self._inputs)

    @property
    def outputs(self) -> int:
        """How many it gives."""
        return len(self._outputs)

    def has(self, index: int) -> bool:
        """Whether it takes an input ``index``."""
        return index < len(self._inputs) and self._inputs[index] >= 0

    def input(self, index: int) -> Tensor:
        """The input ``index``."""
        if not self.has(index):
            raise ModelError(f"input {index} is missing")
        return self.form.model.tensors[self._inputs[index]]

    def output(self, index: int) -> Tensor:
        """The output ``index``."""
        if index >= len(self._outputs):
            raise ModelError(f"output {index} is missing")
        return self.form.model.tensors[self._outputs[index]]

    def shape(self, index: int, rank: int | None = None) -> tuple[int, ...]:
        """The shape of the input ``index``, of ``rank`` axes where that is said."""
        return _of_rank(self.input(index).shape, f"input {index}", rank)

    def result_shape(self, index: int, rank: int | None = None) -> tuple[int, ...]:
        """As ``shape``, of the output ``index``."""
        return _of_rank(self.output(index).shape, f"output {index}", rank)

    def value(self, index: int) -> str:
        """What the input ``index`` is called in ONNX."""
        if self.input(index).dtype == HANDLE:
            raise ModelError(f"input {index} is a variable's handle, not a value")
        return self.form.value(self._inputs[index])

    def handle(self, index: int) -> str:
        """What identifies the variable whose handle is the input ``index``."""
        if self.input(index).dtype != HANDLE:
            raise ModelError(f"input {index} must be a variable's handle")
        return self.form.value(self._inputs[index])

    def variable(self, index: int) -> str:
        """The value of the input ``index``, a tensor that keeps what it holds."""
        tensor = self.input(index)
        if not tensor.is_variable:
            raise ModelError(f"input {index} must be a variable")
        value = self.form.variables.read(self._inputs[index], tensor, tensor.name)
        return self.form.rounded(tensor, value)

    def keep(self, index: int, value: str) -> None:
        """Let the input ``index``, a tensor that keeps what it holds, be ``value`` from here on."""
        self.form.variables.assign(self._inputs[index], value)

    def constant(self, index: int) -> np.ndarray:
        """What the input ``index``, which is known, holds."""
        tensor = self.input(index)
        if tensor.data is None:
            raise UnsupportedError(f"its input {index} must be constant")
        return tensor.data

    def integers(self, index: int) -> list[int]:
        """The integers that the input ``index``, which is known, holds."""
        array = self.constant(index)
        if array.dtype.kind not in "iu":
            raise ModelError(f"input {index} must hold integers")
        return [int(n) for n in array.reshape(-1)]

    def option(self, name: str) -> Any:
        """An option, by its name in the schema."""
        if name not in self.options:
            raise ModelError("its options are missing")
        return self.options[name]

    def integer(self, index: int) -> int:
        """The only integer that the input ``index``, which is known, holds."""
        numbers = self.integers(index)
        if len(numbers) != 1:
            raise ModelError(f"input {index} must hold one integer, not {len(numbers)}")
        return numbers[0]

    def __call__(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """A node of ONNX's, and the name of what it gives."""
        return self.form.node(operator, *inputs, output=f"{self.label}/{operator}", **attributes)

    def several(self, operator: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """As the call, of a node that gives several values."""
        names = [f"{self.label}/{operator}{i}" for i in range(count)]
        return self.form.several(operator, *inputs, outputs=names, **attributes)

    def array(self, values: Any, name: str = "constant") -> str:
        """A constant of int64, or of float32 where ``values`` are floats."""
        array = np.asarray(values)
        array = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        return self.form.initializer(array, f"{self.label}/{name}")

    def weights(self, index: int, order: Sequence[int], axis: int) -> str:
        """The constant input ``index``, its axes in ``order``, its channels then on ``axis``."""
        array = self.constant(index)
        if array.ndim != len(order):
            raise ModelError(f"input {index} must have {len(order)} axes")
        tensor = self.input(index)
        q = tensor.quantized
        if q is not None and q.scale.size > 1 and order[axis] != q.axis:
            raise UnsupportedError(f"its weights have scales along axis {q.axis}")
        return self.form.constant(tensor, array.transpose(order), axis)

    def channels_first(self, value: str) -> str:
        """``value`` [N,H,W,C] as [N,C,H,W]."""
        return self("Transpose", value, perm=[0, 3, 1, 2])

    def channels_last(self, value: str) -> str:
        """``value`` [N,C,H,W] as [N,H,W,C]."""
        return self("Transpose", value, perm=[0, 2, 3, 1])

    def reshaped(self, value: str, shape: Sequence[int]) -> str:
        """``value`` in a shape, whose first axis keeps its extent where that is input 0's."""
        wanted = list(shape)
        if wanted and self.shape(0)[:1] == (wanted[0],):
            wanted[0] = 0
        return self("Reshape", value, self.array(wanted, "shape"))


def _of_rank(shape: tuple[int, ...], what: str, rank: int | None) -> tuple[int, ...]:
    if rank is not None and len(shape) != rank:
        raise ModelError(f"{what} must have {rank} axes, not shape {list(shape)}")
    return shape


OPERATORS: dict[str, Callable[[Call], Sequence[str] | str]] = {}
"""By operator, what makes ONNX's nodes of it and names what they give."""

_Function: TypeAlias = Callable[[Call], Sequence[str] | str]


def operator(*names: str) -> Callable[[_Function], _Function]:
    """Register what makes nodes of the operators ``names``."""

    def register(function: _Function) -> _Function:
        OPERATORS.update(dict.fromkeys(names, function))
        return function

    return register
