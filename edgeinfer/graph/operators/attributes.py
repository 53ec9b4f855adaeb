"""The types of operators' attributes, each with its legal range, and the check of a value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

__all__ = [
    "Axes",
    "Axis",
    "Bound",
    "Count",
    "Counts",
    "Exponent",
    "Index",
    "Indices",
    "Multiplier",
    "NotNegative",
    "Pads",
    "Real",
    "Rounding",
    "Shift",
    "Steps",
    "ZeroPoint",
    "fits",
]


@dataclass(frozen=True)
class Within:
    """An attribute's legal range, both ends included."""

    low: float
    high: float

    def admits(self, value: Any) -> bool:
        """Whether ``value`` is in the range."""
        return bool(self.low <= value <= self.high)


@dataclass(frozen=True)
class UpTo:
    """The most entries that an attribute may have."""

    length: int

    def admits(self, value: Any) -> bool:
        """Whether ``value`` has no more."""
        return len(value) <= self.length


_LIMIT = 2**31 - 1
Count = Annotated[int, Within(1, _LIMIT)]
Index = Annotated[int, Within(0, _LIMIT)]
Axis = Annotated[int, Within(0, 7)]
Step = Annotated[int, Within(-_LIMIT, _LIMIT)]
ZeroPoint = Annotated[int, Within(-32768, 32767)]
Multiplier = Annotated[int, Within(0, _LIMIT)]
Shift = Annotated[int, Within(2, 62)]
Exponent = Annotated[int, Within(-1024, 1024)]
Real = Annotated[float, Within(-3.5e38, 3.5e38)]
NotNegative = Annotated[float, Within(0.0, 3.5e38)]
Bound = Annotated[float, Within(-math.inf, math.inf)]
Rounding = Literal["single", "double"]
Pads = tuple[Index, Index, Index, Index]
# one entry an axis, of which a value has at most 8
Axes = Annotated[tuple[Axis, ...], UpTo(8)]
Counts = Annotated[tuple[Count, ...], UpTo(8)]
Indices = Annotated[tuple[Index, ...], UpTo(8)]
Steps = Annotated[tuple[Step, ...], UpTo(8)]


def fits(value: Any, kind: Any) -> bool:
    """Whether an attribute's value is of the annotated type and in its range."""
    origin = get_origin(kind)
    if origin is Annotated:
        base, bounds = get_args(kind)
        return fits(value, base) and bool(bounds.admits(value))
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in get_args(kind))
    if origin in (Union, UnionType):
        return any(fits(value, choice) for choice in get_args(kind))
    if origin is tuple:
        items = get_args(kind)
        if not isinstance(value, tuple):
            return False
        if len(items) == 2 and items[1] is Ellipsis:
            return all(fits(v, items[0]) for v in value)
        return len(value) == len(items) and all(map(fits, value, items))
    if kind is Any:
        return True
    if kind is float:
        return type(value) is float and not math.isnan(value)
    return type(value) is kind
