"""Layers, and products of two values, as TOSA's CONV2D, DEPTHWISE_CONV2D and MATMUL."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from edgeinfer.arithmetic.accumulators import largest_sums
from edgeinfer.converters.tosa.convolving import convolved
from edgeinfer.converters.tosa.flatbuffer import Tensor
from edgeinfer.converters.tosa.rounding import narrow, requantized, wide
from edgeinfer.converters.tosa.rules.registry import constants, dtype, largest, lower
from edgeinfer.converters.tosa.writer import TosaWriter
from edgeinfer.graph import Node
from edgeinfer.graph import operators as ops


@lower.register
def _convolution(op: ops.QConv, node: Node, to: TosaWriter) -> Tensor:
    x, (weights, bias, multiplier, shift) = to.value(node.input("x")), constants(node, to)
    bounds = largest_sums(weights, bias, largest(node.input("x"), op.input_zero_point, to))
    most, depth = int(bounds.max()), weights.shape[3]

    def sums(
        operator: Literal["CONV2D", "DEPTHWISE_CONV2D"], x: Tensor, w: np.ndarray, b: np.ndarray
    ) -> Tensor:
        return convolved(
            to,
            operator,
            x,
            op.input_zero_point,
            w,
            b,
            most,
            strides=op.strides,
            pads=op.pads,
            dilations=op.dilations,
        )

    if op.group == 1:
        acc = sums("CONV2D", x, weights, bias)
    elif depth == 1:
        acc = sums("DEPTHWISE_CONV2D", x, weights, bias)
    else:
        groups = zip(np.split(weights, op.group), np.split(bias, op.group), strict=True)
        acc = to.concat(
            [
                sums("CONV2D", to.part(x, 3, group * depth, depth), *own)
                for group, own in enumerate(groups)
            ],
            3,
        )
    return requantized(to, op, acc, multiplier, shift, bounds, dtype(node, to))


@lower.register
def _dense(op: ops.QDense, node: Node, to: TosaWriter) -> Tensor:
    """A convolution of one pixel."""
    x, (weights, bias, multiplier, shift) = to.value(node.input("x")), constants(node, to)
    bounds = largest_sums(weights, bias, largest(node.input("x"), op.input_zero_point, to))
    *rows, depth = x.shape
    pixels = to.reshape(x, (math.prod(rows), 1, 1, depth))
    kernels = weights.reshape(-1, 1, 1, depth)
    most = int(bounds.max())
    acc = convolved(to, "CONV2D", pixels, op.input_zero_point, kernels, bias, most)
    y = requantized(to, op, acc, multiplier, shift, bounds, dtype(node, to))
    return to.reshape(y, (*rows, len(weights)))


@lower.register
def _product(op: ops.QMatMul, node: Node, to: TosaWriter) -> Tensor:
    a, b = (to.value(name) for name in node.inputs)
    zero_points = (op.a_zero_point, op.b_zero_point)
    bound = a.shape[-1] * math.prod(map(largest, node.inputs, zero_points, (to, to)))
    acc_type = "INT32"
    if "INT16" in (a.dtype, b.dtype):
        acc_type = "INT48"
        a, b = (_as_16_bits(to, x, z) for x, z in zip((a, b), zero_points, strict=True))
        zero_points = (0, 0)
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = (
        to.reshape(to.expand(x, (*batch, *x.shape[-2:])), (math.prod(batch), *x.shape[-2:]))
        for x in (a, b)
    )
    zeros = [to.number(z, x.dtype) for x, z in zip((a, b), zero_points, strict=True)]
    acc = to.apply("MATMUL", [a, b, *zeros], (*a.shape[:2], b.shape[2]), acc_type)
    acc = narrow(to, acc, bound)
    y = requantized(to, op, acc, op.multiplier, op.shift, bound, dtype(node, to))
    return to.reshape(y, (*batch, *y.shape[1:]))


def _as_16_bits(to: TosaWriter, x: Tensor, zero_point: int) -> Tensor:
    return x if x.dtype == "INT16" else to.cast(wide(to, x, zero_point), "INT16")
