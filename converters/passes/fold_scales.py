"""Turns scales and shifts by constants into part of the linear layer before them."""

from __future__ import annotations

import math
from functools import singledispatch

import numpy as np

from edgeinfer.arithmetic.pointwise import Expression
from edgeinfer.converters.passes.rewriter import Rewriter
from edgeinfer.errors import ModelError
from edgeinfer.graph import Graph, Node, Quantization, nearest_float32
from edgeinfer.graph import operators as ops

__all__ = ["along_last_axis", "fold_scales"]

_LINEAR = (ops.Conv, ops.ConvTranspose, ops.Dense)
# a fused clamp would have to come along; the import has none here
_AFFINE = (ops.Add(), ops.Mul(), ops.Sub())


def fold_scales(graph: Graph) -> Graph:
    """a * (W x + b) + c = (a W) x + (a b + c), for a and c scalars or one number a channel.

    A batch norm arrives here as a Mul and an Add. Where no linear layer without a clamp comes
    before, or something else takes its value, numbers by channel become a depthwise convolution of
    one element, into which what follows can fold; scalars stay a Pointwise.
    """
    rewriter = Rewriter(graph)
    consumers = graph.consumers()
    waiting: dict[str, Coefficients] = {}
    for node in graph.nodes:
        x, scale, shift = _affine(rewriter, node)
        if x in waiting:
            x, first_scale, first_shift = waiting.pop(x)
            # what is not finite is told where it becomes a constant
            with np.errstate(over="ignore", invalid="ignore"):
                scale, shift = scale * first_scale, scale * first_shift + shift
        if not x:
            rewriter.copy(node)
        elif _foldable(rewriter, x):
            _fold(rewriter, node, x, scale, shift)
        elif isinstance(node.op, ops.Pointwise) or not 2 <= len(rewriter.shape(x)) <= 4:
            rewriter.copy(node)
        elif rewriter.only_use(output := node.outputs[0]) and _goes_on(
            rewriter, consumers[output][0]
        ):
            waiting[output] = (x, scale, shift)
        else:
            _depthwise(rewriter, node, x, scale, shift)
    return rewriter.finish()


def _goes_on(rewriter: Rewriter, node: Node) -> bool:
    """Whether ``node`` is a scale or shift by channel as well, so that both are one."""
    return bool(_affine(rewriter, node)[0]) and not isinstance(node.op, ops.Pointwise)


Coefficients = tuple[str, np.ndarray, np.ndarray]
_NEITHER: Coefficients = ("", np.zeros(0), np.zeros(0))


def _affine(rewriter: Rewriter, node: Node) -> Coefficients:
    """The value, scale and shift of which ``node`` is the sum; an empty name where it is none."""
    first = rewriter.current(node.inputs[0])
    if isinstance(node.op, ops.Pointwise):
        slope, offset = _coefficients(node.op.expression)
        if math.isfinite(slope) and math.isfinite(offset) and node.op.expression != "x":
            return first, np.array(slope), np.array(offset)
        return _NEITHER
    if node.op not in _AFFINE:
        return _NEITHER
    second = rewriter.current(node.inputs[1])
    shape = rewriter.shape(node.outputs[0])
    one, zero = np.array(1.0), np.array(0.0)
    constant = along_last_axis(rewriter, second, shape)
    if constant is not None and rewriter.shape(first) == shape and first not in rewriter.constants:
        if isinstance(node.op, ops.Mul):
            return first, constant, zero
        return first, one, constant if isinstance(node.op, ops.Add) else -constant
    constant = along_last_axis(rewriter, first, shape)
    if constant is not None and isinstance(node.op, ops.Sub) and rewriter.shape(second) == shape:
        return second, -one, constant
    return _NEITHER


