"""Additions and products into the layers that make one of their operands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from edgeinfer.graph import Graph
from edgeinfer.hdl.compiler.layers import Layer, Lowered, Second, geometry
from edgeinfer.hdl.isa import Operation

__all__ = ["fused"]


def fused(graph: Graph, lowered: Lowered) -> list[Layer]:
    """Additions and products become the second operands of the layers that make one of theirs."""
    uses = Counter(name for node in graph.nodes for name in node.inputs)
    uses.update(graph.outputs)
    layers: list[Layer] = []
    made: dict[str, int] = {}
    for layer in lowered.layers:
        host = _host(graph, layer, layers, made, uses, lowered)
        if host is None:
            made[layer.output] = -1 if layer.output in made else len(layers)
            layers.append(layer)
            continue
        index, second = host
        layers[index] = replace(layers[index], output=layer.output, second=second)
        made[layer.output] = index
    return layers


def _host(
    graph: Graph,
    layer: Layer,
    layers: list[Layer],
    made: Mapping[str, int],
    uses: Mapping[str, int],
    lowered: Lowered,
) -> tuple[int, Second] | None:
    """The layer that can do what ``layer`` does after its own result, if there is one.

    It makes one operand, which nothing else reads, and the other operand is made before it.
    """
    if layer.second is None or not layer.passes_on or layer.source == layer.second.value:
        return None
    choices = [(layer.source, layer.second.value, layer.second)]
    turned = _turned(layer.second, layer.source)
    if turned is not None:
        choices.append((layer.second.value, layer.source, turned))

    def latest(name: str) -> int:
        """The last layer that makes a part of ``name``; -1 for inputs."""
        while name in lowered.aliases:
            name = lowered.aliases[name]
        if name in lowered.concats:
            return max(latest(part) for part in lowered.concats[name])
        return max((i for i, each in enumerate(layers) if each.output == name), default=-1)

    for own, other, second in choices:
        index = made.get(own, -1)
        if index < 0 or uses[own] != 1 or latest(other) >= index:
            continue
        host = layers[index]
        if geometry(graph.types[own].shape) != geometry(graph.types[layer.output].shape):
            continue
        plain = host.second is None and host.table is None and host.reduced is None
        plain = plain and not host.grid.turned
        if plain and host.double == layer.double:
            return index, replace(second, value=other, intermediate=own)
    return None


def _turned(second: Second, source: str) -> Second | None:
    """The same with the operands exchanged."""
    swaps: dict[Operation, Operation] = {
        Operation.ADD: Operation.ADD,
        Operation.MULTIPLY: Operation.MULTIPLY,
        Operation.SUBTRACT: Operation.SUBTRACT_FROM,
        Operation.SUBTRACT_FROM: Operation.SUBTRACT,
    }
    return replace(
        second, value=source, operation=swaps[second.operation], swapped=not second.swapped
    )
