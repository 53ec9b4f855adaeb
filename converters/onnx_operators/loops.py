"""Turns a Loop or Scan over a sequence into the recurrent layer that its body spells out.

TensorFlow's exports have such loops. The body is imported for every iteration, apart from the
model, and read as functions of sums ``W x + R h + b`` of an element and a state. Where each
iteration is the same step of an LSTM, GRU or RNN, on the next element, the loop is that layer.
Where it is not, all iterations are imported one after another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from edgeinfer.arithmetic.pointwise import Expression, substitute
from edgeinfer.converters.onnx_operators.call import Call
from edgeinfer.converters.onnx_operators.registry import Refusal, importer
from edgeinfer.converters.onnx_operators.spatial import entries
from edgeinfer.converters.onnx_operators.values import Dynamic, Operand, Static, Step
from edgeinfer.errors import ModelError
from edgeinfer.graph import TensorType
from edgeinfer.graph import operators as ops

__all__: list[str] = []

_NO_LAYER = "its body is no step of an LSTM, GRU or RNN"

# of all iterations together
_MOST_NODES = 5000


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

    def __init__(
        self,
        steps: Sequence[Step],
        states: Sequence[Dynamic],
        elements: Mapping[Operand, _Element],
    ) -> None:
        self._known: dict[Operand, _Symbol] = {s: _State(i) for i, s in enumerate(states)}
        self._known.update(elements)
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


# ---- loops ------------------------------------------------------------------------------------


@importer("Loop", makes=(ops.LSTM, ops.GRU, ops.RNN, ops.Slice, ops.Concat), integers=True)
def _loop(call: Call) -> Sequence[Operand]:
    body = call.graph("body")
    count, condition, *given = (call.optional(i) for i in range(len(call.inputs)))
    if len(body.inputs) != 2 + len(given) or len(body.outputs) < 1 + len(given):
        raise ModelError("its body does not take and give what it carries")
    if not all(v is None or isinstance(v, Static) for v in (count, condition)):
        raise Refusal("how often it runs must be constant")
    initial = [value for value in given if value is not None]
    if len(initial) < len(given):
        raise ModelError("what it carries has no first value")
    most = int(count.array.reshape(())) if isinstance(count, Static) else _MOST_NODES + 1
    if isinstance(condition, Static) and not condition.array.all():
        most = 0
    return _outputs(_Iterations(call, body, initial, most))


@importer("Scan", makes=(ops.LSTM, ops.GRU, ops.RNN, ops.Slice, ops.Concat), integers=True)
def _scan(call: Call) -> Sequence[Operand]:
    body, count = call.graph("body"), call.integer("num_scan_inputs", 0)
    if call.version < 9:
        raise Refusal("it has an axis of samples up to opset 8: convert the model to a newer opset")
    operands = call.operands()
    kept = len(operands) - count
    further = len(body.outputs) - kept
    if not 1 <= count <= len(operands) or len(body.inputs) != len(operands) or further < 0:
        raise ModelError("its body does not take and give what it carries and scans")
    scanned = []
    axes = entries(call.integers("scan_input_axes"), count, 0, "scan_input_axes")
    backwards = entries(call.integers("scan_input_directions"), count, 0, "scan_input_directions")
    for x, axis, is_backwards in zip(operands[kept:], axes, backwards, strict=True):
        axis = call.axis(axis, len(x.shape))
        scanned.append((call.flipped(x, axis) if is_backwards else x, axis))
    extents = {x.shape[axis] for x, axis in scanned}
    if len(extents) > 1:
        raise ModelError(f"what it scans is unlike long: {sorted(extents)}")
    found = _outputs(_Iterations(call, body, operands[:kept], extents.pop(), scanned))
    axes = entries(call.integers("scan_output_axes"), further, 0, "scan_output_axes")
    backwards = entries(
        call.integers("scan_output_directions"), further, 0, "scan_output_directions"
    )
    stacked = []
    for y, axis, is_backwards in zip(found[kept:], axes, backwards, strict=True):
        y = call.flipped(y, 0) if is_backwards else y
        axis, rank = call.axis(axis, len(y.shape)), len(y.shape)
        stacked.append(call.transpose(y, (*range(1, axis + 1), 0, *range(axis + 1, rank))))
    return [*found[:kept], *stacked]


def _outputs(loop: _Iterations) -> list[Operand]:
    """What a loop gives: what it carries, and all of what it scans out along a first axis."""
    try:
        return loop.layer()
    except Refusal:
        return loop.unrolled()


class _Iterations:
    """The iterations of a loop, ``most`` where its body does not end it before.

    A body takes the number of the iteration and a condition, or where there are ``scanned`` values
    the next element of each, along the axis beside it.
    """

    def __init__(
        self,
        call: Call,
        body: ir.Graph,
        initial: Sequence[Operand],
        most: int,
        scanned: Sequence[tuple[Operand, int]] = (),
    ) -> None:
        self._call, self._body, self._most, self._scanned = call, body, most, scanned
        self._initial = list(initial)
        taken, given = (
            (body.inputs, body.outputs) if scanned else (body.inputs[2:], body.outputs[1:])
        )
        # what a body gives back as it was is no state, nor is a counter
        self._places = [
            place
            for place, value in enumerate(initial)
            if value.kind == "floats" and given[place] is not taken[place]
        ]
        self._count = 0
        self._cell: _Cell | None = None
        self._element: _Element | None = None
        self._scans: list[int] = []

    # ---- one after another

    def unrolled(self) -> list[Operand]:
        """What the loop gives, of all its iterations."""
        call, carried = self._call, list(self._initial)
        size, index = sum(1 for _ in self._body.all_nodes()), 0
        further = len(self._body.outputs) - len(carried) - (0 if self._scanned else 1)
        scans: list[list[Operand]] = [[] for _ in range(further)]
        while index < self._most:
            index += 1
            if index * size > _MOST_NODES:
                raise Refusal(
                    f"{_NO_LAYER}, and unrolled it would have more than {_MOST_NODES} nodes"
                )
            given = call.outputs_of(
                self._body,
                [
                    *self._first(index - 1),
                    *carried,
                    *(self._taken(x, axis, index - 1) for x, axis in self._scanned),
                ],
            )
            going = True
            if not self._scanned:
                condition, *given = given
                if not isinstance(condition, Static):
                    raise Refusal("how often it runs must be constant")
                going = bool(condition.array.all())
            carried = list(given[: len(carried)])
            for found, value in zip(scans, given[len(carried) :], strict=True):
                found.append(call.reshape(value, (1, *value.shape)))
            if not going:
                break
        return [*carried, *(self._stacked(found) for found in scans)]

    def _stacked(self, found: Sequence[Operand]) -> Operand:
        if not found:
            raise Refusal("it never runs, and what it scans is empty")
        if len(found) == 1:
            return found[0]
        return self._call.emit(ops.Concat(0), *self._call.alike(found), kind=found[0].kind)

    def _first(self, index: int) -> list[Operand]:
        """What a body takes before what is carried."""
        if self._scanned:
            return []
        name = self._call.result
        return [
            Static(np.array(index, np.int64), f"{name}#index"),
            Static(np.array(True), f"{name}#going"),
        ]

    def _taken(self, x: Operand, axis: int, index: int) -> Operand:
        """The element ``index`` of ``x`` along ``axis``."""
        shape = [n for a, n in enumerate(x.shape) if a != axis]
        if isinstance(x, Static):
            return self._call.static_like(x, x.array.take(index, axis))
        starts = tuple(index if a == axis else 0 for a in range(len(x.shape)))
        sizes = tuple(1 if a == axis else n for a, n in enumerate(x.shape))
        window = ops.Slice(starts, sizes, (1,) * len(sizes))
        return self._call.reshape(self._call.emit(window, x), shape)

    # ---- as a layer

    def layer(self) -> list[Operand]:
        """What the loop gives, of a recurrent layer; Refusal where it is none."""
        self._carried = list(self._initial)
        for place in self._places:
            shape = self._carried[place].shape
            self._carried[place] = Dynamic(f"{self._call.result}#state", TensorType(shape))
        for index in range(self._most):
            if not self._run(index):
                break
        return self._of_layer()

    def _run(self, index: int) -> bool:
        """Read iteration ``index``, which must be as the one before; whether there is another."""
        call, going = self._call, True
        elements = {self._apart(x, axis): (x, axis) for x, axis in self._scanned}
        steps, given = call.steps_of(self._body, [*self._first(index), *self._carried, *elements])
        if not self._scanned:
            condition, *given = given
            if not isinstance(condition, Static):
                raise Refusal(_NO_LAYER)
            going = bool(condition.array.all())
        states = [self._carried[place] for place in self._places]
        symbols_of: dict[Operand, _Element] = {
            value: _Element(x, axis, index)
            for value, (x, axis) in elements.items()
            if len(x.shape) == 3 and axis < 2
        }
        reader = _Reader(steps, [s for s in states if isinstance(s, Dynamic)], symbols_of)
        symbols = [reader.of(given[place]) for place in self._places]
        cell = _cell(symbols)
        element = None if cell is None else cell.element()
        if cell is None or element is None:
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
        return going

    def _apart(self, x: Operand, axis: int) -> Dynamic:
        """What stands for an element of ``x``."""
        shape = tuple(n for a, n in enumerate(x.shape) if a != axis)
        kind = TensorType(shape, self._call.dtype(x))
        return Dynamic(f"{self._call.result}#element", kind, x.kind)

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

    def _of_layer(self) -> list[Operand]:
        """The last states, and all of them."""
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