def along_last_axis(rewriter: Rewriter, name: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """A constant that varies along the last axis of ``shape`` at most, as [C]; None otherwise."""
    array = rewriter.constants.get(name)
    if array is None or array.ndim > len(shape) or not shape or array.size not in (1, shape[-1]):
        return None
    if array.size > 1 and array.shape[-1] != array.size:
        return None
    return np.broadcast_to(array.reshape(-1).astype(np.float64), (shape[-1],))


def _coefficients(e: Expression) -> tuple[float, float]:
    """Slope and offset of an expression; infinite where it is not a straight line."""
    if e == "x":
        return 1.0, 0.0
    if isinstance(e, float):
        return 0.0, e
    function, *arguments = e
    if function not in ("add", "sub", "mul", "div", "neg"):
        return math.inf, math.inf
    lines = [_coefficients(argument) for argument in arguments]
    if function == "neg":
        return -lines[0][0], -lines[0][1]
    (a, b), (c, d) = lines
    if function in ("add", "sub"):
        sign = 1 if function == "add" else -1
        return a + sign * c, b + sign * d
    if function == "mul" and a == 0:
        return b * c, b * d
    if c == 0 and (function == "mul" or d != 0):
        factor = d if function == "mul" else 1 / d
        return a * factor, b * factor
    return math.inf, math.inf


def _foldable(rewriter: Rewriter, x: str) -> bool:
    layer = rewriter.producer(x)
    return (
        layer is not None
        and isinstance(layer.op, _LINEAR)
        and (layer.op.lo, layer.op.hi) == (-math.inf, math.inf)
        and all(name in rewriter.constants for name in layer.inputs[1:])
        and rewriter.only_use(x)
    )


def _fold(rewriter: Rewriter, node: Node, x: str, scale: np.ndarray, shift: np.ndarray) -> None:
    layer = rewriter.producer(x)
    assert layer is not None
    weights, *biases = (rewriter.constants[name] for name in layer.inputs[1:])
    channels = rewriter.shape(x)[-1]
    scale, shift = (np.broadcast_to(v, (channels,)) for v in (scale, shift))
    bias = biases[0].astype(np.float64) if biases else np.zeros(channels)
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = _scaled(layer.op, weights.astype(np.float64), scale).astype(np.float32)
        moved = (bias * scale + shift).astype(np.float32)
    if not (np.isfinite(scaled).all() and np.isfinite(moved).all()):
        raise ModelError(
            f"the weights times the scale of {node.name!r} are not finite",
            node=layer.name,
            operator=type(layer.op).__name__,
        )
    steps = _steps(rewriter, layer, scale)
    inputs = [layer.inputs[0], rewriter.constant(layer.inputs[1], scaled, steps)]
    if biases or moved.any():
        name = layer.inputs[2] if biases else f"{node.outputs[0]}#bias"
        inputs.append(rewriter.constant(name, moved))
    rewriter.replace(x, layer.op, inputs, node.outputs[0])


def _steps(rewriter: Rewriter, layer: Node, scale: np.ndarray) -> Quantization | None:
    """What scaled weights are whole multiples of, where they were of something."""
    before = rewriter.types[layer.inputs[1]].quantization
    if before is None or not scale.all() or isinstance(layer.op, ops.ConvTranspose):
        return None
    steps = (nearest_float32(s) for s in (np.array(before.scale) * np.abs(scale)).tolist())
    return Quantization(tuple(steps), 0, 0)


@singledispatch
def _scaled(op: ops.Operator, weights: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Weights [O, ...] with each output channel times its scale."""
    scaled: np.ndarray = weights * scale.reshape(-1, *(1,) * (weights.ndim - 1))
    return scaled


@_scaled.register
def _conv_transpose(op: ops.ConvTranspose, weights: np.ndarray, scale: np.ndarray) -> np.ndarray:
    inputs, kh, kw, outputs = weights.shape
    grouped = weights.reshape(op.group, inputs // op.group, kh, kw, outputs)
    scaled: np.ndarray = grouped * scale.reshape(op.group, 1, 1, 1, outputs)
    return scaled.reshape(weights.shape)


def _depthwise(
    rewriter: Rewriter, node: Node, x: str, scale: np.ndarray, shift: np.ndarray
) -> None:
    *outer, channels = shape = rewriter.shape(x)
    output = node.outputs[0]
    scale, shift = (np.broadcast_to(v, (channels,)).astype(np.float32) for v in (scale, shift))
    image = (*outer[:1], *(1,) * (4 - len(shape)), *outer[1:], channels)
    if len(shape) < 4:
        x = rewriter.write(node, ops.Reshape(image), (x,), rewriter.distinct(f"{x}@image"))
    weights = rewriter.constant(f"{output}#scale", scale.reshape(channels, 1, 1, 1))
    bias = [rewriter.constant(f"{output}#shift", shift)] if shift.any() else []
    op = ops.Conv(group=channels)
    if len(shape) == 4:
        rewriter.write(node, op, (x, weights, *bias), output)
    else:
        y = rewriter.write(node, op, (x, weights, *bias), rewriter.distinct(f"{output}@scaled"))
        rewriter.write(node, ops.Reshape(shape), (y,), output)
