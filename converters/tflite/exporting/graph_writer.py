"""The .tflite model of one Graph in the making: its tensors, and the operators between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgeinfer.converters.tflite.model import HANDLE, Model, Operator, Quantized, Tensor
from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Graph, TensorType
from edgeinfer.graph.names import DistinctNames

__all__ = ["GraphWriter"]


class GraphWriter:
    """The model of one Graph.

    Parameters
    ----------
    graph : Graph
        An integer one. Its states are variables, which a graph that is called once fills.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._names = DistinctNames(frozenset(graph.types))
        self._tensors: list[Tensor] = []
        self._operators: list[Operator] = []
        self._places: dict[str, int] = {}
        self._label = ""
        for name in graph.inputs:
            self.place(name)
        if graph.states:
            self.write("CALL_ONCE", [], [], InitSubgraphIndex=1)
        self._handles = [self._handle(state.input) for state in graph.states]
        for state, handle in zip(graph.states, self._handles, strict=True):
            self.write("READ_VARIABLE", [handle], [self.place(state.input)])

    def begin(self, node: str) -> None:
        """What is written from now on is of this node of the Graph."""
        self._label = node

    def type(self, value: str) -> TensorType:
        """The type of a value of the Graph."""
        return self.graph.types[value]

    def place(self, value: str) -> int:
        """That of the tensor which is a value of the Graph."""
        if value not in self._places:
            array = self.graph.constants.get(value)
            self._places[value] = self._tensor(value, self.type(value), array)
        return self._places[value]

    def between(self, part: str, like: TensorType, shape: Sequence[int] | None = None) -> int:
        """The place of a tensor that no value of the Graph is, of the type ``like``."""
        shape = like.shape if shape is None else tuple(shape)
        made = TensorType(shape, like.dtype, like.quantization)
        return self._tensor(self._called(part), made, None)

    def constant(self, array: np.ndarray, part: str, quantized: Quantized | None = None) -> int:
        """The place of a constant that is made."""
        tensor = Tensor(self._called(part), array.shape, array.dtype, False, quantized, array)
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def numbers(self, values: Sequence[int], part: str) -> int:
        """The place of integers that tell an operator what to do."""
        return self.constant(np.array(values, np.int32), part)

    def integer(self, t: TensorType, number: int, part: str) -> int:
        """The place of a single integer of the type ``t``."""
        q = t.quantization
        if q is None:
            raise UnsupportedError("a value of it has no scale in this file")
        quantized = Quantized(np.array([q.step], np.float32), np.array([q.zero_point]), 0)
        return self.constant(np.array([number], t.dtype), part, quantized)

    def like(self, t: TensorType, real: float, part: str) -> int:
        """As ``integer``, of a real number."""
        assert t.quantization is not None
        return self.integer(
            t, int(t.quantization.quantize(np.array(real, np.float32), t.dtype)), part
        )

    def write(
        self, operator: str, inputs: Sequence[int], outputs: Sequence[int], **options: Any
    ) -> None:
        """Write an operator."""
        self._operators.append(Operator(operator, options, tuple(inputs), tuple(outputs)))

    def model(self) -> Model:
        """All that was written, and what keeps states."""
        graph = self.graph
        for state, handle in zip(graph.states, self._handles, strict=True):
            self.write("ASSIGN_VARIABLE", [handle, self.place(state.output)], [])
        inputs, outputs = (
            tuple(self.place(name) for name in names) for names in (graph.inputs, graph.outputs)
        )
        labels = {self.place(name): name for name in (*graph.inputs, *graph.outputs)}
        once = {1: self._first()} if graph.states else {}
        return Model(graph.name, self._tensors, self._operators, inputs, outputs, labels, once)

    def _handle(self, name: str) -> int:
        """The place of what says that the variable of the state ``name`` is meant."""
        self._tensors.append(
            Tensor(self._names.claim(f"{name}/handle"), (1,), HANDLE, False, None, None)
        )
        place = len(self._tensors) - 1
        self.write("VAR_HANDLE", [], [place], Container="", SharedName=name)
        return place

    def _first(self) -> Model:
        """The graph that fills the variables before the first run."""
        tensors: list[Tensor] = []
        operators: list[Operator] = []
        for state, handle in zip(self.graph.states, self._handles, strict=True):
            value = self._tensors[self.place(state.input)]
            first = self.graph.constants[state.first].astype(value.dtype)
            places = (len(tensors), len(tensors) + 1)
            tensors += [
                self._tensors[handle],
                replace(value, name=f"{value.name}/first", data=first),
            ]
            named = {"Container": "", "SharedName": state.input}
            operators.append(Operator("VAR_HANDLE", named, (), places[:1]))
            operators.append(Operator("ASSIGN_VARIABLE", {}, places, ()))
        return Model("first", tensors, operators, (), (), {})

    def _called(self, part: str) -> str:
        return self._names.claim(self._names.made(f"{self._label}/{part}"))

    def _tensor(self, name: str, kind: TensorType, array: np.ndarray | None) -> int:
        dtype, q = np.dtype(kind.dtype), kind.quantization
        if q is None and kind.dtype == "int64":
            # TensorFlow Lite's kernels of integers take indices of 32 bits
            dtype = np.dtype(np.int32)
        elif q is None and array is None:
            raise UnsupportedError(f"value {name!r} is {kind.dtype}, without a scale")
        if array is not None:
            array = array.astype(dtype)
        quantized = None
        if q is not None:
            scale = np.array(q.scale, np.float32).reshape(-1)
            zero_point = np.full(scale.size, q.zero_point, np.int64)
            quantized = Quantized(scale, zero_point, 0 if q.axis is None else q.axis)
        is_open = self.graph.free_batch and array is None
        self._tensors.append(Tensor(name, kind.shape, dtype, is_open, quantized, array))
        return len(self._tensors) - 1
