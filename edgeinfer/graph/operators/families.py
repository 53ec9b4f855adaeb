"""What operators have in common: their base, the roles of their inputs, and the families.

A stage that treats a whole family alike registers the family; what holds for one operator alone
is registered for its class, and goes before. A new member of a family so has most stages already.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_type_hints

from edgeinfer.arithmetic import pointwise
from edgeinfer.graph.operators.attributes import (
    Axes,
    Axis,
    Bound,
    Count,
    Pads,
    Rounding,
    ZeroPoint,
    test_of,
)

__all__ = [
    "OPERATORS",
    "AlongAxis",
    "Broadcasting",
    "Clamped",
    "Elementwise",
    "FloatOperator",
    "IntegerOperator",
    "Joining",
    "Moving",
    "Normalizing",
    "Operator",
    "Recurrent",
    "Reducing",
    "Requantizing",
    "Role",
    "Selecting",
    "Weighted",
    "Windowed",
]

OPERATORS: dict[str, type[Operator]] = {}
"""Every operator by its name; a class enters it by being defined."""


@dataclass(frozen=True)
class Role:
    """What an operator takes at one place, or gives.

    Parameters
    ----------
    name : str
        How stages ask for it.
    count : str
        ``one``, ``optional`` for one that may be absent, or ``many`` for any number of them, which
        only the last role may be.
    trained : bool
        Where it is constant, it is a parameter of the network, as ``cost.py`` counts them.
    dtype : str or None
        The element type that it has whatever the others' are.
    """

    name: str
    count: Literal["one", "optional", "many"] = "one"
    trained: bool = True
    dtype: Literal["int64"] | None = None


X = Role("x")
A, B = Role("a"), Role("b")
WEIGHTS, BIAS, SCALE = Role("weights"), Role("bias"), Role("scale")
OPTIONAL_BIAS = Role("bias", "optional")
MULTIPLIER, SHIFT, TABLE = (Role(name, trained=False) for name in ("multiplier", "shift", "table"))
Y = Role("y")


@dataclass(frozen=True)
class Operator:
    """Base of all operators; ``ValueError`` where an attribute is of the wrong type or range."""

    takes: ClassVar[tuple[Role, ...]] = (X,)
    gives: ClassVar[tuple[Role, ...]] = (Y,)
    # the version of edgeinfer that brought it; metadata of a field tell a later attribute's
    since: ClassVar[str] = "0.1.0"

    def __init_subclass__(cls, *, family: bool = False) -> None:
        super().__init_subclass__()
        if not family:
            OPERATORS[cls.__name__] = cls

    def __post_init__(self) -> None:
        for name, is_legal in _tests(type(self)):
            value = getattr(self, name)
            if not is_legal(value):
                raise ValueError(f"{type(self).__name__}.{name} cannot be {value!r}")

    def __str__(self) -> str:
        shown = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                shown.append(f"{field.name}={value!r}".replace(" ", ""))
        return f"{type(self).__name__}<{' '.join(shown)}>" if shown else type(self).__name__


_TESTS: dict[type, tuple[tuple[str, Callable[[Any], bool]], ...]] = {}


def _tests(cls: type[Operator]) -> tuple[tuple[str, Callable[[Any], bool]], ...]:
    """What tells of each attribute of ``cls`` whether a value is legal."""
    if cls not in _TESTS:
        hints = get_type_hints(cls, include_extras=True)
        _TESTS[cls] = tuple((f.name, test_of(hints[f.name])) for f in dataclasses.fields(cls))
    return _TESTS[cls]


# ---- by what they take and give ----------------------------------------------------------------


@dataclass(frozen=True)
class FloatOperator(Operator, family=True):
    """It takes and gives floats: importers make it."""


@dataclass(frozen=True)
class IntegerOperator(Operator, family=True):
    """It takes and gives integers, and is complete in itself: the quantizer makes it."""


# ---- by what becomes of the elements ----------------------------------------------------------


@dataclass(frozen=True)
class Elementwise(Operator, family=True):
    """Each element of the result is computed from the one at the same place of x."""


@dataclass(frozen=True)
class Broadcasting(Operator, family=True):
    """Elements of a and b meet as NumPy broadcasts them."""

    takes: ClassVar[tuple[Role, ...]] = (A, B)


@dataclass(frozen=True)
class Selecting(Operator, family=True):
    """Each element of a result is an element that it takes, so it keeps their quantization."""


@dataclass(frozen=True)
class Moving(Selecting, family=True):
    """Which element a result has at a place depends on the place alone."""


@dataclass(frozen=True)
class Joining(Selecting, family=True):
    """Several values become one, and so need one quantization."""


@dataclass(frozen=True)
class Windowed(Operator, family=True):
    """A window moves over height and width of x [N,H,W,C]; pads are (top, left, bottom, right)."""

    strides: tuple[Count, Count] = (1, 1)
    pads: Pads = (0, 0, 0, 0)


@dataclass(frozen=True)
class Weighted(Operator, family=True):
    """Sums of products of x with constant weights, plus a bias a channel."""

    takes: ClassVar[tuple[Role, ...]] = (X, WEIGHTS, OPTIONAL_BIAS)


@dataclass(frozen=True)
class Reducing(Operator, family=True):
    """All elements along ``axes`` become one, and the axes have extent 1, or go."""

    axes: Axes
    keepdims: bool = True


@dataclass(frozen=True)
class AlongAxis(Operator, family=True):
    """The elements along ``axis`` are seen together, and each such row apart from the others."""

    axis: Axis


@dataclass(frozen=True)
class Recurrent(FloatOperator, family=True):
    """x [N,T,I] -> [N,T,H] in T steps, each of which takes what the one before gave.

    weights [G H,I], recurrence [G H,H], bias and recurrent_bias [G H] hold the rows of G gates, one
    gate after another; the first step takes initial [N,H], or 0. Where ``reverse``, the last
    element along T comes first. What an activation takes is within -``clip`` ... ``clip``.
    """

    takes: ClassVar[tuple[Role, ...]] = (
        X,
        WEIGHTS,
        Role("recurrence"),
        BIAS,
        Role("recurrent_bias"),
        Role("initial", "optional", trained=False),
    )
    gates: ClassVar[int]
    # the attributes that hold expressions
    activations: ClassVar[tuple[str, ...]]
    # what the first step takes of each value that the operator gives, in that order
    firsts: ClassVar[tuple[str, ...]] = ("initial",)

    reverse: bool = False
    clip: Bound = math.inf

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.activations:
            pointwise.check(getattr(self, name))


@dataclass(frozen=True)
class Normalizing(FloatOperator, family=True):
    """Elements are divided by a measure of their neighbours."""


# ---- by how the result ends --------------------------------------------------------------------


@dataclass(frozen=True)
class Clamped(FloatOperator, family=True):
    """A float operator whose result may carry a fused ReLU, ReLU6 or Clip."""

    lo: Bound = -math.inf
    hi: Bound = math.inf


@dataclass(frozen=True)
class Requantizing(IntegerOperator, family=True):
    """An integer operator that ends in R1 or R2, the output's zero point and a clamp."""

    output_zero_point: ZeroPoint = 0
    lo: ZeroPoint = -128
    hi: ZeroPoint = 127
    rounding: Rounding = "single"
