"""Integer operators: the quantizer makes them; zero points, multipliers and clamps are theirs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from edgeinfer.arithmetic import pointwise
from edgeinfer.arithmetic.fixedpoint import Measure
from edgeinfer.graph.operators.attributes import (
    Axes,
    Count,
    Exponent,
    Index,
    Multiplier,
    Real,
    Shift,
    ZeroPoint,
)
from edgeinfer.graph.operators.families import (
    BIAS,
    MULTIPLIER,
    SHIFT,
    TABLE,
    WEIGHTS,
    A,
    AlongAxis,
    B,
    Broadcasting,
    Elementwise,
    IntegerOperator,
    Reducing,
    Requantizing,
    Role,
    Weighted,
    Windowed,
    X,
)

__all__ = [
    "Lookup",
    "QAdd",
    "QAveragePool",
    "QConv",
    "QDense",
    "QDiv",
    "QMatMul",
    "QMul",
    "QNormalization",
    "QPRelu",
    "QReduceL2",
    "QReduceSum",
    "QResize",
    "QSoftmax",
    "QSub",
    "Rescale",
]


@dataclass(frozen=True)
class QConv(Requantizing, Weighted, Windowed):
    """x, weights [O,kh,kw,I/group], bias [O], multiplier [O], shift [O] -> [N,H',W',O].

    acc = sum (x - input_zero_point) * w + bias; padding stands for 0.
    """

    takes = (X, WEIGHTS, BIAS, MULTIPLIER, SHIFT)

    input_zero_point: ZeroPoint = 0
    dilations: tuple[Count, Count] = (1, 1)
    group: Count = 1


@dataclass(frozen=True)
class QDense(Requantizing, Weighted):
    """x [..., I], weights [O,I], bias [O], multiplier [O], shift [O] -> [..., O]."""

    takes = (X, WEIGHTS, BIAS, MULTIPLIER, SHIFT)

    input_zero_point: ZeroPoint = 0


@dataclass(frozen=True)
class QMatMul(Requantizing):
    """R(sum over k of (a - za) (b - zb)), with a [..., M, K] and b [..., K, N], broadcast before.

    Both are values that a run computes, or one of them is.
    """

    takes = (A, B)
    since = "0.2.0"

    a_zero_point: ZeroPoint = 0
    b_zero_point: ZeroPoint = 0
    multiplier: Multiplier = 0
    shift: Shift = 62


@dataclass(frozen=True)
class QAdd(Requantizing, Broadcasting):
    """a, b broadcast: both to twice the larger scale by R1, added, to the output's by R1."""

    a_zero_point: ZeroPoint = 0
    b_zero_point: ZeroPoint = 0
    left_shift: Literal[15, 20] = 20
    a_multiplier: Multiplier = 0
    a_shift: Shift = 62
    b_multiplier: Multiplier = 0
    b_shift: Shift = 62
    multiplier: Multiplier = 0
    shift: Shift = 62


@dataclass(frozen=True)
class QSub(QAdd):
    """As QAdd, but the second operand is taken away."""


@dataclass(frozen=True)
class QMul(Requantizing, Broadcasting):
    """R1((a - za)(b - zb)), broadcast."""

    a_zero_point: ZeroPoint = 0
    b_zero_point: ZeroPoint = 0
    multiplier: Multiplier = 0
    shift: Shift = 62


@dataclass(frozen=True)
class QDiv(Requantizing, Broadcasting):
    """(a - za) / (b - zb), broadcast, times the ratio of the scales: rounded once, halves up.

    By zero, what is not zero saturates, and zero is zero. ``rounding`` is ``single``.
    """

    since = "0.2.0"

    a_zero_point: ZeroPoint = 0
    b_zero_point: ZeroPoint = 0
    multiplier: Multiplier = 0
    shift: Shift = 44


@dataclass(frozen=True)
class Rescale(Requantizing, Elementwise):
    """R1(x - input_zero_point): the same numbers at another scale, type or clamp."""

    input_zero_point: ZeroPoint = 0
    multiplier: Multiplier = 0
    shift: Shift = 62


@dataclass(frozen=True)
class QPRelu(Requantizing, Elementwise):
    """x, multiplier [K], shift [K] with K the product of x's last axes: R1 for negatives.

    ``multiplier`` and ``shift`` serve x >= input_zero_point; the arrays serve the rest, and their
    multipliers may be negative.
    """

    takes = (X, Role("multiplier"), SHIFT)

    input_zero_point: ZeroPoint = 0
    multiplier: Multiplier = 0
    shift: Shift = 62


