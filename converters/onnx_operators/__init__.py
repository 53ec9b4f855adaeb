"""Turns ONNX nodes into operators of the Graph: one short function for each ONNX operator."""

from edgeinfer.converters.onnx_operators import (
    elementwise,
    linear,
    normalizing,
    pooling,
    reducing,
    resizing,
    shaping,
)
from edgeinfer.converters.onnx_operators.call import (
    IMPORTERS,
    Call,
    Dynamic,
    Operand,
    Refusal,
    Static,
)

__all__ = [
    "IMPORTERS",
    "Call",
    "Dynamic",
    "Operand",
    "Refusal",
    "Static",
    "elementwise",
    "linear",
    "normalizing",
    "pooling",
    "reducing",
    "resizing",
    "shaping",
]
