"""Recurrent layers in floats: a sequence and what the first step takes into every step's result."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch

import numpy as np

from edgeinfer.arithmetic import pointwise
from edgeinfer.arithmetic.exact_products import Rows, product
from edgeinfer.graph import operators as ops

__all__ = ["recur"]


@dataclass(frozen=True)
class _Matrices:
    """What every step multiplies the state before it by."""

    recurrence: Rows
    bias: np.ndarray
    peepholes: np.ndarray | None


def recur(
    op: ops.Recurrent,
    x: np.ndarray,
    weights: Rows,
    recurrence: Rows,
    bias: np.ndarray,
    recurrent_bias: np.ndarray,
    *others: np.ndarray | None,
) -> tuple[np.ndarray, ...]:
    """What ``op`` gives, each [N,T,H], on the arrays of its roles; None for an absent one."""
    samples, steps, _ = x.shape
    hidden = recurrence.shape[1]
    given = product(x, weights) + bias
    optional = dict(zip((role.name for role in op.takes[5:]), others, strict=False))
    firsts = (optional.get(name) for name in op.firsts)
    state = tuple(
        np.zeros((samples, hidden), x.dtype) if first is None else first for first in firsts
    )
    matrices = _Matrices(recurrence, recurrent_bias, optional.get("peepholes"))
    results = [np.empty((samples, steps, hidden), x.dtype) for _ in state]
    for t in reversed(range(steps)) if op.reverse else range(steps):
        state = _step(op, given[:, t], state, matrices)
        for result, now in zip(results, state, strict=True):
            result[:, t] = now
    return tuple(results)


def _apply(op: ops.Recurrent, expression: pointwise.Expression, x: np.ndarray) -> np.ndarray:
    return pointwise.evaluate(expression, np.clip(x, -op.clip, op.clip).astype(x.dtype))


@singledispatch
def _step(
    op: ops.Recurrent,
    given: np.ndarray,
    state: tuple[np.ndarray, ...],
    matrices: _Matrices,
) -> tuple[np.ndarray, ...]:
    """The state after a step, from W x [N,G H] and the state before it."""
    raise NotImplementedError(type(op).__name__)


@_step.register
def _rnn(
    op: ops.RNN,
    given: np.ndarray,
    state: tuple[np.ndarray, ...],
    matrices: _Matrices,
) -> tuple[np.ndarray, ...]:
    (h,) = state
    return (_apply(op, op.hidden, given + product(h, matrices.recurrence) + matrices.bias),)


@_step.register
def _gru(
    op: ops.GRU,
    given: np.ndarray,
    state: tuple[np.ndarray, ...],
    matrices: _Matrices,
) -> tuple[np.ndarray, ...]:
    h, _ = state
    recurrence, bias = matrices.recurrence, matrices.bias
    gates = 2 * h.shape[1]
    z, r = np.split(
        _apply(op, op.gate, given[:, :gates] + product(h, recurrence[:gates]) + bias[:gates]), 2, 1
    )
    if op.linear_before_reset:
        recurrent = r * (product(h, recurrence[gates:]) + bias[gates:])
    else:
        recurrent = product(r * h, recurrence[gates:]) + bias[gates:]
    n = _apply(op, op.candidate, given[:, gates:] + recurrent)
    h = (1 - z) * n + z * h
    return h, h


@_step.register
def _lstm(
    op: ops.LSTM,
    given: np.ndarray,
    state: tuple[np.ndarray, ...],
    matrices: _Matrices,
) -> tuple[np.ndarray, ...]:
    h, c = state
    i, o, f, n = np.split(given + product(h, matrices.recurrence) + matrices.bias, 4, 1)
    peepholes = matrices.peepholes
    to_i, to_o, to_f = (0, 0, 0) if peepholes is None else np.split(peepholes, 3)
    i = _apply(op, op.gate, i + to_i * c)
    f = 1 - i if op.input_forget else _apply(op, op.gate, f + to_f * c)
    c = f * c + i * _apply(op, op.candidate, n)
    o = _apply(op, op.gate, o + to_o * c)
    return o * pointwise.evaluate(op.hidden, c), c
