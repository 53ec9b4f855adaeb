"""An integer Graph into the bytes of a .tflite file."""

from __future__ import annotations

import json
from dataclasses import asdict

from edgeinfer.converters.exporting import check_exportable, write_nodes
from edgeinfer.converters.tflite.exporting.graph_writer import GraphWriter
from edgeinfer.converters.tflite.exporting.rules import VERSIONS, write_node
from edgeinfer.converters.tflite.writing import serialize
from edgeinfer.graph import Graph, Node
from edgeinfer.version import __version__

__all__ = ["to_tflite"]

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
        It is a float Graph, or keeps states.
    """
    check_exportable(graph, "states are not exported yet")
    to = GraphWriter(graph)

    def write(node: Node) -> None:
        to.begin(node.name)
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
