"""An integer Graph as an ONNX model with QuantizeLinear and DequantizeLinear: ``to_qdq``.

    Graph (integer) ─ rules ─► ModelWriter ─► onnx.ModelProto

Each operator is the one of floats between what dequantizes its inputs and what quantizes its
result, as execution providers expect it; it is computed on integers where they have it so.
"""

from edgeinfer.converters.qdq.export import to_qdq

__all__ = ["to_qdq"]
