"""Operators of either kind: they order or move elements, or compute with indices, so one meaning
serves both."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from edgeinfer.graph.operators.attributes import (
    Axes,
    Axis,
    Bound,
    Count,
    Counts,
    Index,
    Indices,
    Multiplier,
    Real,
    Steps,
)
from edgeinfer.graph.operators.families import (
    AlongAxis,
    Broadcasting,
    Joining,
    Moving,
    Operator,
    Reducing,
    Role,
    Selecting,
    Windowed,
)

__all__ = [
    "ArgMax",
    "Concat",
    "DepthToSpace",
    "Expand",
    "Gather",
    "GatherElements",
    "IndexArithmetic",
    "MaxPool",
    "Maximum",
    "Minimum",
    "NonMaxSuppression",
    "Pad",
    "ReduceMax",
    "ReduceMin",
    "Reshape",
    "ResizeNearest",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Tile",
    "TopIndices",
    "Transpose",
]

# ---- they choose by value ----------------------------------------------------------------------


@dataclass(frozen=True)
class MaxPool(Windowed, Selecting):
    """Largest element of each window of x [N,H,W,C]; pads never win."""

    kernel: tuple[Count, Count] = (1, 1)
    dilations: tuple[Count, Count] = (1, 1)


@dataclass(frozen=True)
class ReduceMax(Reducing, Selecting):
    """Largest element over ``axes``."""


@dataclass(frozen=True)
class ReduceMin(Reducing, Selecting):
    """Smallest element over ``axes``."""


@dataclass(frozen=True)
class Maximum(Broadcasting, Joining):
    """The larger of a and b, broadcast."""


@dataclass(frozen=True)
class Minimum(Broadcasting, Joining):
    """The smaller of a and b, broadcast."""


@dataclass(frozen=True)
class ArgMax(AlongAxis):
    """Index (int64) of the largest element along ``axis``: the first, or the last, of equals."""

    gives = (Role("index", dtype="int64"),)

    keepdims: bool = True
    select_last_index: bool = False


@dataclass(frozen=True)
class TopIndices(AlongAxis):
    """Indices (int64) of the ``count`` largest elements along ``axis``, or smallest, in order.

    Of equals the first comes first.
    """

    gives = (Role("indices", dtype="int64"),)
    since = "0.2.0"

    count: Count
    largest: bool = True


@dataclass(frozen=True)
class NonMaxSuppression(Operator):
    """boxes [N,S,4], scores [N,C,S] -> [N C count,3] (int64): sample, class, place of what stays.

    Of each sample and class the boxes with scores above ``above`` are seen, the largest score
    first, and of equals the first; one stays that shares no more than ``overlap`` 2**-30 of the
    union with any that stays, until ``count`` do. Rows that are left over hold -1, and come last.

    Boxes are two opposite corners, or where ``centered`` the centre, the width and the height.
    ``above`` is a real number on a float Graph; on an integer one, the integer below those that
    stand for more.
    """

    takes = (Role("boxes"), Role("scores"))
    gives = (Role("kept", dtype="int64"),)
    since = "0.2.0"

    count: Count
    overlap: Multiplier = 0
    above: Bound | int = -math.inf
    centered: bool = False


# ---- they compute with indices -----------------------------------------------------------------


@dataclass(frozen=True)
class IndexArithmetic(Broadcasting):
    """A function of two numbers of int64, broadcast; sums, differences and products wrap.

    ``div`` is rounded towards 0, ``mod`` has the sign of b, and both take a constant b of 1 and
    more; ``equal`` and ``greater`` give 1 or 0.
    """

    takes = (Role("a", dtype="int64"), Role("b", dtype="int64"))
    gives = (Role("y", dtype="int64"),)
    since = "0.2.0"

    function: Literal["add", "sub", "mul", "div", "mod", "max", "min", "equal", "greater"]


# ---- they choose by place ----------------------------------------------------------------------


@dataclass(frozen=True)
class Concat(Moving, Joining):
    """The inputs side by side along ``axis``."""

    takes = (Role("parts", "many"),)

    axis: Axis


@dataclass(frozen=True)
class Split(Moving):
    """x in parts of ``sizes`` elements along ``axis``, one after another."""

    gives = (Role("parts", "many"),)
    since = "0.2.0"

    axis: Axis
    sizes: tuple[Count, ...]


@dataclass(frozen=True)
class Slice(Moving):
    """``sizes`` elements an axis from ``starts`` on, ``steps`` (not 0) apart; one entry an axis."""

    starts: Indices
    sizes: Counts
    steps: Steps


@dataclass(frozen=True)
class Pad(Moving):
    """x with elements added before and after each axis.

    ``value`` fills where ``mode`` is constant: a real number on a float Graph; on an integer one,
    the integer that stands for it.
    """

    before: Indices
    after: Indices
    mode: Literal["constant", "reflect", "edge"] = "constant"
    value: Real | int = 0.0


@dataclass(frozen=True)
class Reshape(Moving):
    """The same elements in the same order under another shape."""

    shape: Counts


@dataclass(frozen=True)
class Transpose(Moving):
    """Output axis ``i`` is input axis ``permutation[i]``."""

    permutation: Axes


@dataclass(frozen=True)
class Gather(Moving):
    """data, indices (int64): the ``indices`` along ``axis``.

    Negative ones count from the end where ``from_end``, and are refused where not.
    """

    takes = (Role("data"), Role("indices", dtype="int64"))

    axis: Axis
    from_end: bool = field(default=True, metadata={"since": "0.2.0"})

    def least(self, extent: int) -> int:
        """The least index into an axis of ``extent``."""
        return -extent if self.from_end else 0


@dataclass(frozen=True)
class GatherElements(Moving):
    """data, indices (int64), of one rank: at each place, the element of that index along ``axis``.

    Along the other axes the indices may end before data does; negative ones count from the end.
    """

    takes = (Role("data"), Role("indices", dtype="int64"))
    since = "0.2.0"

    axis: Axis


@dataclass(frozen=True)
class Tile(Moving):
    """x repeated ``repeats`` times along each axis."""

    repeats: Counts


@dataclass(frozen=True)
class Expand(Moving):
    """x broadcast to ``shape``."""

    shape: Counts


@dataclass(frozen=True)
class DepthToSpace(Moving):
    """x [N,H,W,C] -> [N,H b,W b,C/(b b)], in ONNX's order ``mode``."""

    block: Count
    mode: Literal["DCR", "CRD"] = "DCR"


@dataclass(frozen=True)
class SpaceToDepth(Moving):
    """x [N,H,W,C] -> [N,H/b,W/b,C b b], in ONNX's order."""

    block: Count


@dataclass(frozen=True)
class ResizeNearest(Moving):
    """x [N,H,W,C]: output row i is input row ``rows[i]``; columns likewise."""

    rows: tuple[Index, ...]
    columns: tuple[Index, ...]
