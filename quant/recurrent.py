"""A recurrent layer as integer operators, step after step: the equations of its steps, once each.

W x is one layer over the whole sequence. Then each step takes its part of that, and the state that
the step before has left. All steps have the same constants and types, so that a layer which is run
one step at a time gives the same bits.

Within a step all has 16 bits but what R multiplies: h has y's type. What adds up from step to step,
c of an LSTM and h of a GRU, is kept in 16 bits; h of a GRU is rounded to y's type beside that. Of
the ranges only y's and that of an LSTM's cells come from data: a function settles, and what it is
given need reach no farther; nor need a summand reach farther than the others can bring back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from edgeinfer.arithmetic import pointwise
from edgeinfer.arithmetic.fixedpoint import (
    AddParameters,
    add_parameters,
    multiplier_and_shift,
)
from edgeinfer.arithmetic.tables import Integers
from edgeinfer.errors import QuantizationError
from edgeinfer.graph import ABSENT, Node, Quantization, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.meaning.reference import evaluate
from edgeinfer.quant.bounds import Range, magnitude
from edgeinfer.quant.fragment import Fragment, OutputStage
from edgeinfer.quant.wide_tables import wide_table

__all__ = ["unroll"]

# a function has settled where less than half a step of its largest result is left
_SETTLED = 2.0**-16

# where that is looked for: from the farthest number down, four places to a power of two
_PLACES = 80

# the finest reach, as a share of all that may be added up
_FINEST = 2.0**-20


def unroll(op: ops.Recurrent, node: Node, to: Fragment) -> None:
    """Emit the steps of ``op``, and what joins their results.

    Raises
    ------
    QuantizationError
        Weights are not constant, or the rounding is double, which is of 8 bits alone.
    """
    if to.rounding == "double":
        raise QuantizationError(
            "keeps 16 bits from step to step, and rounding 'double' is for int8"
        )
    layer = _LAYERS[type(op)](op, node, to)
    state = layer.first()
    order = range(layer.count)
    results = []
    for layer.step in reversed(order) if op.reverse else order:
        state = layer.next(*state)
        results.append(state)
    if op.reverse:
        results.reverse()
    for output, parts in zip(node.outputs, zip(*results, strict=True), strict=False):
        layer.join(output, parts)


class _Layer:
    """What all steps of ``node`` have in common; a subclass has the equations of one."""

    def __init__(self, op: ops.Recurrent, node: Node, to: Fragment) -> None:
        self.op, self.node, self.to = op, node, to
        self.step = 0
        self.samples, self.count, _ = to.graph.types[node.input("x")].shape
        self.size = to.graph.types[node.input("recurrence")].shape[1]
        self.x = to.operand(node.input("x"), to.kind(node.outputs[0])[2])
        self.h = self.of_step(node.outputs[0])

    def first(self) -> tuple[str, ...]:
        """What the first step takes."""
        raise NotImplementedError

    def next(self, *state: str) -> tuple[str, ...]:
        """Emit a step: what it makes of what the one before left, the node's outputs first."""
        raise NotImplementedError

    def join(self, output: str, parts: Sequence[str]) -> None:
        """Emit ``output``, the ``parts`` of all steps."""
        to = self.to
        if to.kind(parts[0]) == to.kind(output):
            to.emit_output(output, ops.Concat(1), *parts)
            return
        t = replace(to.type(parts[0]), shape=to.type(output).shape)
        joined = to.emit_part("joined", t, ops.Concat(1), *parts)
        to.emit_output(output, to.rescale(joined, output), joined)

    # ---- constants and types

    def array(self, role: str) -> np.ndarray:
        """The constant in ``role``."""
        name = self.node.input(role)
        if name not in self.to.graph.constants:
            raise QuantizationError("weights that a run computes cannot be quantized yet")
        return self.to.graph.constants[name]

    def of_reach(self, reach: float, size: int | None = None) -> TensorType:
        """The type of a step's value of 16 bits within ``-reach`` ... ``reach``."""
        shape = (self.samples, 1, size or self.size)
        return TensorType(shape, "int16", Quantization.per_tensor(reach / 32767))

    def of_step(self, name: str) -> TensorType:
        """The type that a step's part of ``name`` has."""
        return replace(self.to.type(name), shape=(self.samples, 1, self.size))

    def of_step_in_16_bits(self, name: str) -> TensorType:
        """The same in 16 bits."""
        t = self.of_step(name)
        return t if t.dtype == "int16" else self.of_reach(magnitude(_range(t)))

    def start(self, role: str, t: TensorType) -> str:
        """What the first step takes in ``role``, or 0, as type ``t``."""
        to, name, q = self.to, self.node.input(role), t.quantization
        assert q is not None
        if name != ABSENT and to.is_computed(name):
            own = replace(to.type(name), shape=t.shape)
            return self.rescale(
                role, to.emit_part(f"{role}/step", own, ops.Reshape(t.shape), name), t
            )
        array = to.graph.constants.get(name, np.zeros(t.shape, np.float32)).reshape(t.shape)
        return to.constant(role, q.quantize(array, t.dtype), q)

    def over_all_steps(
        self, name: str, t: TensorType, weights: np.ndarray, bias: np.ndarray
    ) -> tuple[str, ...]:
        """W x and its bias, each step's of type ``t``, in the order of time."""
        to, x = self.to, self.x
        whole = replace(t, shape=(self.samples, self.count, len(bias)))
        constants = to.layer_of(name, to.type(x), t, weights, bias)
        op = ops.QDense(**_ending(t), input_zero_point=to.kind(x)[1])
        given = to.emit_part(name, whole, op, x, *constants)
        if self.count == 1:
            return (given,)
        parts = {f"{step}/{name}": t for step in range(self.count)}
        return to.emit_parts(parts, ops.Split(1, (1,) * self.count), given)

    # ---- the arithmetic of a step

    def emit(self, part: str, t: TensorType, op: ops.Operator, *inputs: str) -> str:
        """``op``, which gives a value of type ``t``, and the value's name.

        What the first step makes of constants alone is a constant.
        """
        to, name = self.to, f"{self.step}/{part}"
        if all(value in to.constants for value in inputs):
            (array,) = evaluate(op, *(to.constants[value] for value in inputs))
            return to.constant(name, array.astype(t.dtype), t.quantization)
        return to.emit_part(name, t, op, *inputs)

    def split(self, value: str, sizes: Mapping[str, int]) -> tuple[str, ...]:
        """``value`` in parts of ``sizes`` along its last axis.

        Parts of a constant are constants.
        """
        t, op = self.to.type(value), ops.Split(2, tuple(sizes.values()))
        kinds = {
            f"{self.step}/{part}": replace(t, shape=(*t.shape[:-1], size))
            for part, size in sizes.items()
        }
        if value not in self.to.constants:
            return self.to.emit_parts(kinds, op, value)
        arrays = evaluate(op, self.to.constants[value])
        return tuple(
            self.to.constant(name, array, t.quantization)
            for name, array in zip(kinds, arrays, strict=True)
        )

    def rescale(self, part: str, x: str, t: TensorType) -> str:
        """``x`` as type ``t``."""
        if self.to.type(x) == t:
            return x
        assert t.quantization is not None
        step, zero_point, _ = self.to.kind(x)
        multiplier, shift = multiplier_and_shift(step / t.quantization.step)
        op = ops.Rescale(
            **_ending(t), input_zero_point=zero_point, multiplier=multiplier, shift=shift
        )
        return self.emit(part, t, op, x)

    def add(self, part: str, a: str, b: str, t: TensorType) -> str:
        """``a + b``, of 16 bits each, as type ``t``."""
        return self.emit(part, t, ops.QAdd(**_ending(t), **self._sum(a, b, t)), a, b)

    def subtract(self, part: str, a: str, b: str, t: TensorType) -> str:
        """``a - b``, of 16 bits each, as type ``t``."""
        return self.emit(part, t, ops.QSub(**_ending(t), **self._sum(a, b, t)), a, b)

    def _sum(self, a: str, b: str, t: TensorType) -> AddParameters:
        assert t.quantization is not None
        return add_parameters(self.to.kind(a)[0], self.to.kind(b)[0], t.quantization.step, bits=16)

    def multiply(self, part: str, a: str, b: str, t: TensorType) -> str:
        """``a b`` as type ``t``."""
        assert t.quantization is not None
        (a_step, a_zero, _), (b_step, b_zero, _) = self.to.kind(a), self.to.kind(b)
        multiplier, shift = multiplier_and_shift(a_step * b_step / t.quantization.step)
        op = ops.QMul(
            **_ending(t),
            a_zero_point=a_zero,
            b_zero_point=b_zero,
            multiplier=multiplier,
            shift=shift,
        )
        return self.emit(part, t, op, a, b)


