"""The shape rule of every operator: input shapes to output shapes, with the refusal of misfits."""

from __future__ import annotations

import math
from functools import singledispatch

from edgeinfer.errors import ModelError
from edgeinfer.graph import operators as ops

__all__ = ["broadcast", "output_shapes", "window_extent"]

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


@singledispatch
def output_shapes(op: ops.Operator, *shapes: Shape) -> tuple[Shape, ...]:
    """The shapes of the outputs of ``op`` on inputs of ``shapes``.

    Raises
    ------
    ModelError
        The shapes do not fit the operator.
    """
    raise NotImplementedError(type(op).__name__)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ModelError(message)


def _arity(shapes: tuple[Shape, ...], *allowed: int) -> None:
    counts = " or ".join(map(str, allowed))
    _require(len(shapes) in allowed, f"takes {counts} inputs, not {len(shapes)}")


def _rank(shape: Shape, rank: int, what: str) -> None:
    _require(len(shape) == rank, f"{what} must have {rank} axes, not shape {list(shape)}")


def _same(shape: Shape, expected: Shape, what: str) -> None:
    _require(shape == expected, f"{what} must have shape {list(expected)}, not {list(shape)}")


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


@output_shapes.register(ops.Conv)
@output_shapes.register(ops.QConv)
def _(op: ops.Conv | ops.QConv, *shapes: Shape) -> tuple[Shape, ...]:
    _arity(shapes, *((5,) if isinstance(op, ops.QConv) else (2, 3)))
    x, weights, *per_channel = shapes
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


@output_shapes.register
def _(op: ops.ConvTranspose, *shapes: Shape) -> tuple[Shape, ...]:
    _arity(shapes, 2, 3)
    x, weights, *bias = shapes
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


@output_shapes.register(ops.Dense)
@output_shapes.register(ops.QDense)
def _(op: ops.Dense | ops.QDense, *shapes: Shape) -> tuple[Shape, ...]:
    _arity(shapes, *((5,) if isinstance(op, ops.QDense) else (2, 3)))
    x, weights, *per_channel = shapes
    _rank(weights, 2, "weights")
    _require(
        len(x) >= 1 and x[-1] == weights[1],
        f"weights {list(weights)} do not fit x of shape {list(x)}",
    )
    for shape in per_channel:
        _same(shape, (weights[0],), "bias, multiplier and shift")
    return ((*x[:-1], weights[0]),)


@output_shapes.register
def _(op: ops.MatMul, *shapes: Shape) -> tuple[Shape, ...]:
    _arity(shapes, 2)
    a, b = shapes
    _require(
        len(a) >= 2 and len(b) >= 2 and a[-1] == b[-2],
        f"shapes {list(a)} and {list(b)} do not multiply",
    )
    return ((*broadcast(a[:-2], b[:-2]), a[-2], b[-1]),)


@output_shapes.register(ops.Pointwise)
@output_shapes.register(ops.Rescale)
@output_shapes.register(ops.LRN)
def _(op: ops.Operator, *shapes: Shape) -> tuple[Shape, ...]:
    _arity(shapes, 1)
    return (shapes[0],)


@output_shapes.register
def _(op: ops.Lookup, *shapes: Shape) -> tuple[Shape, ...]:
    _arity(shapes, 2)
    x, entries = shapes
    _require(
        entries in ((256,), (513,), (65536,)),
        f"a table has 256, 513 or 65536 entries, not shape {list(entries)}",
    )
    return (x,)


@output_shapes.register(ops.Add)
@output_shapes.register(ops.Sub)
@output_shapes.register(ops.Mul)
@output_shapes.register(ops.Div)
@output_shapes.register(ops.Pow)
@output_shapes.register(ops.Maximum)
@output_shapes.register(ops.Minimum)
@output_shapes.register(ops.QAdd)
@output_shapes.register(ops.QMul)
def _(op: ops.Operator, *shapes: Shape) -> tuple[Shape, ...]:
    _arity(shapes, 2)
    return (broadcast(*shapes),)


@output_shapes.register
def _(op: ops.PRelu, *shapes: Shape) -> tuple[Shape, ...]:
    _arity(shapes, 2)
    x, slope = shapes
    _same(broadcast(x, slope), x, "slope broadcast to x")
    return (x,)


