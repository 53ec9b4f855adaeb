"""A float Graph and the types of its values into an integer Graph; no data, and no choice left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from edgeinfer.errors import InputError, QuantizationError
from edgeinfer.graph import Graph, Node, State, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.graph.builder import distinct
from edgeinfer.graph.verification import verify
from edgeinfer.quant.fragment import Fragment
from edgeinfer.quant.integer_types import IntegerTypes
from edgeinfer.quant.rules import integer_operators, lower
from edgeinfer.quant.weights import GivenWeights

__all__ = ["Lowering", "lower_to_integers"]

# everything that a fragment depends on beside its node
_Key: TypeAlias = tuple[object, ...]


def lower_to_integers(
    graph: Graph,
    types: IntegerTypes,
    *,
    weights: Mapping[str, GivenWeights] | None = None,
    rounding: ops.Rounding = "single",
) -> Graph:
    """The integer Graph in which the values of ``graph`` have ``types``.

    Parameters
    ----------
    graph : Graph
        A float Graph in canonical form.
    types : IntegerTypes
        From ``choose_types``, or from a model that is quantized already.
    weights : mapping of str to GivenWeights
        By node name, the integers of layers that are quantized already; the float Graph's own
        weights are quantized for all others.
    rounding : str
        ``single``, or ``double`` for the bits of TFLM, CMSIS-NN and Ethos-U (int8 only).

    Raises
    ------
    QuantizationError
        A type, a scale or a weight has no place in the integer contract; the node is named.
    InputError
        ``weights`` names no layer of the Graph.
    """
    integer = Lowering(graph, weights=weights, rounding=rounding).graph_of(types)
    verify(integer)
    return integer


class Lowering:
    """One float Graph, lowered again and again: what no type changes is made once.

    Parameters are those of ``lower_to_integers``.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        weights: Mapping[str, GivenWeights] | None = None,
        rounding: ops.Rounding = "single",
    ) -> None:
        self._graph = graph
        self._weights = {} if weights is None else weights
        self._rounding = rounding
        self._made: dict[int, tuple[_Key, Fragment]] = {}
        layers = [n.name for n in graph.nodes if isinstance(n.op, ops.Conv | ops.Dense)]
        for name in self._weights:
            if name not in layers:
                raise InputError(f"weights are given for {name!r}, but no layer has that name")

    def graph_of(self, types: IntegerTypes) -> Graph:
        """The integer Graph for ``types``, which has yet to be verified."""
        assembly = _Assembly(self._graph, types)
        for index in range(len(self._graph.nodes)):
            assembly.add(self._fragment(index, types))
        states = tuple(map(assembly.of_integers, self._graph.states))
        integer = replace(
            self._graph, constants=assembly.constants, types=assembly.types, states=states
        )
        return integer.with_nodes(assembly.nodes)

    def _fragment(self, index: int, types: IntegerTypes) -> Fragment:
        node = self._graph.nodes[index]
        names = (*node.inputs, *node.outputs)
        key = (
            types.weights,
            *(types.values.get(name) for name in names),
            *(types.domains.get(name) for name in names),
        )
        known = self._made.get(index)
        if known is not None and known[0] == key:
            return known[1]
        given = self._weights.get(node.name)
        fragment = Fragment(self._graph, node, types, given, self._rounding)
        try:
            lower(node.op, node, fragment)
        except QuantizationError as error:
            if error.node is not None:
                raise
            raise QuantizationError(
                error.message, node=node.name, operator=type(node.op).__name__
            ) from error
        made = (*integer_operators(type(node.op)), ops.Rescale)
        for new in fragment.nodes:
            if not isinstance(new.op, made):
                raise AssertionError(f"the rule of {node.op} does not say that it makes {new.op}")
        self._made[index] = key, fragment
        return fragment


class _Assembly:
    """Fragments one after another, each name that they made given once."""

    def __init__(self, graph: Graph, types: IntegerTypes) -> None:
        self._constants = graph.constants
        self._taken = {*graph.types, *(node.name for node in graph.nodes)}
        self.types: dict[str, TensorType] = dict(types.values)
        self.constants: dict[str, np.ndarray] = {}
        self.nodes: list[Node] = []

    def add(self, fragment: Fragment) -> None:
        """Take over the fragment's nodes and values."""
        names = {name: self._placed(name, t) for name, t in fragment.types.items()}
        self.constants |= {names[name]: array for name, array in fragment.constants.items()}
        for node in fragment.nodes:
            inputs, outputs = (
                tuple(names.get(name, name) for name in values)
                for values in (node.inputs, node.outputs)
            )
            if (inputs, outputs) != (node.inputs, node.outputs):
                node = replace(
                    node, name=names.get(node.name, node.name), inputs=inputs, outputs=outputs
                )
            self.nodes.append(node)

    def of_integers(self, state: State) -> State:
        """The state whose first value is one of the integers that its others are."""
        t, first = self.types[state.input], self._constants[state.first]
        name = self._placed(state.first, t)
        q = t.quantization
        self.constants[name] = first if q is None else q.quantize(first, t.dtype)
        return replace(state, first=name)

    def _placed(self, name: str, t: TensorType) -> str:
        made = name
        if name in self._constants:
            # the same constant may serve another operator at another type
            while self.types.get(name, t) != t or (name != made and name in self._taken):
                name += "/rescaled"
        else:
            name = distinct(name, self._taken)
            self._taken.add(name)
        self.types[name] = t
        return name
