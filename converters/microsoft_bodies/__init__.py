"""What onnxruntime's own operators (com.microsoft) are made of, as functions of ONNX's operators.

onnxruntime leaves them in a model that it has optimized and saved. Operands' shapes are known, and
so a body has no more nodes than its operands and attributes ask for.
"""

from edgeinfer.converters.microsoft_bodies import activations, attention, layers, normalizations
from edgeinfer.converters.microsoft_bodies.body import DOMAIN, OPERATORS, definition

__all__ = [
    "DOMAIN",
    "OPERATORS",
    "activations",
    "attention",
    "definition",
    "layers",
    "normalizations",
]