@output_shapes.register
def _(op: ops.QPRelu, *shapes: Shape) -> tuple[Shape, ...]:
    _arity(shapes, 3)
    x, multiplier, shift = shapes
    _rank(multiplier, 1, "multiplier")
    _same(shift, multiplier, "shift")
    products = {math.prod(x[axis:]) for axis in range(len(x) + 1)}
    _require(
        multiplier[0] in products,
        f"{multiplier[0]} slopes do not cover the last axes of shape {list(x)}",
    )
    return (x,)


@output_shapes.register
def _(op: ops.MaxPool, *shapes: Shape) -> tuple[Shape, ...]:
    _arity(shapes, 1)
    (x,) = shapes
    _rank(x, 4, "x")
    top, left, bottom, right = op.pads
    for a, before, after in ((0, top, bottom), (1, left, right)):
        reach = (op.kernel[a] - 1) * op.dilations[a] + 1
        _require(before < reach and after < reach, "pads must be smaller than the window")
    return ((x[0], *_window(x, op.kernel, op.strides, op.pads, op.dilations), x[3]),)


@output_shapes.register(ops.AveragePool)
@output_shapes.register(ops.QAveragePool)
def _(op: ops.AveragePool | ops.QAveragePool, *shapes: Shape) -> tuple[Shape, ...]:
    quantized = isinstance(op, ops.QAveragePool)
    _arity(shapes, 3 if quantized else 1)
    x = shapes[0]
    _rank(x, 4, "x")
    for shape in shapes[1:]:
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


@output_shapes.register(ops.ReduceMean)
@output_shapes.register(ops.ReduceSum)
@output_shapes.register(ops.ReduceMax)
@output_shapes.register(ops.ReduceMin)
@output_shapes.register(ops.QReduceSum)
def _(op: ops.ReduceMean, *shapes: Shape) -> tuple[Shape, ...]:
    _arity(shapes, 1)
    (x,) = shapes
    _require(
        len(set(op.axes)) == len(op.axes) and all(a < len(x) for a in op.axes),
        f"axes {list(op.axes)} do not fit shape {list(x)}",
    )
    if op.keepdims:
        return (tuple(1 if a in op.axes else n for a, n in enumerate(x)),)
    return (tuple(n for a, n in enumerate(x) if a not in op.axes),)


@output_shapes.register
def _(op: ops.ArgMax, *shapes: Shape) -> tuple[Shape, ...]:
    _arity(shapes, 1)
    (x,) = shapes
    _require(op.axis < len(x), f"axis {op.axis} does not fit shape {list(x)}")
    return ((*x[: op.axis], *((1,) if op.keepdims else ()), *x[op.axis + 1 :]),)


@output_shapes.register(ops.Softmax)
@output_shapes.register(ops.LogSoftmax)
def _(op: ops.Softmax | ops.LogSoftmax, *shapes: Shape) -> tuple[Shape, ...]:
    _arity(shapes, 1)
    _require(op.axis < len(shapes[0]), f"axis {op.axis} does not fit shape {list(shapes[0])}")
    return (shapes[0],)


@output_shapes.register
def _(op: ops.QSoftmax, *shapes: Shape) -> tuple[Shape, ...]:
    _arity(shapes, 2)
    x, exponentials = shapes
    _require(op.axis < len(x), f"axis {op.axis} does not fit shape {list(x)}")
    _require(
        exponentials in ((256,), (2, 256)),
        f"exponentials have shape [256] or [2, 256], not {list(exponentials)}",
    )
    return (x,)


@output_shapes.register
def _(op: ops.InstanceNormalization, *shapes: Shape) -> tuple[Shape, ...]:
    _arity(shapes, 3)
    x, scale, bias = shapes
    _rank(x, 4, "x")
    _same(scale, (x[3],), "scale")
    _same(bias, (x[3],), "bias")
    return (x,)


@output_shapes.register
def _(op: ops.LayerNormalization, *shapes: Shape) -> tuple[Shape, ...]:
    _arity(shapes, 2, 3)
    x, *affine = shapes
    _require(op.axis < len(x), f"axis {op.axis} does not fit shape {list(x)}")
    for shape in affine:
        _same(broadcast(x, shape), x, "scale and bias broadcast to x")
    return (x,)


@output_shapes.register
def _(op: ops.Concat, *shapes: Shape) -> tuple[Shape, ...]:
    _require(len(shapes) >= 1, "takes at least one input")
    first = shapes[0]
    _require(op.axis < len(first), f"axis {op.axis} does not fit shape {list(first)}")
    for shape in shapes:
        fits = len(shape) == len(first) and all(
            m == n for a, (m, n) in enumerate(zip(shape, first, strict=True)) if a != op.axis
        )
        _require(fits, f"shapes {list(first)} and {list(shape)} do not join on axis {op.axis}")
    joined = sum(shape[op.axis] for shape in shapes)
    return ((*first[: op.axis], joined, *first[op.axis + 1 :]),)


