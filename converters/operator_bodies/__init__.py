"""What onnxruntime's own operators (com.microsoft) and quantized ones are made of, as functions of
ONNX's operators.

onnxruntime leaves its own in a model that it has optimized and saved; a quantized operator is the
one of floats between DequantizeLinears and a QuantizeLinear. Operands' shapes are known, and so a
body has no more nodes than its operands and attributes ask for.
"""

from edgeinfer.converters.operator_bodies import (
    activations,
    attention,
    layers,
    normalizations,
    quantized,
)
from edgeinfer.converters.operator_bodies.body import OPERATORS, definition

__all__ = [
    "OPERATORS",
    "activations",
    "attention",
    "definition",
    "layers",
    "normalizations",
    "quantized",
]
