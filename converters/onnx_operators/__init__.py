"""Turns ONNX nodes into operators of the Graph: one short function for each ONNX operator."""

from edgeinfer.converters.onnx_operators import (
    einsum,
    elementwise,
    indexing,
    linear,
    logic,
    normalizing,
    pooling,
    recurrent,
    reducing,
    resizing,
    selecting,
    shaping,
)
from edgeinfer.converters.onnx_operators.call import (
    IMPORTERS,
    Call,
    Dynamic,
    Kind,
    Operand,
    Refusal,
    Static,
)

__all__ = [
    "IMPORTERS",
    "Call",
    "Dynamic",
    "Kind",
    "Operand",
    "Refusal",
    "Static",
    "einsum",
    "elementwise",
    "indexing",
    "linear",
    "logic",
    "normalizing",
    "pooling",
    "recurrent",
    "reducing",
    "resizing",
    "selecting",
    "shaping",
]
