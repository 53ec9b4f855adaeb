"""Remedies into the integer Graph that they make together, measured on runs new to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from edgeinfer.graph import Graph, TensorType
from edgeinfer.graph.cost import cost
from edgeinfer.quant.calibration import Calibration, Run, evenly
from edgeinfer.quant.calibration_summary import KEY as SUMMARY
from edgeinfer.quant.calibration_summary import summarize, to_text
from edgeinfer.quant.choose_types import Choice, choose, observe
from edgeinfer.quant.equalization import KEY as EQUALIZED
from edgeinfer.quant.equalization import equalized
from edgeinfer.quant.equalization import to_text as equalization_text
from edgeinfer.quant.explanation.bench import Bench
from edgeinfer.quant.explanation.biases import Biases
from edgeinfer.quant.explanation.causes import Action, Measured, Remedy
from edgeinfer.quant.explanation.recovery import Recovered
from edgeinfer.quant.explanation.undoing import rebased
from edgeinfer.quant.integer_types import IntegerTypes
from edgeinfer.quant.lowering import Lowering
from edgeinfer.quant.objective import Objective, outputs_of
from edgeinfer.quant.observers import OBSERVERS
from edgeinfer.quant.options import DEFAULT_ROUNDING, Options
from edgeinfer.quant.outputs import classes_of, has_classes
from edgeinfer.quant.prune import prune_constant_channels
from edgeinfer.quant.ranges import group_ranges
from edgeinfer.quant.rounding.choice import choose_rounding
from edgeinfer.quant.rounding.layers import round_weights, rounded_layers
from edgeinfer.quant.schemes import Width
from edgeinfer.quant.value_types import ValueTypes
from edgeinfer.quant.weights import GivenWeights, quantize_weights
from edgeinfer.runtime.planner import KnownCalls
from edgeinfer.runtime.session import Session

__all__ = ["Workshop"]

# fewer runs that were held back judge nothing
_FEWEST = 8


@dataclass(frozen=True)
class _Parts:
    """What an integer Graph is made of, and its trial, which does not know the runs held back."""

    graph: Graph
    types: Mapping[str, TensorType]
    trial: Mapping[str, TensorType]
    reference: IntegerTypes
    seen: Calibration
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
    divisors : mapping of str to mapping of int to float
        By value, what equalizes its channels.
    """

    bench: Bench
    made: Recovered
    quantized: Graph
    seen: Calibration
    options: Options
    divisors: Mapping[str, Mapping[int, float]]
    _known: dict[tuple[Remedy, ...], Measured] = field(default_factory=dict)
    _calibrated: dict[tuple[str, ...], _Parts] = field(default_factory=dict)

    @cached_property
    def judges(self) -> list[Run]:
        """The runs that measure, with the last layers' results."""
        held = self.seen.held_back
        return self.bench.judging(held) if len(held) >= _FEWEST else self.bench.runs

    @cached_property
    def _objective(self) -> Objective:
        return self.bench.objective(self.judges)

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
        if actions == {Action.PRUNE}:
            pruned = prune_constant_channels(self.quantized)
            return replace(pruned, provenance=self._provenance(remedies, self._as_made))
        equal = tuple(r.where for r in remedies if r.action is Action.EQUALIZE)
        again = Action.CALIBRATE in actions or bool(equal)
        parts = self._calibrated_with(equal) if again else self._as_made
        values = dict(parts.trial if trial else parts.types)
        for remedy in remedies:
            if remedy.action in (Action.WIDEN, Action.RANGE):
                values |= self._retyped(remedy, remedy.where, values, parts)
            if remedy.action is Action.WIDEN_WEIGHTS:
                # 16-bit weights multiply 16-bit numbers alone
                values |= self._retyped(remedy, self._taken(remedy.where), values, parts)
        types = IntegerTypes(values, self.made.width, parts.reference.domains)
        layers = [r.where for r in remedies if r.action is Action.WIDEN_WEIGHTS]
        integer, way = self._integer(parts, types, layers, trial, Action.ROUND in actions)
        if Action.PRUNE in actions:
            integer = prune_constant_channels(integer)
        if trial:
            return integer
        return replace(
            integer,
            free_batch=self.quantized.free_batch,
            labels=self.quantized.labels,
            preparation=self.quantized.preparation,
            provenance={**self._provenance(remedies, parts), "rounding_weights": way},
        )

    def _provenance(self, remedies: Sequence[Remedy], parts: _Parts) -> dict[str, str]:
        """What a file says of how it was made."""
        found = dict(self.quantized.provenance)
        done = [found["mended"]] if "mended" in found else []
        found["mended"] = "; ".join([*done, *(remedy.text for remedy in remedies)])
        if parts.choice is not None:
            found[SUMMARY] = to_text(summarize(parts.graph, self.seen))
        wide = [f"{r.where}=int16" for r in remedies if r.action is Action.WIDEN] + [
            f"{self._taken(r.where)}=int16" for r in remedies if r.action is Action.WIDEN_WEIGHTS
        ]
        if wide:
            given = [found["overrides"]] if "overrides" in found else []
            found["overrides"] = ", ".join([*given, *wide])
        equal = {r.where: self.divisors[r.where] for r in remedies if r.action is Action.EQUALIZE}
        if equal:
            found[EQUALIZED] = equalization_text(equal, found)
        return found

    @cached_property
    def prunable(self) -> bool:
        """The integer Graph has channels that can be removed."""
        return cost(prune_constant_channels(self.quantized)).macs < cost(self.quantized).macs

    # ---- parts ----

    @cached_property
    def _as_made(self) -> _Parts:
        types = self.made.types
        return _Parts(self.bench.graph, types, types, self.bench.reference, self.seen)

    def _calibrated_with(self, equal: tuple[str, ...]) -> _Parts:
        """Calibrated again, with these values' channels equalized."""
        if equal not in self._calibrated:
            graph, seen = self.bench.graph, self.seen
            for value in equal:
                graph = equalized(graph, value, self.divisors[value])
            if equal:
                feeds = [run.feed for run in seen.kept]
                quiet = replace(self.options, progress=None)
                seen = observe(graph, feeds, quiet, self.made.groups, searching=True)
            choice = choose(graph, (), self.options, seen)
            self._calibrated[equal] = _Parts(
                graph, choice.types.values, choice.trial.values, choice.reference, seen, choice
            )
        return self._calibrated[equal]

    def _taken(self, layer: str) -> str:
        """What a layer takes."""
        (node,) = (node for node in self.bench.graph.nodes if node.name == layer)
        return node.input("x")

    def _retyped(
        self, remedy: Remedy, value: str, values: Mapping[str, TensorType], parts: _Parts
    ) -> dict[str, TensorType]:
        """Other types for the group of ``value``."""
        groups = self.made.groups
        members = self.made.members[groups[value]]
        if remedy.action is not Action.RANGE:
            return {name: parts.reference.values[name] for name in members}
        widths: dict[str, Width] = {
            root: "int16" if values[root].dtype == "int16" else "int8" for root in groups.values()
        }
        fitted = parts.seen
        if fitted.held_back:
            fitted = replace(fitted, histograms=fitted.fitted)
        ranges = group_ranges(parts.graph, groups, widths, fitted, OBSERVERS[remedy.rule])
        types = ValueTypes(parts.graph, groups, fitted, self.made.width)(ranges, widths)
        return {name: types.values[name] for name in members}

    def _integer(
        self,
        parts: _Parts,
        types: IntegerTypes,
        layers: Sequence[str],
        trial: bool,
        in_turn: bool,
    ) -> tuple[Graph, str]:
        """The integer Graph of ``types``, with 16-bit weights in ``layers``, and the way that the
        others' were rounded."""
        way = "in-turn" if in_turn else self.options.rounding_weights
        wide = _wide_weights(parts.graph, layers, types)
        if parts.choice is not None:
            choice = replace(parts.choice, types=types, trial=types)
            if not in_turn and way != "nearest":
                # the file's may be what the other data chose, and these may speak against it
                way = DEFAULT_ROUNDING
            options = replace(self.options, rounding_weights=way, progress=None)
            rounded = choose_rounding(parts.graph, choice, options)
            given = rounded.trial if trial else rounded.weights
            return self._lowered(parts.graph, types, {**given, **wide}), rounded.way
        given = rebased(parts.graph, self.made.weights, self.made.types, types.values)
        fitting = self.seen.kept_to_fit if trial else self.seen.kept
        runs = evenly(fitting, len(self.bench.runs))
        if in_turn:
            integer = self._lowered(parts.graph, types, wide)
            if not rounded_layers(parts.graph, integer):
                return integer, way
            reference = self.bench.wide
            turned = round_weights(parts.graph, integer, reference, runs, len(runs), way)
            return self._lowered(parts.graph, types, {**turned, **wide}), way
        if not self.bench.corrects:
            return self._lowered(parts.graph, types, {**given, **wide}), way
        given = {name: replace(each, bias=None) for name, each in given.items()}
        integer = self._lowered(parts.graph, types, {**given, **wide})
        return Biases(parts.graph, self.bench.wide, runs).corrected(integer), way

    def _lowered(
        self, graph: Graph, types: IntegerTypes, weights: Mapping[str, GivenWeights]
    ) -> Graph:
        return Lowering(graph, weights=weights, rounding=self.options.rounding).graph_of(types)

    def _measure(self, integer: Graph) -> Measured:
        return Measured(self._objective.noise(integer).sqnr_db, self._agreement(integer))

    def _agreement(self, integer: Graph) -> float | None:
        """The share of samples that have float's class."""
        if not has_classes(self.bench.graph):
            return None
        (name,) = self.bench.graph.outputs
        session = Session.of_trusted(integer, KnownCalls())
        same = [
            classes_of(outputs_of(session, run.feed)[name]) == classes_of(run.outputs[name])
            for run in self.seen.held_back or self.seen.kept
        ]
        return float(np.concatenate(same).mean())


def _wide_weights(
    graph: Graph, layers: Sequence[str], types: IntegerTypes
) -> dict[str, GivenWeights]:
    """The weights of ``layers`` in 16 bits."""
    found = {}
    for node in graph.nodes:
        if node.name in layers:
            weights = graph.constants[node.input("weights")]
            bias = graph.constants.get(node.input("bias"))
            x, y = types.values[node.input("x")], types.values[node.output]
            made = quantize_weights(weights, bias, x, y, "int16")
            found[node.name] = GivenWeights(made.weights, made.scale, 0, made.bias)
    return found
