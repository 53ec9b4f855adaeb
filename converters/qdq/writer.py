"""The ONNX model of one Graph in the making: its nodes, its constants, and where each value is.

A value is there as a tensor of integers, and of floats where something computes with it. One of
four axes is NHWC in a Graph, and NCHW to ONNX's spatial operators; so it may be there in several
orders of axes, each made of another, on the integers, where it is first asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgeinfer.graph import Graph, Quantization, TensorType
from edgeinfer.graph.names import DistinctNames

__all__ = ["CHANNELS_FIRST", "ModelWriter", "Order"]

Order = tuple[int, ...]
"""Which axis of the Graph's value each axis of a tensor is."""

CHANNELS_FIRST: Order = (0, 3, 1, 2)

# the first in which 16 bits are quantized
_OPSET = 21


class ModelWriter:
    """The model of one Graph.

    Parameters
    ----------
    graph : Graph
        An integer one.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._names = DistinctNames(frozenset((*graph.sources, *graph.results)))
        self._integers: dict[tuple[str, Order], str] = {}
        self._floats: dict[tuple[str, Order], str] = {}
        self._parameters: dict[str, tuple[str, str]] = {}
        self._label = ""
        for name in graph.sources:
            if self.type(name).quantization is None:
                self._integers[name, self.plain(name)] = name
            else:
                self.begin(name)
                self.give(name, name)

    def type(self, value: str) -> TensorType:
        """The type of a value of the Graph."""
        return self.graph.types[value]

    def step(self, value: str) -> float:
        """The scale of a value that has one."""
        q = self.type(value).quantization
        assert q is not None
        return q.step

    def plain(self, value: str) -> Order:
        """The order of the Graph's own axes."""
        return tuple(range(len(self.type(value).shape)))

    # ---- values ----

    def has(self, value: str, order: Order) -> bool:
        """Whether a value is there with its axes in ``order``."""
        return (value, order) in self._integers

    def integers(self, value: str, order: Order | None = None) -> str:
        """The tensor of a value's integers, its axes in ``order``."""
        order = self.plain(value) if order is None else order
        known = self._integers.get((value, order))
        if known is None and value in self.graph.constants:
            array = self.graph.constants[value].transpose(order)
            known = self.constant(np.ascontiguousarray(array), value)
        if known is None:
            other = next(o for name, o in self._integers if name == value)
            permutation = [other.index(axis) for axis in order]
            known = self.node("Transpose", self._integers[value, other], perm=permutation)
        self._integers[value, order] = known
        return known

    def floats(self, value: str, order: Order | None = None) -> str:
        """The tensor of what a value stands for, its axes in ``order``; itself of int64."""
        order = self.plain(value) if order is None else order
        q = self.type(value).quantization
        if q is None:
            return self.integers(value, order)
        if (value, order) not in self._floats:
            parameters = self._scale_and_zero_point(value, q)
            name = self.node("DequantizeLinear", self.integers(value, order), *parameters)
            self._floats[value, order] = name
        return self._floats[value, order]

    def give(self, value: str, floats: str, order: Order | None = None) -> None:
        """Let ``value`` be what the tensor ``floats`` rounds to."""
        order = self.plain(value) if order is None else order
        q = self.type(value).quantization
        if q is not None:
            floats = self.node("QuantizeLinear", floats, *self._scale_and_zero_point(value, q))
        self._integers[value, order] = floats

    def rename(self, value: str, other: str, order: Order, other_order: Order) -> None:
        """Let ``value`` in ``order`` be the tensor that ``other`` is in another one."""
        self._integers[value, order] = self.integers(other, other_order)

    def _scale_and_zero_point(self, value: str, q: Quantization) -> tuple[str, str]:
        """Those of a value, which all that quantizes or dequantizes it takes."""
        if value not in self._parameters:
            zero_point = np.array(q.zero_point, self.type(value).dtype)
            self._parameters[value] = (
                self.constant(np.array(q.step, np.float32), "scale"),
                self.constant(zero_point, "zero_point"),
            )
        return self._parameters[value]

    # ---- nodes ----

    def begin(self, label: str) -> None:
        """Call what is written from now on after ``label``."""
        self._label = label

    def constant(self, array: np.ndarray, part: str) -> str:
        """A constant, and its name."""
        name = self._names.claim(self._names.made(f"{self._label}/{part}"))
        self._initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def weights(self, array: np.ndarray, scale: np.ndarray, part: str, axis: int = 0) -> str:
        """Floats of integers along whose ``axis`` the ``scale`` [channels] changes."""
        name = self.constant(array, part)
        steps = self.constant(scale.astype(np.float32), f"{part}_scale")
        zeros = self.constant(np.zeros(len(scale), array.dtype), f"{part}_zero_point")
        return self.node("DequantizeLinear", name, steps, zeros, axis=axis)

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """A node of one output, and its name."""
        return self.several(operator, 1, *inputs, **attributes)[0]

    def several(self, operator: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """A node of ``count`` outputs, and their names."""
        names = [
            self._names.claim(self._names.made(f"{self._label}/{operator}")) for _ in range(count)
        ]
        self._nodes.append(helper.make_node(operator, inputs, names, names[0], **attributes))
        return names

    def model(self, producer: str, metadata: Mapping[str, str]) -> onnx.ModelProto:
        """The model, each of the Graph's results under its name."""
        results = tuple(dict.fromkeys(self.graph.results))
        for name in results:
            last = self.floats(name)
            self._nodes.append(helper.make_node("Identity", [last], [name], f"{name}/output"))
        graph = helper.make_graph(
            self._nodes,
            self.graph.name,
            [self._info(name) for name in self.graph.sources],
            [self._info(name) for name in results],
            self._initializers,
        )
        made = helper.make_model(
            graph,
            producer_name=producer,
            ir_version=10,
            opset_imports=[helper.make_opsetid("", _OPSET)],
        )
        helper.set_model_props(made, dict(metadata))
        return made

    def _info(self, value: str) -> onnx.ValueInfoProto:
        t = self.type(value)
        shape: list[int | str] = list(t.shape)
        if self.graph.free_batch:
            shape[0] = "batch"
        kind = TensorProto.FLOAT if t.quantization is not None else TensorProto.INT64
        return helper.make_tensor_value_info(value, kind, shape)
