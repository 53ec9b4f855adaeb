"""A float Graph of a model that is quantized already into what it states, and into integers.

    Graph with FakeQuantize ─ read_stated ─► Graph, types of values, integers of weights ─► integers

Types and weights are kept as they are: nothing is calibrated, nothing searched. A bias is rounded
to its layer's accumulator, whose step is that of a bias in such a model; of integers beyond 2^24
it keeps what float32 does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from edgeinfer.errors import InputError, QuantizationError
from edgeinfer.graph import Graph, Node, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.quant.integer_types import IntegerTypes, given_type
from edgeinfer.quant.lowering import lower_to_integers, with_shared_constants
from edgeinfer.quant.weights import GivenWeights

__all__ = ["STATED", "Stated", "as_stated", "read_stated", "states_integers"]

STATED = "as stated"
"""What provenance calls the scheme, and the rounding of weights, of such a model."""

_NAMED = 5

# where the import's own part of a name begins
_OWN = re.compile("[#@]")


@dataclass(frozen=True)
class Stated:
    """What a model that is quantized already says of its integers.

    Parameters
    ----------
    graph : Graph
        The float Graph without FakeQuantize.
    types : mapping of str to TensorType
        Of the values that are quantized, by their names in ``graph``.
    weights : mapping of str to GivenWeights
        Of the layers whose weights are, by node.
    """

    graph: Graph
    types: Mapping[str, TensorType]
    weights: Mapping[str, GivenWeights]

    @property
    def open(self) -> list[str]:
        """The float values that nothing states a type of."""
        graph = self.graph
        return [
            name
            for name, t in graph.types.items()
            if t.dtype == "float32" and name not in graph.constants and name not in self.types
        ]

    def with_others(self, others: Mapping[str, TensorType]) -> dict[str, TensorType]:
        """The type of every value that a run computes: stated, or that of ``others``.

        Raises
        ------
        InputError
            Some have neither.
        """
        # of parts on the way to a value, and of other orders of its axes, the model knows nothing
        missing = list(dict.fromkeys(_OWN.split(n)[0] for n in self.open if n not in others))
        if missing:
            named = ", ".join(map(repr, missing[:_NAMED])) + (", ..." if missing[_NAMED:] else "")
            are = "is" if len(missing) == 1 else "are"
            raise InputError(
                f"the model is quantized already, but {len(missing)} of its values {are} not: "
                f"{named}; quantize it with calibration data, which these are then calibrated on"
            )
        kept = {n: t for n, t in self.graph.types.items() if n not in self.graph.constants}
        return {**kept, **others, **self.types}


def as_stated(graph: Graph, *, rounding: ops.Rounding = "single") -> Graph:
    """The integer Graph that the float ``graph`` of a model that is quantized already states.

    Parameters
    ----------
    graph : Graph
        What ``from_onnx`` or ``from_tflite`` makes of it.
    rounding : str
        ``single``, or ``double`` for the bits of TFLM, CMSIS-NN and Ethos-U (int8 only).

    Raises
    ------
    InputError
        Some values have no stated type.
    QuantizationError
        A type, a scale or a weight has no place in the integer contract; the node is named.
    """
    stated = read_stated(graph)
    types = IntegerTypes(stated.with_others({}))
    integer = lower_to_integers(stated.graph, types, weights=stated.weights, rounding=rounding)
    # the steps of a layer that was imported step by step have the same weights
    shared = with_shared_constants(integer)
    return replace(shared, provenance={**graph.provenance, "scheme": STATED})


def states_integers(graph: Graph) -> bool:
    """Whether ``graph`` is of a model that is quantized already, or whose weights are."""
    return any(isinstance(node.op, ops.FakeQuantize) for node in graph.nodes) or any(
        graph.types[name].quantization is not None and graph.types[name].dtype == "float32"
        for name in graph.constants
    )


def read_stated(graph: Graph) -> Stated:
    """What ``graph`` states.

    Raises
    ------
    QuantizationError
        A type has no place in the integer contract; the node is named.
    """
    nodes: list[Node] = []
    types: dict[str, TensorType] = {}
    stands: dict[str, str] = {}  # what is rounded, for its rounded value
    fixed = {*graph.sources, *graph.constants, *graph.results}
    for node in graph.nodes:
        node = replace(node, inputs=tuple(stands.get(name, name) for name in node.inputs))
        if not isinstance(node.op, ops.FakeQuantize):
            nodes.append(node)
            continue
        (x,), y, t = node.inputs, node.output, _type_of(node.op, graph, node)
        if y in fixed and x not in fixed and types.get(x, t) == t:
            # the model gives it out under this name
            nodes = [_renamed(each, x, y) for each in nodes]
            stands = {name: y if of == x else of for name, of in stands.items()}
            stands[x] = y
            types.pop(x, None)
            types[y] = t
            fixed.add(x)
        elif y not in fixed and types.setdefault(x, t) == t:
            stands[y] = x
        else:
            # what is rounded in two ways keeps the first, and is rescaled to the second
            nodes.append(replace(node, op=ops.Pointwise("x")))
            types[y] = t
            types.setdefault(x, t)
    made = graph.with_nodes(nodes)
    types = {name: t for name, t in types.items() if name in made.types}
    _spread(made, types)
    weights = _weights(made)
    plain = {name: TensorType(t.shape, t.dtype) for name, t in made.types.items()}
    return Stated(replace(made, types=plain), types, weights)


def _type_of(op: ops.FakeQuantize, graph: Graph, node: Node) -> TensorType:
    shape = graph.types[node.output].shape
    try:
        return given_type(shape, op.dtype, op.scale, op.zero_point)
    except QuantizationError as error:
        raise QuantizationError(error.message, node=node.name, operator="FakeQuantize") from error


def _renamed(node: Node, x: str, y: str) -> Node:
    """``node`` with the value ``x`` under the name ``y``."""
    inputs, outputs = (
        tuple(y if name == x else name for name in names) for names in (node.inputs, node.outputs)
    )
    return replace(node, inputs=inputs, outputs=outputs)


def _spread(graph: Graph, types: dict[str, TensorType]) -> None:
    """Give what only moves elements the type on its other side, as often as that tells another."""
    before = -1
    while len(types) != before:
        before = len(types)
        for node in graph.nodes:
            if isinstance(node.op, ops.Selecting):
                _across(graph, node, types)


def _across(graph: Graph, node: Node, types: dict[str, TensorType]) -> None:
    taken = [name for name in node.operands if graph.types[name].dtype == "float32"]
    taken = [name for name in taken if name not in graph.constants]
    given = [name for name in node.outputs if graph.types[name].dtype == "float32"]
    sources = taken if isinstance(node.op, ops.Joining) else taken[:1]
    known = [types[name].quantization for name in sources if name in types]
    if sources and len(known) == len(sources) and all(q == known[0] for q in known):
        like = types[sources[0]]
        for name in given:
            types.setdefault(name, replace(like, shape=graph.types[name].shape))
    elif given and given[0] in types:
        for name in sources:
            types.setdefault(name, replace(types[given[0]], shape=graph.types[name].shape))


def _weights(graph: Graph) -> dict[str, GivenWeights]:
    """The integers of each layer whose weights are whole multiples of stated scales."""
    found = {}
    for node in graph.nodes:
        if not isinstance(node.op, ops.Conv | ops.Dense):
            continue
        name = node.input("weights")
        q = graph.types[name].quantization
        if q is None or name not in graph.constants:
            continue
        scale = np.array(q.scale, np.float32)
        floats = graph.constants[name].astype(np.float64)
        column = (-1,) + (1,) * (floats.ndim - 1)
        integers = np.rint(floats / scale.astype(np.float64).reshape(column))
        dtype = np.min_scalar_type(int(np.abs(integers).max(initial=0)) * -1 - 1)
        found[node.name] = GivenWeights(integers.astype(dtype), scale)
    return found
