"""The integer nodes for one float node, in the making: what its rule reads and writes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias, TypedDict

import numpy as np

from edgeinfer.arithmetic.fixedpoint import multiplier_and_shift, round_half_away
from edgeinfer.errors import QuantizationError
from edgeinfer.graph import ABSENT, Graph, Node, Quantization, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.graph.names import distinct
from edgeinfer.quant.integer_types import IntegerTypes
from edgeinfer.quant.ranges import reaches_far_beyond, useful_range
from edgeinfer.quant.schemes import Width, activation_type
from edgeinfer.quant.weights import (
    GivenWeights,
    QuantizedWeights,
    quantize_weights,
    take_weights,
)
from edgeinfer.quant.widths import wider

__all__ = ["Fragment", "Moves", "OutputStage"]

# operators one after another, and the shapes that they give
Moves: TypeAlias = Sequence[tuple[ops.Operator, tuple[int, ...]]]


class OutputStage(TypedDict):
    """What ends every requantizing operator: ``ops.Requantizing``'s attributes."""

    output_zero_point: int
    lo: int
    hi: int
    rounding: ops.Rounding


@dataclass
class Fragment:
    """One float node's share of the integer Graph.

    Parameters
    ----------
    graph : Graph
        The float Graph.
    node : Node
        The node to stand for.
    known : IntegerTypes
        The types of the float Graph's values.
    given : GivenWeights or None
        The layer's integers, where they come from outside.
    rounding : str
        ``single`` or ``double``, for every requantize.

    Attributes
    ----------
    nodes : list of Node
        In order; the last one gives what the float node gives.
    types : dict of str to TensorType
        Of the constants and of the values between ``nodes``.
    constants : dict of str to numpy.ndarray
        What ``nodes`` take beside values.
    """

    graph: Graph
    node: Node
    known: IntegerTypes
    given: GivenWeights | None
    rounding: ops.Rounding
    nodes: list[Node] = field(default_factory=list)
    types: dict[str, TensorType] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)

    # ---- what a rule reads ----

    def type(self, name: str) -> TensorType:
        """The type of an activation, the float Graph's or one made here."""
        return self.types[name] if name in self.types else self.known.values[name]

    def kind(self, name: str) -> tuple[float, int, Width]:
        """Scale, zero point and element type of an activation."""
        t = self.type(name)
        assert t.quantization is not None
        return t.quantization.step, t.quantization.zero_point, t.dtype  # type: ignore[return-value]

    def range(self, name: str) -> tuple[float, float]:
        """The real numbers that an activation's type covers."""
        return self.type(name).range

    def seen(self, index: int) -> tuple[float, float]:
        """The least and the largest number of input ``index`` of the node that is known of."""
        name = self.node.inputs[index]
        if self.is_computed(name):
            return self.known.domains.get(name) or self.range(name)
        array = self.graph.constants[name]
        return float(array.min()), float(array.max())

    def is_computed(self, name: str) -> bool:
        """A run computes the value, or is given it."""
        return name in self.known.values

    def clamp(self, output: str, lo: float = -math.inf, hi: float = math.inf) -> OutputStage:
        """The stage that gives ``output``, with a fused clamp to real ``lo`` ... ``hi``."""
        scale, zero_point, dtype = self.kind(output)
        info = np.iinfo(dtype)

        def integer(bound: float) -> int:
            if math.isinf(bound):
                return info.min if bound < 0 else info.max
            q = float(round_half_away(bound / scale)) + zero_point
            return int(min(max(q, info.min), info.max))

        return {
            "output_zero_point": zero_point,
            "lo": integer(lo),
            "hi": integer(hi),
            "rounding": self.rounding,
        }

    def rescale(
        self, x: str, output: str, lo: float = -math.inf, hi: float = math.inf
    ) -> ops.Rescale:
        """The operator that brings ``x`` to the type of ``output``, clamped."""
        in_scale, in_zero_point, _ = self.kind(x)
        multiplier, shift = multiplier_and_shift(in_scale / self.kind(output)[0])
        return ops.Rescale(
            **self.clamp(output, lo, hi),
            input_zero_point=in_zero_point,
            multiplier=multiplier,
            shift=shift,
        )

    # ---- what a rule writes ----

    def emit(self, op: ops.Operator, *inputs: str) -> None:
        """``op`` in the place of the float node."""
        self._append(Node(self.node.name, op, inputs, self.node.outputs))

    def emit_output(self, output: str, op: ops.Operator, *inputs: str) -> None:
        """``op``, which gives ``output``, one of several that the float node gives."""
        name = self.node.name
        if output != self.node.outputs[0]:
            name = distinct(output, {node.name for node in self.graph.nodes})
        self._append(Node(name, op, inputs, (output,)))

    def emit_by_way_of(self, value: str, op: ops.Operator, *inputs: str) -> None:
        """``op``, which gives ``value``: the node's output, or what a Rescale makes into it."""
        if value in self.node.outputs:
            self.emit(op, *inputs)
            return
        self._append(Node(value, op, inputs, (value,)))
        self.emit(self.rescale(value, self.node.output), value)

    def _append(self, node: Node) -> None:
        """``node``, which rounds once where it takes 16 bits: that is what those do who round twice
        elsewhere (docs/arithmetic.md)."""
        taken = [
            name
            for role, name in zip(node.op.takes, node.inputs, strict=False)
            if role.name in ("x", "a", "b")
        ]
        if (
            self.rounding == "double"
            and isinstance(node.op, ops.Requantizing)
            and any(self.type(name).dtype == "int16" for name in taken)
        ):
            node = replace(node, op=replace(node.op, rounding="single"))
        self.nodes.append(node)

    def between(self, part: str, t: TensorType) -> str:
        """A value of type ``t`` on the way, named for its ``part``."""
        name = distinct(f"{self.node.name}/{part}", self.graph.types)
        self.types[name] = t
        return name

    def constant(self, part: str, array: np.ndarray, quantization: Quantization | None) -> str:
        """A constant that this node alone takes, named for its ``part``."""
        name = self.between(part, TensorType.of(array, quantization))
        self.constants[name] = np.asarray(array, order="C")
        return name

    def in_16_bits(self, part: str, name: str) -> str:
        """A value between that covers the range of the 8-bit ``name`` in 16 bits."""
        scale, zero_point, _ = self.kind(name)
        reach = scale * max(127 - zero_point, zero_point + 128)
        quantization = Quantization.per_tensor(reach / 32767)
        t = replace(self.type(name), dtype="int16", quantization=quantization)
        return self.between(part, t)

    def unscaled(self, name: str) -> str:
        """``name``, whose elements are integers from the start, such as indices."""
        if self.is_computed(name):
            return name
        return self._of_graph(name, self.graph.constants[name], None)

    def operand(
        self, name: str, width: Width, within: tuple[float, float] = (-math.inf, math.inf)
    ) -> str:
        """``name`` itself, or where it is a float constant, its integers over its own range.

        What of it lies outside of ``within`` saturates.
        """
        if self.is_computed(name):
            return name
        array = self.graph.constants[name]
        low, high = min(0.0, float(array.min())), max(0.0, float(array.max()))
        low, high = max(low, within[0]), min(high, within[1])
        return self._integers(name, activation_type(array.shape, low, high, width))

    def operands(self) -> list[str]:
        """All inputs of the node, constants in the widest width of those that a run computes."""
        computed = [self.kind(name)[2] for name in self.node.operands if self.is_computed(name)]
        return [self.operand(name, wider(*computed)) for name in self.node.operands]

    def summands(self, *, subtract: bool) -> list[str]:
        """As ``operands``, but a constant reaches about as far as their sum or difference can hold.

        Beside a mask of -1e9 the other summand would have no step left.
        """
        a, b = self.node.inputs
        if self.is_computed(a) and self.is_computed(b):
            return self.operands()
        index, constant, other = (1, b, a) if self.is_computed(a) else (0, a, b)
        array = self.graph.constants[constant]
        useful = useful_range(
            self.range(self.node.output), self.range(other), index, subtract=subtract
        )
        if not reaches_far_beyond(useful, (float(array.min()), float(array.max()))):
            return self.operands()
        within = self.operand(constant, self.kind(other)[2], useful)
        return [other, within] if index == 1 else [within, other]

    def widened(self, index: int, width: Width) -> str:
        """Input ``index`` of the node in ``width``; all its numbers are kept."""
        name = self.node.inputs[index]
        scale, _, dtype = self.kind(name)
        if wider(dtype, width) == dtype:
            return name
        # 255 steps times 128 are fewer than 32,767
        exact = Quantization.per_tensor(scale / 128)
        return self._rescaled(index, replace(self.type(name), dtype=width, quantization=exact))

    def at_step(self, index: int, step: float) -> str:
        """Input ``index`` of the node at another scale; what lies beyond its integers saturates."""
        t = self.type(self.node.inputs[index])
        return self._rescaled(index, replace(t, quantization=Quantization.per_tensor(step)))

    def at_type_of(self, index: int, output: str) -> str:
        """Input ``index`` of the node at the width and quantization of ``output``."""
        name = self.node.inputs[index]
        target = self.type(output)
        if not self.is_computed(name):
            return self._integers(name, replace(target, shape=self.graph.constants[name].shape))
        wanted = replace(target, shape=self.type(name).shape)
        return name if self.type(name) == wanted else self._rescaled(index, wanted)

    def emit_layer(self, op: ops.Operator) -> None:
        """A layer with the node's weights, channel first."""
        self.emit(op, *self.layer(*self.layer_constants()))

    def emit_moved(
        self, op: ops.Operator, inputs: Sequence[str], shape: tuple[int, ...], moves: Moves
    ) -> None:
        """``op``, which gives the node's output in ``shape``, and what moves it into place."""
        steps = [(op, shape), *moves]
        for step, (operator, shape) in enumerate(steps[:-1]):
            t = replace(self.type(self.node.output), shape=shape)
            inputs = (self.emit_part(f"part{step}", t, operator, *inputs),)
        self.emit(steps[-1][0], *inputs)

    def emit_part(self, part: str, t: TensorType, op: ops.Operator, *inputs: str) -> str:
        """``op``, which gives a value of type ``t`` on the way, and the value's name."""
        (value,) = self.emit_parts({part: t}, op, *inputs)
        return value

    def emit_parts(
        self, parts: Mapping[str, TensorType], op: ops.Operator, *inputs: str
    ) -> tuple[str, ...]:
        """As ``emit_part``, of an operator that gives several."""
        values = tuple(self.between(part, t) for part, t in parts.items())
        self.nodes.append(Node(values[0], op, inputs, values))
        return values

    def layer_constants(self) -> tuple[np.ndarray, np.ndarray | None]:
        """The node's weights and bias, in floats."""
        weights, bias = self.node.input("weights"), self.node.input("bias")
        constants = self.graph.constants
        if weights not in constants or (bias != ABSENT and bias not in constants):
            raise QuantizationError("weights that a run computes cannot be quantized yet")
        return constants[weights], constants.get(bias)

    def scale_and_bias(self) -> tuple[np.ndarray, np.ndarray]:
        """A normalization's scale and bias, in floats; a bias of 0 where it has none."""
        scale, bias = self.node.input("scale"), self.node.input("bias")
        constants = self.graph.constants
        if scale not in constants or (bias != ABSENT and bias not in constants):
            raise QuantizationError("a scale or bias that a run computes cannot be quantized")
        return constants[scale], constants.get(bias, np.zeros(1, np.float32))

    def layer(self, weights: np.ndarray, bias: np.ndarray | None) -> tuple[str, ...]:
        """What a layer of per-channel ``weights``, channel first, takes, x included."""
        y = self.type(self.node.output)
        x = self.operand(self.node.input("x"), self.kind(self.node.output)[2])
        if self.given is not None:
            return (x, *self._of_layer("", take_weights(self.given, bias, self.type(x), y)))
        return (x, *self.layer_of("", self.type(x), y, weights, bias))

    def layer_of(
        self,
        part: str,
        x: TensorType,
        y: TensorType,
        weights: np.ndarray,
        bias: np.ndarray | None,
    ) -> tuple[str, ...]:
        """What a layer from type ``x`` to type ``y`` takes beside x, named for ``part``."""
        width = self.known.weights if x.dtype == "int16" else "int8"
        return self._of_layer(part, quantize_weights(weights, bias, x, y, width))

    def _of_layer(self, part: str, q: QuantizedWeights) -> tuple[str, ...]:
        per_channel = Quantization(tuple(q.scale.tolist()), 0, 0)
        prefix = f"{part}/" if part else ""
        return (
            self.constant(f"{prefix}weights", q.weights, per_channel),
            # its scale is the product of x's and the weights'
            self.constant(f"{prefix}bias", q.bias, None),
            self.constant(f"{prefix}multiplier", q.multiplier, None),
            self.constant(f"{prefix}shift", q.shift, None),
        )

    def _rescaled(self, index: int, t: TensorType) -> str:
        x = self.node.inputs[index]
        rescaled = self.between(f"input{index}", t)
        self.nodes.append(Node(rescaled, self.rescale(x, rescaled), (x,), (rescaled,)))
        return rescaled

    def _integers(self, name: str, t: TensorType) -> str:
        assert t.quantization is not None
        array = t.quantization.quantize(self.graph.constants[name], t.dtype)
        return self._of_graph(name, array, t.quantization)

    def _of_graph(self, name: str, array: np.ndarray, quantization: Quantization | None) -> str:
        """A constant of the float Graph, which other nodes may take at another type."""
        t = TensorType.of(array, quantization)
        while self.types.get(name, t) != t:
            name += "/rescaled"
        self.types[name] = t
        self.constants[name] = np.asarray(array, order="C")
        return name
