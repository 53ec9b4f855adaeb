"""The rules by operator, and what all of them ask of a node."""

from __future__ import annotations

from functools import singledispatch

import numpy as np

from edgeinfer.arithmetic.accumulators import reach
from edgeinfer.converters.tosa.flatbuffer import Tensor
from edgeinfer.converters.tosa.writer import TosaWriter
from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Node
from edgeinfer.graph import operators as ops

__all__ = ["constants", "dtype", "ends", "largest", "lower"]


@singledispatch
def lower(op: ops.Operator, node: Node, to: TosaWriter) -> Tensor | list[Tensor]:
    """Write the operators of TOSA that stand for ``node``: what it gives, or all that it gives.

    Raises
    ------
    UnsupportedError
        There are none.
    """
    raise UnsupportedError("TOSA has no operator for it")


def constants(node: Node, to: TosaWriter) -> list[np.ndarray]:
    """What an operator takes behind x."""
    return [to.graph.constants[name] for name in node.inputs[1:]]


def dtype(node: Node, to: TosaWriter) -> str:
    """Of the integers that it gives."""
    return to.graph.types[node.output].dtype


def ends(value: str, zero_point: int, to: TosaWriter) -> tuple[int, int]:
    """The least and the largest ``q - zero_point`` of a value."""
    info = np.iinfo(to.graph.types[value].dtype)
    return int(info.min) - zero_point, int(info.max) - zero_point


def largest(value: str, zero_point: int, to: TosaWriter) -> int:
    """The magnitude that ``q - zero_point`` of a value stays within."""
    return reach(to.graph.types[value].dtype, zero_point)
