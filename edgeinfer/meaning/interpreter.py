"""A Graph and its inputs into every value, one node at a time, with NumPy.

``evaluate`` holds the meaning of each operator, registered by class: what orders or moves elements
stands here and serves floats and integers alike; ``float_executor.py`` and ``reference.py`` add the
rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import singledispatch

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from edgeinfer.errors import InputError, ModelError
from edgeinfer.graph import Graph, Node, TensorType
from edgeinfer.graph import operators as ops

__all__ = ["evaluate", "execute", "window_sums", "windows"]

Observer = Callable[[str, np.ndarray], None]


def execute(
    graph: Graph, inputs: Mapping[str, np.ndarray], *, observe: Observer | None = None
) -> dict[str, np.ndarray]:
    """The outputs of ``graph`` by name.

    Parameters
    ----------
    graph : Graph
        Float or integer.
    inputs : mapping of str to numpy.ndarray
        One array for each of the graph's inputs, of exactly its shape and element type.
    observe : callable
        Called with the name and array of every input and of every node's outputs, in order. A
        value is forgotten after its last use, so memory stays near a run's own.

    Raises
    ------
    InputError
        A name, shape or element type does not fit.
    ModelError
        An operator gave what its value's type cannot hold.
    """
    for name in inputs:
        if name not in graph.inputs:
            raise InputError(f"the graph has no input {name!r}")
    values = dict(graph.constants)
    for name in graph.inputs:
        values[name] = _checked_input(name, graph.types[name], inputs)
        if observe is not None:
            observe(name, values[name])
    last_use = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}
    kept = set(graph.outputs)
    for i, node in enumerate(graph.nodes):
        # floats follow IEEE 754: an overflow is an infinity, 0 / 0 a NaN, and neither a warning
        with np.errstate(all="ignore"):
            results = evaluate(node.op, *(values[name] for name in node.inputs))
        for name, array in zip(node.outputs, results, strict=True):
            values[name] = _typed(np.asarray(array), graph.types[name], node)
            if observe is not None:
                observe(name, values[name])
        for name in node.inputs:
            if last_use[name] == i and name not in kept:
                values.pop(name, None)
    return {name: values[name] for name in graph.outputs}


def _checked_input(name: str, t: TensorType, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    if name not in inputs:
        raise InputError(f"input {name!r} is missing")
    x = inputs[name]
    if x.shape != t.shape or x.dtype != t.dtype:
        raise InputError(
            f"input {name!r} takes {t.dtype} of shape {list(t.shape)}, "
            f"not {x.dtype} of shape {list(x.shape)}"
        )
    return x


def _typed(array: np.ndarray, t: TensorType, node: Node) -> np.ndarray:
    """``array`` as its value's element type; integer meanings compute in int64."""
    operator = type(node.op).__name__
    if array.shape != t.shape:
        raise ModelError(
            f"gave shape {list(array.shape)}, not {list(t.shape)}",
            node=node.name,
            operator=operator,
        )
    if array.dtype == t.dtype:
        return array
    typed = array.astype(t.dtype)
    if array.dtype != np.int64 or not np.array_equal(typed, array):
        raise ModelError(
            f"gave {array.dtype} that {t.dtype} cannot hold", node=node.name, operator=operator
        )
    return typed


