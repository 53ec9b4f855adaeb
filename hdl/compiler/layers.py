"""What the array and the lanes do at once: a layer, whatever operator it was.

The array knows three things to do (``isa.Mode``). ``lowering.py`` makes every operator one of them,
with the numbers it needs; where its values lie, and how it is cut into tiles, comes later.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from edgeinfer.graph import Node
from edgeinfer.graph import operators as ops
from edgeinfer.hdl.isa import Mode, Operation

__all__ = ["IDENTITY", "Layer", "Lowered", "Region", "Second", "geometry"]

IDENTITY = (1 << 30, 30)
"""Multiplier and shift under which R1 gives back every accumulator."""


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


@dataclass(frozen=True)
class Region:
    """Output rows and columns, first and one past the last."""

    top: int
    left: int
    bottom: int
    right: int


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
    group : int
    bias, multiplier, shift : int64 [O]
        The bias holds what the source's zero point adds.
    zero_point, lo, hi : int
    double : bool
        R2 instead of R1.
    region : Region or None
        The part of the output that this layer makes; None for all.
    second : Second or None
    table : array or None
        What the result is looked up in.
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
    double: bool = False
    region: Region | None = None
    second: Second | None = None
    table: np.ndarray | None = None


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
    """

    layers: list[Layer] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    concats: dict[str, tuple[str, ...]] = field(default_factory=dict)
    prologue: list[Layer] = field(default_factory=list)
    made: dict[str, tuple[int, int, int]] = field(default_factory=dict)


def geometry(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Height, width and channels as which a shape with a batch of 1 lies in the buffer."""
    if len(shape) == 4:
        return shape[1], shape[2], shape[3]
    if len(shape) < 2:
        return 1, 1, math.prod(shape)
    return 1, math.prod(shape[1:-1]), shape[-1]