@dataclass(frozen=True)
class Lookup(Elementwise, IntegerOperator):
    """x, table: y = f(x).

    int8 x: 256 entries, entry x + 128. int16 x: 65,536 entries, entry x + 32768; or 513 int16
    entries, between which EI-1 interpolates. ``expression`` is the function of real numbers that
    the table was made of, where that is known, and ``domain`` what x was then known to hold; they
    compute nothing, and what has functions instead of tables is told by them (``tables.py``).
    """

    takes = (X, TABLE)

    expression: Any = field(default=None, metadata={"since": "0.2.0"})
    domain: tuple[Real, Real] | None = field(default=None, metadata={"since": "0.2.0"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.expression is not None:
            pointwise.check(self.expression)

    def __str__(self) -> str:
        return "Lookup" if self.expression is None else f"Lookup<{pointwise.text(self.expression)}>"


@dataclass(frozen=True)
class QAveragePool(Requantizing, Windowed):
    """x, multiplier [n], shift [n]: R1 of the window's sum by entry ``count - 1``; n = kh kw.

    The sum runs over x - input_zero_point; where ``count_include_pad``, each pad adds
    pad_value - input_zero_point to it and 1 to the count.
    """

    takes = (X, MULTIPLIER, SHIFT)

    kernel: tuple[Count, Count] = (1, 1)
    ceil_pads: tuple[Index, Index] = (0, 0)
    count_include_pad: bool = False
    input_zero_point: ZeroPoint = 0
    pad_value: ZeroPoint = 0


@dataclass(frozen=True)
class QReduceSum(Requantizing, Reducing):
    """R1 of the sum of x - input_zero_point over ``axes``; a mean's 1/n is in the multiplier.

    ``mean`` says whether there is one, and None that it is not known; it computes nothing.
    """

    input_zero_point: ZeroPoint = 0
    multiplier: Multiplier = 0
    shift: Shift = 62
    mean: bool | None = field(default=None, metadata={"since": "0.2.0"})


@dataclass(frozen=True)
class QResize(Requantizing):
    """x [N,H,W,C] to [N,H',W',C]: R1 of the weighted sum of ``rows by columns`` neighbours.

    Output row i is made of the rows of x from ``first_rows[i]`` on, by the weights
    ``row_weights[i]``; columns likewise: acc = sum row_weight column_weight (x - zero point).
    """

    takes = (
        X,
        Role("first_rows", trained=False),
        Role("row_weights", trained=False),
        Role("first_columns", trained=False),
        Role("column_weights", trained=False),
    )
    since = "0.2.0"

    input_zero_point: ZeroPoint = 0
    multiplier: Multiplier = 0
    shift: Shift = 62


@dataclass(frozen=True)
class QReduceL2(Requantizing, Reducing):
    """R of the root, with ``fraction`` bits, of the sum of squares over ``axes``.

    They are those of x - input_zero_point.
    """

    since = "0.2.0"

    input_zero_point: ZeroPoint = 0
    fraction: Exponent = 0
    multiplier: Multiplier = 0
    shift: Shift = 62


@dataclass(frozen=True)
class QSoftmax(AlongAxis, IntegerOperator):
    """x, table: int8 at scale 1/256, zero point -128; or int16 at scale 1/32768.

    The table is int32 [256] for int8 x, int32 [2, 256] for int16 x; see docs/arithmetic.md.
    """

    takes = (X, TABLE)


@dataclass(frozen=True)
class QNormalization(Requantizing):
    """x, multiplier [L], bias [L], with L ``inner`` the product of x's last axes: over ``axes``.

    Each group of elements along ``axes`` is divided by the root of its measure by
    ``fixedpoint.Normalizer``; multiplier and bias, one for each ``inner`` neighbours, and ``shift``
    make the output of that.
    """

    since = "0.2.0"
    takes = (X, Role("multiplier"), BIAS)

    axes: Axes = ()
    measure: Measure = "variance"
    input_zero_point: ZeroPoint = 0
    epsilon: Multiplier = 0
    exponent: Exponent = 0
    is_least: bool = False
    fraction: Exponent = 0
    inner: Count = 1
    shift: Shift = 62
