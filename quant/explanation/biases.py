"""Biases by which each layer of an integer Graph gives in the mean what it should, made quickly.

They are those of ``rounding/bias.py``, for Graph after Graph of one float Graph. A mean needs only
the sum of all runs at each place, so each layer's windows are made of one array, not of every run;
and what the reference gives is the same for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops
from edgeinfer.meaning.windows import windows
from edgeinfer.quant.calibration import Run
from edgeinfer.quant.rounding.bias import offsets
from edgeinfer.quant.rounding.layers import proven, rounded_layers
from edgeinfer.quant.rounding.moments import Layer, Moments
from edgeinfer.quant.rounding.walk import Walk
from edgeinfer.quant.weights import take_weights

__all__ = ["Biases"]


@dataclass(frozen=True)
class Biases:
    """What corrects biases.

    Parameters
    ----------
    graph : Graph
        The float Graph.
    reference : Graph
        The same in 16 bits, which stands for it.
    runs : sequence of Run
        What the means are over.
    """

    graph: Graph
    reference: Graph
    runs: Sequence[Run]

    def corrected(self, integer: Graph) -> Graph:
        """``integer``, made of the float Graph with its biases, with corrected ones."""
        layers = rounded_layers(self.graph, integer)
        named = {node.name: node for node in integer.nodes}
        walk = Walk(integer, self.runs, [node.name for node in layers])
        constants: dict[str, np.ndarray] = {}
        for node in layers:
            at = named[node.name]
            x = walk.before(node.name)
            made = self._corrected(integer, at, node, x)
            walk.give(made)
            constants |= made
        return integer.with_nodes(integer.nodes, constants={**integer.constants, **constants})

    def _corrected(
        self, integer: Graph, at: Node, node: Node, x: np.ndarray
    ) -> Mapping[str, np.ndarray]:
        """The constants of one layer, which takes ``x`` [runs, ...]."""
        floats, q = self.graph.constants[node.input("weights")], integer.constants[at.inputs[1]]
        kind = integer.types[at.input("x")].quantization
        other = self.reference.types[node.input("x")].quantization
        steps = integer.types[at.inputs[1]].quantization
        assert kind is not None and other is not None and steps is not None
        layer = Layer(at, floats.shape, kind.zero_point)
        shape = layer.groups, len(floats) // layer.groups, layer.length
        scale = np.array(steps.scale)
        weights = (floats.reshape(len(floats), -1) / scale[:, None]).reshape(shape)
        count, sums = _sums(layer, x, kind.zero_point)
        _, references = _sums(layer, self._reference_sums[node.name], 0)
        moments = Moments(count, sums, references, [])
        offset = integer.constants[at.inputs[2]].astype(np.int64) + offsets(
            weights, q.reshape(shape).astype(np.float64), moments, other.step / kind.step
        )
        given = proven(integer, at, q, offset, scale)
        types = integer.types[at.input("x")], integer.types[at.output]
        taken = take_weights(given, None, *types)
        arrays = taken.weights, taken.bias, taken.multiplier, taken.shift
        return dict(zip(at.inputs[1:], arrays, strict=True))

    @cached_property
    def _reference_sums(self) -> dict[str, np.ndarray]:
        """By layer, what the reference gives it: the sum of all runs, as if it were one."""
        named = {node.name: node for node in self.reference.nodes}
        names = [
            node.name
            for node in self.graph.nodes
            if isinstance(node.op, ops.Conv | ops.Dense)
            and node.input("x") not in self.graph.constants
            and node.name in named
        ]
        walk = Walk(self.reference, self.runs, names)
        return {name: walk.before(name).astype(np.int64).sum(0, keepdims=True) for name in names}


def _sums(layer: Layer, x: np.ndarray, zero_point: int) -> tuple[int, np.ndarray]:
    """Over all windows of all runs ``x`` [runs, ...]: how many, if ``x`` is every run, and the sums
    [groups, K] of ``x - zero_point``."""
    op = layer.node.op
    total = x.astype(np.int64).sum(0) - len(x) * zero_point
    if isinstance(op, ops.QDense):
        rows = total.reshape(-1, layer.length)
        return len(x) * len(rows), rows.sum(0, keepdims=True).astype(np.float64)
    assert isinstance(op, ops.QConv)
    kernel = layer.kernel[1], layer.kernel[2]
    view = windows(total, kernel, op.strides, op.pads, op.dilations, 0)
    places = view.shape[0] * view.shape[1] * view.shape[2]
    sums = view.sum((0, 1, 2)).reshape(layer.groups, layer.kernel[3], *kernel)
    found = sums.transpose(0, 2, 3, 1).reshape(layer.groups, layer.length)
    return len(x) * places, found.astype(np.float64)