@output_shapes.register
def _(op: ops.Slice, *shapes: Shape) -> tuple[Shape, ...]:
    _arity(shapes, 1)
    (x,) = shapes
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


@output_shapes.register
def _(op: ops.Pad, *shapes: Shape) -> tuple[Shape, ...]:
    _arity(shapes, 1)
    (x,) = shapes
    _require(len(x) == len(op.before) == len(op.after), f"two pads an axis of shape {list(x)}")
    if op.mode == "reflect":
        for extent, before, after in zip(x, op.before, op.after, strict=True):
            _require(
                before < extent and after < extent,
                f"a reflection of {max(before, after)} needs an axis longer than {extent}",
            )
    return (tuple(b + n + a for b, n, a in zip(op.before, x, op.after, strict=True)),)


@output_shapes.register
def _(op: ops.Reshape, *shapes: Shape) -> tuple[Shape, ...]:
    _arity(shapes, 1)
    (x,) = shapes
    _require(
        math.prod(x) == math.prod(op.shape),
        f"{math.prod(x)} elements do not fill shape {list(op.shape)}",
    )
    return (op.shape,)


@output_shapes.register
def _(op: ops.Transpose, *shapes: Shape) -> tuple[Shape, ...]:
    _arity(shapes, 1)
    (x,) = shapes
    _require(
        sorted(op.permutation) == list(range(len(x))),
        f"{list(op.permutation)} is no permutation of the axes of shape {list(x)}",
    )
    return (tuple(x[a] for a in op.permutation),)


@output_shapes.register
def _(op: ops.Gather, *shapes: Shape) -> tuple[Shape, ...]:
    _arity(shapes, 2)
    x, indices = shapes
    _require(op.axis < len(x), f"axis {op.axis} does not fit shape {list(x)}")
    return ((*x[: op.axis], *indices, *x[op.axis + 1 :]),)


@output_shapes.register
def _(op: ops.Tile, *shapes: Shape) -> tuple[Shape, ...]:
    _arity(shapes, 1)
    (x,) = shapes
    _require(len(x) == len(op.repeats), f"one repeat an axis of shape {list(x)}")
    return (tuple(n * r for n, r in zip(x, op.repeats, strict=True)),)


@output_shapes.register
def _(op: ops.Expand, *shapes: Shape) -> tuple[Shape, ...]:
    _arity(shapes, 1)
    (x,) = shapes
    _same(broadcast(x, op.shape), op.shape, "x broadcast")
    return (op.shape,)


@output_shapes.register
def _(op: ops.DepthToSpace, *shapes: Shape) -> tuple[Shape, ...]:
    _arity(shapes, 1)
    (x,) = shapes
    _rank(x, 4, "x")
    b = op.block
    _require(x[3] % (b * b) == 0, f"{x[3]} channels do not divide into blocks of {b}x{b}")
    return ((x[0], x[1] * b, x[2] * b, x[3] // (b * b)),)


@output_shapes.register
def _(op: ops.SpaceToDepth, *shapes: Shape) -> tuple[Shape, ...]:
    _arity(shapes, 1)
    (x,) = shapes
    _rank(x, 4, "x")
    b = op.block
    _require(
        x[1] % b == 0 and x[2] % b == 0, f"{x[1]}x{x[2]} does not divide into blocks of {b}x{b}"
    )
    return ((x[0], x[1] // b, x[2] // b, x[3] * b * b),)


@output_shapes.register(ops.ResizeNearest)
@output_shapes.register(ops.ResizeLinear)
def _(op: ops.ResizeNearest | ops.ResizeLinear, *shapes: Shape) -> tuple[Shape, ...]:
    _arity(shapes, 1)
    (x,) = shapes
    _rank(x, 4, "x")
    for extent, sources in ((x[1], op.rows), (x[2], op.columns)):
        _require(len(sources) > 0, "a resize has at least one row and column")
        for source in sources:
            indices = (source,) if isinstance(source, int) else source[:2]
            _require(max(indices) < extent, f"index {max(indices)} is outside an axis of {extent}")
    return ((x[0], len(op.rows), len(op.columns), x[3]),)
