"""A float Graph and the types of its values into an integer Graph; no data, and no choice left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import TypeAlias

from edgeinfer.errors import InputError, QuantizationError
from edgeinfer.graph import Graph, GraphBuilder, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.graph.verification import verify
from edgeinfer.quant.fragment import Fragment
from edgeinfer.quant.integer_types import IntegerTypes
from edgeinfer.quant.rules import integer_operators, lower
from edgeinfer.quant.weights import GivenWeights

__all__ = ["Lowering", "lower_to_integers", "with_shared_constants"]

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


def with_shared_constants(graph: Graph) -> Graph:
    """``graph`` in which what several layers hold alike, as steps of one do, is there once."""
    first: dict[tuple[TensorType, bytes], str] = {}
    stands = {
        name: first.setdefault((graph.types[name], sha256(array.tobytes()).digest()), name)
        for name, array in graph.constants.items()
    }
    kept = {*first.values(), *(state.first for state in graph.states)}
    return replace(
        graph,
        nodes=tuple(
            replace(node, inputs=tuple(stands.get(name, name) for name in node.inputs))
            for node in graph.nodes
        ),
        types={n: t for n, t in graph.types.items() if n not in stands or n in kept},
        constants={n: array for n, array in graph.constants.items() if n in kept},
    )


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
        self._names = {*graph.types, *(node.name for node in graph.nodes)}
        layers = [n.name for n in graph.nodes if isinstance(n.op, ops.Conv | ops.Dense)]
        for name in self._weights:
            if name not in layers:
                raise InputError(f"weights are given for {name!r}, but no layer has that name")

    def __getstate__(self) -> dict[str, object]:
        # what was made once is soon made again, and larger than what it is made of
        return {**vars(self), "_made": {}}

    def graph_of(self, types: IntegerTypes) -> Graph:
        """The integer Graph for ``types``, which has yet to be verified."""
        graph = self._graph
        builder = GraphBuilder(graph.name, reserved=self._names)
        for name in graph.inputs:
            builder.input(name, types.values[name])
        for state in graph.states:
            first, t = graph.constants[state.first], types.values[state.input]
            q = t.quantization
            builder.state(state.input, first if q is None else q.quantize(first, t.dtype), q)
        for index in range(len(graph.nodes)):
            self._place(self._fragment(index, types), builder)
        for state in graph.states:
            builder.keep(state.input, state.output)
        made = builder.graph(*graph.outputs)
        return replace(
            graph, nodes=made.nodes, types=made.types, constants=made.constants, states=made.states
        )

    def _place(self, fragment: Fragment, builder: GraphBuilder) -> None:
        """Add what stands for one float node, each name that was made given once."""
        names: dict[str, str] = {}
        for name, array in fragment.constants.items():
            # the same constant may serve another operator at another type
            asked = name if name in self._graph.constants else builder.distinct(name)
            names[name] = builder.constant(asked, array, fragment.types[name].quantization)
        for node in fragment.nodes:
            t = fragment.type(node.outputs[0])
            made = [name for name in node.outputs if name in fragment.types]
            names |= {name: builder.distinct(name) for name in made}
            builder.add_several(
                node.op,
                *(names.get(name, name) for name in node.inputs),
                outputs=[names.get(name, name) for name in node.outputs],
                # what is made on the way is called by what it gives
                node=names[node.name] if node.name in made else node.name,
                dtype=t.dtype,
                quantization=t.quantization,
            )

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
