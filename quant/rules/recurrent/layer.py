"""What all steps of a recurrent layer have in common: types, constants, and how one is emitted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from edgeinfer.errors import QuantizationError
from edgeinfer.graph import ABSENT, Node, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.meaning.reference import evaluate
from edgeinfer.quant.bounds import magnitude
from edgeinfer.quant.fragment import Fragment
from edgeinfer.quant.rules.between import (
    covered,
    difference_of,
    ending,
    of_reach,
    product_of,
    rescaled,
    sum_of,
)

__all__ = ["Layer"]


class Layer(ABC):
    """What all steps of ``node`` have in common; a subclass has the equations of one."""

    def __init__(self, op: ops.Recurrent, node: Node, to: Fragment) -> None:
        self.op, self.node, self.to = op, node, to
        self.step = 0
        self.samples, self.count, _ = to.graph.types[node.input("x")].shape
        self.size = to.graph.types[node.input("recurrence")].shape[1]
        self.x = to.operand(node.input("x"), to.kind(node.outputs[0])[2])
        self.h = self.of_step(node.outputs[0])

    @abstractmethod
    def first(self) -> tuple[str, ...]:
        """What the first step takes."""

    @abstractmethod
    def next(self, *state: str) -> tuple[str, ...]:
        """Emit a step: what it makes of what the one before left, the node's outputs first."""

    def join(self, output: str, parts: Sequence[str]) -> None:
        """Emit ``output``, the ``parts`` of all steps."""
        to = self.to
        if to.kind(parts[0]) == to.kind(output):
            to.emit_output(output, ops.Concat(1), *parts)
            return
        t = replace(to.type(parts[0]), shape=to.type(output).shape)
        joined = to.emit_part("joined", t, ops.Concat(1), *parts)
        to.emit_output(output, to.rescale(joined, output), joined)

    # ---- constants and types

    def array(self, role: str) -> np.ndarray:
        """The constant in ``role``."""
        name = self.node.input(role)
        if name not in self.to.graph.constants:
            raise QuantizationError("weights that a run computes cannot be quantized yet")
        return self.to.graph.constants[name]

    def of_reach(self, reach: float, size: int | None = None) -> TensorType:
        """The type of a step's value of 16 bits within ``-reach`` ... ``reach``."""
        return of_reach((self.samples, 1, size or self.size), reach)

    def of_step(self, name: str) -> TensorType:
        """The type that a step's part of ``name`` has."""
        return replace(self.to.type(name), shape=(self.samples, 1, self.size))

    def of_step_in_16_bits(self, name: str) -> TensorType:
        """The same in 16 bits."""
        t = self.of_step(name)
        return t if t.dtype == "int16" else self.of_reach(magnitude(covered(t)))

    def start(self, role: str, t: TensorType) -> str:
        """What the first step takes in ``role``, or 0, as type ``t``."""
        to, name, q = self.to, self.node.input(role), t.quantization
        assert q is not None
        if name != ABSENT and to.is_computed(name):
            own = replace(to.type(name), shape=t.shape)
            return self.rescale(
                role, to.emit_part(f"{role}/step", own, ops.Reshape(t.shape), name), t
            )
        array = to.graph.constants.get(name, np.zeros(t.shape, np.float32)).reshape(t.shape)
        return to.constant(role, q.quantize(array, t.dtype), q)

    def over_all_steps(
        self, name: str, t: TensorType, weights: np.ndarray, bias: np.ndarray
    ) -> tuple[str, ...]:
        """W x and its bias, each step's of type ``t``, in the order of time."""
        to, x = self.to, self.x
        whole = replace(t, shape=(self.samples, self.count, len(bias)))
        constants = to.layer_of(name, to.type(x), t, weights, bias)
        op = ops.QDense(**ending(t), input_zero_point=to.kind(x)[1])
        given = to.emit_part(name, whole, op, x, *constants)
        if self.count == 1:
            return (given,)
        parts = {f"{step}/{name}": t for step in range(self.count)}
        return to.emit_parts(parts, ops.Split(1, (1,) * self.count), given)

    # ---- the arithmetic of a step

    def emit(self, part: str, t: TensorType, op: ops.Operator, *inputs: str) -> str:
        """``op``, which gives a value of type ``t``, and the value's name.

        What the first step makes of constants alone is a constant.
        """
        to, name = self.to, f"{self.step}/{part}"
        if all(value in to.constants for value in inputs):
            (array,) = evaluate(op, *(to.constants[value] for value in inputs))
            return to.constant(name, array.astype(t.dtype), t.quantization)
        return to.emit_part(name, t, op, *inputs)

    def split(self, value: str, sizes: Mapping[str, int]) -> tuple[str, ...]:
        """``value`` in parts of ``sizes`` along its last axis.

        Parts of a constant are constants.
        """
        t, op = self.to.type(value), ops.Split(2, tuple(sizes.values()))
        kinds = {
            f"{self.step}/{part}": replace(t, shape=(*t.shape[:-1], size))
            for part, size in sizes.items()
        }
        if value not in self.to.constants:
            return self.to.emit_parts(kinds, op, value)
        arrays = evaluate(op, self.to.constants[value])
        return tuple(
            self.to.constant(name, array, t.quantization)
            for name, array in zip(kinds, arrays, strict=True)
        )

    def rescale(self, part: str, x: str, t: TensorType) -> str:
        """``x`` as type ``t``."""
        if self.to.type(x) == t:
            return x
        return self.emit(part, t, rescaled(self.to, x, t), x)

    def add(self, part: str, a: str, b: str, t: TensorType) -> str:
        """``a + b``, of 16 bits each, as type ``t``."""
        return self.emit(part, t, sum_of(self.to, a, b, t), a, b)

    def subtract(self, part: str, a: str, b: str, t: TensorType) -> str:
        """``a - b``, of 16 bits each, as type ``t``."""
        return self.emit(part, t, difference_of(self.to, a, b, t), a, b)

    def multiply(self, part: str, a: str, b: str, t: TensorType) -> str:
        """``a b`` as type ``t``."""
        return self.emit(part, t, product_of(self.to, a, b, t), a, b)
