"""Which values must have, or gain by having, one and the same quantization.

Operators that select among the elements of x give their output its scale, as do those that find
numbers between neighbours of x; a state is the same value in one run and the next, and so is what a
recurrent layer takes at first and what it gives. A value that nothing but a Concat (or Minimum,
Maximum) takes is better computed at that operator's scale at once: one rounding instead of two, and
no step to run.
"""

from __future__ import annotations

from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops

__all__ = ["shared_quantization"]


def _pads_beyond(node: Node, low: float, high: float) -> bool:
    op = node.op
    return isinstance(op, ops.Pad) and op.mode == "constant" and not low <= op.value <= high


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

    fixed = {node.output for node in graph.nodes if isinstance(node.op, ops.Softmax)}

    def is_fixed(name: str) -> bool:
        """A member's scale is prescribed, so the group can take no other's."""
        return any(find(member) == find(name) for member in fixed)

    for node in graph.nodes:
        selects = isinstance(node.op, ops.Selecting) and not isinstance(node.op, ops.Joining)
        selects |= isinstance(node.op, ops.Resize) and node.op.interpolates
        selects |= average_pool and isinstance(node.op, ops.AveragePool)
        if selects and node.inputs[0] in parent:
            if _pads_beyond(node, 0.0, 1.0) and is_fixed(node.inputs[0]):
                continue
            for name in node.outputs:
                parent[find(name)] = find(node.inputs[0])
    for state in graph.states:
        if state.input in parent:
            parent[find(state.output)] = find(state.input)
    for node in graph.nodes:
        if isinstance(node.op, ops.Recurrent):
            # what a GRU begins with has the bits that its steps add to, which it gives last
            lasts = dict(zip(node.op.firsts, node.outputs, strict=True))
            for role, output in lasts.items():
                first = node.input(role)
                if first in parent and not is_fixed(first):
                    parent[find(first)] = find(output)
    consumers = graph.consumers()
    for node in graph.nodes:
        if not isinstance(node.op, ops.Joining):
            continue
        roots = {find(name) if name in parent else None for name in node.operands}
        if len(roots) == 1 and None not in roots:
            # parts of one value, or what was made of it without rounding
            parent[find(node.output)] = find(node.operands[0])
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
            if only_here and not is_fixed(name) and not members.intersection(graph.results):
                parent[find(name)] = find(node.output)
    return {name: find(name) for name in parent}
