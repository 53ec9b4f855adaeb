"""onnxruntime's convolutions and products of matrices, fused with what stood beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgeinfer.converters.onnx_operators import Refusal
from edgeinfer.converters.operator_bodies.body import Body, Outputs, operator
from edgeinfer.errors import ModelError

__all__: list[str] = []

# the parameters of an activation that is fused, in the order in which it has them
_ACTIVATIONS: dict[str, tuple[str, ...]] = {
    "Elu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    "LeakyRelu": ("alpha",),
    "Relu": (),
    "Sigmoid": (),
    "Softplus": (),
    "Softsign": (),
    "Tanh": (),
    "ThresholdedRelu": ("alpha",),
}
_CONVOLUTION: tuple[tuple[str, Any], ...] = (
    ("auto_pad", "NOTSET"),
    ("dilations", None),
    ("group", 1),
    ("kernel_shape", None),
    ("pads", None),
    ("strides", None),
)


def _activated(b: Body, x: str, parameters: Sequence[float]) -> str:
    name = b.attribute("activation", "")
    if not name:
        return x
    if name == "Clip":
        return b("Clip", x, *map(b.constant, map(float, parameters)))
    if name not in _ACTIVATIONS:
        raise Refusal(f"its activation {name!r} is not supported")
    if len(parameters) > len(_ACTIVATIONS[name]):
        raise ModelError(f"activation {name} takes no {len(parameters)} parameters")
    named = dict(zip(_ACTIVATIONS[name], map(float, parameters), strict=False))
    return b(name, x, **named)


def _convolution(b: Body, *inputs: str) -> str:
    given = {name: b.attribute(name, default) for name, default in _CONVOLUTION}
    return b("Conv", *inputs, **{name: v for name, v in given.items() if v is not None})


@operator("FusedConv")
def _fused_conv(b: Body) -> Outputs:
    y = b.sum(_convolution(b, b.input(0), b.input(1), *b.if_there(2)), b.optional(3))
    return _activated(b, y, b.attribute("activation_params", ()))


@operator("NhwcConv")
def _nhwc_conv(b: Body) -> Outputs:
    """x [N,H,W,I] and weights [O,kh,kw,I/group], the channels last."""
    rank = len(b.shape(0))
    first, last = [0, rank - 1, *range(1, rank - 1)], [0, *range(2, rank), 1]
    x, weights = (b("Transpose", b.input(i), perm=first) for i in (0, 1))
    return b("Transpose", _convolution(b, x, weights, *b.if_there(2)), perm=last)


@operator("FusedGemm")
def _fused_gemm(b: Body) -> Outputs:
    given = {
        name: b.attribute(name, default)
        for name, default in (("alpha", 1.0), ("beta", 1.0), ("transA", 0), ("transB", 0))
    }
    y = b("Gemm", b.input(0), b.input(1), *b.if_there(2), **given)
    names = (f"activation_{each}" for each in ("alpha", "beta", "gamma"))
    parameters = [b.attribute(name, 0.0) for name in names if name in b.node.attributes]
    return _activated(b, y, parameters)


@operator("FusedMatMul", "TransposeMatMul")
def _fused_mat_mul(b: Body) -> Outputs:
    operands = []
    for index, side in enumerate("AB"):
        rank, name = len(b.shape(index)), b.input(index)
        order = list(range(rank))
        if b.attribute(f"transBatch{side}", 0) and rank > 2:
            order = [*order[1:-1], 0, order[-1]]
        if b.attribute(f"trans{side}", 0) and rank > 1:
            order[-2:] = order[:-3:-1]
        if order != sorted(order):
            name = b("Transpose", name, perm=order)
        operands.append(name)
    return b.scaled(b("MatMul", *operands), b.attribute("alpha", 1.0))
