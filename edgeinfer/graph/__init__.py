"""What a model is: operators between typed values, their shapes and costs, what is legal."""

from edgeinfer.graph.graph import (
    ABSENT,
    DType,
    Graph,
    Node,
    Quantization,
    State,
    TensorType,
    nearest_float32,
)

__all__ = [
    "ABSENT",
    "DType",
    "Graph",
    "Node",
    "Quantization",
    "State",
    "TensorType",
    "nearest_float32",
]
