"""onnxruntime's activations, some of them fused with the bias before."""

from __future__ import annotations

from edgeinfer.converters.onnx_operators import Refusal
from edgeinfer.converters.operator_bodies.body import Body, Outputs, operator
from edgeinfer.errors import ModelError

__all__: list[str] = []


@operator("Gelu")
def _gelu(b: Body) -> Outputs:
    return b("Gelu", b.input(0))


@operator("BiasGelu")
def _bias_gelu(b: Body) -> Outputs:
    return b("Gelu", b("Add", b.input(0), b.input(1)))


@operator("FastGelu")
def _fast_gelu(b: Body) -> Outputs:
    return b("Gelu", b.sum(b.input(0), b.optional(1)), approximate="tanh")


@operator("QuickGelu")
def _quick_gelu(b: Body) -> Outputs:
    x = b.input(0)
    return b("Mul", x, b("Sigmoid", b.scaled(x, b.attribute("alpha", 1.702))))


@operator("BiasSplitGelu")
def _bias_split_gelu(b: Body) -> Outputs:
    last = b.shape(0)[-1]
    if last % 2:
        raise ModelError(f"{last} channels do not divide into halves")
    x, gate = b.several(
        "Split", 2, b("Add", b.input(0), b.input(1)), b.constant([last // 2] * 2), axis=-1
    )
    return b("Mul", x, b("Gelu", gate))


@operator("BiasAdd")
def _bias_add(b: Body) -> Outputs:
    return b.sum(b.input(0), b.input(1), b.input(2))


@operator("BiasSoftmax")
def _bias_softmax(b: Body) -> Outputs:
    rank = len(b.shape(0))
    b.attribute("is_inner_broadcast", 1)
    # of several axes at once, as before opset 13
    if b.attribute("axis", 1) not in (rank - 1, -1):
        raise Refusal("a Softmax of several axes is not supported")
    return b("Softmax", b("Add", b.input(0), b.input(1)), axis=-1)
