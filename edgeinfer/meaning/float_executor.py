"""A float Graph and its inputs into every value: the float meaning of the operators, in NumPy.

Calibration and ``compare`` run whole data sets through it, so the layers use matrix products. Every
value is float32, as onnxruntime has it, and the same bits on every processor: what is summed by a
BLAS is exact, functions are those of ``elementary.py``, and all else is done element by element, or
by NumPy's own sums, whose order is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from functools import singledispatch
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from edgeinfer.arithmetic import elementary, pointwise
from edgeinfer.arithmetic.exact_products import Rows, product
from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from edgeinfer.meaning import interpreter
from edgeinfer.meaning.either import move
from edgeinfer.meaning.recurrent import recur
from edgeinfer.meaning.windows import at_once, im2col, neighbour_sums, window_sums, windows

__all__ = ["Executor", "evaluate", "execute"]

# what makes rows of weights, and what it takes beside them
_Form: TypeAlias = tuple[Callable[..., Rows], *tuple[int, ...]]


class Executor:
    """A float Graph whose weights are made ready once, for many runs.

    Parameters
    ----------
    graph : Graph
        A float one; its weights are held a second time, in float64.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        forms: dict[str, set[_Form | None]] = {}
        for node in graph.nodes:
            for place, name in enumerate(node.inputs):
                if name in graph.constants:
                    form = _form(node.op, place, graph.constants[name])
                    forms.setdefault(name, set()).add(form)
        self._constants: dict[str, np.ndarray | Rows] = dict(graph.constants)
        for name, asked in forms.items():
            # what a reader takes as it is stays so
            if name not in graph.outputs and len(asked) == 1 and (form := asked.pop()) is not None:
                self._constants[name] = _made(form, graph.constants[name])

    def run(
        self,
        inputs: Mapping[str, np.ndarray],
        *,
        state: MutableMapping[str, np.ndarray] | None = None,
        observe: interpreter.Observer | None = None,
    ) -> dict[str, np.ndarray]:
        """The outputs by name; see ``interpreter.execute``."""
        return interpreter.execute(
            self._graph, inputs, evaluate, constants=self._constants, state=state, observe=observe
        )


def _form(op: ops.Operator, place: int, weights: np.ndarray) -> _Form | None:
    """How ``op`` has the rows of what it takes at ``place``; None where it takes the array."""
    match op, place:
        case ops.Conv(), 1:
            return None if _is_depthwise(op, weights) else (_by_channel,)
        case ops.ConvTranspose(), 1:
            return _by_tap, op.group
        case (ops.Dense(), 1) | (ops.Recurrent(), 1 | 2):
            return (_by_channel,)
    return None


def _made(form: _Form, weights: np.ndarray) -> Rows:
    return form[0](weights, *form[1:])


def _by_channel(weights: np.ndarray) -> Rows:
    return Rows.of(weights.reshape(len(weights), -1), weights.shape)


