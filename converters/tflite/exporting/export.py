"""An integer Graph into the bytes of a .tflite file."""

from __future__ import annotations

import json
from dataclasses import asdict

from edgeinfer.converters.exporting import check_exportable, write_nodes
from edgeinfer.converters.tflite.exporting import places
from edgeinfer.converters.tflite.exporting.graph_writer import GraphWriter
from edgeinfer.converters.tflite.exporting.rules import VERSIONS, write_node
from edgeinfer.converters.tflite.writing import serialize
from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops
from edgeinfer.version import __version__

__all__ = ["places", "to_tflite"]

# of TensorFlow, whose dense layers have a scale a channel
_RUNTIME = b"2.17.0"


def to_tflite(graph: Graph) -> bytes:
    """``graph`` as a .tflite file of integer operators; the same Graph as the same bytes.

    Parameters
    ----------
    graph : Graph
        An integer one. Its labels, and how images become its input, stand in the file as metadata
        (``edgeinfer``, JSON).

    Raises
    ------
    UnsupportedError
        TensorFlow Lite has no integer operator for some: all are named.
    InputError
        It is a float Graph.
    """
    check_exportable(graph)
    to = GraphWriter(graph)

    def write(node: Node) -> None:
        to.begin(node.name)
        _refuse_two_widths(node, graph)
        write_node(node.op, node, to)

    write_nodes(graph, write)
    told: dict[str, object] = {}
    if graph.labels:
        told["labels"] = list(graph.labels)
    if graph.preparation:
        told["preparation"] = {name: asdict(how) for name, how in graph.preparation.items()}
    metadata = {"min_runtime_version": _RUNTIME.ljust(16, b"\0")}
    if told:
        metadata["edgeinfer"] = json.dumps(told, ensure_ascii=False).encode()
    return serialize(to.model(), VERSIONS, metadata, f"edgeinfer {__version__}")


def _refuse_two_widths(node: Node, graph: Graph) -> None:
    """TensorFlow Lite's operators take and give integers of one width, but for QUANTIZE."""
    values = [v for v in (*node.operands, *node.outputs) if v not in graph.constants]
    widths = {graph.types[v].dtype for v in values if graph.types[v].quantization is not None}
    if len(widths) > 1 and not isinstance(node.op, ops.Rescale):
        raise UnsupportedError("it takes and gives integers of 8 and of 16 bits")
