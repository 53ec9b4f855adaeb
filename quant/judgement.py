"""An integer Graph on samples that its ranges do not know, into what a user should hear of it.

The signal-to-noise ratio of a whole output says little: a dead model has a good one on samples of
zeros, and scores that are all 0 vanish beside boxes of 0 to 640. So every part of an output is
judged by itself, and what calibration saw is judged too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgeinfer.errors import InputError
from edgeinfer.graph import Graph
from edgeinfer.quant.calibration import Calibration, Run
from edgeinfer.quant.compare import Difference
from edgeinfer.quant.outputs import shares
from edgeinfer.quant.parts import extremes_along, part_axes
from edgeinfer.runtime.planner import KnownCalls
from edgeinfer.runtime.session import Session

__all__ = ["Judgement", "OutputQuality", "Reference", "judge"]

# outputs of the model that the float Graph was made from, for the inputs of one run
Reference = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]

# the least extent of a part, as a share of the largest part's, that is not float32's own rounding
_ALIVE = 2.0**-20

_MIN_SAMPLES = 8
_SATURATING = 0.05
_REFERENCE_DB = 40.0
_NAMED = 5

# the model that the Graph was made from may take seconds a run
_REFERENCE_RUNS = 3


@dataclass
class OutputQuality:
    """One output of the integer Graph beside the float one's.

    Parameters
    ----------
    name : str
        The output.
    difference : Difference
        Over the whole output and all runs.
    constant : bool
        It is one and the same on all runs, which the float one is not.
    lost : dict of int to list of int
        By axis, the indices at which it is one and the same number, and the float one is not.
    """

    name: str
    difference: Difference = field(default_factory=Difference)
    constant: bool = False
    lost: dict[int, list[int]] = field(default_factory=dict)

    @property
    def sqnr_db(self) -> float:
        """Of the whole output."""
        return self.difference.sqnr_db


@dataclass(frozen=True)
class Judgement:
    """What is known of an integer Graph.

    Parameters
    ----------
    outputs : list of OutputQuality
        In the Graph's order; none of a Graph with states.
    samples : int
        How many runs judged.
    held_back : bool
        They had no part in the ranges that were judged; else there were too few samples for that.
    findings : list of str
        What a user should know of, each with what to do.
    """

    outputs: list[OutputQuality]
    samples: int
    held_back: bool
    findings: list[str]


def judge(
    graph: Graph,
    trial: Graph,
    seen: Calibration,
    *,
    notes: Sequence[str] = (),
    reference: Reference | None = None,
) -> Judgement:
    """Hold ``trial`` against the float ``graph``.

    Parameters
    ----------
    graph : Graph
        The float Graph.
    trial : Graph
        An integer Graph from the ranges of ``seen.fitted``, so that ``seen.held_back`` is new to
        it; from those of ``seen.histograms`` where nothing was held back.
    seen : Calibration
        What calibration saw; its ``kept`` runs judge where none were held back.
    notes : sequence of str
        Further findings.
    reference : callable
        The model that ``graph`` was made from.
    """
    judged = seen.held_back or seen.kept
    # runs apart from each other say nothing of a model that keeps states
    outputs = [] if graph.states else _measured(graph, trial, judged)
    findings = [
        *_about_samples(graph, seen),
        *_about_saturation(graph, seen),
        *_about_outputs(outputs),
        *notes,
    ]
    if reference is not None and not graph.states:
        findings += _about_import(judged[:_REFERENCE_RUNS], reference)
    return Judgement(outputs, len(judged), bool(seen.held_back), findings)


def _measured(graph: Graph, trial: Graph, judged: Sequence[Run]) -> list[OutputQuality]:
    session, probabilities = Session.of_trusted(trial, KnownCalls()), shares(graph)
    extents = {name: (_Extents(), _Extents()) for name in graph.outputs}
    outputs = {name: OutputQuality(name) for name in graph.outputs}
    for run in judged:
        result = session.run(run.feed)
        for name, quality in outputs.items():
            y = result[name] if isinstance(result, dict) else result
            quality.difference.add(run.outputs[name], y)
            for seen, array in zip(extents[name], (run.outputs[name], y), strict=True):
                seen.add(array)
    for name, (floats, integers) in extents.items():
        q = trial.types[name].quantization
        if q is not None:
            outputs[name].constant = floats.whole > 0 and integers.whole == 0
            outputs[name].lost = {} if name in probabilities else _lost(floats, integers)
    return list(outputs.values())


class _Extents:
    """How far the numbers of an output extend, whole and at each index of each axis."""

    def __init__(self) -> None:
        self._low: dict[int, np.ndarray] = {}
        self._high: dict[int, np.ndarray] = {}

    def add(self, array: np.ndarray) -> None:
        """Take in one run's."""
        flat = array.astype(np.float64)
        parts = {-1: (flat.min(), flat.max())}
        parts |= {axis: extremes_along(flat, axis) for axis in part_axes(array.shape)}
        for axis, (low, high) in parts.items():
            self._low[axis] = np.minimum(self._low.get(axis, low), low)
            self._high[axis] = np.maximum(self._high.get(axis, high), high)

    @property
    def whole(self) -> float:
        """Of all numbers together."""
        return float(self._high[-1] - self._low[-1])

    @property
    def by_axis(self) -> dict[int, np.ndarray]:
        """For each axis with several indices, one an index."""
        return {axis: self._high[axis] - self._low[axis] for axis in self._low if axis >= 0}