def _by_tap(weights: np.ndarray, group: int) -> Rows:
    """One matrix a group, of the rows of each tap's outputs."""
    inputs, kh, kw, outputs = weights.shape
    rows = weights.reshape(group, inputs // group, kh * kw * outputs).swapaxes(1, 2)
    return Rows.of(rows, weights.shape)


def _rows(op: ops.Operator, place: int, weights: np.ndarray | Rows) -> Rows:
    """Those of weights that no ``Executor`` has made ready."""
    if isinstance(weights, Rows):
        return weights
    form = _form(op, place, weights)
    assert form is not None
    return _made(form, weights)


def execute(
    graph: Graph,
    inputs: Mapping[str, np.ndarray],
    *,
    state: MutableMapping[str, np.ndarray] | None = None,
    observe: interpreter.Observer | None = None,
) -> dict[str, np.ndarray]:
    """The outputs of a float Graph by name, of one run; see ``interpreter.execute``."""
    return Executor(graph).run(inputs, state=state, observe=observe)


@singledispatch
def evaluate(op: ops.Operator, *arrays: np.ndarray | Rows | None) -> tuple[np.ndarray, ...]:
    """The outputs of a float operator, or one of either kind, on float32 ``arrays``.

    None stands for an optional input that is left out; weights may be ``Rows`` already.

    Raises
    ------
    UnsupportedError
        The operator is an integer one.
    """
    raise NotImplementedError(type(op).__name__)


evaluate.register(ops.Selecting, move)
evaluate.register(ops.ArgMax, move)
evaluate.register(ops.TopIndices, move)
evaluate.register(ops.NonMaxSuppression, move)
evaluate.register(ops.IndexArithmetic, move)


@evaluate.register
def _integer_operator(op: ops.IntegerOperator, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    raise UnsupportedError(
        f"{type(op).__name__} is an integer operator: edgeinfer.reference computes it, or a Session"
    )


@evaluate.register
def _recurrent(
    op: ops.Recurrent,
    x: np.ndarray,
    weights: np.ndarray | Rows,
    recurrence: np.ndarray | Rows,
    *others: Any,
) -> tuple[np.ndarray, ...]:
    return recur(op, x, _rows(op, 1, weights), _rows(op, 2, recurrence), *others)


def _finish(op: ops.Clamped, y: np.ndarray, bias: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """Bias and fused clamp, in place."""
    y = np.asarray(y)
    if bias:
        y += bias[0]
    if op.lo > -np.inf:
        np.maximum(y, np.float32(op.lo), out=y)
    if op.hi < np.inf:
        np.minimum(y, np.float32(op.hi), out=y)
    if 0.0 in (op.lo, op.hi):
        # which of 0 and -0 is the greater one, processors do not agree on
        y += 0
    return (y,)


@evaluate.register
def _conv(
    op: ops.Conv, x: np.ndarray, weights: np.ndarray | Rows, *bias: np.ndarray
) -> tuple[np.ndarray, ...]:
    out, kh, kw, depth = weights.shape
    view = windows(x, (kh, kw), op.strides, op.pads, op.dilations, 0.0)
    n, h, w = view.shape[:3]
    if not isinstance(weights, Rows) and _is_depthwise(op, weights):
        return _finish(op, _depthwise(view, weights, op.group), bias)
    per_group, channels_of = out // op.group, _rows(op, 1, weights)
    y = np.empty((n, h, w, out), np.float32)
    for g in range(op.group):
        channels = slice(g * per_group, (g + 1) * per_group)
        for part, rows in im2col(view, slice(g * depth, (g + 1) * depth)):
            y[part][..., channels] = product(rows, channels_of[channels])
    return _finish(op, y, bias)


def _is_depthwise(op: ops.Conv, weights: np.ndarray) -> bool:
    return weights.shape[3] == 1 and op.group > 1


def _depthwise(view: np.ndarray, weights: np.ndarray, group: int) -> np.ndarray:
    """One tap at a time over all channels; output channel c reads input channel c // multiplier."""
    multiplier = len(weights) // group
    taps = weights[..., 0].transpose(1, 2, 0)
    y = np.zeros((*view.shape[:3], len(weights)), np.float32)
    for i, j in np.ndindex(taps.shape[:2]):
        plane = view[..., i, j]
        y += (plane.repeat(multiplier, 3) if multiplier > 1 else plane) * taps[i, j]
    return y


@evaluate.register
def _conv_transpose(
    op: ops.ConvTranspose, x: np.ndarray, weights: np.ndarray | Rows, *bias: np.ndarray
) -> tuple[np.ndarray, ...]:
    n, h, w, cin = x.shape
    _, kh, kw, per_group = weights.shape
    (sh, sw), (dh, dw), depth = op.strides, op.dilations, cin // op.group
    full = np.zeros(
        (
            n,
            (h - 1) * sh + (kh - 1) * dh + 1 + op.output_padding[0],
            (w - 1) * sw + (kw - 1) * dw + 1 + op.output_padding[1],
            per_group * op.group,
        ),
        np.float32,
    )
    taps = _rows(op, 1, weights)
    together = at_once(n * h * w * per_group)
    for g in range(op.group):
        outputs = slice(g * per_group, (g + 1) * per_group)
        for first in range(0, kh * kw, together):
            some = taps[g][first * per_group : (first + together) * per_group]
            spread = product(x[..., g * depth : (g + 1) * depth], some)
            for k, values in enumerate(np.moveaxis(spread.reshape(n, h, w, -1, per_group), 3, 0)):
                i, j = divmod(first + k, kw)
                rows = slice(i * dh, i * dh + (h - 1) * sh + 1, sh)
                columns = slice(j * dw, j * dw + (w - 1) * sw + 1, sw)
                full[:, rows, columns, outputs] += values
    top, left, bottom, right = op.pads
    y = full[:, top : full.shape[1] - bottom, left : full.shape[2] - right]
    return _finish(op, y.copy(), bias)


@evaluate.register
def _dense(
    op: ops.Dense, x: np.ndarray, weights: np.ndarray | Rows, *bias: np.ndarray
) -> tuple[np.ndarray, ...]:
    return _finish(op, product(x, _rows(op, 1, weights)), bias)


@evaluate.register
def _mat_mul(op: ops.MatMul, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
    return (product(a, Rows.of(b.swapaxes(-1, -2))),)


@evaluate.register
def _pointwise(op: ops.Pointwise, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (pointwise.evaluate(op.expression, x).copy(),)


@evaluate.register
def _fake_quantize(op: ops.FakeQuantize, x: np.ndarray) -> tuple[np.ndarray, ...]:
    info = np.iinfo(op.dtype)
    q = np.clip(np.rint(x / np.float32(op.scale)) + op.zero_point, info.min, info.max)
    return ((q - op.zero_point).astype(np.float32) * np.float32(op.scale),)


@evaluate.register
def _add(op: ops.Add, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
    return _finish(op, a + b, ())


@evaluate.register
def _sub(op: ops.Sub, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
    return _finish(op, a - b, ())


@evaluate.register
def _mul(op: ops.Mul, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
    return _finish(op, a * b, ())


@evaluate.register
def _div(op: ops.Div, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
    return (a / b,)


@evaluate.register
def _pow(op: ops.Pow, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
    return (elementary.power(a, b),)


@evaluate.register
def _where(
    op: ops.Where, condition: np.ndarray, a: np.ndarray, b: np.ndarray
) -> tuple[np.ndarray, ...]:
    return (np.where(condition != 0, a, b),)


@evaluate.register
def _prelu(op: ops.PRelu, x: np.ndarray, slope: np.ndarray) -> tuple[np.ndarray, ...]:
    return (np.where(x >= 0, x, x * slope),)


@evaluate.register
def _exceeds(op: ops.Exceeds, x: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, ...]:
    return ((x > thresholds).astype(np.float32),)


@evaluate.register
def _average_pool(op: ops.AveragePool, x: np.ndarray) -> tuple[np.ndarray, ...]:
    sums, counts = window_sums(op, x, 0.0)
    return (sums / counts.astype(np.float32),)


@evaluate.register
def _reduce_mean(op: ops.ReduceMean, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (x.mean(op.axes, keepdims=op.keepdims),)


@evaluate.register
def _reduce_sum(op: ops.ReduceSum, x: np.ndarray) -> tuple[np.ndarray, ...]:
    return (x.sum(op.axes, keepdims=op.keepdims),)


@evaluate.register
def _reduce_l2(op: ops.ReduceL2, x: np.ndarray) -> tuple[np.ndarray, ...]:
    # squares of what float32 holds may be beyond it
    wide = x.astype(np.float64)
    return (np.sqrt((wide * wide).sum(op.axes, keepdims=op.keepdims)).astype(np.float32),)


@evaluate.register
def _softmax(op: ops.Softmax, x: np.ndarray) -> tuple[np.ndarray, ...]:
    e = elementary.exp(x - x.max(op.axis, keepdims=True))
    return (e / e.sum(op.axis, keepdims=True),)


@evaluate.register
def _log_softmax(op: ops.LogSoftmax, x: np.ndarray) -> tuple[np.ndarray, ...]:
    shifted = x - x.max(op.axis, keepdims=True)
    return (shifted - elementary.log(elementary.exp(shifted).sum(op.axis, keepdims=True)),)


@evaluate.register
def _lrn(op: ops.LRN, x: np.ndarray) -> tuple[np.ndarray, ...]:
    channels = x.shape[-1]
    # beyond the last channel there are only zeros
    before, after = min((op.size - 1) // 2, channels), min(op.size // 2, channels)
    squares = np.pad(x * x, [(0, 0)] * (x.ndim - 1) + [(before, after)])
    sums = sliding_window_view(squares, before + 1 + after, -1).sum(-1)
    scale = np.float32(op.bias) + np.float32(op.alpha / op.size) * sums
    return (x / elementary.power(scale, np.float32(op.beta)),)


@evaluate.register
def _normalization(
    op: ops.Normalization, x: np.ndarray, scale: np.ndarray, *bias: np.ndarray
) -> tuple[np.ndarray, ...]:
    # squares of what float32 holds may be beyond it
    wide = x.astype(np.float64)
    if op.measure == "variance":
        wide -= wide.mean(op.axes, keepdims=True)
    if op.measure == "magnitudes":
        measure = np.abs(wide).mean(op.axes, keepdims=True) ** 2
    else:
        measure = (wide * wide).mean(op.axes, keepdims=True)
    divisor = np.sqrt(np.maximum(measure, op.epsilon) if op.is_least else measure + op.epsilon)
    # where that is 0, all elements are
    y = (wide / np.where(divisor > 0, divisor, 1.0)).astype(np.float32)
    return _finish(op, y * scale, bias)


@evaluate.register
def _resize(op: ops.Resize, x: np.ndarray) -> tuple[np.ndarray, ...]:
    for axis, side in ((1, op.rows), (2, op.columns)):
        first, weights = zip(*side, strict=True)
        x = neighbour_sums(x, np.array(first), np.array(weights, np.float32), axis)
    return (x,)
