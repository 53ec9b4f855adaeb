"""Graphs that attend from every pixel to every other, as exporters write it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from tests.authored import Author

__all__ = ["attention"]


def attention(
    tokens: int,
    heads: int,
    depth: int,
    *,
    width: int = 8,
    softmax: Callable[[Author, str, int], str] | None = None,
) -> Graph:
    """Queries, keys and values of ``x`` [1, tokens, heads depth] in heads, and back in one;
    ``softmax``, where given, makes shares of scores over an axis."""
    channels = heads * depth
    author = Author(1, tokens, channels, dtype=f"int{width}")
    product = ops.QMatMul(
        **author.requantizing,
        a_zero_point=3 if width == 8 else 0,
        b_zero_point=-5 if width == 8 else 0,
        multiplier=1 << 22,
        shift=34 if width == 8 else 48,
    )

    def projected(order: tuple[int, ...]) -> str:
        apart = ops.Reshape((1, tokens, heads, depth))
        return author.node(ops.Transpose(order), author.node(apart, author.dense("x", channels)))

    queries, keys = projected((0, 2, 1, 3)), projected((0, 2, 3, 1))
    scores = author.node(product, queries, keys)
    shares, weighted = scores, product
    if softmax is not None:
        shares = softmax(author, scores, 3)
        weighted = replace(product, a_zero_point=-128 if width == 8 else 0)
    attended = author.node(weighted, shares, projected((0, 2, 1, 3)))
    back = author.node(ops.Transpose((0, 2, 1, 3)), attended)
    joined = author.node(ops.Reshape((1, tokens, channels)), back)
    return author.graph(author.dense(joined, channels))
