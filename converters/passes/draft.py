"""Turns a Graph into its successor, node by node: what a pass writes while it reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgeinfer.graph import DType, Graph, Node, TensorType
from edgeinfer.graph.operators import ArgMax, Operator
from edgeinfer.graph.shapes import output_shapes

__all__ = ["Draft"]


class Draft:
    """The Graph that a pass is writing; it starts with the inputs and constants of another.

    Parameters
    ----------
    graph : Graph
        What the pass reads.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.types = dict(graph.types)
        self.constants = dict(graph.constants)
        self._nodes: list[Node] = []
        self._place: dict[str, int] = {}
        self._alias: dict[str, str] = {}
        self._outputs = frozenset(graph.outputs)
        self._uses = Counter(name for node in graph.nodes for name in node.inputs)
        self._uses.update(graph.outputs)

    # ---- what was written so far

    def name(self, value: str) -> str:
        """The value that stands for ``value`` now."""
        while value in self._alias:
            value = self._alias[value]
        return value

    def shape(self, value: str) -> tuple[int, ...]:
        """The shape of a value."""
        return self.types[value].shape

    def producer(self, value: str) -> Node | None:
        """The node written so far that gives ``value``; None for inputs and constants."""
        place = self._place.get(value)
        return None if place is None else self._nodes[place]

    def is_output(self, value: str) -> bool:
        """Whether ``value`` is an output of the Graph."""
        return value in self._outputs

    def only_use(self, value: str) -> bool:
        """Whether one node, once, takes ``value``, and the Graph does not give it out."""
        return self._uses[value] == 1 and not self.is_output(value)

    # ---- writing

    def keep(self, node: Node) -> Node:
        """Write ``node`` as it is, but for inputs that others stand for by now."""
        node = replace(node, inputs=tuple(map(self.name, node.inputs)))
        self._append(node)
        return node

    def add(self, like: Node, op: Operator, inputs: Sequence[str], output: str) -> str:
        """Write a node that takes the place of ``like``, or a part of it; gives its value."""
        dtype: DType = "int64" if isinstance(op, ArgMax) else self.types[inputs[0]].dtype
        (shape,) = output_shapes(op, *map(self.shape, inputs))
        if output in self._place:
            raise AssertionError(f"{output} is written twice")
        self.types[output] = TensorType(shape, dtype)
        self._append(Node(like.name, op, tuple(inputs), (output,)))
        return output

    def replace(self, value: str, op: Operator, inputs: Sequence[str], output: str) -> str:
        """Write ``op`` where ``value`` is written, so that it gives ``output`` in its stead."""
        place = self._place.pop(value)
        old = self._nodes[place]
        (shape,) = output_shapes(op, *map(self.shape, inputs))
        self.types[output] = TensorType(shape, self.types[value].dtype)
        self._nodes[place] = Node(old.name, op, tuple(inputs), (output,))
        self._place[output] = place
        return output

    def alias(self, value: str, target: str) -> bool:
        """Let ``target`` stand for ``value``; False where both names must stay."""
        uses = self._uses[value] + self._uses[target] - 1
        if self.is_output(value):
            if self.is_output(target) or target not in self._place:
                return False
            self._rename(target, value)
        else:
            self._alias[value] = target
        self._uses[self.name(target)] = uses
        return True

    def constant(self, array: np.ndarray, name: str) -> str:
        """Add a constant, under ``name`` or one made of it."""
        base, copies = name, 1
        while name in self.types:
            if name in self.constants and np.array_equal(self.constants[name], array):
                return name
            copies += 1
            name = f"{base}@{copies}"
        array = np.ascontiguousarray(array)
        self.constants[name] = array
        self.types[name] = TensorType(array.shape, self.dtype_of(array))
        return name

    @staticmethod
    def dtype_of(array: np.ndarray) -> DType:
        """The Graph's name of an array's element type."""
        return array.dtype.name  # type: ignore[return-value]

    def fresh(self, value: str, label: str) -> str:
        """A name that no other value has.

        ``@label`` is for the elements of ``value`` in another order of axes, ``#label`` for
        something else that is made of it.
        """
        name, copies = f"{value}{label}", 1
        while name in self.types:
            copies += 1
            name = f"{value}{label}{copies}"
        return name

    def finish(self) -> Graph:
        """The Graph as written, without what no output needs."""
        return self.graph.with_nodes(self._nodes, types=self.types, constants=self.constants)

    def _append(self, node: Node) -> None:
        for output in node.outputs:
            self._place[output] = len(self._nodes)
        self._nodes.append(node)

    def _rename(self, value: str, output: str) -> None:
        """Give the value of a written node another name, everywhere."""
        place = self._place.pop(value)
        self._nodes[place] = replace(self._nodes[place], outputs=(output,))
        self._place[output] = place
        self.types[output] = self.types[value]
        self._alias[value] = output
        self._nodes = [
            replace(n, inputs=tuple(output if i == value else i for i in n.inputs))
            if value in n.inputs
            else n
            for n in self._nodes
        ]
