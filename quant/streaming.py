"""A float Graph over whole sequences into one that takes a few steps of them and keeps its state.

Where the steps lie in each value, ``graph.batching`` tells, as of samples: everything but a
recurrent layer must keep them apart, or take the last alone. All values keep their names.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from edgeinfer.errors import ModelError, UnsupportedError
from edgeinfer.graph import ABSENT, Graph, GraphBuilder, Node
from edgeinfer.graph import operators as ops
from edgeinfer.graph.batching import Batch, Rows, follow
from edgeinfer.graph.site import Site
from edgeinfer.quant.integer_types import IntegerTypes

__all__ = ["SteppedGraph", "in_steps"]

# where the steps of a layer's x lie
_ALONG_TIME = Rows(1)

# axes in the order in which sequences most often lie along them
_LIKELY_AXES = (1, 0, 2, 3, 4, 5, 6, 7)


@dataclass(frozen=True)
class SteppedGraph:
    """A Graph that takes a few steps of a sequence.

    Parameters
    ----------
    graph : Graph
        It keeps what the next run takes in ``graph.states``.
    origins : mapping of str to str
        By each value that the whole Graph does not have, the value there whose type it has.
    """

    graph: Graph
    origins: Mapping[str, str]

    def types(self, whole: IntegerTypes) -> IntegerTypes:
        """The types of the values, where those of the whole Graph have ``whole``."""
        values = {
            name: replace(whole.values[self.origins.get(name, name)], shape=t.shape)
            for name, t in self.graph.types.items()
            if name not in self.graph.constants
        }
        return replace(whole, values=values)


def in_steps(graph: Graph, steps: int) -> SteppedGraph:
    """``graph`` for ``steps`` of its sequences a run; run after run gives what it gave at once.

    A value that the last step alone makes, such as the last h, is then that of the last step so
    far.

    Raises
    ------
    UnsupportedError
        Something but a recurrent layer sees several steps, or a layer goes backwards.
    """
    layers = [node for node in graph.nodes if isinstance(node.op, ops.Recurrent)]
    counts = {graph.types[node.input("x")].shape[1] for node in layers}
    if graph.states:
        raise UnsupportedError("a model that keeps states takes its steps one by one already")
    if len(counts) != 1:
        found = "has no recurrent layer" if not layers else "has layers of unlike numbers of steps"
        raise UnsupportedError(f"the model {found}, so its sequences cannot be taken in steps")
    (count,) = counts
    if steps > count:
        raise UnsupportedError(f"its sequences have {count} steps, fewer than {steps}")
    refused: UnsupportedError | None = None
    for inputs in _ways(graph, count):
        try:
            return _Steps(graph, count, steps, inputs).made()
        except UnsupportedError as error:
            refused = refused or error
    raise refused or UnsupportedError(f"no input has an axis of {count} steps")


def _ways(graph: Graph, count: int) -> Iterator[dict[str, Rows]]:
    """Where the steps may lie in the inputs, of which not all need have them."""
    places = []
    for name in graph.inputs:
        shape = graph.types[name].shape
        axes = [a for a in _LIKELY_AXES if a < len(shape) and shape[a] % count == 0]
        places.append([*(Rows(a, shape[a] // count) for a in axes), None])
    for way in itertools.product(*places):
        inputs = {n: rows for n, rows in zip(graph.inputs, way, strict=True) if rows is not None}
        if inputs:
            yield inputs


@dataclass
class _Steps:
    """The Graph in the making.

    Parameters
    ----------
    graph : Graph
        The one over whole sequences.
    count, steps : int
        How many steps these have, and how many a run takes.
    inputs : mapping of str to Rows
        Where they lie in the inputs.
    """

    graph: Graph
    count: int
    steps: int
    inputs: Mapping[str, Rows]
    batch: Batch = field(init=False)
    builder: GraphBuilder = field(init=False)
    origins: dict[str, str] = field(default_factory=dict)
    # values of the last step alone, and what is made of them
    lasts: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        graph = self.graph
        self.batch = Batch(self.count, dict(self.inputs))
        names = {*graph.types, *(node.name for node in graph.nodes)}
        self.builder = GraphBuilder(graph.name, reserved=names)

    def made(self) -> SteppedGraph:
        """The whole of it."""
        graph, builder = self.graph, self.builder
        for name in graph.inputs:
            t = graph.types[name]
            rows = self.inputs.get(name)
            builder.input(
                name, t if rows is None else replace(t, shape=self._narrow(t.shape, rows))
            )
        for node in graph.nodes:
            try:
                self._take(node)
            except UnsupportedError:
                raise
            except ModelError as error:
                raise self._refusal(node, f"has another meaning then ({error.message})") from error
        made = builder.graph(*graph.outputs)
        stepped = replace(
            graph,
            nodes=made.nodes,
            types=made.types,
            constants=made.constants,
            states=made.states,
            free_batch=False,
        )
        return SteppedGraph(stepped, self.origins)

    def _narrow(self, shape: tuple[int, ...], rows: Rows) -> tuple[int, ...]:
        """``shape`` of ``steps`` where it was one of ``count``."""
        extent = shape[rows.axis] // self.count * self.steps
        return (*shape[: rows.axis], extent, *shape[rows.axis + 1 :])

    def _take(self, node: Node) -> None:
        op, rows = node.op, self.batch.rows
        stepped = [name for name in node.operands if name in rows]
        if stepped and not self.lasts.isdisjoint(node.operands):
            raise self._refusal(node, "brings a last step to those before it")
        if isinstance(op, ops.Recurrent):
            self._recur(op, node)
            return
        if not stepped:
            self._add(node, op)
            if not self.lasts.isdisjoint(node.operands):
                self.lasts.update(node.outputs)
            return
        last = self._last(op, rows[stepped[0]]) if isinstance(op, ops.Slice) else None
        if last is not None:
            self._add(node, last)
            self.lasts.update(node.outputs)
            return
        found = follow(op, Site(node, self.graph), self.batch)
        if found is None:
            raise self._refusal(node, "sees several steps at once")
        if isinstance(op, ops.Reshape | ops.Expand):
            op = replace(op, shape=self._narrow(op.shape, found))
        elif isinstance(op, ops.Slice):
            op = replace(op, sizes=self._narrow(op.sizes, found))
        self._add(node, op, found)
        rows.update(dict.fromkeys(node.outputs, found))

    def _last(self, op: ops.Slice, rows: Rows) -> ops.Slice | None:
        """``op`` where it takes the last step and nothing else."""
        size = rows.inner
        start = (self.count - 1) * size
        if (op.starts[rows.axis], op.sizes[rows.axis]) != (start, size):
            return None
        starts = list(op.starts)
        starts[rows.axis] = (self.steps - 1) * size
        return replace(op, starts=tuple(starts))

    def _recur(self, op: ops.Recurrent, node: Node) -> None:
        """A layer that begins where the run before has left."""
        if self.batch.rows.get(node.input("x")) != _ALONG_TIME:
            raise self._refusal(node, "does not go along the sequence")
        if op.reverse:
            raise self._refusal(node, "goes backwards")
        builder, roles = self.builder, [role.name for role in op.takes]
        lasts = dict(zip(op.firsts, node.outputs, strict=True))
        inputs = [*self._inputs(node, None), *[ABSENT] * (len(roles) - len(node.inputs))]
        samples, _, _ = self.graph.types[node.input("x")].shape
        hidden = self.graph.types[node.input("recurrence")].shape[1]
        states = {}
        for role, output in lasts.items():
            name = node.input(role)
            if name != ABSENT and name not in self.graph.constants:
                raise self._refusal(node, "begins with what a run computes")
            first = self.graph.constants.get(name, np.zeros((samples, hidden), np.float32))
            states[role] = builder.state(builder.distinct(f"{node.name}/{role}"), first)
            self.origins[states[role]] = output
            inputs[roles.index(role)] = states[role]
        while inputs[-1] == ABSENT:
            del inputs[-1]
        builder.add_several(op, *inputs, outputs=node.outputs, node=node.name)
        self.batch.rows.update(dict.fromkeys(node.outputs, _ALONG_TIME))
        for role, output in lasts.items():
            last = output
            if self.steps > 1:
                starts, sizes = (0, self.steps - 1, 0), (samples, 1, hidden)
                last = self._made(output, f"{role}/last", ops.Slice(starts, sizes, (1, 1, 1)), last)
            last = self._made(output, f"{role}/next", ops.Reshape((samples, hidden)), last)
            builder.keep(states[role], last)

    def _made(self, origin: str, part: str, op: ops.Operator, value: str) -> str:
        name = self.builder.distinct(f"{origin}/{part}")
        self.origins[name] = origin
        return self.builder.add(op, value, output=name)

    def _add(self, node: Node, op: ops.Operator, found: Rows | None = None) -> None:
        self.builder.add_several(
            op,
            *self._inputs(node, found),
            outputs=node.outputs,
            node=node.name,
            dtype=self.graph.types[node.outputs[0]].dtype,
        )

    def _inputs(self, node: Node, found: Rows | None) -> list[str]:
        """What ``node`` takes; constants with an entry a step lose those that are left out."""
        names = []
        for name in node.inputs:
            array = self.graph.constants.get(name)
            if array is not None:
                if found is not None and self._is_broadcast(node, found):
                    array = self._narrowed(array, node, found)
                name = self.builder.constant(name, array)
            names.append(name)
        return names

    def _is_broadcast(self, node: Node, found: Rows) -> bool:
        """Whether what ``node`` takes is broadcast along the axis of the steps."""
        if isinstance(node.op, ops.MatMul):
            return found.axis < len(self.graph.types[node.output].shape) - 2
        return isinstance(node.op, ops.Broadcasting | ops.Concat)

    def _narrowed(self, array: np.ndarray, node: Node, found: Rows) -> np.ndarray:
        axis = found.axis - len(self.graph.types[node.output].shape) + array.ndim
        if axis < 0 or array.shape[axis] == 1:
            return array
        outer, rest = array.shape[:axis], array.shape[axis + 1 :]
        parts = array.reshape(*outer, -1, self.count, found.inner, *rest)
        kept = parts[(slice(None),) * (axis + 1) + (slice(self.steps),)]
        extent = math.prod(kept.shape[axis : axis + 3])
        return kept.reshape(*outer, extent, *rest)

    def _refusal(self, node: Node, reason: str) -> UnsupportedError:
        return UnsupportedError(
            f"{reason}, so sequences cannot be taken in steps",
            node=node.name,
            operator=type(node.op).__name__,
        )
