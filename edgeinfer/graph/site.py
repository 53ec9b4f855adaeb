"""A node in its graph: the types and constants of what it takes and gives, by their roles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeinfer.errors import ModelError
from edgeinfer.graph.graph import ABSENT, Graph, Node, TensorType

__all__ = ["Site"]


@dataclass(frozen=True)
class Site:
    """What a stage looks at while it treats one node.

    Parameters
    ----------
    node : Node
        The node.
    graph : Graph
        Where it stands.
    """

    node: Node
    graph: Graph

    @property
    def operator(self) -> str:
        """The operator's name."""
        return type(self.node.op).__name__

    def require(self, condition: Any, message: str) -> None:
        """``ModelError`` that names the node where ``condition`` does not hold."""
        if not condition:
            raise ModelError(message, node=self.node.name, operator=self.operator)

    # ---- what it takes

    def has(self, role: str) -> bool:
        """Whether an optional input is there."""
        return self.node.input(role) != ABSENT

    def type(self, role: str) -> TensorType:
        """The type of the input in ``role``."""
        return self.graph.types[self.node.input(role)]

    def shape(self, role: str) -> tuple[int, ...]:
        """The shape of the input in ``role``."""
        return self.type(role).shape

    def itemsize(self, role: str) -> int:
        """The bytes of an element of the input in ``role``."""
        return self.type(role).itemsize

    def is_constant(self, role: str) -> bool:
        """Whether the input in ``role`` is known."""
        return self.node.input(role) in self.graph.constants

    def constant(self, role: str, *dtypes: str) -> np.ndarray:
        """The elements of the input in ``role``.

        Raises
        ------
        ModelError
            A run computes it, or its elements are of none of ``dtypes``, where some are given.
        """
        array = self.graph.constants.get(self.node.input(role))
        self.require(array is not None, f"{role} must be a constant")
        assert array is not None
        if dtypes and str(array.dtype) not in dtypes:
            self.require(False, f"{role} must be {' or '.join(dtypes)}, not {array.dtype}")
        return array

    @property
    def inputs(self) -> tuple[TensorType, ...]:
        """The types of all that it takes, in order, without absent ones."""
        return tuple(self.graph.types[name] for name in self.node.operands)

    # ---- what it gives

    @property
    def outputs(self) -> tuple[TensorType, ...]:
        """The types of all that it gives."""
        return tuple(self.graph.types[name] for name in self.node.outputs)

    @property
    def output(self) -> TensorType:
        """The type of the only value that it gives."""
        return self.graph.types[self.node.output]

    @property
    def elements(self) -> int:
        """How many elements it gives, all outputs together."""
        return sum(math.prod(t.shape) for t in self.outputs)
