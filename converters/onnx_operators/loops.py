"""Turns a Loop over a sequence into the recurrent layer that its body spells out.

TensorFlow's exports have such loops. The body is imported for every iteration, apart from the
model, and read as functions of sums ``W x + R h + b`` of an element and a state. Where each
iteration is the same step of an LSTM, GRU or RNN, on the next element, the Loop is that layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from edgeinfer.arithmetic.pointwise import Expression, substitute
from edgeinfer.converters.onnx_operators.call import (
    Call,
    Dynamic,
    Operand,
    Refusal,
    Static,
    Step,
    importer,
)
from edgeinfer.errors import ModelError
from edgeinfer.graph import TensorType
from edgeinfer.graph import operators as ops

__all__: list[str] = []

_NO_LAYER = (
    "its body is no step of an LSTM, GRU or RNN, and other loops are not imported: export the "
    "model unrolled"
)


# ---- what the values of a body are ------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Element:
    """The element ``index`` along ``axis`` of a value from outside."""

    source: Operand
    axis: int
    index: int


@dataclass(frozen=True, eq=False)
class _State:
    """What the iteration before has left at ``place``."""

    place: int


@dataclass(frozen=True, eq=False)
class _Affine:
    """W x + R h + b; W or R is None where it is 0."""

    x: _Element | None
    weights: np.ndarray | None
    h: _State | None
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
    of: _Symbol


@dataclass(frozen=True, eq=False)
class _Sum:
    parts: tuple[_Symbol, _Symbol]


@dataclass(frozen=True, eq=False)
class _Product:
    parts: tuple[_Symbol, _Symbol]


# None is what no layer has
_Symbol: TypeAlias = "_Element | _State | _Affine | _Applied | _Sum | _Product | None"


class _Reader:
    """What each value of an iteration is, from its ``steps``."""

    def __init__(self, steps: Sequence[Step], states: Sequence[Dynamic]) -> None:
        self._known: dict[Operand, _Symbol] = {s: _State(i) for i, s in enumerate(states)}
        self._made = {value for step in steps for value in step.outputs}
        for step in steps:
            self._known[step.outputs[0]] = self._symbol(step)

    def of(self, value: Operand | None) -> _Symbol:
        """What ``value`` is."""
        return None if value is None else self._known.get(value)

    def _symbol(self, step: Step) -> _Symbol:
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

    def _slice(self, op: ops.Slice, x: Operand) -> _Symbol:
        cut = [axis for axis, size in enumerate(op.sizes) if size != x.shape[axis]]
        symbol = self.of(x)
        if isinstance(symbol, _Affine) and cut == [len(op.sizes) - 1] and op.steps[-1] == 1:
            return symbol.rows(slice(op.starts[-1], op.starts[-1] + op.sizes[-1]))
        outside = x not in self._made and symbol is None
        if outside and len(op.sizes) == 3 and cut in ([], [0], [1]):
            axis = cut[0] if cut else 0
            if op.sizes[axis] == 1:
                return _Element(x, axis, op.starts[axis])
        return None


def _dense(x: _Symbol, constants: Sequence[Operand | None]) -> _Symbol:
    if not all(isinstance(value, Static) for value in constants):
        return None
    weights, *bias = (value.finite() for value in constants if isinstance(value, Static))
    b = bias[0] if bias else np.zeros(len(weights), np.float32)
    if isinstance(x, _Element):
        return _Affine(x, weights, None, None, b)
    return _Affine(None, None, x, weights, b) if isinstance(x, _State) else None


def _sum(a: _Symbol, b: _Symbol, operand: Operand | None) -> _Symbol:
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
class _Cell:
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

    def element(self) -> _Element | None:
        """What all gates multiply by W; None where they take several, or states but the first."""
        elements = {x.x for x, _ in self.gates}
        states = {h.h and h.h.place for _, h in self.gates}
        return elements.pop() if len(elements) == 1 and states == {self.states[0]} else None


def _cell(states: Sequence[_Symbol]) -> _Cell | None:
    """The layer of which ``states``, what an iteration leaves, are a step."""
    if len(states) == 1:
        return _rnn(states[0]) or _gru(states[0])
    return _lstm(states, 0) or _lstm(states, 1) if len(states) == 2 else None


def _rnn(h: _Symbol) -> _Cell | None:
    match h:
        case _Applied(hidden, _Affine() as gate):
            return _Cell(ops.RNN(hidden=hidden), ((gate, gate),), (0,))
    return None


def _gru(h: _Symbol) -> _Cell | None:
    """z h + (1 - z) candidate(W x + r (R h))."""
    for kept, added in _orders(h, _Sum):
        for a, state in _orders(kept, _Product):
            for b, n in _orders(added, _Product):
                match a, state, b, n:
                    case (
                        _Applied(gate, _Affine() as z),
                        _State(),
                        _Applied(rest, same),
                        _Applied(candidate, inner),
                    ) if same is z and rest == ("sub", 1.0, gate):
                        gates = _reset(inner, gate)
                        if gates is not None:
                            op = ops.GRU(gate=gate, candidate=candidate, linear_before_reset=True)
                            return _Cell(op, ((z, z), *gates), (state.place,))
    return None


def _reset(
    candidate: _Symbol, gate: Expression
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


def _lstm(states: Sequence[_Symbol], place: int) -> _Cell | None:
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
                            and isinstance(state, _State)
                            and state.place == 1 - place
                        ):
                            op = ops.LSTM(gate=gate, candidate=candidate, hidden=hidden)
                            gates = tuple((each, each) for each in (of_i, of_o, of_f, of_n))
                            return _Cell(op, gates, (place, 1 - place))
    return None


def _orders(
    symbol: _Symbol, kind: type[_Sum] | type[_Product]
) -> Iterator[tuple[_Symbol, _Symbol]]:
    """The two parts of ``symbol``, either first; nothing where it is not of ``kind``."""
    if isinstance(symbol, kind):
        yield symbol.parts
        yield symbol.parts[::-1]


# ---- the Loop ---------------------------------------------------------------------------------


@importer("Loop", makes=(ops.LSTM, ops.GRU, ops.RNN, ops.Slice), integers=True)
def _loop(call: Call) -> Sequence[Operand]:
    body = call.graph("body")
    count, condition, *initial = (call.optional(i) for i in range(len(call.inputs)))
    if len(body.inputs) != 2 + len(initial) or len(body.outputs) < 1 + len(initial):
        raise ModelError("its body does not take and give what it carries")
    if not isinstance(count, Static) or not (condition is None or isinstance(condition, Static)):
        raise Refusal("how often it runs must be constant")
    if condition is not None and not condition.array.all():
        raise Refusal(_NO_LAYER)
    loop = _Iterations(call, body, initial)
    for index in range(int(count.array.reshape(()))):
        if not loop.run(index):
            break
    return loop.outputs()


class _Iterations:
    """The iterations of a Loop so far."""

    def __init__(self, call: Call, body: ir.Graph, initial: Sequence[Operand | None]) -> None:
        if any(value is None for value in initial):
            raise ModelError("what it carries has no first value")
        self._call, self._body = call, body
        self._carried = [value for value in initial if value is not None]
        self._initial = list(self._carried)
        # what a body gives back as it was is no state, nor is a counter
        self._places = [
            place
            for place, value in enumerate(self._carried)
            if value.kind == "floats" and body.outputs[1 + place] is not body.inputs[2 + place]
        ]
        for place in self._places:
            shape = self._carried[place].shape
            self._carried[place] = Dynamic(f"{call.result}#state", TensorType(shape))
        self._count = 0
        self._cell: _Cell | None = None
        self._element: _Element | None = None
        self._scans: list[int] = []

    def run(self, index: int) -> bool:
        """Read iteration ``index``, which must be as the one before; whether there is another."""
        call, name = self._call, self._call.result
        number = Static(np.array(index, np.int64), f"{name}#index")
        going = Static(np.array(True), f"{name}#going")
        steps, (condition, *given) = call.steps_of(self._body, [number, going, *self._carried])
        states = [self._carried[place] for place in self._places]
        reader = _Reader(steps, [s for s in states if isinstance(s, Dynamic)])
        symbols = [reader.of(given[place]) for place in self._places]
        cell = _cell(symbols)
        element = None if cell is None else cell.element()
        if cell is None or element is None or not isinstance(condition, Static):
            raise Refusal(_NO_LAYER)
        scans = []
        for value in given[len(self._carried) :]:
            symbol = reader.of(value)
            same = [place for place, s in enumerate(symbols) if s is not None and s is symbol]
            scans += same[:1] or [-1]
        if -1 in scans or not self._continues(cell, element, scans, index):
            raise Refusal(_NO_LAYER)
        self._cell, self._element, self._scans = cell, element, scans
        for place, value in enumerate(given[: len(self._carried)]):
            if place not in self._places:
                if not isinstance(value, Static) and value is not self._carried[place]:
                    raise Refusal(_NO_LAYER)
                self._carried[place] = value
        self._count = index + 1
        return bool(condition.array.all())

    def _continues(self, cell: _Cell, element: _Element, scans: list[int], index: int) -> bool:
        """Whether the iteration is the same step as that before, on the next element."""
        if element.index != index:
            return False
        if self._cell is None or self._element is None:
            return index == 0
        pairs = zip(cell.constants(), self._cell.constants(), strict=True)
        return (
            (cell.op, cell.states, scans) == (self._cell.op, self._cell.states, self._scans)
            and (element.source, element.axis) == (self._element.source, self._element.axis)
            and all(np.array_equal(a, b) for a, b in pairs)
        )

    def outputs(self) -> list[Operand]:
        """What the Loop gives: the last states, and all of them."""
        call, cell, element = self._call, self._cell, self._element
        if cell is None or element is None or element.source.shape[element.axis] != self._count:
            raise Refusal(_NO_LAYER)
        x = element.source
        if element.axis == 0:
            x = call.transpose(x, (1, 0, 2), f"{x.name}@nti")
        samples, steps, _ = x.shape
        labels = ("weights", "recurrence", "bias", "recurrent bias")
        taken: list[Operand | None] = [x]
        taken += [call.constant(a, n) for a, n in zip(cell.constants(), labels, strict=True)]
        size = len(cell.gates[0][0].bias)
        for state in cell.states:
            first = self._initial[self._places[state]]
            known = isinstance(first, Static) and not first.array.any()
            taken.append(None if known else call.reshape(first, (samples, size)))
        while taken[-1] is None:
            del taken[-1]
        further = (f"{call.result}#{role.name}" for role in cell.op.gives[1:])
        sequences = call.emit_several(cell.op, *taken, names=[f"{call.result}#sequence", *further])
        # a GRU gives its only state twice
        by_state = dict(zip(cell.states, sequences, strict=False))
        last = ops.Slice((0, steps - 1, 0), (samples, 1, size), (1, 1, 1))
        results = list(self._carried)
        for state, place in enumerate(self._places):
            shape = self._initial[place].shape
            results[place] = call.reshape(call.emit(last, by_state[state]), shape)
        for state in self._scans:
            scanned = call.transpose(by_state[state], (1, 0, 2))
            shape = self._initial[self._places[state]].shape
            results.append(call.reshape(scanned, (steps, *shape)))
        return results