@singledispatch
def evaluate(op: ops.Operator, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """The outputs of ``op`` on ``arrays``, whose shapes ``shapes.output_shapes`` accepts.

    A float operator gives float32. A requantizing one does not know the width of its output, so it
    gives int64, which ``execute`` narrows to the element type that the Graph states.
    """
    raise NotImplementedError(type(op).__name__)


def windows(
    x: np.ndarray,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[int, int, int, int],
    dilations: tuple[int, int],
    fill: float,
) -> np.ndarray:
    """A view [N,H',W',C,kh,kw] of x [N,H,W,C] padded with ``fill``."""
    if any(pads):
        top, left, bottom, right = pads
        x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    view = sliding_window_view(x, reach, (1, 2))
    return view[:, :: strides[0], :: strides[1], :, :: dilations[0], :: dilations[1]]


def window_sums(
    op: ops.AveragePool | ops.QAveragePool, x: np.ndarray, pad_value: float
) -> tuple[np.ndarray, np.ndarray]:
    """The sum [N,H',W',C] of each window of x [N,H,W,C], and the count [1,H',W',1] of its elements.

    Where ``op`` counts its pads, each is an element ``pad_value``; what ceil_mode adds never is.
    """
    top, left, bottom, right = op.pads
    present = np.ones((1, *x.shape[1:3], 1), np.int64)
    if op.count_include_pad:
        frame = ((0, 0), (top, bottom), (left, right), (0, 0))
        x = np.pad(x, frame, constant_values=pad_value)
        present = np.pad(present, frame, constant_values=1)
        pads = (0, 0, *op.ceil_pads)
    else:
        pads = (top, left, bottom + op.ceil_pads[0], right + op.ceil_pads[1])
    sums, counts = (
        windows(values, op.kernel, op.strides, pads, (1, 1), 0).sum((-2, -1))
        for values in (x, present)
    )
    return sums, counts


@evaluate.register
def _(op: ops.MaxPool, x: np.ndarray) -> tuple[np.ndarray, ...]:
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    seen = windows(x, op.kernel, op.strides, op.pads, op.dilations, lowest)
    result = seen[..., 0, 0].copy()
    for i in range(op.kernel[0]):
        for j in range(op.kernel[1]):
            np.maximum(result, seen[..., i, j], out=result)
    return (result,)


@evaluate.register
def _(op: ops.ReduceMax, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (x.max(op.axes, keepdims=op.keepdims),)


@evaluate.register
def _(op: ops.ReduceMin, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (x.min(op.axes, keepdims=op.keepdims),)


@evaluate.register
def _(op: ops.Maximum, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
    return (np.maximum(a, b),)


@evaluate.register
def _(op: ops.Minimum, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
    return (np.minimum(a, b),)


@evaluate.register
def _(op: ops.ArgMax, x: np.ndarray) -> tuple[np.ndarray, ...]:
    if op.select_last_index:
        last = x.shape[op.axis] - 1
        return (last - np.flip(x, op.axis).argmax(op.axis, keepdims=op.keepdims),)
    return (x.argmax(op.axis, keepdims=op.keepdims),)


@evaluate.register
def _(op: ops.Concat, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    return (np.concatenate(arrays, op.axis),)


@evaluate.register
def _(op: ops.Slice, x: np.ndarray) -> tuple[np.ndarray, ...]:
    for axis, (start, size, step) in enumerate(zip(op.starts, op.sizes, op.steps, strict=True)):
        x = x.take(start + step * np.arange(size), axis)
    return (x,)


@evaluate.register
def _(op: ops.Pad, x: np.ndarray) -> tuple[np.ndarray, ...]:
    widths = tuple(zip(op.before, op.after, strict=True))
    if op.mode == "constant":
        return (np.pad(x, widths, constant_values=op.value),)
    return (np.pad(x, widths, op.mode),)


@evaluate.register
def _(op: ops.Reshape, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (x.reshape(op.shape),)


@evaluate.register
def _(op: ops.Transpose, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (x.transpose(op.permutation).copy(),)


@evaluate.register
def _(op: ops.Gather, x: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, ...]:
    extent = x.shape[op.axis]
    outside = indices[(indices < -extent) | (indices >= extent)]
    if outside.size:
        raise InputError(f"index {outside.flat[0]} is outside an axis of {extent}")
    return (x.take(indices, op.axis),)


@evaluate.register
def _(op: ops.Tile, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (np.tile(x, op.repeats),)


@evaluate.register
def _(op: ops.Expand, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (np.broadcast_to(x, op.shape).copy(),)


@evaluate.register
def _(op: ops.DepthToSpace, x: np.ndarray) -> tuple[np.ndarray, ...]:
    n, h, w, c = x.shape
    b = op.block
    if op.mode == "DCR":
        blocks = x.reshape(n, h, w, b, b, c // (b * b)).transpose(0, 1, 3, 2, 4, 5)
    else:
        blocks = x.reshape(n, h, w, c // (b * b), b, b).transpose(0, 1, 4, 2, 5, 3)
    return (blocks.reshape(n, h * b, w * b, c // (b * b)),)


@evaluate.register
def _(op: ops.SpaceToDepth, x: np.ndarray) -> tuple[np.ndarray, ...]:
    n, h, w, c = x.shape
    b = op.block
    blocks = x.reshape(n, h // b, b, w // b, b, c).transpose(0, 1, 3, 2, 4, 5)
    return (blocks.reshape(n, h // b, w // b, b * b * c),)


@evaluate.register
def _(op: ops.ResizeNearest, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (x[:, op.rows][:, :, op.columns],)
