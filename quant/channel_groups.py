"""The channels of an output into groups whose ranges are alike: boxes here, scores there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeinfer.quant.parts import extremes_along, part_axes

__all__ = ["ChannelGroups", "channel_groups"]

# within a group no channel reaches so many times as far as another
_ALIKE = 16.0

# the least reach of a channel, as a share of the largest's, that is not float32's own rounding
_ALIVE = 2.0**-20


@dataclass(frozen=True)
class ChannelGroups:
    """The groups of one output.

    Parameters
    ----------
    axis : int, or None
        Where the channels lie; None where all are alike, or there is but one.
    labels : numpy.ndarray
        The group of each channel, [channels] int64; 0 is the one that reaches farthest.
    reaches : numpy.ndarray
        The largest magnitude in each group, [groups] float64.
    """

    axis: int | None
    labels: np.ndarray
    reaches: np.ndarray

    def __len__(self) -> int:
        return len(self.reaches)

    def joined(self) -> ChannelGroups:
        """All channels as one group."""
        return ChannelGroups(None, np.zeros(1, np.int64), self.reaches.max(keepdims=True))

    def split(self, array: np.ndarray) -> list[np.ndarray]:
        """The elements of each group."""
        if self.axis is None:
            return [array]
        return [np.compress(self.labels == i, array, self.axis) for i in range(len(self))]

    def sums(self, array: np.ndarray) -> np.ndarray:
        """Of the elements of each group, [groups]."""
        return np.array([part.sum() for part in self.split(array)])


def channel_groups(arrays: Sequence[np.ndarray]) -> ChannelGroups:
    """The groups of an output that was ``arrays`` in some runs, whatever their order.

    Channels lie along the axis whose groups are farthest from each other, and the first of those
    equally far. The channel that reaches farthest begins a group, which takes in all that reach a
    16th as far or more; the farthest of the others begins the next. A channel of zeros is in the
    last. What holds whole numbers or truth values has one group.
    """
    reach = max((float(np.abs(a).max()) for a in arrays if a.size), default=0.0)
    best, gap = ChannelGroups(None, np.zeros(1, np.int64), np.array([reach])), 1.0
    if reach == 0 or arrays[0].dtype.kind != "f":
        return best
    for axis in part_axes(arrays[0].shape):
        ends = [np.abs(extremes_along(a, axis)).max(0) for a in arrays]
        found = _along(np.max(ends, 0).astype(np.float64))
        between = max((high / low for high, low in found.gaps), default=1.0)
        if between > gap:
            best, gap = ChannelGroups(axis, found.labels, found.reaches), between
    return best


@dataclass(frozen=True)
class _Along:
    """Groups along one axis; ``gaps`` are the least reach of one and the largest of the next."""

    labels: np.ndarray
    reaches: np.ndarray
    gaps: list[tuple[float, float]]


def _along(reaches: np.ndarray) -> _Along:
    order = np.argsort(-reaches, kind="stable")
    first, before = reaches[order[0]], reaches[order[0]]
    firsts, gaps = [float(first)], []
    labels = np.zeros(len(reaches), np.int64)
    for index in order:
        reach = reaches[index]
        if _ALIVE * firsts[0] < reach < first / _ALIKE:
            gaps.append((float(before), float(reach)))
            firsts.append(float(reach))
            first = reach
        labels[index] = len(firsts) - 1
        before = reach
    return _Along(labels, np.array(firsts), gaps)
