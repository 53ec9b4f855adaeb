"""A Graph into what it takes to run: multiply-accumulates, parameters, bytes of flash and arena.

A float Graph is costed as the int8 Graph that quantization would make of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import singledispatch

from edgeinfer.graph import Graph, Node, TensorType
from edgeinfer.graph import operators as ops

__all__ = ["Cost", "LayerCost", "cost", "macs", "peak_bytes"]

Shape = tuple[int, ...]

_CHANNEL_BYTES = 4 + 4 + 1  # bias, multiplier and shift of an output channel
_TABLE_BYTES = 256
_EXPONENTIALS_BYTES = 4 * 256


@singledispatch
def macs(op: ops.Operator, inputs: Sequence[Shape], output: Shape) -> int:
    """How many multiply-accumulates ``op`` takes; 0 for what multiplies no two tensors."""
    return 0


@macs.register(ops.Conv)
@macs.register(ops.QConv)
@macs.register(ops.Dense)
@macs.register(ops.QDense)
def _(op: ops.Operator, inputs: Sequence[Shape], output: Shape) -> int:
    return math.prod(output) * math.prod(inputs[1][1:])


@macs.register
def _(op: ops.ConvTranspose, inputs: Sequence[Shape], output: Shape) -> int:
    return math.prod(inputs[0]) * math.prod(inputs[1][1:])


@macs.register
def _(op: ops.MatMul, inputs: Sequence[Shape], output: Shape) -> int:
    return math.prod(output) * inputs[0][-1]


@singledispatch
def _int8_bytes(op: ops.Operator, constants: Sequence[Shape], output: Shape) -> int:
    """Bytes of the constants that ``op`` would have after quantization to int8."""
    return sum(map(math.prod, constants))


@_int8_bytes.register(ops.Conv)
@_int8_bytes.register(ops.Dense)
@_int8_bytes.register(ops.ConvTranspose)
def _(op: ops.Operator, constants: Sequence[Shape], output: Shape) -> int:
    weights = math.prod(constants[0]) if constants else 0
    return weights + _CHANNEL_BYTES * output[-1]


@_int8_bytes.register
def _(op: ops.Pointwise, constants: Sequence[Shape], output: Shape) -> int:
    return _TABLE_BYTES


@_int8_bytes.register(ops.Softmax)
@_int8_bytes.register(ops.LogSoftmax)
def _(op: ops.Operator, constants: Sequence[Shape], output: Shape) -> int:
    return _EXPONENTIALS_BYTES


@singledispatch
def _trained(op: ops.Operator, node: Node) -> tuple[str, ...]:
    """The inputs that, where they are constant, are parameters of the network."""
    return node.inputs


@_trained.register(ops.QConv)
@_trained.register(ops.QDense)
def _(op: ops.Operator, node: Node) -> tuple[str, ...]:
    return node.inputs[:3]


@_trained.register(ops.Lookup)
@_trained.register(ops.QSoftmax)
@_trained.register(ops.QAveragePool)
def _(op: ops.Operator, node: Node) -> tuple[str, ...]:
    return ()


@_trained.register
def _(op: ops.QPRelu, node: Node) -> tuple[str, ...]:
    return node.inputs[:2]


@dataclass(frozen=True)
class LayerCost:
    """One node: its multiply-accumulates, its weights and biases, its constants' bytes."""

    node: Node
    output: Shape
    macs: int
    parameters: int
    flash: int


@dataclass(frozen=True)
class Cost:
    """A whole Graph; ``estimated`` where its bytes are those of an int8 Graph yet to be made.

    ``flash`` is the bytes of all constants; ``peak`` the most bytes of values that are alive at
    once, which no arena can be smaller than.
    """

    layers: tuple[LayerCost, ...]
    peak: int
    estimated: bool

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one run."""
        return sum(layer.macs for layer in self.layers)

    @property
    def parameters(self) -> int:
        """Weights and biases, each counted at the first node that reads it."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def flash(self) -> int:
        """Bytes of all constants."""
        return sum(layer.flash for layer in self.layers)


def cost(graph: Graph) -> Cost:
    """What ``graph`` takes to run."""
    seen: set[str] = set()
    layers = []
    for node in graph.nodes:
        fresh = [name for name in node.inputs if name in graph.constants and name not in seen]
        seen.update(fresh)
        layers.append(_layer(graph, node, fresh))
    return Cost(tuple(layers), peak_bytes(graph, _int8_size), not graph.is_integer)


def _layer(graph: Graph, node: Node, constants: list[str]) -> LayerCost:
    output = graph.types[node.outputs[0]].shape
    inputs = [graph.types[name].shape for name in node.inputs]
    shapes = [graph.types[name].shape for name in constants]
    trained = set(_trained(node.op, node)).intersection(constants)
    parameters = sum(graph.types[name].elements for name in trained)
    if graph.is_integer:
        flash = sum(graph.types[name].nbytes for name in constants)
    else:
        flash = _int8_bytes(node.op, shapes, output)
    return LayerCost(node, output, macs(node.op, inputs, output), parameters, flash)


def peak_bytes(graph: Graph, size: Callable[[TensorType], int]) -> int:
    """The most bytes of values alive at once, each of ``size``; constants are not among them."""
    last = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}
    last.update(dict.fromkeys(graph.outputs, len(graph.nodes)))
    alive = {name: size(graph.types[name]) for name in graph.inputs}
    total = peak = sum(alive.values())
    for i, node in enumerate(graph.nodes):
        for name in node.outputs:
            alive[name] = size(graph.types[name])
            total += alive[name]
        peak = max(peak, total)
        for name in {*node.inputs, *node.outputs}:
            if name in alive and last.get(name, -1) <= i:
                total -= alive.pop(name)
    return peak


def _int8_size(t: TensorType) -> int:
    return t.elements if t.dtype == "float32" else t.nbytes
