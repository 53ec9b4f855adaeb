"""The weights of every layer of a Graph, rounded after what the layers before them really give."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from edgeinfer.arithmetic import accumulators
from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops
from edgeinfer.graph.cost import peak_bytes
from edgeinfer.printable import printable
from edgeinfer.quant.calibration import Run, evenly, one_blas_thread
from edgeinfer.quant.rounding.bias import offsets
from edgeinfer.quant.rounding.in_turn import blocks_of, rounded_in_turn
from edgeinfer.quant.rounding.moments import Layer, moments_of
from edgeinfer.quant.rounding.walk import Walk
from edgeinfer.quant.weights import GivenWeights, accumulator_limit, reach_of, take_weights

__all__ = ["proven", "round_weights", "rounded_layers"]

_log = logging.getLogger(__name__)

# bytes of values of all runs that are alive at once
_MOST_BYTES = 400 << 20

# of one layer, multiply-accumulates of rounding it, some ten seconds; and products of its inputs
_MOST_WORK, _MOST_PRODUCTS = 2 * 10**10, 1 << 24


def rounded_layers(graph: Graph, integer: Graph) -> list[Node]:
    """The layers of the float ``graph`` whose weights have 8 bits in ``integer``.

    16 bits are as good rounded to nearest. The layers within a recurrent one share their weights
    among steps, and a transposed convolution is another one once quantized: they stay nearest.
    """
    named = {node.name: node for node in integer.nodes}
    return [
        node
        for node in graph.nodes
        if isinstance(node.op, ops.Conv | ops.Dense)
        and node.input("x") not in graph.constants
        and integer.types[named[node.name].input("weights")].dtype == "int8"
    ]


def round_weights(
    graph: Graph, integer: Graph, reference: Graph, runs: Sequence[Run], most: int, way: str
) -> dict[str, GivenWeights]:
    """Other integers for the layers of ``integer``, by name.

    Parameters
    ----------
    graph : Graph
        The float Graph.
    integer : Graph
        Made of it, with weights rounded to nearest.
    reference : Graph
        The same in 16 bits: it stands for the floats.
    runs : sequence of Run
        What goes through both: ``most`` of them, spread over all, and fewer where their values
        would take too much memory.
    way : str
        ``bias``, which leaves the weights as they are, or ``in-turn``.
    """
    layers = rounded_layers(graph, integer)
    alive = sum(peak_bytes(each, lambda t: t.nbytes) for each in (integer, reference))
    runs = evenly(list(runs), max(1, min(most, _MOST_BYTES // alive)))
    stops = [node.name for node in layers]
    ways = Walk(integer, runs, stops), Walk(reference, runs, stops)
    named = {node.name: node for node in integer.nodes}
    given = {}
    with one_blas_thread():
        for node in layers:
            at = named[node.name]
            x, seen = (walk.before(node.name) for walk in ways)
            made = _rounded(graph, integer, reference, at, node, x, seen, way)
            bias = graph.constants.get(node.input("bias"))
            types = integer.types[at.input("x")], integer.types[at.output]
            taken = take_weights(made, bias, *types)
            constants = taken.weights, taken.bias, taken.multiplier, taken.shift
            ways[0].give(dict(zip(at.inputs[1:], constants, strict=True)))
            given[node.name] = made
    return given


def _rounded(
    graph: Graph,
    integer: Graph,
    reference: Graph,
    at: Node,
    node: Node,
    x: np.ndarray,
    seen: np.ndarray,
    way: str,
) -> GivenWeights:
    """Integers of one layer, for what it and its reference take in all runs."""
    floats, nearest = graph.constants[node.input("weights")], integer.constants[at.input("weights")]
    bias = integer.constants[at.input("bias")].astype(np.int64)
    kind, other = (each.types[at.input("x")].quantization for each in (integer, reference))
    steps = integer.types[at.input("weights")].quantization
    assert kind is not None and other is not None and steps is not None
    layer = Layer(at, floats.shape, kind.zero_point)
    grouped = layer.groups, len(floats) // layer.groups, layer.length
    scale = np.array(steps.scale)
    weights = floats.reshape(len(floats), -1) / scale[:, None]
    weights, rounded = weights.reshape(grouped), nearest.reshape(grouped).astype(np.float64)
    turned = way == "in-turn" and _affordable(layer)
    moments = moments_of(layer, x, seen, blocks_of(layer.length) if turned else [])
    if turned:
        # a channel of zeros is constant, and stays so: it may be pruned
        alive = rounded.any(2, keepdims=True)
        top = np.iinfo(nearest.dtype).max
        rounded = np.where(alive, rounded_in_turn(weights, moments, top), rounded)
    offset = bias + offsets(weights, rounded, moments, other.step / kind.step)
    return proven(integer, at, rounded.reshape(nearest.shape).astype(nearest.dtype), offset, scale)


def _affordable(layer: Layer) -> bool:
    products = layer.length * blocks_of(layer.length)[0].stop
    work = layer.kernel[0] * products // 2
    if work <= _MOST_WORK and layer.groups * products <= _MOST_PRODUCTS:
        return True
    name = printable(layer.node.name)
    _log.info("%s: rounded to nearest, as it is too large to round in turn", name)
    return False


def proven(
    integer: Graph, at: Node, weights: np.ndarray, bias: np.ndarray, scale: np.ndarray
) -> GivenWeights:
    """The integers of every channel whose accumulator they leave as narrow as it was.

    Scales were chosen for weights that are off by half a step; rounded in turn they are off by
    more. Where a sum might leave its accumulator, or needs a coarser multiplier, the channel stays
    as it was.
    """
    x = integer.types[at.input("x")]
    reach = reach_of(x)
    before = integer.constants[at.input("weights")], integer.constants[at.input("bias")]
    # an accumulator of int32's with 16-bit inputs has the finer multiplier
    narrow = (accumulators.largest_sums(*before, reach) < 2**31).all()
    limit = 2**31 if narrow else accumulator_limit(x)
    fits = accumulators.largest_sums(weights, bias, reach) < limit
    column = (-1,) + (1,) * (weights.ndim - 1)
    return GivenWeights(
        np.where(fits.reshape(column), weights, before[0]),
        scale,
        0,
        np.where(fits, bias, before[1]),
    )
