"""What a model was calibrated on, small enough for its file: to be held against other data later.

Of each input that holds floats: how far it reaches, and of its runs the mean and the covariance of
each channel's mean and standard deviation. Of outputs that are classes: how often calibration saw
each.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from edgeinfer.graph import Graph
from edgeinfer.quant.calibration import Calibration, Run
from edgeinfer.quant.outputs import classes_of, has_classes

__all__ = ["KEY", "InputSummary", "Summary", "from_text", "summarize", "to_text"]

KEY = "calibrated_on"
"""Under what a Graph's provenance holds the text of its summary."""

# an axis of more is none of channels
_MOST_CHANNELS = 4

_DIGITS = 5

# classes that are told; a thousand would be more than the rest of a small file
_MOST_CLASSES = 16


@dataclass(frozen=True)
class InputSummary:
    """One input.

    Parameters
    ----------
    axis : int or None
        Which axis holds the channels; None takes the whole input as one.
    low, high : float
        The ends of what it held.
    mean : list of float
        [2 C], over the runs: of each channel's mean, then of each channel's standard deviation.
    covariance : list of list of float
        [2 C][2 C] of the same, over the runs.
    """

    axis: int | None
    low: float
    high: float
    mean: list[float]
    covariance: list[list[float]]

    @property
    def channels(self) -> int:
        """How many channels."""
        return len(self.mean) // 2


@dataclass(frozen=True)
class Summary:
    """All that a file says of what it was calibrated on.

    Parameters
    ----------
    runs : int
        How many runs are summed up.
    inputs : dict of str to InputSummary
        By name.
    classes : dict of str to int
        How many samples have which class, the most frequent ones; empty where outputs are none.
    """

    runs: int
    inputs: Mapping[str, InputSummary]
    classes: Mapping[str, int] = field(default_factory=dict)


def summarize(graph: Graph, seen: Calibration) -> Summary:
    """What the runs that calibration sampled hold; whatever their order, the same."""
    runs = seen.sampled
    inputs = {
        name: _of_input(graph.types[name].shape, [run.feed[name] for run in runs], seen, name)
        for name in graph.inputs
        if graph.types[name].dtype == "float32" and runs
    }
    return Summary(len(runs), inputs, _classes(graph, runs))


def to_text(summary: Summary) -> str:
    """As JSON."""
    return json.dumps(asdict(summary), sort_keys=True, separators=(",", ":"))


def from_text(text: str) -> Summary | None:
    """What ``to_text`` made, or None of a text that it did not make."""
    try:
        found = json.loads(text)
        inputs = {name: InputSummary(**values) for name, values in found["inputs"].items()}
        summary = Summary(int(found["runs"]), inputs, dict(found["classes"]))
        shapes = [(np.shape(s.mean), np.shape(s.covariance)) for s in inputs.values()]
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    sound = all(len(m) == 1 and c == (m[0], m[0]) and m[0] % 2 == 0 for m, c in shapes)
    return summary if sound else None


def _of_input(
    shape: tuple[int, ...], arrays: Sequence[np.ndarray], seen: Calibration, name: str
) -> InputSummary:
    axis = _channel_axis(shape)
    features = np.array([_features(array, axis) for array in arrays])
    middle = features.mean(0)
    about = features - middle
    # NumPy's own sums have the same order everywhere; a BLAS does not
    covariance = (about[:, :, None] * about[:, None, :]).mean(0)
    known = seen.histograms[name]
    return InputSummary(
        axis,
        _rounded(known.low),
        _rounded(known.high),
        [_rounded(x) for x in middle],
        [[_rounded(x) for x in row] for row in covariance],
    )


def _channel_axis(shape: tuple[int, ...]) -> int | None:
    """Where three or so channels stand: at the end, or before height and width."""
    if len(shape) < 3:
        return None
    return next((a for a in (len(shape) - 1, 1) if shape[a] <= _MOST_CHANNELS), None)


def _features(array: np.ndarray, axis: int | None) -> np.ndarray:
    x = array.astype(np.float64)
    x = x.reshape(1, -1) if axis is None else np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1)
    x = np.ascontiguousarray(x)
    return np.concatenate([x.mean(1), x.std(1)])


def _classes(graph: Graph, runs: Sequence[Run]) -> dict[str, int]:
    if not (has_classes(graph) and runs):
        return {}
    (name,) = graph.outputs
    found = np.concatenate([classes_of(run.outputs[name]) for run in runs])
    numbers, counts = np.unique(found, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:_MOST_CLASSES]
    return {str(numbers[i]): int(counts[i]) for i in most}


def _rounded(x: float) -> float:
    return float(f"{x:.{_DIGITS}g}")