def _ending(t: TensorType) -> OutputStage:
    """How an operator ends that gives type ``t``."""
    assert t.quantization is not None
    info = np.iinfo(t.dtype)
    return {
        "output_zero_point": t.quantization.zero_point,
        "lo": info.min,
        "hi": info.max,
        "rounding": "single",
    }


def _integers(t: TensorType) -> Integers:
    assert t.quantization is not None
    return t.quantization.step, t.quantization.zero_point, t.dtype


class _Function:
    """A function of what lies within ``-bound`` ... ``bound``, as a table of 16 bits.

    Parameters
    ----------
    layer : _Layer
        Whose steps apply it.
    name : str
        What its value is called.
    expression : Expression
        The function.
    bound : float
        How far what it is given may reach.
    size : int, optional
        How many numbers it takes, where not as many as h has.
    takes, gives : TensorType, optional
        A type that covers ``bound``, to be taken as it is if the function needs all of it, and the
        type of the result.

    Attributes
    ----------
    reach : float
        How far what it is given need reach: beyond, the function has settled.
    most : float
        The largest magnitude that it gives.
    """

    def __init__(
        self,
        layer: _Layer,
        name: str,
        expression: pointwise.Expression,
        bound: float,
        *,
        size: int | None = None,
        takes: TensorType | None = None,
        gives: TensorType | None = None,
    ) -> None:
        self._layer, self._name, self._expression = layer, name, expression
        end = math.inf if gives is None else magnitude(_range(gives))
        self.reach, self.most = _extent(("clip", expression, -end, end), bound)
        self.takes = layer.of_reach(self.reach, size)
        if takes is not None and self.reach >= bound:
            self.takes = takes
        self.gives = gives or layer.of_reach(self.most, size)
        table = wide_table(expression, None, _integers(self.takes), _integers(self.gives))
        self._table = layer.to.constant(f"{name}/table", table, None)

    def __call__(self, x: str) -> str:
        """Emit it of ``x``, which what is between brings to the type that it takes."""
        x = self._layer.rescale(f"{self._name}/x", x, self.takes)
        return self._layer.emit(
            self._name, self.gives, ops.Lookup(self._expression), x, self._table
        )


