"""Remedies into the integer Graph that they make together, measured on runs new to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from edgeinfer.graph import Graph, TensorType
from edgeinfer.quant.calibration import Calibration, Run
from edgeinfer.quant.choose_types import Choice, choose
from edgeinfer.quant.explanation.bench import Bench
from edgeinfer.quant.explanation.causes import Action, Measured, Remedy
from edgeinfer.quant.explanation.recovery import Recovered
from edgeinfer.quant.explanation.undoing import rebased
from edgeinfer.quant.integer_types import IntegerTypes
from edgeinfer.quant.lowering import Lowering
from edgeinfer.quant.mixtures.quality import has_classes
from edgeinfer.quant.objective import outputs_of
from edgeinfer.quant.observers import OBSERVERS
from edgeinfer.quant.options import Options
from edgeinfer.quant.prune import prune_constant_channels
from edgeinfer.quant.ranges import group_ranges
from edgeinfer.quant.rounding.choice import choose_rounding
from edgeinfer.quant.rounding.layers import round_weights, rounded_layers
from edgeinfer.quant.schemes import Width
from edgeinfer.quant.value_types import ValueTypes
from edgeinfer.quant.weights import GivenWeights
from edgeinfer.runtime.planner import KnownCalls
from edgeinfer.runtime.session import Session

__all__ = ["Workshop"]

# fewer runs that were held back judge nothing
_FEWEST = 8


@dataclass(frozen=True)
class _Parts:
    """What an integer Graph is made of, and its trial, which does not know the runs held back."""

    types: dict[str, TensorType]
    trial: dict[str, TensorType]
    reference: IntegerTypes
    choice: Choice | None = None


@dataclass(frozen=True)
class Workshop:
    """Where remedies are made and measured.

    Parameters
    ----------
    bench : Bench
        What measures.
    made : Recovered
        What the integer Graph was made with.
    quantized : Graph
        The integer Graph itself.
    seen : Calibration
        What these data hold.
    options : Options
        Those of calibrating again.
    """

    bench: Bench
    made: Recovered
    quantized: Graph
    seen: Calibration
    options: Options
    _known: dict[tuple[Remedy, ...], Measured] = field(default_factory=dict)

    @cached_property
    def judges(self) -> list[Run]:
        """The runs that measure, with the last layers' results."""
        held = self.seen.held_back
        return self.bench.judging(held) if len(held) >= _FEWEST else self.bench.runs

    def measured(self, remedies: Sequence[Remedy] = ()) -> Measured:
        """How good the Graph is with these remedies; with none, as it is."""
        key = tuple(remedies)
        if key not in self._known:
            self._known[key] = self._measure(
                self.made_of(key, trial=True) if key else self.quantized
            )
        return self._known[key]

    def made_of(self, remedies: Sequence[Remedy], *, trial: bool = False) -> Graph:
        """The integer Graph with these remedies; or its trial, new to the runs held back.

        Raises
        ------
        QuantizationError
            There is no such Graph.
        """
        actions = {remedy.action for remedy in remedies}
        parts = self._calibrated if Action.CALIBRATE in actions else self._as_made
        values = dict(parts.trial if trial else parts.types)
        for remedy in remedies:
            if remedy.action in (Action.WIDEN, Action.RANGE):
                values |= self._retyped(remedy, values, parts.reference)
        weights = self._weights(parts, values, trial, Action.ROUND in actions)
        integer = Lowering(
            self.bench.graph, weights=weights, rounding=self.options.rounding
        ).graph_of(IntegerTypes(values, self.made.width, self.bench.seen))
        return prune_constant_channels(integer) if Action.PRUNE in actions else integer

    # ---- parts ----

    @cached_property
    def _as_made(self) -> _Parts:
        types = dict(self.made.types)
        return _Parts(types, types, self.bench.reference)

    @cached_property
    def _calibrated(self) -> _Parts:
        choice = choose(self.bench.graph, (), self.options, self.seen)
        return _Parts(
            dict(choice.types.values), dict(choice.trial.values), choice.reference, choice
        )

    def _retyped(
        self, remedy: Remedy, values: Mapping[str, TensorType], reference: IntegerTypes
    ) -> dict[str, TensorType]:
        """Other types for the group that the remedy is about."""
        groups = self.made.groups
        members = [name for name in groups if groups[name] == groups[remedy.where]]
        if remedy.action is Action.WIDEN:
            return {name: reference.values[name] for name in members}
        widths: dict[str, Width] = {
            root: values[root].dtype  # type: ignore[misc]
            for root in groups.values()
        }
        graph = self.bench.graph
        fitted = replace(self.seen, histograms=self.seen.fitted) if self.seen.fitted else self.seen
        ranges = group_ranges(graph, groups, widths, fitted, OBSERVERS[remedy.rule])
        types = ValueTypes(graph, groups, fitted, self.made.width)(ranges, widths)
        return {name: types.values[name] for name in members}

    def _weights(
        self, parts: _Parts, values: Mapping[str, TensorType], trial: bool, in_turn: bool
    ) -> Mapping[str, GivenWeights]:
        graph, types = self.bench.graph, IntegerTypes(values, self.made.width, self.bench.seen)
        way = "in-turn" if in_turn else self.options.rounding_weights
        if parts.choice is not None:
            choice = replace(parts.choice, types=types, trial=types)
            rounded = choose_rounding(
                graph, choice, replace(self.options, rounding_weights=way, progress=None)
            )
            return rounded.trial if trial else rounded.weights
        given = rebased(graph, self.made.weights, self.made.types, values)
        if not in_turn and not self.bench.corrects:
            return given
        kept = {} if in_turn else given
        given = {name: replace(each, bias=None) for name, each in kept.items()}
        integer = Lowering(graph, weights=given, rounding=self.options.rounding).graph_of(types)
        held = {run.index for run in self.seen.held_back} if trial else set()
        runs = [run for run in self.seen.kept if run.index not in held] or self.seen.kept
        if not rounded_layers(graph, integer):
            return given
        wide = Lowering(graph).graph_of(parts.reference)
        made = round_weights(
            graph, integer, wide, runs, len(self.bench.runs), "in-turn" if in_turn else "bias"
        )
        return {**given, **made}

    def _measure(self, integer: Graph) -> Measured:
        noise = self.bench.noise(integer, self.judges)
        return Measured(noise.sqnr_db, self._agreement(integer))

    def _agreement(self, integer: Graph) -> float | None:
        """The share of samples that have float's class."""
        if not has_classes(self.bench.graph):
            return None
        (name,) = self.bench.graph.outputs
        session = Session.of_trusted(integer, KnownCalls())
        same = [
            _classes(outputs_of(session, run.feed)[name]) == _classes(run.outputs[name])
            for run in self.seen.held_back or self.seen.kept
        ]
        return float(np.concatenate(same).mean())


def _classes(y: np.ndarray) -> np.ndarray:
    return np.asarray(y.reshape(-1, y.shape[-1]).argmax(1))
