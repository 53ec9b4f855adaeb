"""Rules of layers: convolutions, transposed ones, and dense layers, of constant weights."""

from __future__ import annotations

from edgeinfer.graph import Node
from edgeinfer.graph import operators as ops
from edgeinfer.quant.fragment import Fragment
from edgeinfer.quant.phases import phases_of
from edgeinfer.quant.rules.registry import rule

__all__: list[str] = []


@rule(ops.Conv, makes=(ops.QConv,))
def _conv(op: ops.Conv, node: Node, to: Fragment) -> None:
    quantized = ops.QConv(
        **to.clamp(node.output, op.lo, op.hi),
        input_zero_point=to.kind(node.input("x"))[1],
        strides=op.strides,
        pads=op.pads,
        dilations=op.dilations,
        group=op.group,
    )
    to.emit_layer(quantized)


@rule(
    ops.ConvTranspose,
    makes=(ops.QConv, ops.DepthToSpace, ops.Reshape, ops.Transpose, ops.Slice),
)
def _conv_transpose(op: ops.ConvTranspose, node: Node, to: Fragment) -> None:
    x, y = node.input("x"), node.output
    shapes = (to.graph.types[name].shape for name in (x, y))
    phases = phases_of(op, *to.layer_constants(), *shapes)
    quantized = ops.QConv(
        **to.clamp(y, op.lo, op.hi),
        input_zero_point=to.kind(x)[1],
        pads=phases.pads,
        dilations=phases.dilations,
        group=phases.group,
    )
    to.emit_moved(quantized, to.layer(phases.weights, phases.bias), phases.shape, phases.moves)


@rule(ops.Dense, makes=(ops.QDense,))
def _dense(op: ops.Dense, node: Node, to: Fragment) -> None:
    quantized = ops.QDense(
        **to.clamp(node.output, op.lo, op.hi),
        input_zero_point=to.kind(node.input("x"))[1],
    )
    to.emit_layer(quantized)