def _range(t: TensorType) -> Range:
    """The real numbers that a type covers."""
    step, zero_point, dtype = _integers(t)
    info = np.iinfo(dtype)
    return step * (int(info.min) - zero_point), step * (int(info.max) - zero_point)


def _extent(expression: pointwise.Expression, bound: float) -> tuple[float, float]:
    """From where on a function has settled, and the largest magnitude that it gives."""
    places = bound * np.exp2(-np.arange(_PLACES) / 4)
    found = [pointwise.evaluate(expression, side * places) for side in (1.0, -1.0)]
    between = pointwise.evaluate(expression, np.linspace(-bound, bound, 1025))
    most = max(float(np.abs(values).max()) for values in (*found, between)) or 1.0
    moving = [np.flatnonzero(np.abs(values - values[0]) > most * _SETTLED) for values in found]
    first = min(int(m.min(initial=_PLACES)) for m in moving)
    return float(places[max(first - 1, 0)]), most


class _Gate:
    """A function of W x + R h, and what else is added, for some ``rows`` of the matrices.

    Parameters
    ----------
    layer : _Layer
        Whose steps have it.
    name : str
        What its value is called.
    rows : slice
        Its rows.
    expression : Expression
        The function.
    h : TensorType
        The type of what R multiplies.
    factor : float, optional
        The largest magnitude of what R h is multiplied by before it is added; None where it is
        added as it is.
    more : float
        How far what else is added may reach.
    gives : TensorType, optional
        The type of the result.

    Attributes
    ----------
    given_reach, product_reach : float
        How far its W x and its R h reach, or as far as they need.
    """

    def __init__(
        self,
        layer: _Layer,
        name: str,
        rows: slice,
        expression: pointwise.Expression,
        h: TensorType,
        *,
        factor: float | None = None,
        more: float = 0.0,
        gives: TensorType | None = None,
    ) -> None:
        self.layer, self.name, self.rows, self.h = layer, name, rows, h
        weights, bias, recurrence, recurrent_bias = self.arrays()
        given = _largest(weights, bias, _range(layer.to.type(layer.x)))
        product = _largest(recurrence, recurrent_bias, _range(h))
        recurrent = product if factor is None else product * factor
        total = (given + recurrent + more) or 1.0
        self.size = len(bias)
        bound = min(total, layer.op.clip)
        self.function = _Function(layer, name, expression, bound, size=self.size, gives=gives)
        least, reach = total * _FINEST, self.function.reach

        def useful(own: float, others: float) -> float:
            return max(min(own, reach + others), least)

        self.given_reach = useful(given, recurrent + more)
        recurrent_reach = useful(recurrent, given + more)
        self.product_reach = recurrent_reach if factor is None else product
        self.recurrent_part = layer.of_reach(recurrent_reach, self.size)
        self.more = layer.of_reach(useful(more, given + recurrent), self.size)
        self._both = layer.of_reach(useful(given + recurrent, more), self.size)

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Its rows of W, R and their biases."""
        roles = ("weights", "bias", "recurrence", "recurrent_bias")
        weights, bias, recurrence, recurrent_bias = (
            self.layer.array(role)[self.rows] for role in roles
        )
        return weights, bias, recurrence, recurrent_bias

    def sum(self, given: str, recurrent: str, more: str | None = None) -> str:
        """W x, what has become of R h, and what is added beside."""
        layer, name, takes = self.layer, self.name, self.function.takes
        if more is None:
            return layer.add(f"{name}/sum", given, recurrent, takes)
        both = layer.add(f"{name}/both", given, recurrent, self._both)
        return layer.add(f"{name}/sum", both, more, takes)

    def __call__(self, given: str, recurrent: str, more: str | None = None) -> str:
        """The function of W x + R h and ``more``."""
        return self.function(self.sum(given, recurrent, more))


class _Products:
    """W x of all steps and R h of each, for ``gates`` that multiply the same h: one layer each.

    Their results have the reach of the gate that needs the most.
    """

    def __init__(self, *gates: _Gate) -> None:
        first = gates[0]
        self._gates, self._layer = gates, first.layer
        self._prefix = f"{first.name}/" if len(gates) == 1 else ""
        layer, size = self._layer, sum(gate.size for gate in gates)
        weights, bias, recurrence, recurrent_bias = (
            np.concatenate(arrays)
            for arrays in zip(*(gate.arrays() for gate in gates), strict=True)
        )
        given = layer.of_reach(max(gate.given_reach for gate in gates), size)
        self._product = layer.of_reach(max(gate.product_reach for gate in gates), size)
        self._given = layer.over_all_steps(f"{self._prefix}given", given, weights, bias)
        self._constants = layer.to.layer_of(
            f"{self._prefix}recurrent", first.h, self._product, recurrence, recurrent_bias
        )

    def given(self) -> tuple[str, ...]:
        """W x and its bias in this step, for each gate."""
        return self._of_gates("given", self._given[self._layer.step])

    def recurrent(self, h: str) -> tuple[str, ...]:
        """R h and its bias, for each gate."""
        zero_point = self._layer.to.kind(h)[1]
        op = ops.QDense(**_ending(self._product), input_zero_point=zero_point)
        part = f"{self._prefix}recurrent"
        product = self._layer.emit(part, self._product, op, h, *self._constants)
        return self._of_gates("recurrent", product)

    def _of_gates(self, part: str, value: str) -> tuple[str, ...]:
        if len(self._gates) == 1:
            return (value,)
        sizes = {f"{gate.name}/{part}": gate.size for gate in self._gates}
        return self._layer.split(value, sizes)


def _largest(matrix: np.ndarray, bias: np.ndarray, held: Range) -> float:
    """The largest magnitude of a row's products with numbers in ``held``, and its bias."""
    ends = np.stack([matrix.astype(np.float64) * end for end in held])
    sums = [ends.max(0).sum(1) + bias, ends.min(0).sum(1) + bias]
    return float(np.abs(sums).max())


