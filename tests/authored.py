"""Integer Graphs node by node, for tests that need a certain one."""

from __future__ import annotations

import numpy as np

from edgeinfer.graph import Graph, GraphBuilder, Quantization, TensorType
from edgeinfer.graph import operators as ops

__all__ = ["REQUANTIZING", "SCALE", "Author"]

REQUANTIZING = {"output_zero_point": 3, "lo": -128, "hi": 127, "rounding": "single"}
"""Fields that operators share."""

SCALE = Quantization((0.0625,), 0, None)


class Author:
    """An int8 Graph whose input is ``x``; constants are drawn from ``rng``."""

    def __init__(self, *shape: int) -> None:
        self.rng = np.random.default_rng(0)
        self.builder = GraphBuilder("corner")
        self.builder.input("x", TensorType(shape, "int8", SCALE))

    def constant(self, low: int, high: int, shape: tuple[int, ...], dtype: str) -> str:
        array = self.rng.integers(low, high, shape).astype(dtype)
        return self.builder.constant(f"c{len(self.builder.constants)}", array)

    def node(self, op: ops.Operator, *inputs: str) -> str:
        count = len(self.builder.nodes)
        return self.builder.add(
            op, *inputs, output=f"v{count}", node=f"n{count}", dtype="int8", quantization=SCALE
        )

    def parameters(self, count: int, shift: int) -> tuple[str, str, str]:
        return (
            self.constant(-500, 500, (count,), "int32"),
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
        op = ops.QConv(**REQUANTIZING, input_zero_point=0, **fields)
        return self.node(op, x, weights, *self.parameters(out, 37 + kernel // 2))

    def graph(self, *outputs: str) -> Graph:
        return self.builder.graph(*outputs)
