"""What a model is: operators between typed values, their shapes and costs, what is legal."""

from edgeinfer.graph.builder import GraphBuilder
from edgeinfer.graph.graph import (
    ABSENT,
    DType,
    Graph,
    Node,
    Quantization,
    State,
    TensorType,
    check_is_graph,
    nearest_float32,
)
from edgeinfer.graph.preparation import Preparation

__all__ = [
    "ABSENT",
    "DType",
    "Graph",
    "GraphBuilder",
    "Node",
    "Preparation",
    "Quantization",
    "State",
    "TensorType",
    "check_is_graph",
    "nearest_float32",
]