class _Rnn(_Layer):
    def __init__(self, op: ops.RNN, node: Node, to: Fragment) -> None:
        super().__init__(op, node, to)
        (y,) = node.outputs
        gives = self.of_step_in_16_bits(y)
        self.gate = _Gate(self, "h", slice(None), op.hidden, self.h, gives=gives)
        self.products = _Products(self.gate)

    def first(self) -> tuple[str, ...]:
        return (self.start("initial", self.h),)

    def next(self, *state: str) -> tuple[str, ...]:
        (h,) = state
        (given,), (recurrent,) = self.products.given(), self.products.recurrent(h)
        wide = self.gate(given, recurrent)
        return (self.rescale("h/rounded", wide, self.h),)


class _Gru(_Layer):
    def __init__(self, op: ops.GRU, node: Node, to: Fragment) -> None:
        super().__init__(op, node, to)
        size = self.size
        self.before = op.linear_before_reset
        self.wide = self.of_step_in_16_bits(node.outputs[1])
        self.gates = _Gate(self, "zr", slice(0, 2 * size), op.gate, self.h)
        most, rows = self.gates.function.most, slice(2 * size, None)
        if self.before:
            self.candidate = _Gate(self, "n", rows, op.candidate, self.h, factor=most)
        else:
            # what r lets through is no more than h
            self.reset = self.h if most <= 1 else self.of_reach(most * magnitude(_range(self.h)))
            self.candidate = _Gate(self, "n", rows, op.candidate, self.reset)
        self.of_gates, self.of_candidate = _Products(self.gates), _Products(self.candidate)
        reach = magnitude(_range(self.wide)) + self.candidate.function.most
        self.difference, self.change = self.of_reach(reach), self.of_reach(most * reach)

    def first(self) -> tuple[str, ...]:
        wide = self.start("initial", self.wide)
        return self.rescale("initial/rounded", wide, self.h), wide

    def next(self, *state: str) -> tuple[str, ...]:
        h, wide = state
        (given,), (recurrent,) = self.of_gates.given(), self.of_gates.recurrent(h)
        gates = self.gates(given, recurrent)
        z, r = self.split(gates, {"z": self.size, "r": self.size})
        if self.before:
            (product,) = self.of_candidate.recurrent(h)
            recurrent = self.multiply("r R h", r, product, self.candidate.recurrent_part)
        else:
            reset = self.multiply("r h", r, wide, self.reset)
            (recurrent,) = self.of_candidate.recurrent(reset)
        (given,) = self.of_candidate.given()
        n = self.candidate(given, recurrent)
        # (1 - z) n + z h = n + z (h - n)
        difference = self.subtract("h - n", wide, n, self.difference)
        wide = self.add("h", n, self.multiply("change", z, difference, self.change), self.wide)
        return self.rescale("h/rounded", wide, self.h), wide


