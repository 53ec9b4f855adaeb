"""Reads what a body computes of an element and of states, and tells the steps of recurrent layers.

Its values are functions of sums ``W x + R h + b`` of an element and a state, or none of a layer's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from edgeinfer.arithmetic.pointwise import Expression, substitute
from edgeinfer.converters.onnx_operators.values import Dynamic, Operand, Static, Step
from edgeinfer.graph import operators as ops

__all__ = ["Cell", "Element", "Reader", "Symbol", "cell_of"]


@dataclass(frozen=True, eq=False)
class Element:
    """The element ``index`` along ``axis`` of a value from outside."""

    source: Operand
    axis: int
    index: int


@dataclass(frozen=True, eq=False)
class State:
    """What the iteration before has left at ``place``."""

    place: int


@dataclass(frozen=True, eq=False)
class _Affine:
    """W x + R h + b; W or R is None where it is 0."""

    x: Element | None
    weights: np.ndarray | None
    h: State | None
    recurrence: np.ndarray | None
    bias: np.ndarray

    def rows(self, rows: slice) -> _Affine:
        """Some of its rows."""
        weights, recurrence = (
            None if matrix is None else matrix[rows] for matrix in (self.weights, self.recurrence)
        )
        return _Affine(self.x, weights, self.h, recurrence, self.bias[rows])


@dataclass(frozen=True, eq=False)
class _Applied:
    """A function of each number of ``of``."""

    expression: Expression
    of: Symbol


@dataclass(frozen=True, eq=False)
class _Sum:
    parts: tuple[Symbol, Symbol]


@dataclass(frozen=True, eq=False)
class _Product:
    parts: tuple[Symbol, Symbol]


# None is what no layer has
Symbol: TypeAlias = "Element | State | _Affine | _Applied | _Sum | _Product | None"


class Reader:
    """What each value of an iteration is, from its ``steps``."""

    def __init__(
        self,
        steps: Sequence[Step],
        states: Sequence[Dynamic],
        elements: Mapping[Operand, Element],
    ) -> None:
        self._known: dict[Operand, Symbol] = {s: State(i) for i, s in enumerate(states)}
        self._known.update(elements)
        self._made = {value for step in steps for value in step.outputs}
        for step in steps:
            self._known[step.outputs[0]] = self._symbol(step)

    def of(self, value: Operand | None) -> Symbol:
        """What ``value`` is."""
        return None if value is None else self._known.get(value)

    def _symbol(self, step: Step) -> Symbol:
        first, *others = step.operands
        a = self.of(first)
        assert first is not None
        match step.op:
            case ops.Slice():
                return self._slice(step.op, first)
            case ops.Reshape():
                return a if step.op.shape[-1] == first.shape[-1] else None
            case ops.Pointwise():
                if isinstance(a, _Applied):
                    return _Applied(substitute(step.op.expression, a.expression), a.of)
                return _Applied(step.op.expression, a)
            case ops.Dense():
                return _dense(a, others)
            case ops.Mul():
                return _Product((a, self.of(others[0])))
            case ops.Add():
                return _sum(a, self.of(others[0]), others[0])
        return None

    def _slice(self, op: ops.Slice, x: Operand) -> Symbol:
        cut = [axis for axis, size in enumerate(op.sizes) if size != x.shape[axis]]
        symbol = self.of(x)
        if isinstance(symbol, _Affine) and cut == [len(op.sizes) - 1] and op.steps[-1] == 1:
            return symbol.rows(slice(op.starts[-1], op.starts[-1] + op.sizes[-1]))
        outside = x not in self._made and symbol is None
        if outside and len(op.sizes) == 3 and cut in ([], [0], [1]):
            axis = cut[0] if cut else 0
            if op.sizes[axis] == 1:
                return Element(x, axis, op.starts[axis])
        return None


def _dense(x: Symbol, constants: Sequence[Operand | None]) -> Symbol:
    if not all(isinstance(value, Static) for value in constants):
        return None
    weights, *bias = (value.finite() for value in constants if isinstance(value, Static))
    b = bias[0] if bias else np.zeros(len(weights), np.float32)
    if isinstance(x, Element):
        return _Affine(x, weights, None, None, b)
    return _Affine(None, None, x, weights, b) if isinstance(x, State) else None


def _sum(a: Symbol, b: Symbol, operand: Operand | None) -> Symbol:
    if isinstance(a, _Affine) and isinstance(operand, Static):
        array = operand.finite().reshape(-1)
        if array.size != a.bias.size:
            return None
        return _Affine(a.x, a.weights, a.h, a.recurrence, a.bias + array)
    if isinstance(a, _Affine) and isinstance(b, _Affine):
        if (a.x and b.x) or (a.h and b.h):
            return None
        x, h = (a, b) if a.x else (b, a)
        return _Affine(x.x, x.weights, h.h, h.recurrence, a.bias + b.bias)
    return _Sum((a, b))


# ---- the steps of layers ----------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """A step of the layer ``op`` on ``element``: its ``gates`` in order, W x and R h of each apart
    where the layer multiplies between, and the places of its states."""

    op: ops.Recurrent
    gates: tuple[tuple[_Affine, _Affine], ...]
    states: tuple[int, ...]

    def constants(self) -> list[np.ndarray]:
        """What the layer takes in the roles of its constants."""
        rows = [
            (x.weights, h.recurrence, x.bias, np.zeros_like(h.bias) if h is x else h.bias)
            for x, h in self.gates
        ]
        parts = zip(*rows, strict=True)
        return [np.concatenate([p for p in part if p is not None]) for part in parts]

    def element(self) -> Element | None:
        """What all gates multiply by W; None where they take several, or states but the first."""
        elements = {x.x for x, _ in self.gates}
        states = {h.h and h.h.place for _, h in self.gates}
        return elements.pop() if len(elements) == 1 and states == {self.states[0]} else None


def cell_of(states: Sequence[Symbol]) -> Cell | None:
    """The layer of which ``states``, what an iteration leaves, are a step."""
    if len(states) == 1:
        return _rnn(states[0]) or _gru(states[0])
    return _lstm(states, 0) or _lstm(states, 1) if len(states) == 2 else None


def _rnn(h: Symbol) -> Cell | None:
    match h:
        case _Applied(hidden, _Affine() as gate):
            return Cell(ops.RNN(hidden=hidden), ((gate, gate),), (0,))
    return None


def _gru(h: Symbol) -> Cell | None:
    """z h + (1 - z) candidate(W x + r (R h))."""
    for kept, added in _orders(h, _Sum):
        for a, state in _orders(kept, _Product):
            for b, n in _orders(added, _Product):
                match a, state, b, n:
                    case (
                        _Applied(gate, _Affine() as z),
                        State(),
                        _Applied(rest, same),
                        _Applied(candidate, inner),
                    ) if same is z and rest == ("sub", 1.0, gate):
                        gates = _reset(inner, gate)
                        if gates is not None:
                            op = ops.GRU(gate=gate, candidate=candidate, linear_before_reset=True)
                            return Cell(op, ((z, z), *gates), (state.place,))
    return None


def _reset(
    candidate: Symbol, gate: Expression
) -> tuple[tuple[_Affine, _Affine], tuple[_Affine, _Affine]] | None:
    """The gates r and n of W x + gate(r) (R h)."""
    for x, product in _orders(candidate, _Sum):
        for reset, h in _orders(product, _Product):
            match x, reset, h:
                case _Affine(h=None), _Applied(function, _Affine() as r), _Affine(x=None) if (
                    function == gate
                ):
                    return (r, r), (x, h)
    return None


def _lstm(states: Sequence[Symbol], place: int) -> Cell | None:
    """c = f c + i n, h = o hidden(c), where h is the state at ``place``."""
    h, c = states[place], states[1 - place]
    for kept, added in _orders(c, _Sum):
        for f, state in _orders(kept, _Product):
            for i, n in _orders(added, _Product):
                for o, given in _orders(h, _Product):
                    match f, i, n, o, given:
                        case (
                            _Applied(gate, _Affine() as of_f),
                            _Applied(in_gate, _Affine() as of_i),
                            _Applied(candidate, _Affine() as of_n),
                            _Applied(out_gate, _Affine() as of_o),
                            _Applied(hidden, same),
                        ) if (
                            same is c
                            and gate == in_gate == out_gate
                            and isinstance(state, State)
                            and state.place == 1 - place
                        ):
                            op = ops.LSTM(gate=gate, candidate=candidate, hidden=hidden)
                            gates = tuple((each, each) for each in (of_i, of_o, of_f, of_n))
                            return Cell(op, gates, (place, 1 - place))
    return None


def _orders(symbol: Symbol, kind: type[_Sum] | type[_Product]) -> Iterator[tuple[Symbol, Symbol]]:
    """The two parts of ``symbol``, either first; nothing where it is not of ``kind``."""
    if isinstance(symbol, kind):
        yield symbol.parts
        yield symbol.parts[::-1]
