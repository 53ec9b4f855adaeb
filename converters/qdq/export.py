"""An integer Graph into an ONNX model with QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

import json

import onnx

from edgeinfer.converters.qdq.rules import write_node
from edgeinfer.converters.qdq.writer import ModelWriter
from edgeinfer.errors import InputError, UnsupportedError
from edgeinfer.graph import Graph
from edgeinfer.version import __version__

__all__ = ["to_qdq"]


def to_qdq(graph: Graph) -> onnx.ModelProto:
    """``graph`` as a model of ONNX's own operators, checked.

    Parameters
    ----------
    graph : Graph
        An integer one.

    Raises
    ------
    UnsupportedError
        Operators have no form in QDQ: all are named.
    InputError
        It is a float Graph, or keeps states.
    """
    if not graph.is_integer:
        raise InputError("a float model has no integers to export: quantize it first")
    if graph.states:
        names = ", ".join(repr(state.input) for state in graph.states)
        raise InputError(f"ONNX keeps no states from run to run, and this model keeps {names}")
    to, refused = ModelWriter(graph), []
    for node in graph.nodes:
        to.begin(node.name)
        try:
            write_node(node.op, node, to)
        except UnsupportedError as error:
            refused.append(f"{type(node.op).__name__} {node.name!r}: {error.message}")
            for value in node.outputs:
                to.give(value, value)
    if refused:
        raise UnsupportedError(
            f"{len(refused)} of {len(graph.nodes)} operators cannot be exported: "
            f"{'; '.join(refused[:5])}{'; ...' if refused[5:] else ''}"
        )
    metadata = [("labels", json.dumps(list(graph.labels)))] if graph.labels else []
    model = to.model(f"edgeinfer {__version__}", metadata)
    onnx.checker.check_model(model, full_check=True)
    return model
