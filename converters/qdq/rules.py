"""What each integer operator is in ONNX: one of floats, whose result is quantized."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch

import numpy as np

from edgeinfer.converters.qdq.expressions import write_expression
from edgeinfer.converters.qdq.normalizations import write_normalization
from edgeinfer.converters.qdq.writer import CHANNELS_FIRST, ModelWriter, Order
from edgeinfer.converters.resizes import resize_attributes
from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Node
from edgeinfer.graph import operators as ops

__all__ = ["write_node"]

# functions that have no value for some numbers: these are held to what was seen
_PARTIAL = ("acos", "acosh", "asin", "atanh", "div", "log", "pow", "reciprocal", "sqrt")


@singledispatch
def write_node(op: ops.Operator, node: Node, to: ModelWriter) -> None:
    """Write the operators of ONNX that stand for ``node``.

    Raises
    ------
    UnsupportedError
        There are none.
    """
    raise UnsupportedError("it has no form in QDQ yet")


def _order(to: ModelWriter, *values: str) -> Order:
    """The order of axes in which values of one rank are taken with the fewest Transposes."""
    taken = [value for value in values if value not in to.graph.constants]
    if all(len(to.type(value).shape) == 4 for value in values) and any(
        to.has(value, CHANNELS_FIRST) and not to.has(value, to.plain(value)) for value in taken
    ):
        return CHANNELS_FIRST
    return max((to.plain(value) for value in values), key=len)


def _clamped(op: ops.Requantizing, y: str, floats: str, to: ModelWriter) -> str:
    """``floats`` within the bounds of the operator, where these are not those of the type."""
    info = np.iinfo(to.type(y).dtype)
    low, high = max(op.lo, info.min), min(op.hi, info.max)
    if (low, high) == (info.min, info.max):
        return floats  # to quantize saturates
    if low == op.output_zero_point and high == info.max:
        return to.node("Relu", floats)
    bounds = (np.array([low, high]) - op.output_zero_point) * to.step(y)
    ends = (to.constant(np.array(bound, np.float32), "bound") for bound in bounds)
    return to.node("Clip", floats, *ends)


def _give(
    op: ops.Requantizing, node: Node, floats: str, order: Order | None, to: ModelWriter
) -> None:
    to.give(node.output, _clamped(op, node.output, floats, to), order)


# ---- layers ------------------------------------------------------------------------------------


def _layer(node: Node, to: ModelWriter) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Weights, their scale a channel, and the bias where it is not 0."""
    weights, bias = (to.graph.constants[node.input(role)] for role in ("weights", "bias"))
    q = to.type(node.input("weights")).quantization
    if q is None:
        raise UnsupportedError("its weights have no scale in this file")
    scale = np.array(q.scale, np.float32)
    if not bias.any():
        return weights, scale, []
    steps = scale * np.float32(to.step(node.input("x")))
    if np.abs(bias).max() < 2**31:
        return weights, scale, [to.weights(bias.astype(np.int32), steps, "bias")]
    return weights, scale, [to.constant((bias * steps.astype(np.float64)).astype("f4"), "bias")]


@write_node.register
def _convolution(op: ops.QConv, node: Node, to: ModelWriter) -> None:
    weights, scale, bias = _layer(node, to)
    oihw = np.ascontiguousarray(weights.transpose(0, 3, 1, 2))
    y = to.node(
        "Conv",
        to.floats(node.input("x"), CHANNELS_FIRST),
        to.weights(oihw, scale, "weights"),
        *bias,
        strides=op.strides,
        pads=op.pads,
        dilations=op.dilations,
        group=op.group,
    )
    _give(op, node, y, CHANNELS_FIRST, to)


@write_node.register
def _dense(op: ops.QDense, node: Node, to: ModelWriter) -> None:
    weights, scale, bias = _layer(node, to)
    x = node.input("x")
    if len(to.type(x).shape) == 2:
        w = to.weights(weights, scale, "weights")
        _give(op, node, to.node("Gemm", to.floats(x), w, *bias, transB=1), None, to)
        return
    w = to.weights(np.ascontiguousarray(weights.T), scale, "weights", axis=1)
    y = to.node("MatMul", to.floats(x), w)
    _give(op, node, to.node("Add", y, *bias) if bias else y, None, to)


