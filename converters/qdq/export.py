"""An integer Graph into an ONNX model with QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

import json

import onnx

from edgeinfer.converters.exporting import check_exportable, write_nodes
from edgeinfer.converters.qdq.rules import write_node
from edgeinfer.converters.qdq.writer import ModelWriter
from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Graph, Node
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
    check_exportable(graph, "ONNX keeps no states from run to run")
    to = ModelWriter(graph)

    def write(node: Node) -> None:
        to.begin(node.name)
        try:
            write_node(node.op, node, to)
        except UnsupportedError:
            for value in node.outputs:
                to.give(value, value)  # for the nodes behind, which may be refused as well
            raise

    write_nodes(graph, write)
    metadata = [("labels", json.dumps(list(graph.labels)))] if graph.labels else []
    model = to.model(f"edgeinfer {__version__}", metadata)
    onnx.checker.check_model(model, full_check=True)
    return model
