"""Which values must have, or gain by having, one and the same quantization.

Operators that only move or order elements give their output their input's scale. A value that
nothing but a Concat (or Minimum, Maximum) takes is better computed at that operator's scale at
once: one rounding instead of two, and no step to run.
"""

from __future__ import annotations

from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops

__all__ = ["shared_quantization"]

_MOVING = (
    ops.DepthToSpace,
    ops.Expand,
    ops.MaxPool,
    ops.Pad,
    ops.ReduceMax,
    ops.ReduceMin,
    ops.Reshape,
    ops.ResizeNearest,
    ops.Slice,
    ops.SpaceToDepth,
    ops.Tile,
    ops.Transpose,
    ops.Gather,
)
_JOINING = (ops.Concat, ops.Maximum, ops.Minimum)


def shared_quantization(graph: Graph, *, average_pool: bool) -> dict[str, str]:
    """For each float value that is not constant, the representative of its group.

    ``average_pool`` asks for one scale before and after an AveragePool as well, which is the only
    form that TensorFlow Lite's kernels know.
    """
    parent = {
        name: name
        for name, kind in graph.types.items()
        if kind.dtype == "float32" and name not in graph.constants
    }

    def find(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    moving = (*_MOVING, ops.AveragePool) if average_pool else _MOVING
    for node in graph.nodes:
        if isinstance(node.op, moving) and node.inputs[0] in parent:
            parent[find(node.outputs[0])] = find(node.inputs[0])
    consumers, producers = graph.consumers(), graph.producers()
    for node in graph.nodes:
        if not isinstance(node.op, _JOINING):
            continue
        for name in node.inputs:
            if name not in parent or find(name) == find(node.outputs[0]):
                continue
            members = [m for m in parent if find(m) == find(name)]
            only_here = all(
                consumer is node or consumer.outputs[0] in members
                for member in members
                for consumer in consumers[member]
            )
            # a Softmax's scale is prescribed, so it can take no other's
            free = not any(
                isinstance(producers[m].op, ops.Softmax) for m in members if m in producers
            )
            if only_here and free and not set(members) & set(graph.outputs):
                parent[find(name)] = find(node.outputs[0])
    return {name: find(name) for name in parent}
