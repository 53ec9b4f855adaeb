"""An integer Graph into an ONNX model with QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

import json

import numpy as np
import onnx

from edgeinfer.converters.exporting import check_exportable, write_nodes
from edgeinfer.converters.qdq.rules import write_node
from edgeinfer.converters.qdq.writer import ModelWriter
from edgeinfer.converters.states import StatedStates
from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Graph, Node
from edgeinfer.version import __version__

__all__ = ["to_qdq"]


def to_qdq(graph: Graph) -> onnx.ModelProto:
    """``graph`` as a model of ONNX's own operators, checked.

    Parameters
    ----------
    graph : Graph
        An integer one. What it keeps from run to run are inputs and outputs of the model's, which
        its metadata pairs (``converters.states``).

    Raises
    ------
    UnsupportedError
        Operators have no form in QDQ: all are named; or a state begins at other numbers than 0.
    InputError
        It is a float Graph.
    """
    check_exportable(graph)
    for state in graph.states:
        q = graph.types[state.input].quantization
        if np.any(graph.constants[state.first] != (0 if q is None else q.zero_point)):
            raise UnsupportedError(
                f"state {state.input!r} begins at other numbers than 0, for which ONNX has no place"
            )
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
    pairs = {state.input: state.output for state in graph.states}
    shown = tuple(name for name in graph.outputs if name in pairs.values())
    metadata = StatedStates(pairs, shown).metadata
    if graph.labels:
        metadata["labels"] = json.dumps(list(graph.labels))
    model = to.model(f"edgeinfer {__version__}", metadata)
    onnx.checker.check_model(model, full_check=True)
    return model
