"""Which values must have, or gain by having, one and the same quantization.

Operators that select among the elements of x give their output its scale, and a state is the same
value in one run and the next. A value that nothing but a Concat (or Minimum, Maximum) takes is
better computed at that operator's scale at once: one rounding instead of two, and no step to run.
"""

from __future__ import annotations

from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops

__all__ = ["shared_quantization"]


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

    for node in graph.nodes:
        selects = isinstance(node.op, ops.Selecting) and not isinstance(node.op, ops.Joining)
        selects |= average_pool and isinstance(node.op, ops.AveragePool)
        if selects and node.inputs[0] in parent:
            for name in node.outputs:
                parent[find(name)] = find(node.inputs[0])
    for state in graph.states:
        if state.input in parent:
            parent[find(state.output)] = find(state.input)
    consumers, producers = graph.consumers(), graph.producers()
    for node in graph.nodes:
        if not isinstance(node.op, ops.Joining):
            continue
        for name in node.operands:
            if name not in parent or find(name) == find(node.output):
                continue
            members = {m for m in parent if find(m) == find(name)}
            only_here = all(
                consumer is node or members.issuperset(consumer.outputs)
                for member in members
                for consumer in consumers[member]
            )
            # a Softmax's scale is prescribed, so it can take no other's
            free = not any(
                isinstance(producers[m].op, ops.Softmax) for m in members if m in producers
            )
            if only_here and free and not members.intersection(graph.results):
                parent[find(name)] = find(node.output)
    return {name: find(name) for name in parent}
