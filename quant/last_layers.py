"""Where outputs are judged: at what the last layers give, before what is only a function of that.

A softmax leaves nearly all noise to the few runs that it is unsure of, and a draw with another such
run would choose otherwise. Before it all runs have a say. What the outputs should be there, a Graph
in 16 bits tells, weights and all, which stands for the floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgeinfer.errors import QuantizationError
from edgeinfer.graph import Graph
from edgeinfer.quant.calibration import Run
from edgeinfer.quant.integer_types import IntegerTypes
from edgeinfer.quant.lowering import Lowering
from edgeinfer.quant.objective import Objective, outputs_of
from edgeinfer.quant.outputs import last_results, shares
from edgeinfer.runtime.planner import KnownCalls
from edgeinfer.runtime.session import Session

__all__ = ["LastLayers", "Outputs", "judged_at"]


class LastLayers:
    """The results of the last layers of ``graph``.

    Parameters
    ----------
    graph : Graph
        The float Graph.
    reference : IntegerTypes
        Those of its values in 16 bits.

    Raises
    ------
    QuantizationError
        There is no such Graph in 16 bits.
    """

    def __init__(self, graph: Graph, reference: IntegerTypes) -> None:
        self.reference = Lowering(graph).graph_of(reference)
        self._shares = shares(graph)
        names = last_results(graph)
        self._names = tuple(names)
        self._ranked = {name for name, is_ranked in names.items() if is_ranked}

    def objective(self, runs: Sequence[Run]) -> Objective:
        """What they should be on ``runs``."""
        given = [run.outputs for run in runs]
        inner = tuple(name for name in self._names if name not in given[0])
        if inner:
            session = Session.of_trusted(self.reference.with_outputs(inner), KnownCalls())
            given = [run.outputs | outputs_of(session, run.feed) for run in runs]
        runs = [
            replace(run, outputs={name: found[name] for name in self._names})
            for run, found in zip(runs, given, strict=True)
        ]
        return Objective(runs, self._shares, self._ranked)


class Outputs:
    """The outputs of ``graph`` themselves, where nothing in 16 bits stands for the floats."""

    def __init__(self, graph: Graph) -> None:
        self._shares = shares(graph)

    def objective(self, runs: Sequence[Run]) -> Objective:
        """What they should be on ``runs``."""
        return Objective(runs, self._shares)


def judged_at(graph: Graph, reference: IntegerTypes) -> LastLayers | Outputs:
    """The last layers, or the outputs."""
    try:
        return LastLayers(graph, reference)
    except QuantizationError:
        return Outputs(graph)
