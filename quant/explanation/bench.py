"""Integer Graphs of one float Graph, made of types and weights and measured, as often as asked.

What is measured are the results of the model's last layers, before what is only a function of them:
a softmax leaves nearly all noise to the few runs that it is unsure of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from edgeinfer.graph import Graph
from edgeinfer.graph.cost import cost
from edgeinfer.meaning.float_executor import Executor
from edgeinfer.quant.calibration import Run, evenly, one_blas_thread
from edgeinfer.quant.explanation.biases import Biases
from edgeinfer.quant.integer_types import IntegerTypes
from edgeinfer.quant.lowering import Lowering
from edgeinfer.quant.objective import Noise, Objective
from edgeinfer.quant.outputs import last_results
from edgeinfer.quant.weights import GivenWeights

__all__ = ["Bench"]

# multiply-accumulates of all runs through one Graph
_BUDGET = 6 * 10**8

_MOST_RUNS, _LEAST_RUNS = 24, 4


@dataclass(frozen=True)
class Bench:
    """One float Graph, and the runs that whatever is made of it is measured on.

    Parameters
    ----------
    graph : Graph
        The float Graph.
    reference : IntegerTypes
        Those of a Graph in 16 bits, which stands for the floats where biases are corrected.
    kept : sequence of Run
        The runs.
    corrects : bool
        Biases make up for what is lost before them in the mean, in whatever is made.
    """

    graph: Graph
    reference: IntegerTypes
    kept: Sequence[Run]
    corrects: bool

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of one run."""
        return max(1, cost(self.wide).macs)

    @cached_property
    def runs(self) -> list[Run]:
        """Those that measure, their outputs the last layers' results."""
        count = max(_LEAST_RUNS, min(_MOST_RUNS, _BUDGET // self.macs))
        return self.judging(evenly(list(self.kept), count))

    def judging(self, runs: Sequence[Run]) -> list[Run]:
        """``runs`` with the last layers' results as outputs."""
        executor = Executor(self.graph.with_outputs(self._names))
        with one_blas_thread():
            return [replace(run, outputs=executor.run(run.feed)) for run in runs]

    @cached_property
    def wide(self) -> Graph:
        """The Graph in 16 bits, weights and all."""
        return Lowering(self.graph).graph_of(self.reference)

    def lowered(self, types: IntegerTypes, weights: Mapping[str, GivenWeights]) -> Graph:
        """The integer Graph of ``types`` with these weights, its biases as they are given."""
        return Lowering(self.graph, weights=weights).graph_of(types)

    def corrected(self, integer: Graph) -> Graph:
        """``integer`` with biases by which each layer gives in the mean what it should."""
        return self.biases.corrected(integer) if self.corrects else integer

    @cached_property
    def biases(self) -> Biases:
        """What corrects biases."""
        return Biases(self.graph, self.wide, self.runs)

    def noise(self, integer: Graph, runs: Sequence[Run] | None = None) -> Noise:
        """The error of the last layers' results, on ``runs`` or else on the Bench's own."""
        objective = self._objective if runs is None else self.objective(runs)
        return objective.noise(integer)

    def objective(self, runs: Sequence[Run]) -> Objective:
        """What the last layers' results should be on ``runs``, which hold them as outputs."""
        # whole outputs: a channel that reaches far beyond all others is a cause, and no group
        return Objective(runs, self._names)

    @cached_property
    def _objective(self) -> Objective:
        return self.objective(self.runs)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(last_results(self.graph))
