"""The equations of a step of an RNN, a GRU and an LSTM, and the rule that emits all their steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeinfer.errors import QuantizationError
from edgeinfer.graph import ABSENT, Node
from edgeinfer.graph import operators as ops
from edgeinfer.quant.bounds import magnitude
from edgeinfer.quant.fragment import Fragment
from edgeinfer.quant.rules.between import covered
from edgeinfer.quant.rules.recurrent.gates import Function, Gate, Products
from edgeinfer.quant.rules.recurrent.layer import Layer
from edgeinfer.quant.rules.registry import rule

__all__: list[str] = []


@rule(
    ops.Recurrent,
    makes=(
        ops.QDense,
        ops.QAdd,
        ops.QSub,
        ops.QMul,
        ops.Lookup,
        ops.Split,
        ops.Reshape,
        ops.Concat,
    ),
)
def _recurrent(op: ops.Recurrent, node: Node, to: Fragment) -> None:
    """The steps of ``op``, and what joins their results."""
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


class _Rnn(Layer):
    def __init__(self, op: ops.RNN, node: Node, to: Fragment) -> None:
        super().__init__(op, node, to)
        (y,) = node.outputs
        gives = self.of_step_in_16_bits(y)
        self.gate = Gate(self, "h", slice(None), op.hidden, self.h, gives=gives)
        self.products = Products(self.gate)

    def first(self) -> tuple[str, ...]:
        return (self.start("initial", self.h),)

    def next(self, *state: str) -> tuple[str, ...]:
        (h,) = state
        (given,), (recurrent,) = self.products.given(), self.products.recurrent(h)
        wide = self.gate(given, recurrent)
        return (self.rescale("h/rounded", wide, self.h),)


class _Gru(Layer):
    def __init__(self, op: ops.GRU, node: Node, to: Fragment) -> None:
        super().__init__(op, node, to)
        size = self.size
        self.before = op.linear_before_reset
        self.wide = self.of_step_in_16_bits(node.outputs[1])
        self.gates = Gate(self, "zr", slice(0, 2 * size), op.gate, self.h)
        most, rows = self.gates.function.most, slice(2 * size, None)
        if self.before:
            self.candidate = Gate(self, "n", rows, op.candidate, self.h, factor=most)
        else:
            # what r lets through is no more than h
            self.reset = self.h if most <= 1 else self.of_reach(most * magnitude(covered(self.h)))
            self.candidate = Gate(self, "n", rows, op.candidate, self.reset)
        self.of_gates, self.of_candidate = Products(self.gates), Products(self.candidate)
        reach = magnitude(covered(self.wide)) + self.candidate.function.most
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


class _Lstm(Layer):
    def __init__(self, op: ops.LSTM, node: Node, to: Fragment) -> None:
        super().__init__(op, node, to)
        _, cells = node.outputs
        self.c = self.of_step_in_16_bits(cells)
        size, reach = self.size, magnitude(covered(self.c))
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
            self.gates["iof"] = Gate(self, "iof", slice(0, 3 * size), op.gate, self.h)
        for i, name in enumerate("io" if self.coupled else "" if self.together else "iof"):
            rows = slice(i * size, (i + 1) * size)
            self.gates[name] = Gate(self, name, rows, op.gate, self.h, more=more[name])
        self.candidate = Gate(self, "n", slice(3 * size, None), op.candidate, self.h)
        self.products = Products(*self.gates.values(), self.candidate)
        first = next(iter(self.gates.values())).function
        self.forget = first
        if self.coupled:
            rest = ("sub", 1.0, op.gate)
            self.forget = Function(self, "f", rest, first.reach, takes=first.takes)
        most = self.forget.most
        self.kept = self.c if most <= 1 else self.of_reach(most * reach)
        self.added = self.of_reach(first.most * self.candidate.function.most)
        self.output = Function(self, "hidden", op.hidden, reach, takes=self.c)

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


_LAYERS: dict[type[ops.Operator], Callable[..., Layer]] = {
    ops.RNN: _Rnn,
    ops.GRU: _Gru,
    ops.LSTM: _Lstm,
}