@write_node.register
def _product(op: ops.QMatMul, node: Node, to: ModelWriter) -> None:
    _give(op, node, to.node("MatMul", *map(to.floats, node.inputs)), None, to)


# ---- elements ----------------------------------------------------------------------------------

_PAIRS: dict[type[ops.Operator], str] = {
    ops.QAdd: "Add",
    ops.QSub: "Sub",
    ops.QMul: "Mul",
    ops.QDiv: "Div",
}


@write_node.register(ops.QAdd)
@write_node.register(ops.QMul)
@write_node.register(ops.QDiv)
def _pair(op: ops.QAdd | ops.QMul | ops.QDiv, node: Node, to: ModelWriter) -> None:
    order = _order(to, *node.inputs)
    operands = [_operand(value, order, to) for value in node.inputs]
    _give(op, node, to.node(_PAIRS[type(op)], *operands), order, to)


def _operand(value: str, order: Order, to: ModelWriter) -> str:
    if to.type(value).quantization is None:
        raise UnsupportedError(f"its operand {value!r} has no scale in this file")
    return to.floats(value, order if len(to.type(value).shape) == len(order) else None)


@write_node.register
def _rescale(op: ops.Rescale, node: Node, to: ModelWriter) -> None:
    order = _order(to, node.inputs[0])
    _give(op, node, to.floats(node.inputs[0], order), order, to)


@write_node.register
def _lookup(op: ops.Lookup, node: Node, to: ModelWriter) -> None:
    if op.expression is None:
        raise UnsupportedError("its table is of a function that this file does not name")
    order = _order(to, node.inputs[0])
    x = to.floats(node.inputs[0], order)
    if op.domain is not None and _is_partial(op.expression):
        x = to.node(
            "Clip", x, *(to.constant(np.array(end, np.float32), "seen") for end in op.domain)
        )
    to.give(node.output, write_expression(op.expression, x, to), order)


@write_node.register
def _prelu(op: ops.QPRelu, node: Node, to: ModelWriter) -> None:
    x, *slopes = node.inputs
    order, shape = _order(to, x), to.type(x).shape
    multiplier, shift = (to.graph.constants[name].astype(np.float64) for name in slopes)
    # of 31 bits, which a slope of float32 had become
    slope = (multiplier * 2.0**-shift * to.step(node.output) / to.step(x)).astype(np.float32)
    axes = next(n for n in range(len(shape) + 1) if np.prod(shape[n:]) == slope.size)
    full = slope.reshape((1,) * axes + shape[axes:]).transpose(order)
    given = to.constant(np.ascontiguousarray(full), "slope")
    _give(op, node, to.node("PRelu", to.floats(x, order), given), order, to)


def _is_partial(expression: object) -> bool:
    if not isinstance(expression, tuple):
        return False
    return expression[0] in _PARTIAL or any(map(_is_partial, expression[1:]))


@write_node.register
def _softmax(op: ops.QSoftmax, node: Node, to: ModelWriter) -> None:
    to.give(node.output, to.node("Softmax", to.floats(node.input("x")), axis=op.axis))


@write_node.register
def _normalization(op: ops.QNormalization, node: Node, to: ModelWriter) -> None:
    _give(op, node, write_normalization(op, node, to), None, to)


# ---- windows and reductions --------------------------------------------------------------------


@write_node.register
def _max_pool(op: ops.MaxPool, node: Node, to: ModelWriter) -> None:
    y = to.node(
        "MaxPool",
        to.floats(node.inputs[0], CHANNELS_FIRST),
        kernel_shape=op.kernel,
        strides=op.strides,
        pads=op.pads,
        dilations=op.dilations,
    )
    to.give(node.output, y, CHANNELS_FIRST)


@write_node.register
def _average_pool(op: ops.QAveragePool, node: Node, to: ModelWriter) -> None:
    if any(op.ceil_pads):
        raise UnsupportedError("windows that begin inside and end outside have no form in QDQ yet")
    y = to.node(
        "AveragePool",
        to.floats(node.input("x"), CHANNELS_FIRST),
        kernel_shape=op.kernel,
        strides=op.strides,
        pads=op.pads,
        count_include_pad=int(op.count_include_pad),
    )
    _give(op, node, y, CHANNELS_FIRST, to)


