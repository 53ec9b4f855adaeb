"""What of a float Graph has no integer meaning, told before any work is done."""

from __future__ import annotations

from edgeinfer import advice
from edgeinfer.errors import InputError, QuantizationError, UnsupportedError
from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops
from edgeinfer.quant.rules import is_supported

__all__ = ["MOST_STEPS", "refuse_unsupported"]

# of all recurrent layers together; each becomes about 12 nodes, of which a Graph has 20,000
MOST_STEPS = 1000


def refuse_unsupported(graph: Graph, rounding: ops.Rounding = "single") -> None:
    """Let a Graph pass that ``quantize`` has rules for.

    Raises
    ------
    InputError
        It is no Graph, or an integer one already.
    UnsupportedError
        Some nodes have no integer meaning: they are named, and where the model can be cut. Or
        recurrent layers take too many steps.
    QuantizationError
        An input has none.
    """
    if not isinstance(graph, Graph):
        raise InputError(
            f"quantize takes a Graph, not {type(graph).__name__}: edgeinfer.converters.from_onnx "
            "makes one of a model, and edgeinfer.quantize takes its path"
        )
    # floats with a quantization are weights of a model that is quantized already
    if any(t.quantization is not None and t.dtype != "float32" for t in graph.types.values()):
        raise InputError(f"graph {graph.name!r} is integer already; quantize takes the float one")
    refused = [node for node in graph.nodes if not is_supported(node.op)]
    if refused:
        ends = _values_before(graph, refused)
        raise UnsupportedError(
            f"{len(refused)} of {len(graph.nodes)} operators cannot be made integer yet: "
            f"{_by_operator(refused)}; replace them in the model"
            + (f", or cut it before them with {advice.cut(outputs=ends)}" if ends else "")
        )
    _refuse_recurrent(graph, rounding)
    for name in graph.inputs:
        if graph.types[name].dtype == "bool":
            raise QuantizationError(f"input {name!r} is bool, which has no integer form")


def _refuse_recurrent(graph: Graph, rounding: ops.Rounding) -> None:
    recurrent = [node for node in graph.nodes if isinstance(node.op, ops.Recurrent)]
    if recurrent and rounding == "double":
        raise UnsupportedError(
            f"rounding 'double' is for int8 only, and recurrent layers keep 16 bits from step to "
            f"step: {_by_operator(recurrent)}"
        )
    steps = sum(graph.types[node.input("x")].shape[1] for node in recurrent)
    if steps > MOST_STEPS:
        raise UnsupportedError(
            f"its recurrent layers take {steps} steps together, each of which becomes operators of "
            f"its own; at most {MOST_STEPS} can: {_by_operator(recurrent)}; give the model "
            "shorter sequences"
        )


def _by_operator(nodes: list[Node]) -> str:
    groups: dict[str, list[str]] = {}
    for node in nodes:
        groups.setdefault(type(node.op).__name__, []).append(node.name)
    return ", ".join(f"{operator} {advice.listed(names)}" for operator, names in groups.items())


def _values_before(graph: Graph, refused: list[Node]) -> list[str]:
    """The computed values that no refused node has a part in, and that something beyond takes."""
    names = {node.name for node in refused}
    computed: set[str] = set()
    lost: set[str] = set()
    ends: dict[str, None] = {}
    for node in graph.nodes:
        if node.name in names or lost.intersection(node.operands):
            lost.update(node.outputs)
            ends.update((name, None) for name in node.operands if name in computed)
        else:
            computed.update(node.outputs)
    # a name with a mark is one that the import made, which the model does not know
    ends = {name: None for name in ends if "#" not in name and "@" not in name}
    return [*ends, *(name for name in graph.outputs if name in computed and name not in ends)]
