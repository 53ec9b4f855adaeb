"""A Graph in the making: inputs, constants, operators; each value is typed as it comes."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

import numpy as np

from edgeinfer.errors import ModelError
from edgeinfer.graph.graph import ABSENT, DType, Graph, Node, Quantization, State, TensorType
from edgeinfer.graph.names import copies, distinct
from edgeinfer.graph.operators import Operator
from edgeinfer.graph.shapes import output_shapes

__all__ = ["GraphBuilder"]


class GraphBuilder:
    """A Graph that grows from its inputs to its outputs.

    ::

        builder = GraphBuilder("twice")
        x = builder.input("x", TensorType((1, 8)))
        y = builder.add(ops.Add(), x, x, output="y")
        graph = builder.graph(y)

    Parameters
    ----------
    name : str
        The Graph's name.
    reserved : container of str
        Names that only who asks for them gets: those of values and nodes to come.

    Attributes
    ----------
    types : dict of str to TensorType
        The type of every value so far.
    constants : dict of str to numpy.ndarray
        Those that are known.
    nodes : list of Node
        In order.
    """

    def __init__(self, name: str = "graph", *, reserved: Container[str] = ()) -> None:
        self.name = name
        self._reserved = reserved
        self.types: dict[str, TensorType] = {}
        self.constants: dict[str, np.ndarray] = {}
        self.nodes: list[Node] = []
        self._inputs: list[str] = []
        self._states: list[State] = []

    def shape(self, value: str) -> tuple[int, ...]:
        """The shape of a value."""
        return self.types[value].shape

    def distinct(self, name: str) -> str:
        """``name``, changed where a value has it already, or where it is reserved."""
        return distinct(name, self.types, self._reserved)

    def input(self, name: str, kind: TensorType) -> str:
        """A value that the caller of a run gives."""
        self._inputs.append(self._new(name, kind))
        return name

    def constant(
        self, name: str, array: np.ndarray, quantization: Quantization | None = None
    ) -> str:
        """A value that is known; the name that it got, which is another's where both are equal."""
        kind = TensorType.of(array, quantization)
        for copy in copies(name):
            known = self.constants.get(copy)
            if known is not None and self.types[copy] == kind and np.array_equal(known, array):
                return copy
            if copy not in self.types and (copy == name or copy not in self._reserved):
                break
        self.constants[copy] = np.asarray(array, order="C")  # which keeps an array without axes
        return self._new(copy, kind)

    def add(
        self,
        op: Operator,
        *inputs: str,
        output: str | None = None,
        node: str | None = None,
        dtype: DType | None = None,
        quantization: Quantization | None = None,
    ) -> str:
        """An operator that gives one value; the value's name.

        Parameters
        ----------
        op : Operator
            The operator.
        inputs : str
            What it takes, in the order of ``op.takes``; ``ABSENT`` where an optional one is absent.
        output : str, optional
            The value's name; without it one is made of the operator's.
        node : str, optional
            The node's name; without it the value's.
        dtype, quantization : optional
            The value's; without them the operator's own element type, or the first input's type.

        Raises
        ------
        ModelError
            The shapes do not fit the operator, or the value's name is taken.
        """
        (name,) = self.add_several(
            op,
            *inputs,
            outputs=None if output is None else [output],
            node=node,
            dtype=dtype,
            quantization=quantization,
        )
        return name

    def add_several(
        self,
        op: Operator,
        *inputs: str,
        outputs: Sequence[str] | None = None,
        node: str | None = None,
        dtype: DType | None = None,
        quantization: Quantization | None = None,
    ) -> tuple[str, ...]:
        """As ``add``, of an operator that gives any number of values; their names."""
        kinds = self.output_types(op, inputs, dtype, quantization)
        given = [None] * len(kinds) if outputs is None else outputs
        names = tuple(
            self._new(name or self.distinct(type(op).__name__.lower()), kind)
            for name, kind in zip(given, kinds, strict=True)
        )
        self._append(Node(node or names[0], op, inputs, names))
        return names

    def output_types(
        self,
        op: Operator,
        inputs: Sequence[str],
        dtype: DType | None = None,
        quantization: Quantization | None = None,
    ) -> list[TensorType]:
        """The types that ``op`` gives, of ``dtype`` and ``quantization`` where it has no own."""
        shapes = output_shapes(op, *(None if v == ABSENT else self.shape(v) for v in inputs))
        first = self.types[inputs[0]]
        if dtype is None and quantization is None and first.dtype != "float32":
            quantization = first.quantization
        own = [role.dtype for role in op.gives] * (len(shapes) if len(op.gives) == 1 else 1)
        return [
            TensorType(shape, fixed or dtype or first.dtype, None if fixed else quantization)
            for shape, fixed in zip(shapes, own, strict=True)
        ]

    def state(self, name: str, first: np.ndarray, quantization: Quantization | None = None) -> str:
        """A value that begins as ``first`` and is then what ``keep`` says, run after run."""
        constant = self.constant(self.distinct(f"{name}/first"), first, quantization)
        self._states.append(State(self._new(name, self.types[constant]), ABSENT, constant))
        return name

    def keep(self, state: str, output: str) -> None:
        """Let the next run find ``output`` in ``state``."""
        self._states = [
            State(s.input, output, s.first) if s.input == state else s for s in self._states
        ]

    def graph(self, *outputs: str, **others: Any) -> Graph:
        """The Graph that gives ``outputs``, without what none of them needs.

        ``others`` are further fields of Graph, such as ``labels``.
        """
        made = Graph(
            self.name,
            (),
            self.types,
            tuple(self._inputs),
            outputs,
            self.constants,
            states=tuple(self._states),
            **others,
        )
        return made.with_nodes(self.nodes)

    def _new(self, name: str, kind: TensorType) -> str:
        if name in self.types:
            raise ModelError(f"value {name!r} is given already")
        self.types[name] = kind
        return name

    def _append(self, node: Node) -> None:
        self.nodes.append(node)