@write_node.register
def _sum(op: ops.QReduceSum, node: Node, to: ModelWriter) -> None:
    if op.mean is None:
        raise UnsupportedError("whether it is a mean or a sum is not named in this file")
    _reduced("ReduceMean" if op.mean else "ReduceSum", op, node, to)


@write_node.register
def _root(op: ops.QReduceL2, node: Node, to: ModelWriter) -> None:
    _reduced("ReduceL2", op, node, to)


@write_node.register
def _largest(op: ops.ReduceMax, node: Node, to: ModelWriter) -> None:
    _reduced("ReduceMax", op, node, to)


@write_node.register
def _least(op: ops.ReduceMin, node: Node, to: ModelWriter) -> None:
    _reduced("ReduceMin", op, node, to)


def _reduced(
    name: str,
    op: ops.QReduceSum | ops.QReduceL2 | ops.ReduceMax | ops.ReduceMin,
    node: Node,
    to: ModelWriter,
) -> None:
    x = node.inputs[0]
    order = _order(to, x) if op.keepdims else to.plain(x)
    axes = sorted(order.index(axis) for axis in op.axes)
    if name == "ReduceMean" and order == CHANNELS_FIRST and axes == [2, 3]:
        y = to.node("GlobalAveragePool", to.floats(x, order))
    else:
        over = to.constant(np.array(axes, np.int64), "axes")
        y = to.node(name, to.floats(x, order), over, keepdims=int(op.keepdims))
    y_order = order if op.keepdims else None
    if isinstance(op, ops.QReduceSum | ops.QReduceL2):
        _give(op, node, y, y_order, to)
    else:
        to.give(node.output, y, y_order)


@write_node.register
def _largest_index(op: ops.ArgMax, node: Node, to: ModelWriter) -> None:
    y = to.node(
        "ArgMax",
        to.floats(node.inputs[0]),
        axis=op.axis,
        keepdims=int(op.keepdims),
        select_last_index=int(op.select_last_index),
    )
    to.give(node.output, y)


# ---- places ------------------------------------------------------------------------------------


@write_node.register
def _transpose(op: ops.Transpose, node: Node, to: ModelWriter) -> None:
    """No node: the same tensor, whose axes are others."""
    x, y = node.inputs[0], node.output
    places = next(
        (order for order in (to.plain(x), CHANNELS_FIRST) if to.has(x, order)), to.plain(x)
    )
    to.rename(y, x, tuple(op.permutation.index(axis) for axis in places), places)


@write_node.register
def _reshape(op: ops.Reshape, node: Node, to: ModelWriter) -> None:
    x = node.inputs[0]
    shape: Sequence[int] = op.shape
    if to.graph.free_batch and shape and shape[0] == to.type(x).shape[0]:
        shape = (0, *shape[1:])
    _moved("Reshape", node, to, to.constant(np.array(shape, np.int64), "shape"))


def _moved(name: str, node: Node, to: ModelWriter, *others: str, **attributes: object) -> None:
    to.give(node.output, to.node(name, to.floats(node.inputs[0]), *others, **attributes))


@write_node.register
def _concat(op: ops.Concat, node: Node, to: ModelWriter) -> None:
    order = _order(to, *node.inputs)
    parts = [_operand(value, order, to) for value in node.inputs]
    to.give(node.output, to.node("Concat", *parts, axis=order.index(op.axis)), order)


@write_node.register
def _split(op: ops.Split, node: Node, to: ModelWriter) -> None:
    order = _order(to, node.inputs[0])
    sizes = to.constant(np.array(op.sizes, np.int64), "sizes")
    parts = to.several(
        "Split", len(op.sizes), to.floats(node.inputs[0], order), sizes, axis=order.index(op.axis)
    )
    for value, part in zip(node.outputs, parts, strict=True):
        to.give(value, part, order)


