"""The error of an integer Graph's outputs on some runs: what every choice is judged by."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np

from edgeinfer.arithmetic import elementary
from edgeinfer.graph import Graph
from edgeinfer.quant.calibration import Run
from edgeinfer.quant.parts import part_axes, sums_along
from edgeinfer.runtime.planner import KnownCalls
from edgeinfer.runtime.session import Session

__all__ = ["Judge", "Noise", "outputs_of"]

Choice = TypeVar("Choice")

# less than this is no noise, but float32's own rounding
_SILENCE = 1e-12

# No part of an output may get this many times its noise, however much the whole gains: the scores
# beside a detector's boxes are a ten-thousandth of the whole.
_LOSS = 2.0

# A proposal must leave this share of the noise or less to be taken, of its sum over the runs and
# of its geometric mean as well: less is the luck of a few samples. Measured on kws_dscnn: entropy's
# cuts halve the sum on the calibration samples, the mean stays, and unseen samples lose 7 dB.
_GAIN = 0.7


def outputs_of(session: Session, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a run gives, by name also where that is one output alone."""
    y = session.run(feed)
    return y if isinstance(y, dict) else {session.outputs[0].name: y}


@dataclass(frozen=True)
class Noise:
    """The error of the outputs.

    Parameters
    ----------
    by_run : numpy.ndarray
        For each run, noise over the mean signal, summed over the outputs; never 0.
    by_part : numpy.ndarray
        The noise of each index along each axis of each output, over all runs.
    """

    by_run: np.ndarray
    by_part: np.ndarray

    @classmethod
    def of(cls, graph: Graph, runs: Sequence[Run], known: KnownCalls) -> Noise:
        """The error of ``graph`` on ``runs``."""
        session = Session.of_trusted(graph, known)
        noise = np.zeros((len(runs), len(graph.outputs)))
        signal = np.zeros((len(runs), len(graph.outputs)))
        parts: list[list[np.ndarray]] = []
        for i, run in enumerate(runs):
            result = outputs_of(session, run.feed)
            parts.append([])
            for j, name in enumerate(graph.outputs):
                y = result[name]
                reference = run.outputs[name].astype(np.float64)
                squares = (reference - y) ** 2
                signal[i, j] = (reference * reference).sum()
                noise[i, j] = squares.sum()
                parts[i] += [sums_along(squares, axis) for axis in part_axes(y.shape)]
        by_part = np.sum([np.concatenate([[0.0], *found]) for found in parts], 0)
        by_run = (noise / np.maximum(signal.mean(0), 1e-30)).sum(1) + 1e-9
        return cls(by_run, by_part)

    def is_better_than(self, other: Noise) -> bool:
        """Whether the whole gains enough and no part loses much."""
        ratio = elementary.exp(elementary.log(self.by_run / other.by_run).mean())
        gains = self.by_run.sum() < _GAIN * other.by_run.sum() and ratio < _GAIN
        return bool(gains and (self.by_part <= _LOSS * other.by_part).all())

    def is_half_of(self, other: Noise) -> bool:
        """Whether half of the other's noise is left or less, of its sum and of the geometric mean
        over the runs."""
        ratio = elementary.exp(elementary.log(self.by_run / other.by_run).mean())
        return bool(2 * self.by_run.sum() <= other.by_run.sum() and 2 * ratio <= 1)

    def is_clearly_worse_than(self, other: Noise) -> bool:
        """Whether it is no luck of a few runs that more noise is left than of the other.

        That is where the mean of the runs' logarithms is larger by twice its standard error, or all
        noise together, or that of the parts in their geometric mean, by ``_LOSS`` times.
        """
        ratios = elementary.log(self.by_run / other.by_run)
        doubt = 2 * ratios.std() / np.sqrt(len(ratios))
        mine, others = (np.maximum(each.by_part, _SILENCE) for each in (self, other))
        heard = np.maximum(mine, others) > _SILENCE
        parts = elementary.log(mine[heard] / others[heard]).mean() if heard.any() else 0.0
        lost = self.by_run.sum() > _LOSS * other.by_run.sum() or parts > math.log(_LOSS)
        return bool(lost or ratios.mean() > doubt)

    @property
    def sqnr_db(self) -> float:
        """Of all runs together, where the outputs' signals are taken as equal."""
        return -10 * math.log10(self.by_run.mean())


@dataclass(frozen=True)
class Judge(Generic[Choice]):
    """A job: the error of the integer Graph that a choice makes.

    Parameters
    ----------
    build : callable
        From the choice to the Graph.
    runs : sequence of Run
        What it is judged on.
    """

    build: Callable[[Choice], Graph]
    runs: Sequence[Run]
    _known: KnownCalls = field(default_factory=KnownCalls, init=False, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        # what is packed for this processor's kernels is of no use elsewhere
        return type(self), (self.build, self.runs)

    def __call__(self, choice: Choice) -> Noise:
        """The error."""
        return Noise.of(self.build(choice), self.runs, self._known)
