"""How a model's weights are rounded: as asked, or in turn unless runs held back speak against it.

To round in turn makes the error of each layer less by construction, and on other samples it was
less at the outputs of all models measured. Twenty runs cannot tell so much: of kws_dscnn their mean
gain was -0.3 dB, give or take 0.7, where that of 900 others is 1.0. So they have the power of veto
alone, against what does harm beyond the luck of a draw.

What is compared are the results of the last layers (``last_layers.py``).
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

from edgeinfer.errors import InputError, QuantizationError
from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from edgeinfer.graph.cost import cost
from edgeinfer.printable import printable
from edgeinfer.quant.calibration import Run
from edgeinfer.quant.choose_types import Choice
from edgeinfer.quant.integer_types import IntegerTypes
from edgeinfer.quant.last_layers import LastLayers
from edgeinfer.quant.lowering import Lowering
from edgeinfer.quant.options import DEFAULT_ROUNDING, Options
from edgeinfer.quant.rounding import WAYS
from edgeinfer.quant.rounding.layers import round_weights, rounded_layers
from edgeinfer.quant.search import MIN_RUNS
from edgeinfer.quant.weights import GivenWeights

__all__ = ["Rounded", "choose_rounding"]

_log = logging.getLogger(__name__)

# multiply-accumulates of all runs through a Graph once: fewer runs where a model is large, and
# where even the fewest are more than the most, none
_BUDGET, _MOST = 10**11, 4 * 10**11


@dataclass(frozen=True)
class Rounded:
    """The weights that a model gets.

    Parameters
    ----------
    way : str
        ``nearest``, ``bias`` or ``in-turn``.
    weights, trial : mapping of str to GivenWeights
        Of the layers that are not rounded to nearest: for the result's types, and for those of the
        trial, made without the runs that are held back.
    sqnr_db : mapping of str to float
        Of the last layers' results on these runs, by each way that was tried and by ``nearest``.
    """

    way: str
    weights: Mapping[str, GivenWeights] = field(default_factory=dict)
    trial: Mapping[str, GivenWeights] = field(default_factory=dict)
    sqnr_db: Mapping[str, float] = field(default_factory=dict)


def choose_rounding(graph: Graph, choice: Choice, options: Options) -> Rounded:
    """The integers of the layers of ``graph``.

    Parameters
    ----------
    graph : Graph
        The float Graph.
    choice : Choice
        Its types, and the runs to go by.
    options : Options
        Of which ``rounding_weights``, ``rounding``, ``progress`` and ``pool`` matter.

    Raises
    ------
    InputError
        The model keeps states, and its weights were to see data.
    """
    asked, kept = options.rounding_weights, choice.seen.kept
    if asked == "nearest":
        return Rounded(asked)
    if graph.states:
        if asked != DEFAULT_ROUNDING:
            raise InputError(
                f"rounding_weights {asked!r} takes runs apart from each other, and those of this "
                "model depend on the ones before; give 'nearest'"
            )
        return _nearest("the model keeps states")
    if asked == DEFAULT_ROUNDING and len(kept) < MIN_RUNS:
        return _nearest(f"{len(kept)} runs are too few to judge others")
    try:
        layers = LastLayers(graph, choice.reference)
    except QuantizationError as error:
        if asked != DEFAULT_ROUNDING:
            raise
        return _nearest(f"no Graph in 16 bits stands for the floats: {error}")
    return _Ways(graph, choice, layers, options).chosen(asked)


def _nearest(reason: str) -> Rounded:
    _log.info("weights rounded to nearest, as %s", reason)
    return Rounded("nearest")


class _Ways:
    """Ways to round, made and measured."""

    def __init__(self, graph: Graph, choice: Choice, layers: LastLayers, options: Options) -> None:
        self._graph, self._choice, self._options = graph, choice, options
        self._layers = layers

    def chosen(self, asked: str) -> Rounded:
        """The way that is asked for, or the best."""
        nearest = self._lowered(self._choice.trial, {})
        if not rounded_layers(self._graph, nearest):
            return _nearest("no layer has weights of 8 bits")
        stay = [
            n.name for n in self._graph.nodes if isinstance(n.op, ops.Recurrent | ops.ConvTranspose)
        ]
        if stay:
            _log.info(
                "weights rounded to nearest in any case: those of %s", printable(", ".join(stay))
            )
        macs = max(1, cost(nearest).macs)
        if asked == DEFAULT_ROUNDING and macs * MIN_RUNS > _MOST:
            return _nearest(f"{macs:,} multiply-accumulates a run are too many to try others")
        most = max(MIN_RUNS, _BUDGET // macs)
        done, total = 0, 2

        def report() -> None:
            nonlocal done
            done += 1
            if self._options.progress is not None:
                self._options.progress("rounding", done, total)

        lowered = nearest, self._lowered(self._choice.types, {})
        runs = self._choice.seen.kept_to_fit, self._choice.seen.kept
        job = _Round(self._graph, self._layers.reference, lowered, runs, most)

        def made(way: str) -> Generator[Mapping[str, GivenWeights], None, None]:
            """First those of the trial, then those of the result."""
            return self._options.pool.map(job, [(way, 0), (way, 1)], "rounding")

        if asked != DEFAULT_ROUNDING:
            with closing(made(asked)) as both:
                trial = next(both)
                report()
                weights = next(both)
            report()
            return Rounded(asked, weights, trial)
        objective = self._layers.objective(self._choice.seen.held_back)
        plain = objective.noise(nearest)
        best, sqnr_db = Rounded("nearest"), {"nearest": plain.sqnr_db}
        for way in reversed(WAYS[1:]):
            with closing(made(way)) as both:
                trial = next(both)
                noise = objective.noise(self._lowered(self._choice.trial, trial))
                sqnr_db[way] = noise.sqnr_db
                if not noise.is_clearly_worse_than(plain):
                    report()
                    best = Rounded(way, next(both), trial)
                    break
        tried = ", ".join(f"{way} {value:.1f} dB" for way, value in sqnr_db.items())
        _log.info("weights rounded %s; on runs held back: %s", best.way, tried)
        done = total - 1
        report()
        return replace(best, sqnr_db=sqnr_db)

    def _lowered(self, types: IntegerTypes, weights: Mapping[str, GivenWeights]) -> Graph:
        lowering = Lowering(self._graph, weights=weights, rounding=self._options.rounding)
        return lowering.graph_of(types)


@dataclass(frozen=True)
class _Round:
    """A job: by a way, and the place of an integer Graph, the weights that the Graph gets.

    Parameters
    ----------
    graph, reference : Graph
        The float Graph, and the one in 16 bits.
    integers : tuple of Graph
        With weights rounded to nearest: of the trial's types, and of the result's.
    runs : tuple of sequences of Run
        What goes through each.
    most : int
        How many of these.
    """

    graph: Graph
    reference: Graph
    integers: tuple[Graph, Graph]
    runs: tuple[Sequence[Run], Sequence[Run]]
    most: int

    def __call__(self, task: tuple[str, int]) -> dict[str, GivenWeights]:
        way, place = task
        integer, runs = self.integers[place], self.runs[place]
        return round_weights(self.graph, integer, self.reference, runs, self.most, way)
