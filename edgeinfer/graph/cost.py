"""A Graph into what it takes to run: multiply-accumulates, parameters, bytes of flash and arena.

A float Graph is costed as the int8 Graph that quantization would make of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import singledispatch

from edgeinfer.graph import operators as ops
from edgeinfer.graph.graph import Graph, Node, TensorType
from edgeinfer.graph.lifetimes import last_uses
from edgeinfer.graph.site import Site

__all__ = ["Cost", "LayerCost", "cost", "macs", "peak_bytes"]

Shape = tuple[int, ...]

_CHANNEL_BYTES = 4 + 4 + 1  # bias, multiplier and shift of an output channel
_NORMALIZED_BYTES = 4 + 8  # multiplier and bias of a channel
_TABLE_BYTES = 256
_EXPONENTIALS_BYTES = 4 * 256
_KNOTS_BYTES = 2 * 513


@singledispatch
def macs(op: ops.Operator, site: Site) -> int:
    """How many multiply-accumulates ``op`` takes at ``site``; 0 where it multiplies no tensors."""
    raise NotImplementedError(type(op).__name__)


@macs.register(ops.AlongAxis)
@macs.register(ops.Broadcasting)
@macs.register(ops.Elementwise)
@macs.register(ops.Exceeds)
@macs.register(ops.NonMaxSuppression)
@macs.register(ops.Normalizing)
@macs.register(ops.QNormalization)
@macs.register(ops.Reducing)
@macs.register(ops.Selecting)
@macs.register(ops.Windowed)
def _none(op: ops.Operator, site: Site) -> int:
    return 0


@macs.register
def _weighted(op: ops.Weighted, site: Site) -> int:
    return site.output.elements * math.prod(site.shape("weights")[1:])


@macs.register
def _conv_transpose(op: ops.ConvTranspose, site: Site) -> int:
    return site.type("x").elements * math.prod(site.shape("weights")[1:])


@macs.register(ops.MatMul)
@macs.register(ops.QMatMul)
def _mat_mul(op: ops.MatMul | ops.QMatMul, site: Site) -> int:
    return site.output.elements * site.shape("a")[-1]


@macs.register
def _resize(op: ops.Resize, site: Site) -> int:
    return _neighbours(site, len(op.rows[0][1]), len(op.columns[0][1]))


@macs.register
def _q_resize(op: ops.QResize, site: Site) -> int:
    return _neighbours(site, *(site.shape(side)[1] for side in ("row_weights", "column_weights")))


def _neighbours(site: Site, row_taps: int, column_taps: int) -> int:
    """Of sums over rows first, and then over columns."""
    n, height, width, channels = site.output.shape
    return n * height * channels * (site.shape("x")[2] * row_taps + width * column_taps)


@macs.register
def _recurrent(op: ops.Recurrent, site: Site) -> int:
    samples, steps, _ = site.shape("x")
    return samples * steps * (site.type("weights").elements + site.type("recurrence").elements)


@singledispatch
def _int8_bytes(op: ops.Operator, site: Site, constants: Collection[str]) -> int:
    """Bytes of ``constants``, those that no node before has, after quantization to int8."""
    return sum(site.graph.types[name].elements for name in constants)


@_int8_bytes.register
def _weighted_bytes(op: ops.Weighted, site: Site, constants: Collection[str]) -> int:
    weights = site.node.input("weights")
    elements = site.type("weights").elements if weights in constants else 0
    return elements + _CHANNEL_BYTES * site.output.shape[-1]


@_int8_bytes.register
def _recurrent_bytes(op: ops.Recurrent, site: Site, constants: Collection[str]) -> int:
    matrices = [site.node.input(role) for role in ("weights", "recurrence")]
    elements = sum(site.graph.types[name].elements for name in matrices if name in constants)
    channels = 2 * site.type("bias").elements
    return elements + _CHANNEL_BYTES * channels + len(op.activations) * _KNOTS_BYTES


@_int8_bytes.register
def _pointwise_bytes(op: ops.Pointwise, site: Site, constants: Collection[str]) -> int:
    return _TABLE_BYTES


@_int8_bytes.register
def _resize_bytes(op: ops.Resize, site: Site, constants: Collection[str]) -> int:
    # an index of 32 bits, and weights of 16
    return sum(4 + 2 * len(weights) for side in (op.rows, op.columns) for _, weights in side)


@_int8_bytes.register
def _normalization_bytes(op: ops.Normalization, site: Site, constants: Collection[str]) -> int:
    numbers = [site.graph.types[name].elements for name in site.node.operands[1:]]
    return _NORMALIZED_BYTES * max(numbers)


@_int8_bytes.register(ops.Softmax)
@_int8_bytes.register(ops.LogSoftmax)
def _softmax_bytes(op: ops.Operator, site: Site, constants: Collection[str]) -> int:
    return _EXPONENTIALS_BYTES


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
        fresh = [name for name in node.operands if name in graph.constants and name not in seen]
        seen.update(fresh)
        layers.append(_layer(Site(node, graph), fresh))
    return Cost(tuple(layers), peak_bytes(graph, _int8_size), not graph.is_integer)


def _layer(site: Site, constants: Collection[str]) -> LayerCost:
    node, types = site.node, site.graph.types
    trained = {node.input(role.name) for role in node.op.takes if role.trained}
    if any(role.count == "many" for role in node.op.takes):
        trained.update(node.operands)
    parameters = sum(types[name].elements for name in trained.intersection(constants))
    if site.graph.is_integer:
        flash = sum(types[name].nbytes for name in constants)
    else:
        flash = _int8_bytes(node.op, site, constants)
    return LayerCost(node, site.outputs[0].shape, macs(node.op, site), parameters, flash)


def peak_bytes(graph: Graph, size: Callable[[TensorType], int]) -> int:
    """The most bytes of values alive at once, each of ``size``; constants are not among them."""
    last = last_uses(graph)
    alive = {name: size(graph.types[name]) for name in graph.sources}
    total = peak = sum(alive.values())
    for i, node in enumerate(graph.nodes):
        for name in node.outputs:
            alive[name] = size(graph.types[name])
            total += alive[name]
        peak = max(peak, total)
        for name in {*node.operands, *node.outputs}:
            if name in alive and last.get(name, -1) <= i:
                total -= alive.pop(name)
    return peak


def _int8_size(t: TensorType) -> int:
    return t.elements if t.dtype == "float32" else t.nbytes
