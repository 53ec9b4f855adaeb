"""What the array and the lanes do at once: a layer, whatever operator it was.

The array knows three things to do (``isa.Mode``). ``lowering.py`` makes every operator one of them,
with the numbers it needs; where its values lie, and how it is cut into tiles, comes later.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from edgeinfer.graph import Node
from edgeinfer.graph import operators as ops
from edgeinfer.hdl.isa import Mode, Operation, Reduction, SetNormalization

__all__ = [
    "UNCHANGED",
    "Factor",
    "Geometry",
    "Grid",
    "Layer",
    "Lowered",
    "Reduced",
    "Region",
    "Second",
    "geometry",
    "identity",
]

Geometry: TypeAlias = tuple[int, int, int]
"""Height, width and channels."""

UNCHANGED = (1 << 30, 30)
"""Multiplier and shift under which R1 gives back every accumulator."""

# the bounds that take nothing from an integer of 8 or of 16 bits
_WHOLE = [(-(1 << bits - 1), (1 << bits - 1) - 1) for bits in (8, 16)]


@dataclass(frozen=True)
class Second:
    """What the lanes do with a second operand.

    Parameters
    ----------
    value : str
        The operand.
    intermediate : str or None
        The value that the first operand is, where the Graph has it.
    operation : Operation
    op : QAdd, QSub or QMul
        Its numbers.
    swapped : bool
        The accumulators hold the Graph's second operand.
    """

    value: str
    intermediate: str | None
    operation: Operation
    op: ops.QAdd | ops.QMul
    swapped: bool


@dataclass(frozen=True, eq=False)
class Reduced:
    """What REDUCE makes of the pixels that a layer has written, in place.

    Parameters
    ----------
    kind : Reduction
    setting : SetNormalization or None
        None for softmax.
    entries : tuple of int64 [count, words]
        Tables of 32-bit words, as ``constant_image.wide_rows`` takes them.
    """

    kind: Reduction
    setting: SetNormalization | None
    entries: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Factor:
    """A line of a value in the place of a layer's weights: a pixel for each channel of the source.

    Parameters
    ----------
    value : str
        The layer's output has as many channels as its pixels.
    line : int
    zero_point, source_zero_point : int
        Its own, and the source's.
    """

    value: str
    line: int
    zero_point: int
    source_zero_point: int


@dataclass(frozen=True)
class Region:
    """A layer's rows and columns, first and one past the last."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def rows(self) -> int:
        """How many."""
        return self.bottom - self.top

    @property
    def columns(self) -> int:
        """How many."""
        return self.right - self.left

    def bands(self, rows: int) -> list[Region]:
        """Parts of ``rows`` rows at most."""
        return [
            replace(self, top=top, bottom=min(top + rows, self.bottom))
            for top in range(self.top, self.bottom, rows)
        ]

    def tiles(self, pixels: int, *, least: int = 1) -> list[Region]:
        """Parts of so many ``pixels`` at most: whole rows where they fit.

        ``least`` is the number of parts at least, where there are so many rows.
        """
        across = -(-self.columns // -(-self.columns // pixels))
        down = max(-(-self.rows // max(1, pixels // across)), min(least, self.rows))
        return [
            replace(band, left=left, right=min(left + across, self.right))
            for band in self.bands(-(-self.rows // down))
            for left in range(self.left, self.right, across)
        ]


@dataclass(frozen=True)
class Grid:
    """Where a layer's results lie in its output.

    Row r is line ``top + r down``, column c pixel ``left + c across``; ``turned``, row r is pixel
    ``left + r across`` and column c line ``top + c down``.
    """

    top: int = 0
    left: int = 0
    down: int = 1
    across: int = 1
    turned: bool = False

    def lines(self, rows: range) -> range:
        """The lines of ``rows``."""
        return _spread(rows, self.top, self.down)

    def pixels(self, columns: range) -> range:
        """The pixels of ``columns``."""
        return _spread(columns, self.left, self.across)


def _spread(places: range, first: int, step: int) -> range:
    start = first + places.start * step
    return range(start, start + (len(places) - 1) * step + 1, step)


@dataclass(frozen=True, eq=False)
class Layer:
    """One job of the array and the lanes.

    Parameters
    ----------
    node : Node
        The node that it computes, for messages.
    mode : Mode
    source, output : str
        The values that it reads and writes.
    kernel, strides, dilations : pair of int
        Rows and columns.
    pads : pair of int
        Above and left of the tensor; negative where its beginning is left out.
    pad : int
        The integer that padding reads as.
    weights : int64 [O, kh, kw, I / group]
        Depthwise and maximum: [C, kh, kw, 1].
    channels : range or None
        Those of the source that the weights are for, all I of them; None where that is every one.
    group : int
    bias, multiplier, shift : int64 [O]
        The bias holds what the source's zero point adds.
    zero_point, lo, hi : int
    double : bool
        R2 instead of R1.
    region : Region or None
        The rows and columns that this layer makes; None for all of its output.
    grid : Grid
        Where they lie in it.
    second : Second or None
    table : array or None
        What the result is looked up in.
    reduced : Reduced or None
    elements : bool
        Each element of the source's lines, of whole words, is a pixel of one channel.
    factor : Factor or None
        What the weights are, where a run computes them; ``weights`` are then zeros.
    """

    node: Node
    mode: Mode
    source: str
    output: str
    kernel: tuple[int, int]
    weights: np.ndarray
    bias: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray
    zero_point: int
    lo: int
    hi: int
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int] = (0, 0)
    pad: int = 0
    group: int = 1
    channels: range | None = None
    double: bool = False
    region: Region | None = None
    grid: Grid = Grid()
    second: Second | None = None
    table: np.ndarray | None = None
    reduced: Reduced | None = None
    elements: bool = False
    factor: Factor | None = None

    @property
    def operands(self) -> tuple[str, ...]:
        """The values that it reads, its source first."""
        second = () if self.second is None else (self.second.value,)
        return (self.source, *second, *(() if self.factor is None else (self.factor.value,)))

    def read(self, positions: tuple[int, ...]) -> tuple[int, ...]:
        """Of a source with its channels at ``positions``, those that the weights are for."""
        if self.elements:
            return (0,)
        return (
            positions
            if self.channels is None
            else positions[self.channels.start :][: len(self.channels)]
        )

    @property
    def passes_on(self) -> bool:
        """Whether what comes before the second operand is the source as it is."""
        return (
            (self.lo, self.hi) in _WHOLE
            and self.zero_point == 0
            and not self.bias.any()
            and bool((self.weights == 1).all())
            and bool((self.multiplier == UNCHANGED[0]).all() and (self.shift == UNCHANGED[1]).all())
        )

    def shares(self, most: int) -> list[Layer]:
        """Layers whose weights are within ``most`` and add up to its own: one where these are."""
        count = max(1, -(-int(np.abs(self.weights).max()) // most))
        if count == 1 or (np.abs(self.weights) - (self.weights < 0)).max() <= most:
            return [self]
        up_to = [self.weights * share // count for share in range(count + 1)]
        return [replace(self, weights=b - a) for a, b in pairwise(up_to)]

    def pixel(self, elements: int) -> int:
        """Elements from a pixel to the next, where the source has so many."""
        return 1 if self.elements else elements

    def part(self, rows: range, columns: range, channels: range) -> Layer:
        """The same with a part of its kernel; the parts' sums, or maxima, make the whole's."""
        top, left = rows.start * self.dilations[0], columns.start * self.dilations[1]
        own = self.channels
        if len(channels) < self.weights.shape[3]:
            start = channels.start + (own.start if own is not None else 0)
            own = range(start, start + len(channels))
        return replace(
            self,
            kernel=(len(rows), len(columns)),
            pads=(self.pads[0] - top, self.pads[1] - left),
            weights=self.weights[
                :,
                rows.start : rows.stop,
                columns.start : columns.stop,
                channels.start : channels.stop,
            ],
            channels=own,
        )


def identity(
    node: Node, mode: Mode, source: str, output: str, weights: np.ndarray, dtype: DTypeLike
) -> Layer:
    """The layer whose results are its sums as they are, within the integers of ``dtype``.

    ``weights`` are int64 [O, kh, kw, I], of all channels in one group if the mode is dense.
    """
    count, limits = len(weights), np.iinfo(dtype)
    return Layer(
        node=node,
        mode=mode,
        source=source,
        output=output,
        kernel=(weights.shape[1], weights.shape[2]),
        weights=weights,
        group=1 if mode is Mode.DENSE else count,
        bias=np.zeros(count, np.int64),
        multiplier=np.full(count, UNCHANGED[0]),
        shift=np.full(count, UNCHANGED[1]),
        zero_point=0,
        lo=int(limits.min),
        hi=int(limits.max),
    )


@dataclass
class Lowered:
    """A Graph's layers, and which values are others in another guise.

    Parameters
    ----------
    layers : list of Layer
        In order.
    aliases : dict of str to str
        A value with the same elements in the same order as another.
    concats : dict of str to tuple of str
        A value that is its operands side by side in the channels.
    prologue : list of Layer
        What makes constants; before all others, so that any layer may have them.
    made : dict of str to tuple of int
        Values that the Graph does not have: their height, width and channels.
    constants : dict of str to array
        Of the made ones, int64 [H, W, C], those that are constant and lie in host memory.
    """

    layers: list[Layer] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    concats: dict[str, tuple[str, ...]] = field(default_factory=dict)
    prologue: list[Layer] = field(default_factory=list)
    made: dict[str, Geometry] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)


def geometry(shape: tuple[int, ...]) -> Geometry:
    """Height, width and channels as which a shape with a batch of 1 lies in the buffer."""
    if len(shape) == 4:
        return shape[1], shape[2], shape[3]
    if len(shape) < 2:
        return 1, 1, math.prod(shape)
    return 1, math.prod(shape[1:-1]), shape[-1]
