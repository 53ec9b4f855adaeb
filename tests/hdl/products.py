"""Graphs with a product of two values, for tests of the NPU."""

from __future__ import annotations

from edgeinfer.graph import Graph, Quantization, TensorType
from edgeinfer.graph import operators as ops
from tests.authored import Author

__all__ = ["product"]


def product(
    a: tuple[int, ...], b: tuple[int, ...], zero_points: tuple[int, int] = (0, 0), width: int = 8
) -> Graph:
    """``x`` [a] times ``y`` [b], both inputs, with such zero points."""
    dtype = f"int{width}"
    author = Author(*a, dtype=dtype)
    for name, shape, zero_point in zip("xy", (a, b), zero_points, strict=True):
        kind = TensorType(shape, dtype, Quantization.per_tensor(0.0625, zero_point))
        if name == "x":
            author.builder.types[name] = kind
        else:
            author.builder.input(name, kind)
    op = ops.QMatMul(
        **author.requantizing,
        a_zero_point=zero_points[0],
        b_zero_point=zero_points[1],
        multiplier=(1 << 22) + 12345,
        shift=34 if width == 8 else 48,
    )
    return author.graph(author.node(op, "x", "y"))
