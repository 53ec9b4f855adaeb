"""The error of an integer Graph's outputs on some runs: what every choice is judged by.

What matters is judged apart, and nothing drowns in what is larger: each output, and each group of
its channels whose ranges are alike (``channel_groups.py``). Beside them, each index along each axis
must not lose much, and the extremes at each must remain: a threshold decides by them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np

from edgeinfer.arithmetic import elementary
from edgeinfer.graph import Graph
from edgeinfer.quant.calibration import Run
from edgeinfer.quant.channel_groups import ChannelGroups, channel_groups
from edgeinfer.quant.parts import part_axes, sums_along
from edgeinfer.quant.peaks import Peaks
from edgeinfer.runtime.planner import KnownCalls
from edgeinfer.runtime.session import Session

__all__ = ["Judge", "Noise", "Objective", "groups_of_outputs", "outputs_of"]

Choice = TypeVar("Choice")

# less than this is no noise, but float32's own rounding
_SILENCE = 1e-12

# No part of an output may get this many times its noise, however much the whole gains.
_LOSS = 2.0

# a group that does not gain may be left no more than this
_KEPT = 1.1

# An extreme at an index may be short of so much of its group's reach, and of more only where it was
# before: what a cut takes from the one detection of a hundred pictures is little noise.
_MISSING = 0.05


def outputs_of(session: Session, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a run gives, by name also where that is one output alone."""
    y = session.run(feed)
    return y if isinstance(y, dict) else {session.outputs[0].name: y}


def groups_of_outputs(runs: Sequence[Run], shares: Collection[str]) -> dict[str, ChannelGroups]:
    """Of each output of ``runs``, its groups of channels.

    Parameters
    ----------
    shares : collection of str
        The outputs that have one group, as probabilities: a class that is never seen is no group.
    """
    found = {}
    for name in runs[0].outputs:
        groups = channel_groups([run.outputs[name] for run in runs])
        found[name] = groups.joined() if name in shares else groups
    return found


@dataclass(frozen=True)
class Noise:
    """The error of the outputs.

    Parameters
    ----------
    by_group : numpy.ndarray
        [runs, groups]: noise over the mean signal, of each group of each output; never 0.
    by_part : numpy.ndarray
        The noise of each index along each axis of each output, over all runs.
    missing : numpy.ndarray
        By how much of its group's reach the extremes at each such index are fallen short of.
    """

    by_group: np.ndarray
    by_part: np.ndarray
    missing: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def is_better_than(self, other: Noise, share: float) -> bool:
        """Whether some group gains, none loses, no part loses much, and extremes remain.

        A group gains where less than ``share`` is left of its noise: of its sum over the runs, and
        of its geometric mean as well.
        """
        ratios = elementary.exp(elementary.log(self.by_group / other.by_group).mean(0))
        sums = self.by_group.sum(0) / other.by_group.sum(0)
        gains = (sums < share) & (ratios < share)
        kept = (sums <= _KEPT) & (ratios <= _KEPT)
        parts = self.by_part <= _LOSS * other.by_part
        return bool(gains.any() and kept.all() and parts.all() and self.keeps_extremes(other))

    def keeps_extremes(self, other: Noise) -> bool:
        """Whether none is fallen short of by much and by more than in ``other``."""
        return bool((self.missing <= np.maximum(_MISSING, other.missing)).all())

    def is_less_than(self, other: Noise, share: float) -> bool:
        """Whether a ``share`` of the other's noise is left or less, in the geometric mean over the
        runs, and no more of its sum: that a few runs may decide."""
        mine, others = self.by_group.sum(1), other.by_group.sum(1)
        ratio = elementary.exp(elementary.log(mine / others).mean())
        return bool(mine.sum() <= others.sum() and ratio <= share)

    def is_clearly_worse_than(self, other: Noise) -> bool:
        """Whether it is no luck of a few runs that more noise is left than of the other.

        That is where in some group the mean of the runs' logarithms is larger by twice its standard
        error, or all noise together by ``_LOSS`` times; or that of the parts in their geometric
        mean.
        """
        ratios = elementary.log(self.by_group / other.by_group)
        doubt = 2 * ratios.std(0) / np.sqrt(len(ratios))
        mine, others = (np.maximum(each.by_part, _SILENCE) for each in (self, other))
        heard = np.maximum(mine, others) > _SILENCE
        parts = elementary.log(mine[heard] / others[heard]).mean() if heard.any() else 0.0
        lost = (self.by_group.sum(0) > _LOSS * other.by_group.sum(0)).any()
        return bool(lost or parts > math.log(_LOSS) or (ratios.mean(0) > doubt).any())

    @property
    def whole(self) -> float:
        """Noise over signal of a run in the mean, summed over the groups as if all were equal."""
        return float(self.by_group.sum(1).mean())

    @property
    def sqnr_db(self) -> float:
        """The same as a ratio of signal to noise."""
        return -10 * math.log10(self.whole)