class _Lstm(_Layer):
    def __init__(self, op: ops.LSTM, node: Node, to: Fragment) -> None:
        super().__init__(op, node, to)
        _, cells = node.outputs
        self.c = self.of_step_in_16_bits(cells)
        size, reach = self.size, magnitude(_range(self.c))
        self.coupled = op.input_forget
        self.peepholes: dict[str, str] = {}
        more = dict.fromkeys("iof", 0.0)
        if node.input("peepholes") != ABSENT:
            parts = np.split(self.array("peepholes"), 3)
            for name, part in zip("iof", parts, strict=True):
                more[name] = float(np.abs(part).max()) * reach
                self.peepholes[name] = self._constant(f"{name}/peephole", part)
        self.together = not self.peepholes and not self.coupled
        self.gates = {}
        if self.together:
            self.gates["iof"] = _Gate(self, "iof", slice(0, 3 * size), op.gate, self.h)
        for i, name in enumerate("io" if self.coupled else "" if self.together else "iof"):
            rows = slice(i * size, (i + 1) * size)
            self.gates[name] = _Gate(self, name, rows, op.gate, self.h, more=more[name])
        self.candidate = _Gate(self, "n", slice(3 * size, None), op.candidate, self.h)
        self.products = _Products(*self.gates.values(), self.candidate)
        first = next(iter(self.gates.values())).function
        self.forget = first
        if self.coupled:
            rest = ("sub", 1.0, op.gate)
            self.forget = _Function(self, "f", rest, first.reach, takes=first.takes)
        most = self.forget.most
        self.kept = self.c if most <= 1 else self.of_reach(most * reach)
        self.added = self.of_reach(first.most * self.candidate.function.most)
        self.output = _Function(self, "hidden", op.hidden, reach, takes=self.c)

    def first(self) -> tuple[str, ...]:
        return self.start("initial", self.h), self.start("initial_cell", self.c)

    def next(self, *state: str) -> tuple[str, ...]:
        h, c = state
        names = (*self.gates, "n")
        sums = zip(self.products.given(), self.products.recurrent(h), strict=True)
        products = dict(zip(names, sums, strict=True))
        if self.together:
            gates = self.gates["iof"](*products["iof"])
            i, o, f = self.split(gates, dict.fromkeys("iof", self.size))
        elif self.coupled:
            total = self.gates["i"].sum(*products["i"], self._through("i", c))
            i, f = self.gates["i"].function(total), self.forget(total)
        else:
            i, f = (self.gates[name](*products[name], self._through(name, c)) for name in "if")
        n = self.candidate(*products["n"])
        kept, added = self.multiply("f c", f, c, self.kept), self.multiply("i n", i, n, self.added)
        c = self.add("c", kept, added, self.c)
        if not self.together:
            o = self.gates["o"](*products["o"], self._through("o", c))
        return self.multiply("h", o, self.output(c), self.h), c

    def _constant(self, part: str, array: np.ndarray) -> str:
        t = self.of_reach(float(np.abs(array).max()) or 1.0)
        assert t.quantization is not None
        return self.to.constant(part, t.quantization.quantize(array, t.dtype), t.quantization)

    def _through(self, gate: str, c: str) -> str | None:
        """The peephole of ``gate`` on ``c``."""
        if not self.peepholes:
            return None
        return self.multiply(f"{gate}/peephole c", c, self.peepholes[gate], self.gates[gate].more)


_LAYERS: dict[type[ops.Operator], Callable[..., _Layer]] = {
    ops.RNN: _Rnn,
    ops.GRU: _Gru,
    ops.LSTM: _Lstm,
}
