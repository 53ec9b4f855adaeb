"""What a model is: operators between typed values, their shapes and costs, what is legal."""

from edgeinfer.graph.graph import DType, Graph, Node, Quantization, TensorType, nearest_float32

__all__ = ["DType", "Graph", "Node", "Quantization", "TensorType", "nearest_float32"]
