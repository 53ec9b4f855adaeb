"""Integer Graphs node by node, for tests that need a certain one."""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import DType, Graph, GraphBuilder, Quantization, TensorType
from edgeinfer.graph import operators as ops

__all__ = ["REQUANTIZING", "SCALE", "Author"]

REQUANTIZING = {"output_zero_point": 3, "lo": -128, "hi": 127, "rounding": "single"}
"""Fields that operators share."""

WIDE = {"output_zero_point": 0, "lo": -5000, "hi": 32767}
"""What is different where values are int16."""

ONE = 1 << 30

SCALE = Quantization((0.0625,), 0, None)


class Author:
    """A Graph of int8, or of another ``dtype``, from ``x``; constants are drawn from ``rng``."""

    def __init__(self, *shape: int, dtype: DType = "int8") -> None:
        self.rng = np.random.default_rng(0)
        self.dtype = dtype
        self.requantizing = REQUANTIZING if dtype == "int8" else REQUANTIZING | WIDE
        self.builder = GraphBuilder("corner")
        self.builder.input("x", TensorType(shape, dtype, SCALE))

    def constant(self, low: int, high: int, shape: tuple[int, ...], dtype: str) -> str:
        array = self.rng.integers(low, high, shape).astype(dtype)
        return self.builder.constant(f"c{len(self.builder.constants)}", array)

    def node(self, op: ops.Operator, *inputs: str) -> str:
        count = len(self.builder.nodes)
        return self.builder.add(
            op, *inputs, output=f"v{count}", node=f"n{count}", dtype=self.dtype, quantization=SCALE
        )

    def parameters(self, count: int, shift: int) -> tuple[str, str, str]:
        return (
            self.constant(-500, 500, (count,), "int32" if self.dtype == "int8" else "int64"),
            self.constant(1 << 30, (1 << 31) - 1, (count,), "int32"),
            self.constant(shift, shift + 1, (count,), "int8"),
        )

    def conv(self, x: str, out: int, kernel: int, **changes: object) -> str:
        fields = {
            "strides": (1, 1),
            "pads": (0, 0, 0, 0),
            "dilations": (1, 1),
            "group": 1,
            **changes,
        }
        depth = self.builder.shape(x)[3] // fields["group"]
        weights = self.constant(-128, 128, (out, kernel, kernel, depth), "int8")
        op = ops.QConv(**self.requantizing, input_zero_point=0, **fields)
        return self.node(op, x, weights, *self.parameters(out, 37 + kernel // 2))

    def dense(self, x: str, out: int) -> str:
        weights = self.constant(-128, 128, (out, self.builder.shape(x)[-1]), "int8")
        op = ops.QDense(**self.requantizing, input_zero_point=0)
        return self.node(op, x, weights, *self.parameters(out, 38))

    def add(self, a: str, b: str) -> str:
        one = {"a_multiplier": ONE, "a_shift": 31, "b_multiplier": ONE, "b_shift": 31}
        return self.node(
            ops.QAdd(**self.requantizing, **one, left_shift=20, multiplier=ONE, shift=49), a, b
        )

    def graph(self, *outputs: str) -> Graph:
        return self.builder.graph(*outputs)
