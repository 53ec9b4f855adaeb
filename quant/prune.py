"""An integer Graph into one without the channels that are the same number for every input.

A channel is constant where all its weights are 0, or where they only read constant channels. What
it gives each layer that reads it is then a constant too, and goes into that layer's bias, so no bit
of any other channel changes. Trained networks have many: batch norm folded over a dead ReLU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeGuard

import numpy as np

from edgeinfer.arithmetic.fixedpoint import requantize
from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops
from edgeinfer.meaning.reference import evaluate

__all__ = ["prune_constant_channels"]

# of a value, channels last: the integer that each constant channel always is
_Constants = dict[int, int]


def prune_constant_channels(graph: Graph) -> Graph:
    """The same outputs, bit for bit, from fewer channels.

    Channels vanish from the output of a convolution or dense layer where everything that reads
    them, through pointwise tables, max pools and depthwise layers, is again such a layer.
    """
    constant = _constant_channels(graph)
    for members in _channel_groups(graph):
        dropped = _droppable(graph, members, constant)
        if dropped:
            graph = _without(graph, members, sorted(dropped), constant)
    return graph


def _is_depthwise(graph: Graph, node: Node) -> bool:
    if not isinstance(node.op, ops.QConv):
        return False
    channels = graph.types[node.inputs[0]].shape[3]
    return node.op.group == channels == graph.types[node.outputs[0]].shape[3]


def _is_mixing(op: ops.Operator) -> TypeGuard[ops.QConv | ops.QDense]:
    """A layer in which every output channel may read every input channel."""
    return isinstance(op, ops.QDense) or (isinstance(op, ops.QConv) and op.group == 1)


def _keeps_channels(graph: Graph, node: Node) -> bool:
    return isinstance(node.op, ops.Lookup | ops.MaxPool) or _is_depthwise(graph, node)


def _absorbs(node: Node, value: int) -> bool:
    """Whether a constant input ``value`` gives ``node`` the same at every place.

    Padding stands for the zero point: where there is some, only that value does.
    """
    op = node.op
    assert isinstance(op, ops.QConv | ops.QDense)
    padded = isinstance(op, ops.QConv) and any(op.pads)
    return not padded or value == op.input_zero_point


def _constant_channels(graph: Graph) -> dict[str, _Constants]:
    found: dict[str, _Constants] = {name: {} for name in graph.types}
    for node in graph.nodes:
        x, y = node.inputs[0], node.outputs[0]
        if isinstance(node.op, ops.MaxPool):
            found[y] = found[x]
        elif isinstance(node.op, ops.Lookup):
            entries = graph.constants[node.inputs[1]]
            inputs = np.array(list(found[x].values()), graph.types[x].dtype)
            mapped = evaluate(node.op, inputs, entries)[0]
            found[y] = dict(zip(found[x], mapped.tolist(), strict=True))
        elif _is_mixing(node.op) or _is_depthwise(graph, node):
            found[y] = _layer_constants(graph, node, found[x])
    return found


def _layer_constants(graph: Graph, node: Node, inputs: _Constants) -> _Constants:
    op = node.op
    assert isinstance(op, ops.QConv | ops.QDense)
    weights, bias, multiplier, shift = (graph.constants[name] for name in node.inputs[1:])
    taps = _taps(weights)
    depthwise = not _is_mixing(node.op)
    found = {}
    for channel in range(len(taps)):
        read = [channel] if depthwise else np.flatnonzero(taps[channel].any(0)).tolist()
        live = [c for c in read if taps[channel].any()]
        if not all(c in inputs and _absorbs(node, inputs[c]) for c in live):
            continue
        sums = taps[channel].sum(0)
        offsets = [inputs[c] - op.input_zero_point for c in live]
        acc = int(bias[channel]) + sum(
            int(sums[0 if depthwise else c]) * offset
            for c, offset in zip(live, offsets, strict=True)
        )
        y = requantize(
            np.array(acc),
            multiplier[channel],
            shift[channel],
            op.output_zero_point,
            op.lo,
            op.hi,
            op.rounding,
        )
        found[channel] = int(y)
    return found


def _taps(weights: np.ndarray) -> np.ndarray:
    """Weights as int64 [output channels, taps, input channels]."""
    return weights.reshape(len(weights), -1, weights.shape[-1]).astype(np.int64)


def _channel_groups(graph: Graph) -> list[set[str]]:
    """The values that hold one layer's channels, through all that keeps channels apart."""
    consumers = graph.consumers()
    groups = []
    for node in graph.nodes:
        if not _is_mixing(node.op):
            continue
        members, pending = set(), [node.outputs[0]]
        while pending:
            name = pending.pop()
            members.add(name)
            pending += [c.outputs[0] for c in consumers[name] if _keeps_channels(graph, c)]
        groups.append(members)
    return groups


def _droppable(graph: Graph, members: set[str], constant: Mapping[str, _Constants]) -> set[int]:
    if members & set(graph.outputs):
        return set()
    consumers = graph.consumers()
    channels = set.intersection(*(set(constant[name]) for name in members))
    for name in members:
        for node in consumers[name]:
            if _keeps_channels(graph, node):
                continue
            if not _is_mixing(node.op) or node.inputs[0] != name:
                return set()
            channels = {c for c in channels if _absorbs(node, constant[name][c])}
    width = graph.types[next(iter(members))].shape[-1]
    # a value has at least one channel
    return channels if len(channels) < width else channels - {min(channels)}


def _without(
    graph: Graph, members: set[str], dropped: list[int], constant: Mapping[str, _Constants]
) -> Graph:
    types, constants = dict(graph.types), dict(graph.constants)

    def store(name: str, array: np.ndarray, axis: int) -> None:
        constants[name] = array
        t = types[name]
        q = t.quantization
        if q is not None and q.axis is not None and axis == q.axis:
            kept = tuple(s for i, s in enumerate(q.scale) if i not in dropped)
            q = replace(q, scale=kept)
        types[name] = replace(t, shape=array.shape, quantization=q)

    for node in graph.nodes:
        if node.outputs[0] in members and isinstance(node.op, ops.QConv | ops.QDense):
            for name in node.inputs[1:]:
                store(name, np.delete(constants[name], dropped, 0), 0)
        if node.inputs[0] in members and _is_mixing(node.op):
            name, bias = node.inputs[1:3]
            sums = _taps(constants[name]).sum(1)[:, dropped]
            values = [constant[node.inputs[0]][c] - node.op.input_zero_point for c in dropped]
            shifted = constants[bias] + sums @ np.array(values, np.int64)
            constants[bias] = shifted.astype(constants[bias].dtype)
            store(name, np.delete(constants[name], dropped, -1), -1)
    for name in members:
        shape = (*types[name].shape[:-1], types[name].shape[-1] - len(dropped))
        types[name] = replace(types[name], shape=shape)
    nodes = [_narrowed(node, members, len(dropped), graph) for node in graph.nodes]
    return graph.with_nodes(nodes, types=types, constants=constants)


def _narrowed(node: Node, members: set[str], count: int, graph: Graph) -> Node:
    if node.outputs[0] in members and _is_depthwise(graph, node):
        assert isinstance(node.op, ops.QConv)
        return replace(node, op=replace(node.op, group=node.op.group - count))
    return node