@write_node.register
def _slice(op: ops.Slice, node: Node, to: ModelWriter) -> None:
    starts, steps = np.array(op.starts), np.array(op.steps)
    ends = starts + np.array(op.sizes) * steps
    # before the first element is beyond the least number
    ends = np.where(ends < 0, np.iinfo(np.int64).min, ends)
    axes = np.arange(len(starts))
    numbers = {"starts": starts, "ends": ends, "axes": axes, "steps": steps}
    given = (to.constant(array.astype(np.int64), part) for part, array in numbers.items())
    _moved("Slice", node, to, *given)


@write_node.register(ops.Gather)
@write_node.register(ops.GatherElements)
def _gather(op: ops.Gather | ops.GatherElements, node: Node, to: ModelWriter) -> None:
    if isinstance(op, ops.Gather) and not op.from_end:
        raise UnsupportedError("ONNX counts negative indices from the end, which it refuses")
    _moved(type(op).__name__, node, to, to.integers(node.input("indices")), axis=op.axis)


@write_node.register
def _nearest(op: ops.ResizeNearest, node: Node, to: ModelWriter) -> None:
    x = node.inputs[0]
    shape = to.type(x).shape
    order = _order(to, x)
    floats = to.floats(x, order)
    if all(
        list(sources) == [i * extent // len(sources) for i in range(len(sources))]
        for sources, extent in ((op.rows, shape[1]), (op.columns, shape[2]))
    ):
        out = to.type(node.output).shape
        sizes = to.constant(np.array([out[axis] for axis in order], np.int64), "sizes")
        how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        floats = to.node("Resize", floats, "", "", sizes, mode="nearest", **how)
    else:
        for axis, sources in ((1, op.rows), (2, op.columns)):
            indices = to.constant(np.array(sources, np.int64), "sources")
            floats = to.node("Gather", floats, indices, axis=order.index(axis))
    to.give(node.output, floats, order)


@write_node.register
def _resize(op: ops.QResize, node: Node, to: ModelWriter) -> None:
    x = node.input("x")
    attributes = resize_attributes(node, to.graph)
    if attributes is None:
        raise UnsupportedError("no Resize has its weights")
    n, height, width, channels = to.type(node.output).shape
    sizes = to.constant(np.array([n, channels, height, width], np.int64), "sizes")
    floats = to.node("Resize", to.floats(x, CHANNELS_FIRST), "", "", sizes, **attributes)
    _give(op, node, floats, CHANNELS_FIRST, to)


@write_node.register
def _pad(op: ops.Pad, node: Node, to: ModelWriter) -> None:
    pads = to.constant(np.array([*op.before, *op.after], np.int64), "pads")
    q = to.type(node.output).quantization
    value = 0.0 if q is None else (op.value - q.zero_point) * q.step
    fill = to.constant(np.array(value, np.float32), "value")
    _moved("Pad", node, to, pads, fill, mode=op.mode)


@write_node.register
def _expand(op: ops.Expand, node: Node, to: ModelWriter) -> None:
    _moved("Expand", node, to, to.constant(np.array(op.shape, np.int64), "shape"))


@write_node.register
def _tile(op: ops.Tile, node: Node, to: ModelWriter) -> None:
    _moved("Tile", node, to, to.constant(np.array(op.repeats, np.int64), "repeats"))


@write_node.register(ops.Maximum)
@write_node.register(ops.Minimum)
def _extreme(op: ops.Maximum | ops.Minimum, node: Node, to: ModelWriter) -> None:
    order = _order(to, *node.inputs)
    name = "Max" if isinstance(op, ops.Maximum) else "Min"
    operands = [_operand(value, order, to) for value in node.inputs]
    to.give(node.output, to.node(name, *operands), order)


@write_node.register(ops.DepthToSpace)
@write_node.register(ops.SpaceToDepth)
def _blocks(op: ops.DepthToSpace | ops.SpaceToDepth, node: Node, to: ModelWriter) -> None:
    mode = {"mode": op.mode} if isinstance(op, ops.DepthToSpace) else {}
    x = to.floats(node.inputs[0], CHANNELS_FIRST)
    y = to.node(type(op).__name__, x, blocksize=op.block, **mode)
    to.give(node.output, y, CHANNELS_FIRST)
