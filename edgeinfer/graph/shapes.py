"""The shape rule of every operator: input shapes to output shapes, with the refusal of misfits."""

from __future__ import annotations

import math
from functools import reduce, singledispatch
from typing import Any

from edgeinfer.errors import ModelError
from edgeinfer.graph import operators as ops

__all__ = ["broadcast", "output_shapes", "shape_rule", "window_extent"]

Shape = tuple[int, ...]


def window_extent(
    size: int, kernel: int, stride: int, dilation: int, before: int, after: int
) -> int:
    """How many places a window takes along one axis; 0 where it does not fit at all."""
    span = size + before + after - (kernel - 1) * dilation - 1
    return span // stride + 1 if span >= 0 else 0


def broadcast(a: Shape, b: Shape) -> Shape:
    """The shape that NumPy's rule gives two shapes."""
    rank = max(len(a), len(b))
    a, b = (1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b
    if any(m != n and 1 not in (m, n) for m, n in zip(a, b, strict=True)):
        raise ModelError(f"shapes {list(a)} and {list(b)} do not broadcast")
    return tuple(n if m == 1 else m for m, n in zip(a, b, strict=True))


def output_shapes(op: ops.Operator, *shapes: Shape | None) -> tuple[Shape, ...]:
    """The shapes of the outputs of ``op`` on inputs of ``shapes``, None for an absent one.

    Raises
    ------
    ModelError
        The shapes do not fit the operator.
    """
    _check_count(op, shapes)
    return shape_rule(op, *shapes)


@singledispatch
def shape_rule(op: ops.Operator, *shapes: Any) -> tuple[Shape, ...]:
    """As ``output_shapes``, for as many inputs as the operator takes."""
    raise NotImplementedError(type(op).__name__)


def _check_count(op: ops.Operator, shapes: tuple[Shape | None, ...]) -> None:
    """Refuse inputs that are missing, or more than the operator has roles for."""
    least = sum(role.count == "one" for role in op.takes)
    if any(role.count == "many" for role in op.takes):
        _require(len(shapes) > least, f"takes at least {least + 1}, not {len(shapes)} inputs")
    else:
        allowed = range(least, len(op.takes) + 1)
        counts = " or ".join(map(str, allowed))
        _require(len(shapes) in allowed, f"takes {counts} inputs, not {len(shapes)}")
    for role, shape in zip(op.takes, shapes, strict=False):
        _require(shape is not None or role.count == "optional", f"{role.name} must not be absent")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ModelError(message)


def _rank(shape: Shape, rank: int, what: str) -> None:
    _require(len(shape) == rank, f"{what} must have {rank} axes, not shape {list(shape)}")


def _same(shape: Shape, expected: Shape, what: str) -> None:
    _require(shape == expected, f"{what} must have shape {list(expected)}, not {list(shape)}")


def _axes(axes: Shape, x: Shape) -> None:
    _require(
        len(set(axes)) == len(axes) and all(a < len(x) for a in axes),
        f"axes {list(axes)} do not fit shape {list(x)}",
    )


def _of_last_axes(numbers: Shape, x: Shape, what: str, inner: int = 1) -> None:
    """A number for each ``inner`` elements of some of the last axes of ``x``, or one for all."""
    _rank(numbers, 1, "multiplier")
    products = {math.prod(x[axis:]) for axis in range(len(x) + 1)}
    each = f" for {inner} elements each" if inner > 1 else ""
    _require(
        inner in products and numbers[0] * inner in products,
        f"{numbers[0]} {what}{each} do not cover the last axes of shape {list(x)}",
    )


def _window(
    x: Shape,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[int, int, int, int],
    dilations: tuple[int, int] = (1, 1),
) -> tuple[int, int]:
    top, left, bottom, right = pads
    h = window_extent(x[1], kernel[0], strides[0], dilations[0], top, bottom)
    w = window_extent(x[2], kernel[1], strides[1], dilations[1], left, right)
    _require(
        h > 0 and w > 0,
        f"a window of {kernel[0]}x{kernel[1]} does not fit {x[1]}x{x[2]} with its pads",
    )
    return h, w


@shape_rule.register(ops.Conv)
@shape_rule.register(ops.QConv)
def _conv(
    op: ops.Conv | ops.QConv, x: Shape, weights: Shape, *per_channel: Shape
) -> tuple[Shape, ...]:
    _rank(x, 4, "x")
    _rank(weights, 4, "weights")
    out, kh, kw, depth = weights
    _require(
        x[3] == depth * op.group and out % op.group == 0,
        f"weights {list(weights)} in {op.group} groups do not fit {x[3]} channels",
    )
    for shape in per_channel:
        _same(shape, (out,), "bias, multiplier and shift")
    return ((x[0], *_window(x, (kh, kw), op.strides, op.pads, op.dilations), out),)


@shape_rule.register
def _conv_transpose(
    op: ops.ConvTranspose, x: Shape, weights: Shape, *bias: Shape
) -> tuple[Shape, ...]:
    _rank(x, 4, "x")
    _rank(weights, 4, "weights")
    _require(
        x[3] == weights[0] and x[3] % op.group == 0,
        f"weights {list(weights)} in {op.group} groups do not fit {x[3]} channels",
    )
    channels = weights[3] * op.group
    for shape in bias:
        _same(shape, (channels,), "bias")
    top, left, bottom, right = op.pads
    pads = (top + bottom, left + right)
    h, w = (
        (x[1 + a] - 1) * op.strides[a]
        + (weights[1 + a] - 1) * op.dilations[a]
        + 1
        + op.output_padding[a]
        - pads[a]
        for a in (0, 1)
    )
    _require(h > 0 and w > 0, "the pads leave nothing of the result")
    return ((x[0], h, w, channels),)


@shape_rule.register(ops.Dense)
@shape_rule.register(ops.QDense)
def _dense(
    op: ops.Dense | ops.QDense, x: Shape, weights: Shape, *per_channel: Shape
) -> tuple[Shape, ...]:
    _rank(weights, 2, "weights")
    _require(
        len(x) >= 1 and x[-1] == weights[1],
        f"weights {list(weights)} do not fit x of shape {list(x)}",
    )
    for shape in per_channel:
        _same(shape, (weights[0],), "bias, multiplier and shift")
    return ((*x[:-1], weights[0]),)


@shape_rule.register(ops.MatMul)
@shape_rule.register(ops.QMatMul)
def _mat_mul(op: ops.MatMul | ops.QMatMul, a: Shape, b: Shape) -> tuple[Shape, ...]:
    _require(
        len(a) >= 2 and len(b) >= 2 and a[-1] == b[-2],
        f"shapes {list(a)} and {list(b)} do not multiply",
    )
    return ((*broadcast(a[:-2], b[:-2]), a[-2], b[-1]),)


@shape_rule.register(ops.Elementwise)
@shape_rule.register(ops.LRN)
def _unchanged(op: ops.Operator, x: Shape) -> tuple[Shape, ...]:
    return (x,)


@shape_rule.register
def _lookup(op: ops.Lookup, x: Shape, entries: Shape) -> tuple[Shape, ...]:
    _require(
        entries in ((256,), (513,), (65536,)),
        f"a table has 256, 513 or 65536 entries, not shape {list(entries)}",
    )
    return (x,)


@shape_rule.register
def _broadcasting(op: ops.Broadcasting, *shapes: Shape) -> tuple[Shape, ...]:
    return (reduce(broadcast, shapes),)


@shape_rule.register
def _prelu(op: ops.PRelu, x: Shape, slope: Shape) -> tuple[Shape, ...]:
    _same(broadcast(x, slope), x, "slope broadcast to x")
    return (x,)


@shape_rule.register
def _exceeds(op: ops.Exceeds, x: Shape, thresholds: Shape) -> tuple[Shape, ...]:
    _same(thresholds, x[-1:], "thresholds")
    return (x,)


@shape_rule.register
def _q_prelu(op: ops.QPRelu, x: Shape, multiplier: Shape, shift: Shape) -> tuple[Shape, ...]:
    _of_last_axes(multiplier, x, "slopes")
    _same(shift, multiplier, "shift")
    return (x,)


@shape_rule.register
def _max_pool(op: ops.MaxPool, x: Shape) -> tuple[Shape, ...]:
    _rank(x, 4, "x")
    top, left, bottom, right = op.pads
    for a, before, after in ((0, top, bottom), (1, left, right)):
        reach = (op.kernel[a] - 1) * op.dilations[a] + 1
        _require(before < reach and after < reach, "pads must be smaller than the window")
    return ((x[0], *_window(x, op.kernel, op.strides, op.pads, op.dilations), x[3]),)


@shape_rule.register(ops.AveragePool)
@shape_rule.register(ops.QAveragePool)
def _average_pool(
    op: ops.AveragePool | ops.QAveragePool, x: Shape, *ratios: Shape
) -> tuple[Shape, ...]:
    _rank(x, 4, "x")
    for shape in ratios:
        _same(shape, (op.kernel[0] * op.kernel[1],), "multiplier and shift")
    top, left, bottom, right = op.pads
    pads = (top, left, bottom + op.ceil_pads[0], right + op.ceil_pads[1])
    for a, before, after in ((0, top, bottom), (1, left, right)):
        _require(
            before < op.kernel[a] and after < op.kernel[a] and op.ceil_pads[a] < op.strides[a],
            "pads must be smaller than the window, ceil pads than the stride",
        )
    h, w = _window(x, op.kernel, op.strides, pads)
    for a, extent in ((0, h), (1, w)):
        start = (extent - 1) * op.strides[a] - op.pads[a]
        _require(start < x[1 + a], "a window must not lie outside x")
    return ((x[0], h, w, x[3]),)


@shape_rule.register
def _reducing(op: ops.Reducing, x: Shape) -> tuple[Shape, ...]:
    _axes(op.axes, x)
    if op.keepdims:
        return (tuple(1 if a in op.axes else n for a, n in enumerate(x)),)
    return (tuple(n for a, n in enumerate(x) if a not in op.axes),)


@shape_rule.register
def _arg_max(op: ops.ArgMax, x: Shape) -> tuple[Shape, ...]:
    _require(op.axis < len(x), f"axis {op.axis} does not fit shape {list(x)}")
    return ((*x[: op.axis], *((1,) if op.keepdims else ()), *x[op.axis + 1 :]),)


@shape_rule.register
def _top_indices(op: ops.TopIndices, x: Shape) -> tuple[Shape, ...]:
    _require(op.axis < len(x), f"axis {op.axis} does not fit shape {list(x)}")
    _require(op.count <= x[op.axis], f"an axis of {x[op.axis]} has no {op.count} largest elements")
    return ((*x[: op.axis], op.count, *x[op.axis + 1 :]),)


@shape_rule.register
def _non_max_suppression(
    op: ops.NonMaxSuppression, boxes: Shape, scores: Shape
) -> tuple[Shape, ...]:
    _rank(boxes, 3, "boxes")
    _rank(scores, 3, "scores")
    fits = boxes[2] == 4 and (boxes[0], boxes[1]) == (scores[0], scores[2])
    _require(fits, f"boxes {list(boxes)} and scores {list(scores)} are not [N,S,4] and [N,C,S]")
    _require(op.count <= boxes[1], f"of {boxes[1]} boxes {op.count} cannot stay")
    return ((scores[0] * scores[1] * op.count, 3),)


@shape_rule.register(ops.Softmax)
@shape_rule.register(ops.LogSoftmax)
def _softmax(op: ops.Softmax | ops.LogSoftmax, x: Shape) -> tuple[Shape, ...]:
    _require(op.axis < len(x), f"axis {op.axis} does not fit shape {list(x)}")
    return (x,)


@shape_rule.register
def _q_softmax(op: ops.QSoftmax, x: Shape, exponentials: Shape) -> tuple[Shape, ...]:
    _require(op.axis < len(x), f"axis {op.axis} does not fit shape {list(x)}")
    _require(
        exponentials in ((256,), (2, 256)),
        f"exponentials have shape [256] or [2, 256], not {list(exponentials)}",
    )
    return (x,)


@shape_rule.register
def _normalization(op: ops.Normalization, x: Shape, *affine: Shape) -> tuple[Shape, ...]:
    _axes(op.axes, x)
    for shape in affine:
        _same(broadcast(x, shape), x, "scale and bias broadcast to x")
    return (x,)


@shape_rule.register
def _q_normalization(
    op: ops.QNormalization, x: Shape, multiplier: Shape, bias: Shape
) -> tuple[Shape, ...]:
    _axes(op.axes, x)
    _of_last_axes(multiplier, x, "multipliers", op.inner)
    _same(bias, multiplier, "bias")
    return (x,)


@shape_rule.register
def _recurrent(
    op: ops.Recurrent,
    x: Shape,
    weights: Shape,
    recurrence: Shape,
    bias: Shape,
    recurrent_bias: Shape,
    *states: Shape | None,
) -> tuple[Shape, ...]:
    _rank(x, 3, "x")
    _rank(recurrence, 2, "recurrence")
    rows, hidden = recurrence
    _require(
        rows == op.gates * hidden,
        f"recurrence {list(recurrence)} does not hold {op.gates} gates of {hidden}",
    )
    _same(weights, (rows, x[2]), "weights")
    for shape in (bias, recurrent_bias):
        _same(shape, (rows,), "bias and recurrent_bias")
    for state in states:
        if state is not None:
            _same(state, (x[0], hidden), "what the first step takes")
    return ((x[0], x[1], hidden),) * len(op.gives)


@shape_rule.register
def _lstm(op: ops.LSTM, *shapes: Any) -> tuple[Shape, ...]:
    before, peepholes = shapes[:7], shapes[7:]
    results = _recurrent(op, *before)
    for shape in peepholes:
        _same(shape, (3 * results[0][2],), "peepholes")
    return results


@shape_rule.register
def _concat(op: ops.Concat, *shapes: Shape) -> tuple[Shape, ...]:
    first = shapes[0]
    _require(op.axis < len(first), f"axis {op.axis} does not fit shape {list(first)}")
    for shape in shapes:
        fits = len(shape) == len(first) and all(
            m == n for a, (m, n) in enumerate(zip(shape, first, strict=True)) if a != op.axis
        )
        _require(fits, f"shapes {list(first)} and {list(shape)} do not join on axis {op.axis}")
    joined = sum(shape[op.axis] for shape in shapes)
    return ((*first[: op.axis], joined, *first[op.axis + 1 :]),)


@shape_rule.register
def _split(op: ops.Split, x: Shape) -> tuple[Shape, ...]:
    _require(op.axis < len(x), f"axis {op.axis} does not fit shape {list(x)}")
    _require(
        len(op.sizes) > 0 and sum(op.sizes) == x[op.axis],
        f"parts of {list(op.sizes)} do not make an axis of {x[op.axis]}",
    )
    return tuple((*x[: op.axis], size, *x[op.axis + 1 :]) for size in op.sizes)


@shape_rule.register
def _slice(op: ops.Slice, x: Shape) -> tuple[Shape, ...]:
    _require(
        len(x) == len(op.starts) == len(op.sizes) == len(op.steps),
        f"one start, size and step an axis of shape {list(x)}",
    )
    for extent, start, size, step in zip(x, op.starts, op.sizes, op.steps, strict=True):
        last = start + (size - 1) * step
        _require(
            step != 0 and start < extent and 0 <= last < extent,
            f"a slice of {size} from {start} by {step} leaves an axis of {extent}",
        )
    return (op.sizes,)


@shape_rule.register
def _pad(op: ops.Pad, x: Shape) -> tuple[Shape, ...]:
    _require(len(x) == len(op.before) == len(op.after), f"two pads an axis of shape {list(x)}")
    if op.mode == "reflect":
        for extent, before, after in zip(x, op.before, op.after, strict=True):
            _require(
                before < extent and after < extent,
                f"a reflection of {max(before, after)} needs an axis longer than {extent}",
            )
    return (tuple(b + n + a for b, n, a in zip(op.before, x, op.after, strict=True)),)


@shape_rule.register
def _reshape(op: ops.Reshape, x: Shape) -> tuple[Shape, ...]:
    _require(
        math.prod(x) == math.prod(op.shape),
        f"{math.prod(x)} elements do not fill shape {list(op.shape)}",
    )
    return (op.shape,)


@shape_rule.register
def _transpose(op: ops.Transpose, x: Shape) -> tuple[Shape, ...]:
    _require(
        sorted(op.permutation) == list(range(len(x))),
        f"{list(op.permutation)} is no permutation of the axes of shape {list(x)}",
    )
    return (tuple(x[a] for a in op.permutation),)


@shape_rule.register
def _gather(op: ops.Gather, x: Shape, indices: Shape) -> tuple[Shape, ...]:
    _require(op.axis < len(x), f"axis {op.axis} does not fit shape {list(x)}")
    return ((*x[: op.axis], *indices, *x[op.axis + 1 :]),)


@shape_rule.register
def _gather_elements(op: ops.GatherElements, x: Shape, indices: Shape) -> tuple[Shape, ...]:
    _rank(indices, len(x), "indices")
    _require(op.axis < len(x), f"axis {op.axis} does not fit shape {list(x)}")
    fits = all(m <= n for a, (m, n) in enumerate(zip(indices, x, strict=True)) if a != op.axis)
    _require(fits, f"indices of shape {list(indices)} do not lie in shape {list(x)}")
    return (indices,)


@shape_rule.register
def _tile(op: ops.Tile, x: Shape) -> tuple[Shape, ...]:
    _require(len(x) == len(op.repeats), f"one repeat an axis of shape {list(x)}")
    return (tuple(n * r for n, r in zip(x, op.repeats, strict=True)),)


@shape_rule.register
def _expand(op: ops.Expand, x: Shape) -> tuple[Shape, ...]:
    _same(broadcast(x, op.shape), op.shape, "x broadcast")
    return (op.shape,)


@shape_rule.register
def _depth_to_space(op: ops.DepthToSpace, x: Shape) -> tuple[Shape, ...]:
    _rank(x, 4, "x")
    b = op.block
    _require(x[3] % (b * b) == 0, f"{x[3]} channels do not divide into blocks of {b}x{b}")
    return ((x[0], x[1] * b, x[2] * b, x[3] // (b * b)),)


@shape_rule.register
def _space_to_depth(op: ops.SpaceToDepth, x: Shape) -> tuple[Shape, ...]:
    _rank(x, 4, "x")
    b = op.block
    _require(
        x[1] % b == 0 and x[2] % b == 0, f"{x[1]}x{x[2]} does not divide into blocks of {b}x{b}"
    )
    return ((x[0], x[1] // b, x[2] // b, x[3] * b * b),)


@shape_rule.register
def _resize_nearest(op: ops.ResizeNearest, x: Shape) -> tuple[Shape, ...]:
    _rank(x, 4, "x")
    for extent, sources in ((x[1], op.rows), (x[2], op.columns)):
        _require(len(sources) > 0, "a resize has at least one row and column")
        _require(max(sources) < extent, f"index {max(sources)} is outside an axis of {extent}")
    return ((x[0], len(op.rows), len(op.columns), x[3]),)


@shape_rule.register
def _resize(op: ops.Resize, x: Shape) -> tuple[Shape, ...]:
    _rank(x, 4, "x")
    for extent, sides in ((x[1], op.rows), (x[2], op.columns)):
        _require(len(sides) > 0, "a resize has at least one row and column")
        taps = len(sides[0][1])
        _require(
            taps > 0 and all(len(weights) == taps for _, weights in sides),
            "of all rows, and of all columns, there are as many weights",
        )
        last = max(first for first, _ in sides) + taps - 1
        _require(last < extent, f"index {last} is outside an axis of {extent}")
    return ((x[0], len(op.rows), len(op.columns), x[3]),)


@shape_rule.register
def _q_resize(
    op: ops.QResize,
    x: Shape,
    first_rows: Shape,
    row_weights: Shape,
    first_columns: Shape,
    column_weights: Shape,
) -> tuple[Shape, ...]:
    _rank(x, 4, "x")
    for what, extent, first, weights in (
        ("rows", x[1], first_rows, row_weights),
        ("columns", x[2], first_columns, column_weights),
    ):
        _rank(first, 1, f"the first {what}")
        _rank(weights, 2, f"the weights of {what}")
        _require(
            weights[0] == first[0] and 0 < weights[1] <= extent,
            f"weights {list(weights)} do not fit {first[0]} {what} made of {extent}",
        )
    return ((x[0], first_rows[0], first_columns[0], x[3]),)
