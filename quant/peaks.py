"""The extremes of an output, which a threshold decides by, and what is missing of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edgeinfer.quant.channel_groups import ChannelGroups

__all__ = ["Peaks"]


@dataclass(frozen=True)
class Peaks:
    """The largest value at each index along one axis of an output over some runs, or the least.

    Parameters
    ----------
    axis : int
        The axis.
    sign : int
        1 for the largest, -1 for the least.
    runs, places : numpy.ndarray
        [indices] int64: the run that each is in, and where it is among the run's others there.
    values, reaches : numpy.ndarray
        [indices] float64: what it is, and how far its group of channels reaches.
    """

    axis: int
    sign: int
    runs: np.ndarray
    places: np.ndarray
    values: np.ndarray
    reaches: np.ndarray

    @classmethod
    def of(cls, arrays: Sequence[np.ndarray], axis: int, groups: ChannelGroups, sign: int) -> Peaks:
        """Those of an output that was ``arrays`` in some runs, the first of equal ones."""
        count = arrays[0].shape[axis]
        index, runs = np.arange(count), np.zeros(count, np.int64)
        places, values = np.zeros(count, np.int64), np.full(count, -sign * np.inf)
        for i, array in enumerate(arrays):
            rows = _rows(array, axis)
            found = (sign * rows).argmax(1)
            extremes = rows[index, found].astype(np.float64)
            more = sign * extremes > sign * values
            runs[more], places[more], values[more] = i, found[more], extremes[more]
        reaches = groups.reaches[groups.labels] if axis == groups.axis else groups.reaches.max()
        return cls(axis, sign, runs, places, values, np.broadcast_to(reaches, (count,)))

    @cached_property
    def _of_run(self) -> dict[int, np.ndarray]:
        """The indices whose extreme is in a run, for each run that has any."""
        there = self.reaches > 0
        return {
            int(run): np.flatnonzero((self.runs == run) & there) for run in np.unique(self.runs)
        }

    def note_missing(self, run: int, array: np.ndarray, missing: np.ndarray) -> None:
        """Write into ``missing`` [indices] by what share of its group's reach each extreme of a run
        is fallen short of by ``array``, what an integer Graph gives."""
        index = self._of_run.get(run)
        if index is not None:
            given = _rows(array, self.axis)[index, self.places[index]].astype(np.float64)
            short = self.sign * (self.values[index] - given)
            missing[index] = np.maximum(short, 0) / self.reaches[index]


def _rows(array: np.ndarray, axis: int) -> np.ndarray:
    """``array`` as [indices along ``axis``, others]."""
    return np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)