def _lost(floats: _Extents, integers: _Extents) -> dict[int, list[int]]:
    """By axis, the indices at which only the integers are constant; not of a constant output."""
    if integers.whole == 0:
        return {}
    lost = {}
    for axis, extents in floats.by_axis.items():
        gone = (integers.by_axis[axis] == 0) & (extents > _ALIVE * extents.max())
        if gone.any() and not gone.all():
            lost[axis] = np.flatnonzero(gone).tolist()
    return lost


def _about_samples(graph: Graph, seen: Calibration) -> list[str]:
    found = []
    for name in graph.inputs:
        if name in seen.histograms and seen.histograms[name].low == seen.histograms[name].high:
            value = seen.histograms[name].low
            found.append(
                f"input {name!r} is {value:g} everywhere in all calibration samples, so its range "
                "is a guess; calibrate with samples as the model will see them"
            )
        elif name in seen.fixed_inputs:
            found.append(
                f"input {name!r} is the same in all {seen.count} calibration samples; calibrate "
                "with samples that differ, as those that the model will see"
            )
    if seen.count < _MIN_SAMPLES:
        found.append(
            f"{seen.count} calibration samples say little about others; give a hundred or so"
        )
    for outlier in seen.outliers:
        found.append(
            f"sample {outlier.index} was left out: its input {outlier.input!r} reaches "
            f"{outlier.times:.0f} times as far as all others'; if such samples are to be expected, "
            "give more of them"
        )
    return found


def _about_saturation(graph: Graph, seen: Calibration) -> list[str]:
    found = []
    for name in graph.inputs:
        if name not in seen.fitted or not seen.held_back:
            continue
        known = seen.fitted[name]
        outside = np.mean(
            [
                ((run.feed[name] < known.low) | (run.feed[name] > known.high)).mean()
                for run in seen.held_back
            ]
        )
        if outside > _SATURATING:
            found.append(
                f"{outside:.0%} of input {name!r} on samples held back lie outside of what the "
                "others hold; calibrate with more, and more varied, samples"
            )
    return found


def _about_outputs(outputs: Sequence[OutputQuality]) -> list[str]:
    found = []
    for output in outputs:
        if output.constant:
            found.append(
                f"output {output.name!r} is the same for all samples once quantized, and was not "
                f"before; try scheme int16x8, or the override {output.name!r} to int16"
            )
        for axis, indices in output.lost.items():
            named = ", ".join(map(str, indices[:_NAMED])) + (", ..." if indices[_NAMED:] else "")
            found.append(
                f"output {output.name!r} is constant at {named} along axis {axis} once quantized, "
                "and was not before: one scale serves the whole output; give these an output of "
                f"their own, or try scheme int16x8 or the override {output.name!r} to int16"
            )
    return found


def _about_import(judged: Sequence[Run], reference: Reference) -> list[str]:
    found = []
    differences: dict[str, Difference] = {}
    for run in judged:
        try:
            expected = reference(run.feed)
        except InputError as error:
            return [str(error)]
        for name, floats in run.outputs.items():
            if expected[name].shape != floats.shape:
                return [
                    f"output {name!r} has shape {list(floats.shape)} here, and "
                    f"{list(expected[name].shape)} in the imported model; give the shapes of the "
                    "inputs that are meant"
                ]
            differences.setdefault(name, Difference()).add(expected[name], floats)
    for name, difference in differences.items():
        if difference.sqnr_db < _REFERENCE_DB:
            found.append(
                f"output {name!r} differs from the imported model's, before anything is quantized: "
                f"{difference.sqnr_db:.1f} dB; please report this"
            )
    return found
