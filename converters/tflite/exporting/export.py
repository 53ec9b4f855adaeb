"""An integer Graph into the bytes of a .tflite file."""

from __future__ import annotations

import json
from dataclasses import asdict

from edgeinfer.converters.tflite.exporting.graph_writer import GraphWriter
from edgeinfer.converters.tflite.exporting.rules import VERSIONS, write_node
from edgeinfer.converters.tflite.writing import serialize
from edgeinfer.errors import InputError, UnsupportedError
from edgeinfer.graph import Graph
from edgeinfer.version import __version__

__all__ = ["to_tflite"]

_NAMED = 5

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
    if not graph.is_integer:
        raise InputError("a float model has no integers to export: quantize it first")
    if graph.states:
        names = ", ".join(repr(state.input) for state in graph.states)
        raise InputError(f"states are not exported yet, and this model keeps {names}")
    to, refused = GraphWriter(graph), []
    for node in graph.nodes:
        to.begin(node.name)
        try:
            write_node(node.op, node, to)
        except UnsupportedError as error:
            refused.append(f"{type(node.op).__name__} {node.name!r}: {error.message}")
    if refused:
        raise UnsupportedError(
            f"{len(refused)} of {len(graph.nodes)} operators cannot be exported: "
            f"{'; '.join(refused[:_NAMED])}{'; ...' if refused[_NAMED:] else ''}"
        )
    told: dict[str, object] = {}
    if graph.labels:
        told["labels"] = list(graph.labels)
    if graph.preparation:
        told["preparation"] = {name: asdict(how) for name, how in graph.preparation.items()}
    metadata = {"min_runtime_version": _RUNTIME.ljust(16, b"\0")}
    if told:
        metadata["edgeinfer"] = json.dumps(told, ensure_ascii=False).encode()
    return serialize(to.model(), VERSIONS, metadata, f"edgeinfer {__version__}")
