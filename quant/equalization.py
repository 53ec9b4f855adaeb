"""A float Graph into one of the same function whose channels reach about equally far.

What a layer gives in one channel may be divided by a number if all that takes it multiplies by the
same: so one scale can serve channels of which one reached a hundred times as far (M. Nagel et al.,
"Data-free quantization through weight equalization and bias correction", 2019). Divisors are powers
of two, by which no float32 is rounded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgeinfer.errors import InputError
from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops

__all__ = ["KEY", "can_equalize", "divisors_of", "equalized", "equalized_as_stated", "to_text"]

KEY = "equalized"
"""Under what a Graph's provenance holds the divisors that it was made with."""

# the constants that change, by name
_Constants = dict[str, np.ndarray]


def divisors_of(reach: np.ndarray, channels: list[int]) -> dict[int, float]:
    """By channel, what brings these ``channels`` to the others' ``reach``: the least power of two
    by which one that reaches farther widens no range, and of a faint one what is near the middle.

    A channel that may well have been a loud one keeps so the most of its steps.
    """
    others = np.delete(reach, channels)
    others = others[others > 0]
    if not len(others):
        return {}
    farthest, typical = float(others.max()), float(np.median(others))
    return {
        c: float(
            2.0 ** np.ceil(np.log2(reach[c] / farthest))
            if reach[c] > farthest
            else 2.0 ** np.rint(np.log2(reach[c] / typical))
        )
        for c in channels
        if reach[c] > 0
    }


def can_equalize(graph: Graph, value: str) -> bool:
    """Whether a layer gives ``value``, and all that takes it can make up for divisors."""
    return _scaled(graph, value, {}) is not None


def equalized(graph: Graph, value: str, divisors: Mapping[int, float]) -> Graph:
    """The same function, with the channels of ``value`` divided by numbers.

    Raises
    ------
    InputError
        ``can_equalize`` says no.
    """
    constants = _scaled(graph, value, divisors)
    if constants is None:
        raise InputError(f"the channels of {value!r} cannot be equalized")
    return replace(graph, constants={**graph.constants, **constants})


def to_text(divisors: Mapping[str, Mapping[int, float]], provenance: Mapping[str, str]) -> str:
    """What ``equalized_as_stated`` reads, as JSON: ``divisors`` beside those already stated."""
    stated = json.loads(provenance.get(KEY, "{}"))
    for value, found in divisors.items():
        known = stated.setdefault(value, {})
        for channel, divisor in found.items():
            known[str(channel)] = known.get(str(channel), 1.0) * divisor
    return json.dumps(stated, sort_keys=True, separators=(",", ":"))


def equalized_as_stated(graph: Graph, provenance: Mapping[str, str]) -> Graph:
    """``graph`` with the divisors of a Graph that was made of it.

    Raises
    ------
    InputError
        The divisors are not ones of this Graph.
    """
    if KEY not in provenance:
        return graph
    try:
        for value, found in json.loads(provenance[KEY]).items():
            graph = equalized(graph, value, {int(c): float(d) for c, d in found.items()})
    except (ValueError, AttributeError, IndexError) as error:
        raise InputError(
            "the quantized model was not made from the float one: it has channels equalized that "
            "the float one does not have"
        ) from error
    return graph


def _scaled(graph: Graph, value: str, divisors: Mapping[int, float]) -> _Constants | None:
    """The weights and biases that change; None where something else than layers takes it."""
    producers, consumers = graph.producers(), graph.consumers()
    node = producers.get(value)
    if node is None or not isinstance(node.op, ops.Conv | ops.Dense):
        return None
    if not np.isinf(node.op.hi) or node.op.lo not in (0.0, -np.inf):
        return None
    channels = graph.types[value].shape[-1]
    factors = np.ones(channels, np.float32)
    for channel, divisor in divisors.items():
        factors[channel] = divisor
    found: _Constants = {}
    shape = (-1,) + (1,) * (len(graph.types[node.input("weights")].shape) - 1)
    if not _change(graph, consumers, found, node, "weights", 1 / factors.reshape(shape)):
        return None
    if node.input("bias") and not _change(graph, consumers, found, node, "bias", 1 / factors):
        return None
    pending = [value]
    while pending:
        name = pending.pop()
        if name in graph.results or not consumers[name]:
            return None
        for reader in consumers[name]:
            if _keeps_channels(graph, reader, channels):
                pending.append(reader.output)
            elif not _takes(graph, consumers, found, reader, name, factors):
                return None
    return found


def _keeps_channels(graph: Graph, node: Node, channels: int) -> bool:
    """Each channel of the result is the same channel, times whatever that was times."""
    if isinstance(node.op, ops.MaxPool | ops.AveragePool):
        return True
    ends = graph.types[node.inputs[0]].elements, graph.types[node.output].shape[-1]
    return isinstance(node.op, ops.Reshape) and ends == (channels, channels)


def _takes(
    graph: Graph,
    consumers: Mapping[str, list[Node]],
    found: _Constants,
    node: Node,
    name: str,
    factors: np.ndarray,
) -> bool:
    """Whether the weights of ``node`` make up for divisors of what it takes; then they do."""
    if not isinstance(node.op, ops.Conv | ops.Dense) or node.input("x") != name:
        return False
    shape = graph.types[node.input("weights")].shape
    if isinstance(node.op, ops.Dense) or node.op.group == 1:
        return shape[-1] == len(factors) and _change(
            graph, consumers, found, node, "weights", factors
        )
    if node.op.group != len(factors) or shape[0] != len(factors):
        return False
    return _change(graph, consumers, found, node, "weights", factors.reshape(-1, 1, 1, 1))


def _change(
    graph: Graph,
    consumers: Mapping[str, list[Node]],
    found: _Constants,
    node: Node,
    role: str,
    factors: np.ndarray,
) -> bool:
    name = node.input(role)
    if name not in graph.constants or len(consumers[name]) > 1 or name in graph.outputs:
        return False
    found[name] = found.get(name, graph.constants[name]) * factors
    return True