class Objective:
    """What some values, the outputs of runs, should be there.

    Parameters
    ----------
    runs : sequence of Run
        One or more, of the same outputs; their order means nothing.
    shares : collection of str
        The outputs whose channels are one group (``groups_of_outputs``).
    ranked : collection of str
        Those of them that are compared with each other alone, as a softmax does: extremes of these
        decide nothing.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        shares: Collection[str] = (),
        ranked: Collection[str] = (),
    ) -> None:
        self._runs = runs
        self._known: KnownCalls | None = None
        self._groups = groups_of_outputs(runs, shares)
        signal = [self._sums({n: _squares(run.outputs[n]) for n in self._groups}) for run in runs]
        self._signal = np.maximum(np.mean(signal, 0), 1e-30)
        self._peaks = {
            name: [
                Peaks.of([run.outputs[name] for run in runs], axis, groups, sign)
                for axis in part_axes(runs[0].outputs[name].shape)
                for sign in (1, -1)
            ]
            for name, groups in self._groups.items()
            if runs[0].outputs[name].dtype.kind == "f" and name not in ranked
        }

    def __getstate__(self) -> dict[str, Any]:
        # what is packed for this processor's kernels is of no use elsewhere
        return {**vars(self), "_known": None}

    def noise(self, graph: Graph) -> Noise:
        """The error of the integer ``graph``."""
        self._known = self._known or KnownCalls()
        names = tuple(self._runs[0].outputs)
        cut = graph if graph.outputs == names else graph.with_outputs(names)
        session = Session.of_trusted(cut, self._known)
        by_group = []
        by_part: np.ndarray | float = 0.0
        extremes = [(name, peaks) for name, of in self._peaks.items() for peaks in of]
        missing = [np.zeros(len(peaks.values)) for _, peaks in extremes]
        for i, run in enumerate(self._runs):
            result = outputs_of(session, run.feed)
            squares = {n: _squares(run.outputs[n], result[n]) for n in self._groups}
            by_group.append(self._sums(squares))
            by_part = by_part + np.concatenate(
                [
                    np.zeros(1),
                    *(sums_along(x, axis) for x in squares.values() for axis in part_axes(x.shape)),
                ]
            )
            for (name, peaks), short in zip(extremes, missing, strict=True):
                peaks.note_missing(i, result[name], short)
        return Noise(
            np.array(by_group) / self._signal + 1e-9,
            np.asarray(by_part),
            np.concatenate([np.zeros(1), *missing]),
        )

    def _sums(self, squares: Mapping[str, np.ndarray]) -> np.ndarray:
        """Of each group of each output, [groups]."""
        return np.concatenate([self._groups[name].sums(x) for name, x in squares.items()])


def _squares(x: np.ndarray, y: np.ndarray | float = 0.0) -> np.ndarray:
    """Of their differences, float64."""
    return np.asarray((x.astype(np.float64) - y) ** 2)


@dataclass(frozen=True)
class Judge(Generic[Choice]):
    """A job: the error of the integer Graph that a choice makes.

    Parameters
    ----------
    build : callable
        From the choice to the Graph.
    objective : Objective
        What it is held against.
    """

    build: Callable[[Choice], Graph]
    objective: Objective

    def __call__(self, choice: Choice) -> Noise:
        """The error."""
        return self.objective.noise(self.build(choice))
