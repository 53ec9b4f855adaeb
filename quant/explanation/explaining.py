"""A float Graph, an integer one made of it, and samples into a reason for every loss.

recovery ──► survey ──► suspects ──► undoing, on integer Graphs ──► findings ──► remedies, made and
measured
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgeinfer.data.samples import Data
from edgeinfer.errors import InputError, QuantizationError
from edgeinfer.graph import Graph
from edgeinfer.quant.calibration import Progress
from edgeinfer.quant.calibration_summary import KEY, from_text, summarize
from edgeinfer.quant.choose_types import observe, reference_types
from edgeinfer.quant.explanation.bench import Bench
from edgeinfer.quant.explanation.causes import (
    Action,
    Cause,
    Explanation,
    Finding,
    Layer,
    Measured,
    Remedy,
)
from edgeinfer.quant.explanation.distribution import Unlikeness, unlikenesses
from edgeinfer.quant.explanation.findings import candidates, findings_of, ranked
from edgeinfer.quant.explanation.recovery import Recovered, recover
from edgeinfer.quant.explanation.remedies import Workshop
from edgeinfer.quant.explanation.survey import survey
from edgeinfer.quant.explanation.suspects import Suspect, suspects
from edgeinfer.quant.explanation.undoing import Undoing
from edgeinfer.quant.search import MIN_RUNS

__all__ = ["Fixed", "explain", "explain_and_fix"]

# layers measured alone, and pairs of a layer and a cause undone, at most
_MOST_ALONE, _MOST_UNDONE = 64, 96

# findings that remedies are tried for
_MOST_REMEDIED = 6

# a remedy of less is none, and one that asks for 16 bits must be better by so much
_PAYS, _MUCH_BETTER = 0.3, 1.0

# and what only removes what does nothing changes nothing
_SAME = 1e-9

_EVERYWHERE = (
    Cause.CLIPPING,
    Cause.ACTIVATION_ROUNDING,
    Cause.WEIGHT_ROUNDING,
    Cause.OUTLIERS,
    Cause.INPUT_SATURATION,
)


@dataclass(frozen=True)
class Fixed:
    """What remedies made of an integer Graph.

    Parameters
    ----------
    graph : Graph
        The integer Graph; the one that was explained where nothing pays.
    remedies : list of Remedy
        Those that were taken.
    before, after : Measured
        On runs that had no part in them, where there are eight or more.
    """

    graph: Graph
    remedies: list[Remedy]
    before: Measured
    after: Measured


def explain(
    graph: Graph,
    quantized: Graph,
    samples: Data,
    *,
    calibration: Data | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Explanation:
    """Why ``quantized`` differs from ``graph``, of which it was made, on ``samples``.

    Parameters
    ----------
    graph, quantized : Graph
        A float Graph, and what ``quantize`` made of it.
    samples : array, dict of arrays, or iterable of either
        Good ones: as the model will see them.
    calibration : array, dict of arrays, or iterable of either
        What ``quantized`` was calibrated on, where it does not say so itself.
    limit : int or None
        Take so many of the samples, as ``Options.samples`` does; all, where it is None.
    progress : callable
        As in ``Options``.

    Raises
    ------
    InputError
        The Graphs do not belong together, keep states, or the data does not fit.
    """
    return _Case.of(graph, quantized, samples, calibration, limit, progress).explanation()


def explain_and_fix(
    graph: Graph,
    quantized: Graph,
    samples: Data,
    *,
    calibration: Data | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
) -> tuple[Explanation, Fixed]:
    """As ``explain``, and what the remedies that pay make of ``quantized``, taken together."""
    case = _Case.of(graph, quantized, samples, calibration, limit, progress)
    explanation = case.explanation()
    return explanation, case.fixed(explanation)


@dataclass(frozen=True)
class _Case:
    """One integer Graph that is explained."""

    made: Recovered
    undoing: Undoing
    workshop: Workshop
    found: list[Suspect]
    unlike: list[Unlikeness]
    notes: list[str]
    progress: Progress | None

    @classmethod
    def of(
        cls,
        graph: Graph,
        quantized: Graph,
        samples: Data,
        calibration: Data | None,
        limit: int | None,
        progress: Progress | None,
    ) -> _Case:
        made = recover(graph, quantized)
        graph = made.graph
        options = replace(made.options, samples=limit, progress=progress)
        seen = observe(graph, samples, options, made.groups, searching=True)
        reference = reference_types(graph, made.groups, seen)
        bench = Bench(graph, reference, seen.kept, made.corrects_biases)
        undoing = Undoing(bench, made)
        found = suspects(
            graph, made, survey(graph, undoing.as_made, made.types, undoing.bench.runs)
        )
        divisors = {s.value: s.divisors for s in found if s.divisors}
        workshop = Workshop(bench, made, quantized, seen, options, divisors)
        notes = list(made.notes)
        if len(seen.kept) < MIN_RUNS:
            notes.append(f"of fewer than {MIN_RUNS} samples this says little: give a hundred")
        if calibration is None:
            then = from_text(quantized.provenance.get(KEY, ""))
        else:
            then = summarize(
                graph,
                observe(
                    graph, calibration, replace(options, samples=None), made.groups, searching=True
                ),
            )
        if then is None:
            notes.append(
                "the file does not say what it was calibrated on: only ranges tell whether these "
                "data are like it"
            )
        unlike = [] if then is None else unlikenesses(then, summarize(graph, seen))
        return cls(made, undoing, workshop, found, unlike, notes, progress)

    def explanation(self) -> Explanation:
        whole = self._everywhere()
        layers = self._layers()
        by_root = {s.root: layer for s, layer in zip(self.found, layers, strict=True)}
        findings = self._remedied(findings_of(self.found, by_root, whole, self.unlike))
        layers.sort(key=lambda layer: math.inf if layer.noise_db is None else layer.noise_db)
        return Explanation(
            self.workshop.measured(),
            len(self.workshop.judges),
            whole,
            layers,
            findings,
            self.notes,
        )

    # ---- undoing ----

    def _everywhere(self) -> dict[Cause, float]:
        gains = {}
        for cause in _EVERYWHERE:
            some = [s for s in self.found if cause in s.scores]
            if cause is Cause.CLIPPING and some:
                # what an input lost is missing in all that follows
                some = [s for s in self.found if {cause, Cause.INPUT_SATURATION} & s.scores.keys()]
            if some:
                gain = self._undone(cause, some)
                if gain is not None:
                    gains[cause] = gain
        return gains

    def _undone(self, cause: Cause, some: Sequence[Suspect]) -> float | None:
        roots = [s.root for s in some]
        layers = [name for s in some for name in s.layers]
        match cause:
            case Cause.CLIPPING | Cause.INPUT_SATURATION:
                return self.undoing.clipping(roots)
            case Cause.ACTIVATION_ROUNDING:
                return self.undoing.rounding(roots)
            case Cause.WEIGHT_ROUNDING:
                return self.undoing.weights(layers)
            case Cause.OUTLIERS:
                # where a channel dominates, the weights that take it are small beside the others
                readers = [name for s in some if s.dominant for name in s.readers]
                return self.undoing.outliers({s.root: s.times for s in some}, readers)
            case Cause.CONSTANT_CHANNEL:
                (one,) = some
                # faint channels make the weights that take them large beside the others
                readers = one.readers if one.divisors else []
                return self.undoing.constant(one.root, [*one.layers, *readers])
            case Cause.TABLE:
                (one,) = some
                assert one.function is not None
                return self.undoing.table(one.function)
        raise AssertionError(f"nothing undoes {cause}")

    def _layers(self) -> list[Layer]:
        """One for each suspect, in the same order."""
        found = self.found
        alone = sorted(found, key=lambda s: -sum(s.scores.values()))[:_MOST_ALONE]
        pairs = sorted(
            ((score, i, cause) for i, s in enumerate(found) for cause, score in s.scores.items()),
            key=lambda pair: -pair[0],
        )[:_MOST_UNDONE]
        total, done = len(alone) + len(pairs), 0

        def report() -> None:
            nonlocal done
            done += 1
            if self.progress is not None:
                self.progress("undoing causes", done, total)

        noises: dict[str, float] = {}
        for suspect in alone:
            noise = self.undoing.noise_alone(suspect.root, suspect.layers, suspect.readers)
            if noise is not None:
                noises[suspect.root] = noise.sqnr_db
            report()
        causes: list[dict[Cause, float]] = [{} for _ in found]
        for _, i, cause in pairs:
            gain = self._undone(cause, [found[i]])
            if gain is not None:
                causes[i][cause] = gain
            report()
        return [
            Layer(s.value, s.node, s.operator, noises.get(s.root), causes[i])
            for i, s in enumerate(found)
        ]

    # ---- remedies ----

    def _remedied(self, findings: Sequence[Finding]) -> list[Finding]:
        before = self.workshop.measured()
        made = []
        for place, finding in enumerate(findings):
            if place >= _MOST_REMEDIED and not finding.is_dead:
                made.append(finding)
                continue
            tried = []
            for remedy in self._candidates(finding):
                measured = self._tried((remedy,))
                if measured is not None:
                    tried.append((measured.sqnr_db - before.sqnr_db, remedy, measured))
            if finding.cause is Cause.DISTRIBUTION:
                # what undoes it alone is its remedy
                finding = replace(finding, gain=max((each[0] for each in tried), default=0.0))
            made.append(_with_remedy(finding, tried, self.workshop.prunable))
            if self.progress is not None:
                self.progress("trying remedies", place + 1, min(len(findings), _MOST_REMEDIED))
        of_data = len(self.unlike)
        return [*made[:of_data], *ranked(made[of_data:])]

    def _candidates(self, finding: Finding) -> list[Remedy]:
        return candidates(finding, self.made.options, finding.where in self.workshop.divisors)

    def _tried(self, remedies: tuple[Remedy, ...]) -> Measured | None:
        try:
            return self.workshop.measured(remedies)
        except (QuantizationError, InputError):
            return None

    def fixed(self, explanation: Explanation) -> Fixed:
        before = best = self.workshop.measured()
        taken: tuple[Remedy, ...] = ()
        found = [f.remedy for f in explanation.findings if f.remedy is not None]
        # ranges and weights were chosen beside what is now mended
        again = [Remedy(Action.CALIBRATE)]
        if self.made.options.rounding_weights != "in-turn":
            again.append(Remedy(Action.ROUND))
        for remedy in [*found, *again]:
            if remedy in taken:
                continue
            measured = self._tried((*taken, remedy))
            least = -_SAME if remedy.action is Action.PRUNE else _PAYS
            if measured is not None and measured.sqnr_db > best.sqnr_db + least:
                taken, best = (*taken, remedy), measured
        graph = self.workshop.made_of(taken) if taken else self.workshop.quantized
        return Fixed(graph, list(taken), before, best)


def _with_remedy(
    finding: Finding, tried: Sequence[tuple[float, Remedy, Measured]], prunable: bool
) -> Finding:
    """The finding with the best of what was tried; 16 bits only where they are much better."""

    def pays(gain: float, remedy: Remedy) -> bool:
        # what is removed makes no output better, but the model smaller
        return prunable if remedy.action is Action.PRUNE else gain >= _PAYS

    paying = [each for each in tried if pays(each[0], each[1])]
    if not paying:
        return finding
    best = max(paying, key=lambda each: each[0] - _MUCH_BETTER * each[1].asks_for_more)
    gain, remedy, measured = best
    return replace(finding, remedy=remedy, remedied=gain, agreement=measured.agreement)
