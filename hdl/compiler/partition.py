"""Which nodes run on the NPU and which on the host, in segments one after another."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops
from edgeinfer.hdl.compiler.lowering import refusals
from edgeinfer.hdl.config import NpuConfig

__all__ = ["Segment", "Side", "partition", "sides"]


@dataclass(frozen=True)
class Segment:
    """Nodes that run on one side, as a Graph of their own.

    Parameters
    ----------
    graph : Graph
    on_npu : bool
    """

    graph: Graph
    on_npu: bool


@dataclass(frozen=True)
class Side:
    """Where a node runs.

    Parameters
    ----------
    node : Node
    on_npu : bool
    at_edge : bool
        The host does it as it packs inputs and unpacks outputs, in any model.
    why : str
        Why the NPU does not; empty where it does.
    """

    node: Node
    on_npu: bool
    at_edge: bool
    why: str

    @property
    def operator(self) -> str:
        """The node's operator by name."""
        return type(self.node.op).__name__


def sides(graph: Graph, config: NpuConfig) -> tuple[Side, ...]:
    """Where each node of ``graph`` runs if the host does whatever the NPU cannot."""
    refused = refusals(graph, config)
    edge = _edges(graph, set(refused))

    def side(node: Node) -> Side:
        output = node.outputs[0]
        why = "is done as inputs are packed and outputs unpacked" if output in edge else ""
        if output in refused:
            why = refused[output].message
        return Side(node, not why, output in edge, why)

    return tuple(map(side, graph.nodes))


def partition(graph: Graph, config: NpuConfig, *, host_ops: bool) -> list[Segment]:
    """The segments of ``graph`` in the order in which they run.

    At the edges the host does what only orders elements (Transpose, Reshape), as it packs inputs
    and unpacks outputs, and a final Softmax or ArgMax. With ``host_ops`` it does whatever the NPU
    cannot.

    Raises
    ------
    UnsupportedError
        Operators that the NPU cannot run; all of them are named, each with the reason.
    """
    refused = refusals(graph, config)
    edge = _edges(graph, set(refused))
    inner = [error for output, error in refused.items() if output not in edge]
    if inner and not host_ops:
        raise _refusal(inner)
    host = set(refused) | edge
    if len(host) == len(graph.nodes):
        raise UnsupportedError("no operator of the model runs on the NPU")
    stages = _stages(graph, host)
    segments = []
    for stage in range(max(stages.values()) + 1):
        nodes = tuple(n for n in graph.nodes if stages[n.outputs[0]] == stage)
        if nodes:
            segments.append(Segment(_cut(graph, nodes), nodes[0].outputs[0] not in host))
    return segments


def _refusal(errors: list[UnsupportedError]) -> UnsupportedError:
    nodes: dict[str, list[str]] = {}
    for error in errors:
        nodes.setdefault(error.message, []).append(f"{error.operator} {error.node!r}")
    reasons = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in nodes.items())
    return UnsupportedError(
        f"the NPU cannot run {reasons}. edgeinfer hdl simulate --host-ops leaves these to the CPU"
    )


def _edges(graph: Graph, refused: set[str]) -> set[str]:
    """Nodes that the host does as it packs inputs and unpacks outputs."""
    found: set[str] = set()
    moved = set(graph.inputs)
    for node in graph.nodes:
        if isinstance(node.op, ops.Reshape | ops.Transpose) and node.inputs[0] in moved:
            found.add(node.outputs[0])
            moved.update(node.outputs)
    readers = Counter(name for node in graph.nodes for name in node.operands)
    readers.update(graph.outputs)
    last = (ops.Reshape, ops.Transpose, ops.QSoftmax, ops.ArgMax)
    free = set(graph.outputs)
    for node in reversed(graph.nodes):
        if not isinstance(node.op, last) or node.outputs[0] not in free:
            continue
        if isinstance(node.op, ops.Reshape | ops.QSoftmax) and node.outputs[0] not in refused:
            continue
        found.add(node.outputs[0])
        if readers[node.inputs[0]] == 1:
            free.add(node.inputs[0])
    return found


def _stages(graph: Graph, host: set[str]) -> dict[str, int]:
    """The number of each node's segment: one more where its side is not its operand's."""
    made: dict[str, tuple[int, bool]] = {}
    stages: dict[str, int] = {}
    for node in graph.nodes:
        side = node.outputs[0] in host
        stage = 0 if side else 1
        for name in node.operands:
            if name in made:
                before, other = made[name]
                stage = max(stage, before + (other != side))
        stages[node.outputs[0]] = stage
        made.update(dict.fromkeys(node.outputs, (stage, side)))
    return stages


def _cut(graph: Graph, nodes: tuple[Node, ...]) -> Graph:
    """``nodes`` as a Graph whose inputs and outputs are what crosses its border."""
    made = {name for node in nodes for name in node.outputs}
    read = [name for node in nodes for name in node.operands]
    outside = {name for node in graph.nodes if node not in nodes for name in node.operands}
    constants = {name: graph.constants[name] for name in read if name in graph.constants}
    inputs = tuple(dict.fromkeys(n for n in read if n not in made and n not in constants))
    outputs = tuple(
        name for node in nodes for name in node.outputs if name in graph.outputs or name in outside
    )
    types = {name: graph.types[name] for name in {*inputs, *made, *constants}}
    return Graph(
        graph.name, nodes=nodes, inputs=inputs, outputs=outputs, types=types, constants=constants
    )
