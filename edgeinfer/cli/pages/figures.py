"""Findings into the coordinates of figures, which the templates draw as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgeinfer.graph import Graph, TensorType
from edgeinfer.graph.lifetimes import last_uses
from edgeinfer.quant.explanation import Cause
from edgeinfer.quant.observers import Histogram
from edgeinfer.runtime.planner import plan

__all__ = [
    "ArenaUse",
    "CauseBar",
    "Cell",
    "ConfusionCells",
    "Lifetime",
    "Range",
    "cause_bars",
    "class_name",
    "confusion_of",
    "memory_of",
    "range_of",
]

_BARS = 64

# what a bar of a cause is too short to be seen for, in dB
_LEAST_DB = 0.05


@dataclass(frozen=True)
class Range:
    """Where the values of a float layer lie, and what its integers can say of them.

    Parameters
    ----------
    bars : tuple of float
        Heights of equal bars from ``low`` to ``high``, of 1; logarithms of counts.
    low, high : float
        What was seen, and the cuts.
    cuts : tuple of float, or None
        The lowest and highest number that the integers stand for.
    beyond : float
        The share of the values beyond the cuts.
    """

    bars: tuple[float, ...]
    low: float
    high: float
    cuts: tuple[float, float] | None
    beyond: float

    def place(self, value: float) -> float:
        """Where ``value`` lies between ``low`` and ``high``, of 1."""
        return (value - self.low) / (self.high - self.low)


def range_of(seen: Histogram, kind: TensorType) -> Range:
    """The figure of a value that was ``seen`` in floats, beside its integer type ``kind``."""
    low, high, cuts = min(seen.low, 0.0), max(seen.high, 0.0), None
    if kind.quantization is not None and kind.quantization.axis is None:
        cuts = kind.range
        low, high = min(low, cuts[0]), max(high, cuts[1])
    if low == high:
        low, high = low - 1, high + 1
    centers = seen.centers()
    counts = seen.counts.astype(np.float64)
    filled = counts > 0
    heights, _ = np.histogram(centers[filled], _BARS, (low, high), weights=counts[filled])
    heights[min(int(-low / (high - low) * _BARS), _BARS - 1)] += seen.zeros
    heights = np.log1p(heights)
    beyond = 0.0
    if cuts is not None and seen.total:
        half = (high - low) / _BARS / 2 if kind.quantization is None else kind.quantization.step / 2
        outside = (centers < cuts[0] - half) | (centers > cuts[1] + half)
        beyond = float(counts[outside].sum()) / seen.total
    scaled = heights / max(float(heights.max()), 1.0)
    return Range(tuple(scaled.tolist()), low, high, cuts, beyond)


@dataclass(frozen=True)
class Lifetime:
    """One value in the arena: from which step to which, from which byte on, how many."""

    name: str
    first: int
    last: int
    offset: int
    nbytes: int


@dataclass(frozen=True)
class ArenaUse:
    """The arena of a model over the steps of one run."""

    blocks: tuple[Lifetime, ...]
    steps: int
    nbytes: int


def memory_of(graph: Graph) -> ArenaUse:
    """The figure of an integer Graph's arena, one step a node."""
    made = plan(graph)
    last = last_uses(graph)
    first = dict.fromkeys(graph.inputs, 0)
    first |= {name: i for i, node in enumerate(graph.nodes) for name in node.outputs}
    end = len(graph.nodes) - 1
    blocks = [
        Lifetime(name, index, min(last.get(name, index), end), place.offset, place.nbytes)
        for name, index in first.items()
        if (place := made.places.get(name)) is not None and place.space == "arena"
    ]
    return ArenaUse(tuple(blocks), len(graph.nodes), made.values_bytes)


@dataclass(frozen=True)
class Cell:
    """How often class ``right`` was ``taken`` for another, and how much of its samples that is."""

    right: int
    taken: int
    count: int
    share: float


@dataclass(frozen=True)
class ConfusionCells:
    """The cells of a confusion matrix that are not 0."""

    cells: tuple[Cell, ...]
    names: tuple[str, ...]


def confusion_of(counts: Sequence[Sequence[int]], labels: Sequence[str]) -> ConfusionCells:
    """The figure of counts by right class and by the class that it was taken for."""
    cells = []
    for right, row in enumerate(counts):
        whole = max(sum(row), 1)
        cells += [Cell(right, t, count, count / whole) for t, count in enumerate(row) if count]
    return ConfusionCells(tuple(cells), tuple(class_name(labels, i) for i in range(len(counts))))


def class_name(labels: Sequence[str], number: int) -> str:
    """The label of a class, or its number where the model has no labels."""
    return labels[number] if number < len(labels) else str(number)


@dataclass(frozen=True)
class CauseBar:
    """What undoing one cause is worth.

    Parameters
    ----------
    cause : Cause
        The cause, which has a colour of its own.
    gain : float
        In dB.
    share : float
        The length of its bar, of 1.
    """

    cause: Cause
    gain: float
    share: float


def cause_bars(gains: Mapping[Cause, float], longest: float) -> tuple[CauseBar, ...]:
    """The figure of ``gains`` in dB, the largest first; a bar of ``longest`` dB is full.

    What makes nothing better has none.
    """
    seen = {cause: gain for cause, gain in gains.items() if gain >= _LEAST_DB}
    ordered = sorted(seen.items(), key=lambda item: -item[1])
    return tuple(CauseBar(cause, gain, min(gain / longest, 1.0)) for cause, gain in ordered)
