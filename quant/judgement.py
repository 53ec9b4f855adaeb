"""An integer Graph on samples that its ranges do not know, into what a user should hear of it.

The signal-to-noise ratio of a whole output says little: a dead model has a good one on samples of
zeros, and scores that are all 0 vanish beside boxes of 0 to 640. So every part of an output is
judged by itself, and what calibration saw is judged too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgeinfer.advice import give_width, keep_states
from edgeinfer.errors import InputError
from edgeinfer.graph import Graph
from edgeinfer.graph.likely_states import likely_states
from edgeinfer.quant.calibration import Calibration, Run
from edgeinfer.quant.compare import Difference
from edgeinfer.quant.objective import outputs_of
from edgeinfer.quant.outputs import shares
from edgeinfer.quant.parts import extremes_along, part_axes, sums_along
from edgeinfer.runtime.planner import KnownCalls
from edgeinfer.runtime.session import Session

__all__ = ["Judgement", "OutputQuality", "Reference", "judge"]

# outputs of the model that the float Graph was made from, for the inputs of one run
Reference = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]

# the least extent of a part, as a share of the largest part's, that is not float32's own rounding
_ALIVE = 2.0**-20

# below this ratio of signal to noise, the noise is half as large as the signal
_NOISE_DB = 6.0

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
    noisy : dict of int to list of int
        By axis, the other indices at which less than 6 dB are left, where the whole has more.
    is_wide : bool
        It has 16 bits.
    """

    name: str
    difference: Difference = field(default_factory=Difference)
    constant: bool = False
    lost: dict[int, list[int]] = field(default_factory=dict)
    noisy: dict[int, list[int]] = field(default_factory=dict)
    is_wide: bool = False

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
    ratios = {name: _Ratios() for name in graph.outputs}
    outputs = {name: OutputQuality(name) for name in graph.outputs}
    for run in judged:
        result = outputs_of(session, run.feed)
        for name, quality in outputs.items():
            y = result[name]
            quality.difference.add(run.outputs[name], y)
            ratios[name].add(run.outputs[name], y)
            for seen, array in zip(extents[name], (run.outputs[name], y), strict=True):
                seen.add(array)
    for name, (floats, integers) in extents.items():
        if trial.types[name].quantization is None:
            continue
        output = outputs[name]
        output.is_wide = trial.types[name].dtype == "int16"
        output.constant = floats.whole > 0 and integers.whole == 0
        if name not in probabilities:
            output.lost = _lost(floats, integers)
            if output.sqnr_db >= _NOISE_DB:
                output.noisy = _noisy(floats, ratios[name], output.lost)
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


class _Ratios:
    """Signal and noise of an output at each index of each axis."""

    def __init__(self) -> None:
        self._signal: dict[int, np.ndarray] = {}
        self._noise: dict[int, np.ndarray] = {}

    def add(self, a: np.ndarray, b: np.ndarray) -> None:
        """Take in one run's floats and integers."""
        signal = a.astype(np.float64)
        noise = (signal - b) ** 2
        for axis in part_axes(a.shape):
            self._signal[axis] = self._signal.get(axis, 0) + sums_along(signal**2, axis)
            self._noise[axis] = self._noise.get(axis, 0) + sums_along(noise, axis)

    def below(self, axis: int, ratio_db: float) -> np.ndarray:
        """Whether signal and noise differ by less than ``ratio_db``, by index along ``axis``."""
        return np.asarray(self._signal[axis] < self._noise[axis] * 10 ** (ratio_db / 10))


def _noisy(floats: _Extents, ratios: _Ratios, lost: dict[int, list[int]]) -> dict[int, list[int]]:
    """By axis, the indices at which little but noise is left, but for those that are lost."""
    noisy = {}
    for axis, extents in floats.by_axis.items():
        found = ratios.below(axis, _NOISE_DB) & (extents > _ALIVE * extents.max())
        found[lost.get(axis, [])] = False
        if found.any():
            noisy[axis] = np.flatnonzero(found).tolist()
    return noisy


def _about_samples(graph: Graph, seen: Calibration) -> list[str]:
    found = []
    likely = likely_states(graph)
    for name in graph.inputs:
        keep = ""
        if name in likely:
            keep = f", or keep it from run to run with {keep_states({name: likely[name]})}"
        held = seen.histograms.get(name)
        # beside never a mask is 0 everywhere
        if held is not None and held.low == held.high and name not in seen.never:
            value = held.low
            found.append(
                f"input {name!r} is {value:g} everywhere in all calibration samples, so its range "
                f"is a guess; calibrate with samples as the model will see them{keep}"
            )
        elif name in seen.fixed_inputs:
            found.append(
                f"input {name!r} is the same in all {seen.count} calibration samples; calibrate "
                f"with samples that differ, as those that the model will see{keep}"
            )
    if seen.count < _MIN_SAMPLES:
        say = "samples say" if seen.count > 1 else "sample says"
        found.append(f"{seen.count} calibration {say} little about others; give a hundred or so")
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
        known, never = seen.fitted[name], seen.never.get(name, ())
        low = -np.inf if -1 in never else known.low
        high = np.inf if 1 in never else known.high
        outside = np.mean(
            [((run.feed[name] < low) | (run.feed[name] > high)).mean() for run in seen.held_back]
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
        override = give_width(output.name, "int16")
        elsewhere = "compare shows which layers lose it"
        if output.constant:
            remedy = elsewhere if output.is_wide else f"try scheme int16x8, or {override}"
            found.append(
                f"output {output.name!r} is the same for all samples once quantized, and was not "
                f"before; {remedy}"
            )
        elif output.sqnr_db < _NOISE_DB:
            remedy = elsewhere if output.is_wide else f"try scheme int16x8; {elsewhere}"
            found.append(
                f"output {output.name!r} is mostly noise once quantized, with "
                f"{output.sqnr_db:.1f} dB; {remedy}"
            )
        own = "one scale serves the whole output; give these an output of their own"
        own += "" if output.is_wide else f", or try scheme int16x8 or {override}"
        found += [
            f"output {output.name!r} is constant at {_named(indices)} along axis {axis} once "
            f"quantized, and was not before: {own}"
            for axis, indices in output.lost.items()
        ]
        found += [
            f"output {output.name!r} is mostly noise at {_named(indices)} along axis {axis} once "
            f"quantized, with less than {_NOISE_DB:.0f} dB: {own}"
            for axis, indices in output.noisy.items()
        ]
    return found


def _named(indices: Sequence[int]) -> str:
    return ", ".join(map(str, indices[:_NAMED])) + (", ..." if indices[_NAMED:] else "")


def _about_import(judged: Sequence[Run], reference: Reference) -> list[str]:
    found = []
    differences: dict[str, Difference] = {}
    unlike: dict[str, None] = {}  # finite here, and not there
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
            if not np.isfinite(expected[name]).all() and np.isfinite(floats).all():
                unlike[name] = None
                continue
            differences.setdefault(name, Difference()).add(expected[name], floats)
    found += [
        f"output {name!r} has values in the imported model that are not finite, and are here: so "
        "it is where a mask leaves a Softmax nothing"
        for name in unlike
    ]
    for name, difference in differences.items():
        if difference.sqnr_db < _REFERENCE_DB:
            found.append(
                f"output {name!r} differs from the imported model's, before anything is quantized: "
                f"{difference.sqnr_db:.1f} dB; please report this"
            )
    return found
