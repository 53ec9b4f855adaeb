"""The types of operators' attributes, each with its legal range, and the check of a value."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
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
    "test_of",
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
    return test_of(kind)(value)


# large models ask of each operator again and again
@cache
def test_of(kind: Any) -> Callable[[Any], bool]:
    """What tells whether a value is of the type ``kind``."""
    origin = get_origin(kind)
    if origin is Annotated:
        base, bounds = get_args(kind)
        is_base, admits = test_of(base), bounds.admits
        return lambda value: is_base(value) and admits(value)
    if origin is Literal:
        choices = get_args(kind)
        return lambda value: any(type(value) is type(c) and value == c for c in choices)
    if origin in (Union, UnionType):
        tests = tuple(map(test_of, get_args(kind)))
        return lambda value: any(test(value) for test in tests)
    if origin is tuple:
        return _tuple_test(get_args(kind))
    if kind is Any:
        return lambda value: True
    if kind is float:
        return lambda value: type(value) is float and not math.isnan(value)
    return lambda value: type(value) is kind


def _tuple_test(items: tuple[Any, ...]) -> Callable[[Any], bool]:
    if len(items) == 2 and items[1] is Ellipsis:
        each = test_of(items[0])
        return lambda value: isinstance(value, tuple) and all(map(each, value))
    tests = tuple(map(test_of, items))
    return lambda value: (
        isinstance(value, tuple)
        and len(value) == len(tests)
        and all(test(v) for test, v in zip(tests, value, strict=True))
    )
