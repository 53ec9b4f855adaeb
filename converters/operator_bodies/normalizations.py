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


@operator("GroupNorm")
def _group_norm(b: Body) -> Outputs:
    return _groups_normalized(b, b.input(0))


@operator("SkipGroupNorm")
def _skip_group_norm(b: Body) -> Outputs:
    """Of a sum with ``skip``, which has x's shape or is [N,C], and a bias [C]."""
    skip = b.input(3)
    if len(b.shape(3)) == 2:
        skip = b("Unsqueeze", skip, b.constant([1, 2] if _has_channels_last(b) else [2, 3]))
    bias = b.optional(4)
    if bias is not None and not _has_channels_last(b):
        bias = b("Unsqueeze", bias, b.constant([1, 2]))
    total = b.sum(b.input(0), skip, bias)
    return _groups_normalized(b, total), total


def _groups_normalized(b: Body, x: str) -> str:
    """``x`` [N,H,W,C], or [N,C,H,W], normalized by group of channels, and Swish of that."""
    b.shape(0, rank=4)
    if _has_channels_last(b):
        x = b("Transpose", x, perm=[0, 3, 1, 2])
    y = b(
        "GroupNormalization",
        x,
        b.input(1),
        b.input(2),
        num_groups=b.attribute("groups", 0),
        epsilon=b.attribute("epsilon", 1e-5),
    )
    activation = b.attribute("activation", 0)
    if activation not in (0, 1):
        raise ModelError(f"activation must be 0 or 1, not {activation}")
    if activation:
        y = b("Mul", y, b("Sigmoid", y))
    return b("Transpose", y, perm=[0, 2, 3, 1]) if _has_channels_last(b) else y


def _has_channels_last(b: Body) -> bool:
    return bool(b.attribute("channels_last", 1))


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
