"""Runs through an integer Graph from layer to layer, each given new constants before it is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

import numpy as np

from edgeinfer.graph import Graph, Node
from edgeinfer.quant.calibration import Run
from edgeinfer.runtime.planner import KnownCalls
from edgeinfer.runtime.session import Session

__all__ = ["Walk"]


class Walk:
    """Runs on their way through a Graph, all as far as the same node.

    Parameters
    ----------
    graph : Graph
        An integer Graph without states.
    runs : sequence of Run
        What goes through.
    stops : sequence of str
        The nodes, in the order of the flow, that will be asked for.
    """

    def __init__(self, graph: Graph, runs: Sequence[Run], stops: Sequence[str]) -> None:
        takes = {node.name: node.inputs[0] for node in graph.nodes}
        # the stops to come, and what each takes
        self._stops = {name: takes[name] for name in stops}
        wanted = tuple(dict.fromkeys(self._stops.values()))
        self._graph = graph.with_outputs(wanted)
        self._constants = dict(graph.constants)
        self._place = 0
        self._count = len(runs)
        self._values: dict[str, np.ndarray] = {}
        for name in graph.inputs:
            t = graph.types[name]
            q = t.quantization
            arrays = [run.feed[name].reshape(t.shape) for run in runs]
            made = [a.astype(t.dtype) if q is None else q.quantize(a, t.dtype) for a in arrays]
            self._values[name] = np.stack(made)

    def before(self, stop: str) -> np.ndarray:
        """Run as far as the node ``stop``, the next one; what it takes, [runs, ...]."""
        nodes, x = self._graph.nodes, self._stops.pop(stop)
        begin = end = self._place
        made = set(self._values)
        while x not in made:
            made.update(nodes[end].outputs)
            end += 1
        self._place = end
        needed = {x, *self._stops.values()}
        needed.update(name for node in nodes[end:] for name in node.operands)
        self._run(nodes[begin:end], needed)
        return self._values[x]

    def give(self, constants: Mapping[str, np.ndarray]) -> None:
        """Other constants for nodes that have not run."""
        self._constants.update(constants)

    def _run(self, nodes: Sequence[Node], needed: Set[str]) -> None:
        """Run ``nodes``, and keep what is ``needed`` of all values."""
        if nodes:
            inside = [name for node in nodes for name in node.outputs]
            taken = {name for node in nodes for name in node.operands}
            part = replace(
                self._graph,
                nodes=tuple(nodes),
                types={name: self._graph.types[name] for name in taken.union(inside)},
                inputs=tuple(sorted(taken.difference(inside, self._constants))),
                outputs=tuple(name for name in inside if name in needed),
                constants={n: self._constants[n] for n in taken if n in self._constants},
            )
            session = Session.of_trusted(part, KnownCalls())
            made = {
                info.name: np.empty((self._count, *info.shape), info.dtype)
                for info in session.outputs
            }
            for run in range(self._count):
                session.run(
                    {name: self._values[name][run, ...] for name in part.inputs},
                    {name: array[run, ...] for name, array in made.items()},
                )
            self._values |= made
        self._values = {name: array for name, array in self._values.items() if name in needed}
