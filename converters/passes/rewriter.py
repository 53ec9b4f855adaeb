"""Turns a Graph into its successor, node by node: what a pass writes while it reads."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import UnionType

from edgeinfer.graph import Graph, GraphBuilder, Node
from edgeinfer.graph.operators import Operator

__all__ = ["Pass", "Rewriter", "looks_for"]

Pass = Callable[[Graph], Graph]


def looks_for(*kinds: type[Operator] | UnionType) -> Callable[[Pass], Pass]:
    """Says of a pass that it leaves a Graph alone which lacks an operator of one of these kinds."""

    def marked(rewrite: Pass) -> Pass:
        @functools.wraps(rewrite)
        def rewritten(graph: Graph) -> Graph:
            present = {type(node.op) for node in graph.nodes}
            if all(any(issubclass(op, kind) for op in present) for kind in kinds):
                return rewrite(graph)
            return graph

        return rewritten

    return marked


class Rewriter(GraphBuilder):
    """The Graph that a pass is writing; it starts with the inputs and constants of another.

    The types of all of the other's values are known from the start, so that a pass can ask for what
    it has yet to write.

    Parameters
    ----------
    graph : Graph
        What the pass reads.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph.name)
        self.source = graph
        self.types = dict(graph.types)
        self.constants = dict(graph.constants)
        self._place: dict[str, int] = {}
        self._taken: set[str] = set()
        self._alias: dict[str, str] = {}
        self._results = frozenset(graph.results)
        self._uses = Counter(name for node in graph.nodes for name in node.operands)
        self._uses.update(graph.results)

    # ---- what was written so far

    def current(self, value: str) -> str:
        """The value that stands for ``value`` now."""
        while value in self._alias:
            value = self._alias[value]
        return value

    def producer(self, value: str) -> Node | None:
        """The node written so far that gives ``value``; None for inputs and constants."""
        place = self._place.get(value)
        return None if place is None else self.nodes[place]

    def is_result(self, value: str) -> bool:
        """Whether the Graph gives ``value`` out, or keeps it for the next run."""
        return value in self._results

    def only_use(self, value: str) -> bool:
        """Whether one node, once, takes ``value``, and it is no result of the Graph."""
        return self._uses[value] == 1 and not self.is_result(value)

    # ---- writing

    def copy(self, node: Node) -> Node:
        """Write ``node`` as it is, but for inputs that others stand for by now."""
        if not self._alias.keys().isdisjoint(node.inputs):
            node = replace(node, inputs=tuple(map(self.current, node.inputs)))
        self._append(node)
        return node

    def write(self, like: Node, op: Operator, inputs: Sequence[str], output: str) -> str:
        """Write a node that takes the place of ``like``, or a part of it; gives its value."""
        if output in self._place:
            raise AssertionError(f"{output} is written twice")
        (self.types[output],) = self.output_types(op, inputs)
        self._append(Node(like.name, op, tuple(inputs), (output,)))
        return output

    def replace(self, value: str, op: Operator, inputs: Sequence[str], output: str) -> str:
        """Write ``op`` where ``value`` is written, so that it gives ``output`` in its stead."""
        place = self._place.pop(value)
        (self.types[output],) = self.output_types(op, inputs)
        self.nodes[place] = Node(self.nodes[place].name, op, tuple(inputs), (output,))
        self._place[output] = place
        return output

    def alias(self, value: str, target: str) -> bool:
        """Let ``target`` stand for ``value``; False where both names must stay."""
        uses = self._uses[value] + self._uses[target] - 1
        if self.is_result(value):
            if self.is_result(target) or target not in self._place:
                return False
            self._rename(target, value)
        else:
            self._alias[value] = target
        self._uses[self.current(target)] = uses
        return True

    def finish(self) -> Graph:
        """The Graph as written, without what no result needs."""
        return self.source.with_nodes(self.nodes, types=self.types, constants=self.constants)

    def _append(self, node: Node) -> None:
        for output in node.outputs:
            self._place[output] = len(self.nodes)
        self._taken.update(node.inputs)
        super()._append(node)

    def _rename(self, value: str, output: str) -> None:
        """Give the value of a written node another name, everywhere."""
        place = self._place.pop(value)
        node = self.nodes[place]
        renamed = tuple(output if name == value else name for name in node.outputs)
        self.nodes[place] = replace(node, outputs=renamed)
        self._place[output] = place
        self.types[output] = self.types[value]
        self._alias[value] = output
        if value not in self._taken:
            return
        self._taken.add(output)
        self.nodes = [
            replace(n, inputs=tuple(output if i == value else i for i in n.inputs))
            if value in n.inputs
            else n
            for n in self.nodes
        ]
