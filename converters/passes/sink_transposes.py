"""Turns Transposes into fewer: each moves towards the outputs until another one undoes it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgeinfer.converters.passes.axes import compose, invert, is_free, reindexed
from edgeinfer.converters.passes.rewriter import Rewriter, looks_for
from edgeinfer.graph import Graph, Node
from edgeinfer.graph import operators as ops

__all__ = ["sink_transposes"]

Permutation = tuple[int, ...]
_NARY = (ops.Broadcasting, ops.PRelu, ops.Normalization, ops.Concat)


@looks_for(ops.Transpose)
def sink_transposes(graph: Graph) -> Graph:
    """f(Transpose(x)) = Transpose(f'(x)), f' with its axes and constants permuted alike.

    1. Transpose of Transpose is their composition, and nothing where they cancel.
    2. Through Pointwise, PRelu, Softmax, Normalization, Slice, Pad, reductions and ArgMax: always.
    3. Through an operator of several values, where each is transposed alike, is constant, or
       can be transposed for nothing.
    4. Through a Reshape that splits and merges axes whose order the Transpose keeps; where it
       only turns the axes of a merged group among themselves, that part stays and the rest moves.

    What reaches the Graph's outputs, or an operator that none of the rules names, is written
    there, as a Reshape where it only moves axes of extent 1.
    """
    sinking = _Sinking(graph)
    for node in graph.nodes:
        sinking.visit(node)
    return sinking.rewriter.finish()


@dataclass(frozen=True)
class _Pending:
    """A value that is ``source`` transposed by ``permutation``, not written so far."""

    source: str
    permutation: Permutation
    node: Node


class _Sinking:
    def __init__(self, graph: Graph) -> None:
        self.rewriter = Rewriter(graph)
        self.pending: dict[str, _Pending] = {}
        self.written: set[str] = set()
        # Transposes that the Graph has anyway: (source, permutation)
        self.existing = {
            (n.inputs[0], n.op.permutation) for n in graph.nodes if isinstance(n.op, ops.Transpose)
        }

    def visit(self, node: Node) -> None:
        if isinstance(node.op, ops.Transpose):
            source, p = self._origin(node.inputs[0])
            self._postpone(node, source, compose(p, node.op.permutation))
        elif not any(name in self.pending for name in node.inputs) or not self._sink(node):
            for name in node.inputs:
                self._write(name)
            self.rewriter.copy(node)
        for name in node.outputs:
            if self.rewriter.is_result(name):
                self._write(name)

    def _origin(self, value: str) -> tuple[str, Permutation]:
        """What ``value`` is a transpose of, and how."""
        if value in self.pending:
            return self.pending[value].source, self.pending[value].permutation
        return value, tuple(range(len(self.rewriter.shape(value))))

    def _postpone(self, node: Node, source: str, p: Permutation) -> None:
        self.pending[node.outputs[0]] = _Pending(source, p, node)

    def _write(self, value: str) -> None:
        """Write the Transpose that gives ``value``, where it is still pending."""
        if value not in self.pending or value in self.written:
            return
        self.written.add(value)
        pending = self.pending[value]
        source, p = self.rewriter.current(pending.source), pending.permutation
        if p == tuple(range(len(p))) and self.rewriter.alias(value, source):
            return
        shape = self.rewriter.shape(source)
        if is_free(shape, p):
            op: ops.Operator = ops.Reshape(tuple(shape[a] for a in p))
        else:
            op = ops.Transpose(p)
        self.rewriter.write(pending.node, op, (source,), value)

    def _sink(self, node: Node) -> bool:
        if isinstance(node.op, _NARY):
            return self._sink_through_many(node)
        first = node.inputs[0]
        if first not in self.pending:
            return False
        source, p = self._origin(first)
        if isinstance(node.op, ops.Reshape):
            return self._sink_through_reshape(node, source, p)
        gathers = isinstance(node.op, ops.Gather)
        moved = self._gather(node, p) if gathers else reindexed(node.op, p)
        if moved is None or any(name in self.pending for name in node.inputs[1:]):
            return False
        op, q = moved
        self._emit(node, op, (source, *node.inputs[1:]), q)
        return True

    def _gather(self, node: Node, p: Permutation) -> tuple[ops.Operator, Permutation] | None:
        assert isinstance(node.op, ops.Gather)
        if len(self.rewriter.shape(node.inputs[1])) != 1:
            return None
        return ops.Gather(p[node.op.axis]), p

    def _emit(self, node: Node, op: ops.Operator, inputs: Sequence[str], q: Permutation) -> None:
        """Write the moved operator; the node's own value is its transpose by ``q``."""
        output = self.rewriter.distinct(
            f"{node.outputs[0]}{'@nhwc' if q == (0, 3, 1, 2) else '@moved'}"
        )
        names = [self.rewriter.current(name) for name in inputs]
        self._postpone(node, self.rewriter.write(node, op, names, output), q)

    # ---- several values

    def _sink_through_many(self, node: Node) -> bool:
        rank = len(self.rewriter.shape(node.outputs[0]))
        leader = next(
            (
                name
                for name in node.inputs
                if name in self.pending and len(self.rewriter.shape(name)) == rank
            ),
            None,
        )
        if leader is None:
            return False
        p = self.pending[leader].permutation
        moved = reindexed(node.op, p)
        if moved is None or not all(self._follows(name, p) for name in node.inputs):
            return False
        op, q = moved
        self._emit(node, op, [self._followed(node, name, p) for name in node.inputs], q)
        return True

    def _follows(self, value: str, p: Permutation) -> bool:
        """Whether ``value`` in the order before ``p`` costs no more than it does now."""
        if value in self.pending or value in self.rewriter.constants:
            return True
        shape = self._padded(value, len(p))
        return is_free(shape, invert(p)) or (value, invert(p)) in self.existing

    def _followed(self, node: Node, value: str, p: Permutation) -> str:
        """``value`` in the order of axes that p turns into the one it has."""
        rewriter, back = self.rewriter, invert(p)
        if value in rewriter.constants:
            array = rewriter.constants[value].reshape(self._padded(value, len(p)))
            return rewriter.constant(value, array.transpose(back))
        source, own = self._origin(value)
        if len(own) < len(p):
            self._write(value)
            source, own = rewriter.current(value), tuple(range(len(p)))
            shape = self._padded(value, len(p))
            if not is_free(shape, back):
                padded = rewriter.distinct(f"{value}@padded")
                source = rewriter.write(node, ops.Reshape(shape), (source,), padded)
        else:
            source = rewriter.current(source)
            shape = rewriter.shape(source)
        return self._turned(node, source, shape, compose(own, back), value)

    def _turned(
        self, node: Node, source: str, shape: tuple[int, ...], order: Permutation, value: str
    ) -> str:
        """``source``, seen as ``shape``, with its axes in another order."""
        turned = tuple(shape[a] for a in order)
        op: ops.Operator = ops.Reshape(turned) if is_free(shape, order) else ops.Transpose(order)
        if turned == self.rewriter.shape(source) and isinstance(op, ops.Reshape):
            return source
        return self.rewriter.write(node, op, (source,), self.rewriter.distinct(f"{value}@turned"))

    def _padded(self, value: str, rank: int) -> tuple[int, ...]:
        shape = self.rewriter.shape(value)
        return (1,) * (rank - len(shape)) + shape

    # ---- Reshape

    def _sink_through_reshape(self, node: Node, source: str, p: Permutation) -> bool:
        assert isinstance(node.op, ops.Reshape)
        rewriter = self.rewriter
        source = rewriter.current(source)
        shape = rewriter.shape(source)
        groups = _groups(tuple(shape[a] for a in p), node.op.shape)
        if groups is None:
            return False
        # each group of v's axes, as axes of u; its place is that of its first long axis
        taken = [[p[i] for i in before] for before, _ in groups]
        places = [min((a for a in axes if shape[a] > 1), default=None) for axes in taken]
        order = sorted(
            (i for i, place in enumerate(places) if place is not None), key=lambda i: places[i] or 0
        )
        # groups of extent 1 follow the group that they follow in v
        for i, place in enumerate(places):
            if place is None:
                order.insert(order.index(i - 1) + 1 if i else 0, i)
        if order == sorted(order) and not is_free(shape, p):
            return False
        gathered = tuple(a for i in order for a in taken[i])
        if not is_free(shape, gathered):
            if not all(_contiguous(axes) for axes in taken):
                return False
            name = rewriter.distinct(f"{node.inputs[0]}@gathered")
            source = rewriter.write(node, ops.Transpose(gathered), (source,), name)
        after = [groups[i][1] for i in order]
        new_shape = tuple(node.op.shape[j] for axes in after for j in axes)
        flat = [j for axes in after for j in axes]
        self._emit(node, ops.Reshape(new_shape), (source,), invert(tuple(flat)))
        return True


def _contiguous(axes: list[int]) -> bool:
    return not axes or max(axes) - min(axes) == len(axes) - 1


def _groups(
    before: tuple[int, ...], after: tuple[int, ...]
) -> list[tuple[list[int], list[int]]] | None:
    """The smallest runs of axes of the two shapes that hold the same elements."""
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(before) or j < len(after):
        left, right = [], []
        if i < len(before):
            left.append(i)
            i += 1
        if j < len(after) and (not left or before[left[0]] != 1 or after[j] == 1):
            right.append(j)
            j += 1
        while (m := math.prod(before[a] for a in left)) != (
            n := math.prod(after[a] for a in right)
        ):
            if m < n and i < len(before):
                left.append(i)
                i += 1
            elif m > n and j < len(after):
                right.append(j)
                j += 1
            else:
                return None
        groups.append((left, right))
    return groups
