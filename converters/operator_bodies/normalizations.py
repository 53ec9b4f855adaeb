"""onnxruntime's normalizations of sums, and of embeddings."""

from __future__ import annotations

import numpy as np

from edgeinfer.converters.operator_bodies.body import Body, Outputs, operator
from edgeinfer.errors import ModelError

__all__: list[str] = []


def _layer_norm(b: Body, x: str, scale: int, bias: int) -> str:
    epsilon = b.attribute("epsilon", 1e-12)
    taken = x, b.input(scale), *b.if_there(bias)
    return b("LayerNormalization", *taken, axis=-1, epsilon=epsilon)


@operator("SkipLayerNormalization")
def _skip_layer_normalization(b: Body) -> Outputs:
    total = b.sum(b.input(0), b.input(1), b.optional(4))
    return _layer_norm(b, total, 2, 3), None, None, total


@operator("SkipSimplifiedLayerNormalization")
def _skip_rms_normalization(b: Body) -> Outputs:
    total = b.sum(b.input(0), b.input(1), b.optional(3))
    epsilon = b.attribute("epsilon", 1e-12)
    y = b("RMSNormalization", total, b.input(2), axis=-1, epsilon=epsilon)
    return y, None, None, total


@operator("EmbedLayerNormalization")
def _embed_layer_normalization(b: Body) -> Outputs:
    """Words, places and segments, each by its embedding, added and normalized."""
    _, length = b.shape(0, rank=2)
    if b.has(8):
        places = b("Gather", b.input(3), b.input(8), axis=0)
    else:
        if b.shape(3, rank=2)[0] < length:
            raise ModelError(f"it has embeddings of {b.shape(3)[0]} places, not of {length}")
        places = b("Gather", b.input(3), b.constant(np.arange(length)), axis=0)
    total = b.sum(b("Gather", b.input(2), b.input(0), axis=0), places)
    if b.has(1):
        total = b("Add", total, b("Gather", b.input(4), b.input(1), axis=0))
    b.attribute("mask_index_type", 0)
    return _layer_norm(b, total, 5, 6), None, total
