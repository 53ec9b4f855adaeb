"""One cause of a loss undone on the integer Graph, all else as it is, and what that is worth.

No float stands in for integers. A value's integers get 16 bits: at the same step, nothing is
clipped; over the same range, nothing is rounded; at the step that all but outliers would have,
these cost the others nothing. A layer's weights get 16 bits behind an input that is the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from edgeinfer.arithmetic.fixedpoint import multiplier_and_shift, round_half_away
from edgeinfer.errors import QuantizationError
from edgeinfer.graph import ABSENT, Graph, Node, Quantization, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.graph.names import distinct
from edgeinfer.meaning.float_executor import evaluate
from edgeinfer.printable import printable
from edgeinfer.quant.calibration import Run
from edgeinfer.quant.explanation.bench import Bench
from edgeinfer.quant.explanation.recovery import Recovered
from edgeinfer.quant.objective import Noise
from edgeinfer.quant.schemes import fixed_output
from edgeinfer.quant.weights import GivenWeights, quantize_weights
from edgeinfer.runtime.session import Session

__all__ = ["Undoing", "rebased"]

_log = logging.getLogger(__name__)

# 16 bits have so many steps for each of 8
_FINER = 256.0


def rebased(
    graph: Graph,
    weights: Mapping[str, GivenWeights],
    before: Mapping[str, TensorType],
    after: Mapping[str, TensorType],
) -> dict[str, GivenWeights]:
    """The same biases where the step of what a layer takes is another one."""
    found = dict(weights)
    for node in graph.nodes:
        given, x = weights.get(node.name), node.input("x") if node.name in weights else ""
        if given is None or given.bias is None or x not in after or after[x] == before[x]:
            continue
        a, b = before[x].quantization, after[x].quantization
        assert a is not None and b is not None
        bias = round_half_away(given.bias * (a.step / b.step)).astype(np.int64)
        found[node.name] = replace(given, bias=bias)
    return found


@dataclass(frozen=True)
class Undoing:
    """An integer Graph, recovered, and what it would be without a cause.

    Parameters
    ----------
    bench : Bench
        What measures.
    made : Recovered
        What the integer Graph was made with.
    """

    bench: Bench
    made: Recovered

    @cached_property
    def as_made(self) -> Graph:
        """The integer Graph made again, with all of its channels."""
        reference = replace(self.bench.reference, values=self.made.types, weights=self.made.width)
        return self.bench.lowered(reference, self.made.weights)

    @cached_property
    def base_graph(self) -> Graph:
        """What is measured with nothing undone."""
        return self.bench.corrected(self._lowered(self.made.types))

    @cached_property
    def base(self) -> Noise:
        """The error with nothing undone."""
        return self.bench.noise(self.base_graph)

    @cached_property
    def prescribed(self) -> set[str]:
        """The groups whose step the contract prescribes."""
        groups = self.made.groups
        return {
            groups[name]
            for node in self.bench.graph.nodes
            for name in node.outputs
            if name in groups and fixed_output(node.op, "int8") is not None
        }

    def noise_alone(
        self, root: str, layers: Collection[str], readers: Collection[str]
    ) -> Noise | None:
        """The error where this group and the ``layers`` that give it alone have their integers, and
        all else has 16 bits: the weights of its ``readers`` too."""
        wide = dict(self.bench.reference.values)
        types = {**wide, **{name: self.made.types[name] for name in self.made.members[root]}}
        own = {
            name: replace(self.made.weights[name], bias=None)
            for name in layers
            if name in self.made.weights
        }
        integers = replace(self.bench.reference, values=types)
        try:
            integer = self.bench.lowered(integers, own)
            return self.bench.noise(with_wide_weights(self.bench.graph, integer, readers))
        except QuantizationError as error:
            _log.info("%s alone cannot be measured: %s", printable(root), error)
            return None

    def clipping(self, roots: Collection[str]) -> float | None:
        """What it is worth that nothing is clipped, in dB."""

        def unclipped(t: TensorType, root: str) -> TensorType:
            assert t.quantization is not None
            # 16 bits have nothing wider: their steps are fine enough to be larger
            times = 1.0 if t.dtype == "int8" else 4.0
            return _wide(t, t.quantization.step * times)

        return self._gain(self._types(roots, unclipped))

    def rounding(self, roots: Collection[str]) -> float | None:
        """What it is worth that values are hardly rounded, in dB."""
        return self._gain(self._types(roots, self._unrounded))

    def outliers(self, times: Mapping[str, float], layers: Collection[str]) -> float | None:
        """What it is worth that groups have a step so many times as fine, and that ``layers``,
        which take them, have 16-bit weights."""

        def finer(t: TensorType, root: str) -> TensorType:
            assert t.quantization is not None
            return _wide(t, t.quantization.step / min(times[root], _FINER))

        return self._gain(self._types(times, finer), layers)

    def weights(self, layers: Collection[str]) -> float | None:
        """What it is worth that the weights of ``layers`` are hardly rounded, in dB."""
        return self._gain(self.made.types, layers)

    def constant(self, root: str, layers: Collection[str]) -> float | None:
        """What it is worth that neither a group nor the weights that give it are rounded, in dB."""
        return self._gain(self._types([root], self._unrounded), layers)

    def table(self, node: Node) -> float:
        """What it is worth that what ``node`` of the float Graph gives is its function of the
        integers that it takes, rounded once, in dB."""
        with_exact, runs = exact_function(self.bench.graph, self.base_graph, node, self.bench.runs)
        return self.bench.noise(with_exact, runs).sqnr_db - self.base.sqnr_db

    # ---- Graphs ----

    def _unrounded(self, t: TensorType, root: str) -> TensorType:
        if root in self.prescribed:
            return replace(t, dtype="int16", quantization=Quantization.per_tensor(1 / 32768))
        return _wide(t, max(map(abs, t.range)) / 32767)

    def _types(
        self, roots: Iterable[str], change: Callable[[TensorType, str], TensorType]
    ) -> dict[str, TensorType]:
        types = dict(self.made.types)
        for root in roots:
            for name in self.made.members[root]:
                types[name] = change(types[name], root)
        return types

    def _gain(self, types: Mapping[str, TensorType], wide: Collection[str] = ()) -> float | None:
        """By how many dB the Graph is better with other types, and ``wide`` layers' weights in 16
        bits; None where there is no such Graph."""
        try:
            integer = with_wide_weights(self.bench.graph, self._lowered(types), wide)
            noise = self.bench.noise(self.bench.corrected(integer))
        except QuantizationError as error:
            _log.info("cannot be undone: %s", error)
            return None
        return noise.sqnr_db - self.base.sqnr_db

    def _lowered(self, types: Mapping[str, TensorType]) -> Graph:
        weights = rebased(self.bench.graph, self.made.weights, self.made.types, types)
        if self.bench.corrects:
            weights = {name: replace(given, bias=None) for name, given in weights.items()}
        return self.bench.lowered(
            replace(self.bench.reference, values=types, weights=self.made.width), weights
        )


def _wide(t: TensorType, step: float) -> TensorType:
    return replace(t, dtype="int16", quantization=Quantization.per_tensor(step))


def exact_function(
    graph: Graph, integer: Graph, node: Node, runs: Sequence[Run]
) -> tuple[Graph, list[Run]]:
    """``integer``, made of ``graph``, from behind ``node`` on, and runs that hold what that gives:
    its function of the integers that it takes, rounded once."""
    session = Session(integer, keep_values=True)
    made = []
    for run in runs:
        session.run(run.feed)
        taken = [_number(graph, integer, session, name) for name in node.inputs]
        results = evaluate(node.op, *taken)
        given = {}
        for name, y in zip(node.outputs, results, strict=True):
            q = integer.types[name].quantization
            assert q is not None
            # integers as floats: a Session makes the same integers of them
            given[name] = q.dequantize(q.quantize(y, integer.types[name].dtype))
        made.append(replace(run, feed={**run.feed, **given}))
    rest = [at for at in integer.nodes if not set(at.outputs) & set(node.outputs)]
    inputs = tuple(name for name in integer.inputs if name not in node.outputs)
    return replace(integer, nodes=tuple(rest), inputs=(*inputs, *node.outputs)), made


def _number(graph: Graph, integer: Graph, session: Session, name: str) -> np.ndarray | None:
    """What a run that is over held, as real numbers; None of what a node leaves out."""
    if name == ABSENT:
        return None
    if name in graph.constants:
        return graph.constants[name]
    q, value = integer.types[name].quantization, session.value(name)
    return value if q is None else q.dequantize(value)


def with_wide_weights(graph: Graph, integer: Graph, layers: Collection[str]) -> Graph:
    """``integer``, made of ``graph``, with 16-bit weights in ``layers``, which take what they took.

    The same integers, 16 bits wide, are what 16-bit weights can multiply.
    """
    floats = {node.name: node for node in graph.nodes if node.name in layers}
    types, constants = dict(integer.types), dict(integer.constants)
    nodes: list[Node] = []
    taken = {*types, *(node.name for node in integer.nodes)}
    for at in integer.nodes:
        if at.name not in floats or not isinstance(at.op, ops.QConv | ops.QDense):
            nodes.append(at)
            continue
        x, y = types[at.input("x")], types[at.output]
        assert x.quantization is not None
        name, op = at.input("x"), at.op
        if x.dtype == "int8":
            multiplier, shift = multiplier_and_shift(1.0)
            rescale = ops.Rescale(
                lo=-32768,
                hi=32767,
                input_zero_point=x.quantization.zero_point,
                multiplier=multiplier,
                shift=shift,
            )
            name = distinct(f"{at.name}/wide", taken)
            taken.add(name)
            x = _wide(x, x.quantization.step)
            types[name] = x
            nodes.append(Node(name, rescale, (at.input("x"),), (name,)))
            op = replace(op, input_zero_point=0)
        node = floats[at.name]
        made = quantize_weights(
            graph.constants[node.input("weights")],
            graph.constants.get(node.input("bias")),
            x,
            y,
            "int16",
        )
        arrays = made.weights, made.bias, made.multiplier, made.shift
        scale = Quantization(tuple(made.scale.tolist()), 0, 0)
        for constant, array in zip(at.inputs[1:], arrays, strict=True):
            constants[constant] = array
            q = scale if array is made.weights else None
            types[constant] = TensorType.of(array, q)
        nodes.append(replace(at, op=op, inputs=(name, *at.inputs[1:])))
    return integer.with_nodes(nodes, types=types, constants=constants)
