"""A function of ONNX's operators in the making, and the table of those that one is made for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper, numpy_helper

from edgeinfer.converters.onnx_operators import Operand, Refusal, qualified
from edgeinfer.errors import ModelError

__all__ = ["OPERATORS", "Body", "Outputs", "definition", "operator"]

_DOMAIN = "com.microsoft"

_OPSET = 23

Outputs: TypeAlias = str | Sequence[str | None]
"""The names of what a function gives, None for an output that it has not."""


@dataclass
class Body:
    """The function of one node in the making."""

    node: ir.Node
    operands: Sequence[Operand | None]
    nodes: list[onnx.NodeProto] = field(default_factory=list, init=False)
    read: set[str] = field(default_factory=set, init=False)

    def has(self, index: int) -> bool:
        """Whether the input ``index`` is there."""
        return index < len(self.operands) and self.operands[index] is not None

    def input(self, index: int) -> str:
        """The name of the input ``index``."""
        if not self.has(index):
            raise ModelError(f"input {index} is missing")
        return f"input{index}"

    def shape(self, index: int, rank: int | None = None) -> tuple[int, ...]:
        """The shape of the input ``index``, which has ``rank`` axes where that is said."""
        operand = self.operands[index] if self.has(index) else None
        if operand is None:
            raise ModelError(f"input {index} is missing")
        if rank is not None and len(operand.shape) != rank:
            raise ModelError(
                f"input {index} must have {rank} axes, not shape {list(operand.shape)}"
            )
        return operand.shape

    def attribute(self, name: str, default: Any) -> Any:
        """An attribute, of the type of ``default``."""
        self.read.add(name)
        found = self.node.attributes.get(name)
        value = default if found is None else found.value
        if isinstance(default, str | float | int) and not isinstance(value, type(default)):
            raise ModelError(f"attribute {name!r} is no {type(default).__name__}")
        return value

    def __call__(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """A node of the function, and the name of what it gives."""
        return self.several(operator, 1, *inputs, **attributes)[0]

    def several(self, operator: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """As the call, of a node that gives several values."""
        names = [f"{operator}{len(self.nodes)}_{i}" for i in range(count)]
        self.nodes.append(helper.make_node(operator, inputs, names, **attributes))
        return names

    def constant(self, value: Any) -> str:
        """A constant of floats, or of integers where ``value`` holds some."""
        array = np.asarray(value)
        array = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        return self("Constant", value=numpy_helper.from_array(array))

    def sum(self, *names: str | None) -> str:
        """The sum of those that are there."""
        there = [name for name in names if name is not None]
        total = there[0]
        for name in there[1:]:
            total = self("Add", total, name)
        return total

    def optional(self, index: int) -> str | None:
        """The name of the input ``index`` where it is there."""
        return f"input{index}" if self.has(index) else None

    def if_there(self, index: int) -> list[str]:
        """The input ``index`` as the last of a node's, which may be left out."""
        return [f"input{index}"] if self.has(index) else []

    def refuse_inputs(self, *refused: tuple[int, str]) -> None:
        """Refuse those of the inputs that are there."""
        for index, what in refused:
            if self.has(index):
                raise Refusal(f"its input {what} is not supported")

    def scaled(self, x: str, factor: float) -> str:
        """``x`` times a number."""
        return x if factor == 1 else self("Mul", x, self.constant(float(factor)))


OPERATORS: dict[str, Callable[[Body], Outputs]] = {}
"""By operator, with its domain where that is not ONNX's own, what makes its function."""


def operator(
    *names: str, domain: str = _DOMAIN
) -> Callable[[Callable[[Body], Outputs]], Callable[[Body], Outputs]]:
    """Register what makes the function of the operators ``names``."""

    def register(function: Callable[[Body], Outputs]) -> Callable[[Body], Outputs]:
        qualified_names = [f"{domain}.{name}" if domain else name for name in names]
        OPERATORS.update(dict.fromkeys(qualified_names, function))
        return function

    return register


def definition(
    node: ir.Node, operands: Sequence[Operand | None], used: Sequence[bool]
) -> onnx.FunctionProto:
    """The function that says what ``node`` is.

    Parameters
    ----------
    node : onnx_ir.Node
        One of ``OPERATORS``.
    operands : sequence of Static, Dynamic or None
        Its operands; None where an optional one is left out.
    used : sequence of bool
        Of each output whether anything takes it.

    Raises
    ------
    Refusal
        It cannot be imported.
    ModelError
        Its operands or attributes contradict each other.
    """
    body = Body(node, operands)
    found = OPERATORS[qualified(node)](body)
    outputs = [found] if isinstance(found, str) else list(found)
    for index, is_used in enumerate(used):
        if is_used and (index >= len(outputs) or outputs[index] is None):
            raise Refusal(f"its output {index} is not supported")
    unknown = set(node.attributes) - body.read
    if unknown:
        raise Refusal(f"its attribute {min(unknown)!r} is not supported")
    names = [name or f"none{i}" for i, name in enumerate(outputs)]
    names += [f"none{i}" for i in range(len(names), len(used))]
    return helper.make_function(
        _DOMAIN,
        node.op_type,
        [f"input{i}" for i in range(len(operands))],
        names[: len(used)],
        body.nodes,
        [helper.make_opsetid("", _OPSET)],
    )
