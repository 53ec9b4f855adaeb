"""The operators: frozen dataclasses that hold attributes and nothing else.

What a stage does with an operator stands in that stage, registered by class: shapes in
``shapes.py``, float meaning in ``float_executor.py``, integer meaning in ``reference.py``, and so
on; ``docs/architecture.md`` lists the steps that add one. There are three families:

    float operators        Conv, Dense, Pointwise, Add ...      the importer makes them
    either kind            MaxPool, Concat, Reshape ...         they move or order elements, so
                                                                one meaning serves both
    integer operators      QConv, QDense, Lookup ...            the quantizer makes them; zero
                                                                points, multipliers and clamps are
                                                                theirs, and no float is left

Spatial operators take NHWC values and OHWI weights; pads are (top, left, bottom, right).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from edgeinfer.arithmetic import pointwise

__all__ = [
    "LRN",
    "OPERATORS",
    "Add",
    "ArgMax",
    "AveragePool",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Dense",
    "DepthToSpace",
    "Div",
    "Expand",
    "Gather",
    "InstanceNormalization",
    "LayerNormalization",
    "LogSoftmax",
    "Lookup",
    "MatMul",
    "MaxPool",
    "Maximum",
    "Minimum",
    "Mul",
    "Operator",
    "PRelu",
    "Pad",
    "Pointwise",
    "Pow",
    "QAdd",
    "QAveragePool",
    "QConv",
    "QDense",
    "QMul",
    "QPRelu",
    "QReduceSum",
    "QSoftmax",
    "QSub",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceSum",
    "Rescale",
    "Reshape",
    "ResizeLinear",
    "ResizeNearest",
    "Rounding",
    "Slice",
    "Softmax",
    "SpaceToDepth",
    "Sub",
    "Tile",
    "Transpose",
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
Real = Annotated[float, Within(-3.5e38, 3.5e38)]
Bound = Annotated[float, Within(-math.inf, math.inf)]
Rounding = Literal["single", "double"]
Pads = tuple[Index, Index, Index, Index]
# one entry an axis, of which a value has at most 8
Axes = Annotated[tuple[Axis, ...], UpTo(8)]
Counts = Annotated[tuple[Count, ...], UpTo(8)]
Indices = Annotated[tuple[Index, ...], UpTo(8)]
Steps = Annotated[tuple[Step, ...], UpTo(8)]


def _fits(value: Any, kind: Any) -> bool:
    """Whether an attribute's value is of the annotated type and in its range."""
    origin = get_origin(kind)
    if origin is Annotated:
        base, bounds = get_args(kind)
        return _fits(value, base) and bool(bounds.admits(value))
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in get_args(kind))
    if origin in (Union, UnionType):
        return any(_fits(value, choice) for choice in get_args(kind))
    if origin is tuple:
        items = get_args(kind)
        if not isinstance(value, tuple):
            return False
        if len(items) == 2 and items[1] is Ellipsis:
            return all(_fits(v, items[0]) for v in value)
        return len(value) == len(items) and all(map(_fits, value, items))
    if kind is Any:
        return True
    if kind is float:
        return type(value) is float and not math.isnan(value)
    return type(value) is kind


@dataclass(frozen=True)
class Operator:
    """Base of all operators; ``ValueError`` where an attribute is of the wrong type or range."""

    def __post_init__(self) -> None:
        hints = _hints(type(self))
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not _fits(value, hints[field.name]):
                raise ValueError(f"{type(self).__name__}.{field.name} cannot be {value!r}")

    def __str__(self) -> str:
        shown = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                shown.append(f"{field.name}={value!r}".replace(" ", ""))
        return f"{type(self).__name__}<{' '.join(shown)}>" if shown else type(self).__name__


_HINTS: dict[type, dict[str, Any]] = {}


def _hints(cls: type) -> dict[str, Any]:
    if cls not in _HINTS:
        _HINTS[cls] = get_type_hints(cls, include_extras=True)
    return _HINTS[cls]


# ---- float operators -------------------------------------------------------------------------


@dataclass(frozen=True)
class Clamped(Operator):
    """Base of the float operators whose result may carry a fused ReLU, ReLU6 or Clip."""

    lo: Bound = -math.inf
    hi: Bound = math.inf


@dataclass(frozen=True)
class Conv(Clamped):
    """x [N,H,W,I], weights [O,kh,kw,I/group], optional bias [O] -> [N,H',W',O]."""

    strides: tuple[Count, Count] = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    dilations: tuple[Count, Count] = (1, 1)
    group: Count = 1


@dataclass(frozen=True)
class ConvTranspose(Clamped):
    """x [N,H,W,I], weights [I,kh,kw,O/group], optional bias [O] -> [N,H',W',O]."""

    strides: tuple[Count, Count] = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    dilations: tuple[Count, Count] = (1, 1)
    group: Count = 1
    output_padding: tuple[Index, Index] = (0, 0)


@dataclass(frozen=True)
class Dense(Clamped):
    """x [..., I], weights [O,I] constant, optional bias [O] -> [..., O]."""


@dataclass(frozen=True)
class MatMul(Operator):
    """a @ b with NumPy's rules for leading axes; both are values that a run computes."""


@dataclass(frozen=True)
class Pointwise(Operator):
    """A function of one variable on every element; see ``pointwise.py``."""

    expression: Any = "x"

    def __post_init__(self) -> None:
        super().__post_init__()
        pointwise.check(self.expression)

    def __str__(self) -> str:
        return f"Pointwise<{pointwise.text(self.expression)}>"


@dataclass(frozen=True)
class Add(Clamped):
    """a + b, broadcast."""


@dataclass(frozen=True)
class Sub(Clamped):
    """a - b, broadcast."""


@dataclass(frozen=True)
class Mul(Clamped):
    """a * b, broadcast."""


@dataclass(frozen=True)
class Div(Operator):
    """a / b, broadcast."""


@dataclass(frozen=True)
class Pow(Operator):
    """a ** b, broadcast; a constant scalar exponent is a Pointwise instead."""


@dataclass(frozen=True)
class PRelu(Operator):
    """x where x >= 0, else slope * x; x, constant slope broadcast to x."""


@dataclass(frozen=True)
class AveragePool(Operator):
    """Mean of each window of x [N,H,W,C].

    ``ceil_pads`` (bottom, right) are the rows and columns that ONNX's ceil_mode adds; they count
    in no divisor, ``pads`` do where ``count_include_pad``.
    """

    kernel: tuple[Count, Count]
    strides: tuple[Count, Count] = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    ceil_pads: tuple[Index, Index] = (0, 0)
    count_include_pad: bool = False


@dataclass(frozen=True)
class ReduceMean(Operator):
    """Mean over ``axes``."""

    axes: Axes
    keepdims: bool = True


@dataclass(frozen=True)
class ReduceSum(Operator):
    """Sum over ``axes``."""

    axes: Axes
    keepdims: bool = True


@dataclass(frozen=True)
class Softmax(Operator):
    """exp(x - max) / sum of them, along ``axis``."""

    axis: Axis


@dataclass(frozen=True)
class LogSoftmax(Operator):
    """The logarithm of Softmax along ``axis``."""

    axis: Axis


@dataclass(frozen=True)
class LRN(Operator):
    """Local response normalization across the last axis (channels, NHWC)."""

    size: Count
    alpha: Real
    beta: Real
    bias: Real


@dataclass(frozen=True)
class InstanceNormalization(Operator):
    """x [N,H,W,C], scale [C], bias [C]: each sample's channel to mean 0 and variance 1."""

    epsilon: Real


@dataclass(frozen=True)
class LayerNormalization(Operator):
    """x, scale, optional bias: normalized over all axes from ``axis`` on."""

    axis: Axis
    epsilon: Real


@dataclass(frozen=True)
class ResizeLinear(Operator):
    """x [N,H,W,C] to [N,H',W',C]; for each output row and column its two sources, a fraction.

    ``rows`` and ``columns`` hold (lower index, upper index, weight of the upper one).
    """

    rows: tuple[tuple[Index, Index, Real], ...]
    columns: tuple[tuple[Index, Index, Real], ...]


# ---- operators of either kind: they order or move elements -----------------------------------


@dataclass(frozen=True)
class MaxPool(Operator):
    """Largest element of each window of x [N,H,W,C]; pads never win."""

    kernel: tuple[Count, Count]
    strides: tuple[Count, Count] = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    dilations: tuple[Count, Count] = (1, 1)


@dataclass(frozen=True)
class ReduceMax(Operator):
    """Largest element over ``axes``."""

    axes: Axes
    keepdims: bool = True


@dataclass(frozen=True)
class ReduceMin(Operator):
    """Smallest element over ``axes``."""

    axes: Axes
    keepdims: bool = True


@dataclass(frozen=True)
class Maximum(Operator):
    """The larger of a and b, broadcast."""


@dataclass(frozen=True)
class Minimum(Operator):
    """The smaller of a and b, broadcast."""


@dataclass(frozen=True)
class ArgMax(Operator):
    """Index (int64) of the largest element along ``axis``: the first, or the last, of equals."""

    axis: Axis
    keepdims: bool = True
    select_last_index: bool = False


@dataclass(frozen=True)
class Concat(Operator):
    """The inputs side by side along ``axis``."""

    axis: Axis


@dataclass(frozen=True)
class Slice(Operator):
    """``sizes`` elements an axis from ``starts`` on, ``steps`` (not 0) apart; one entry an axis."""

    starts: Indices
    sizes: Counts
    steps: Steps


@dataclass(frozen=True)
class Pad(Operator):
    """x with elements added before and after each axis.

    ``value`` fills where ``mode`` is constant: a real number on a float Graph; on an integer one,
    the integer that stands for it.
    """

    before: Indices
    after: Indices
    mode: Literal["constant", "reflect", "edge"] = "constant"
    value: Real | int = 0.0


@dataclass(frozen=True)
class Reshape(Operator):
    """The same elements in the same order under another shape."""

    shape: Counts


@dataclass(frozen=True)
class Transpose(Operator):
    """Output axis ``i`` is input axis ``permutation[i]``."""

    permutation: Axes


@dataclass(frozen=True)
class Gather(Operator):
    """data, indices (int64): the ``indices`` along ``axis``; negative ones count from the end."""

    axis: Axis


@dataclass(frozen=True)
class Tile(Operator):
    """x repeated ``repeats`` times along each axis."""

    repeats: Counts


@dataclass(frozen=True)
class Expand(Operator):
    """x broadcast to ``shape``."""

    shape: Counts


@dataclass(frozen=True)
class DepthToSpace(Operator):
    """x [N,H,W,C] -> [N,H b,W b,C/(b b)], in ONNX's order ``mode``."""

    block: Count
    mode: Literal["DCR", "CRD"] = "DCR"


@dataclass(frozen=True)
class SpaceToDepth(Operator):
    """x [N,H,W,C] -> [N,H/b,W/b,C b b], in ONNX's order."""

    block: Count


@dataclass(frozen=True)
class ResizeNearest(Operator):
    """x [N,H,W,C]: output row i is input row ``rows[i]``; columns likewise."""

    rows: tuple[Index, ...]
    columns: tuple[Index, ...]


# ---- integer operators -----------------------------------------------------------------------


@dataclass(frozen=True)
class Requantizing(Operator):
    """Base of the operators that end in R1 or R2, the output's zero point and a clamp."""

    output_zero_point: ZeroPoint = 0
    lo: ZeroPoint = -128
    hi: ZeroPoint = 127
    rounding: Rounding = "single"


@dataclass(frozen=True)
class QConv(Requantizing):
    """x, weights [O,kh,kw,I/group], bias [O], multiplier [O], shift [O] -> [N,H',W',O].

    acc = sum (x - input_zero_point) * w + bias; padding stands for 0.
    """

    input_zero_point: ZeroPoint = 0
    strides: tuple[Count, Count] = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    dilations: tuple[Count, Count] = (1, 1)
    group: Count = 1


@dataclass(frozen=True)
class QDense(Requantizing):
    """x [..., I], weights [O,I], bias [O], multiplier [O], shift [O] -> [..., O]."""

    input_zero_point: ZeroPoint = 0


@dataclass(frozen=True)
class QAdd(Requantizing):
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
class QMul(Requantizing):
    """R1((a - za)(b - zb)), broadcast."""

    a_zero_point: ZeroPoint = 0
    b_zero_point: ZeroPoint = 0
    multiplier: Multiplier = 0
    shift: Shift = 62


@dataclass(frozen=True)
class Rescale(Requantizing):
    """R1(x - input_zero_point): the same numbers at another scale, type or clamp."""

    input_zero_point: ZeroPoint = 0
    multiplier: Multiplier = 0
    shift: Shift = 62


@dataclass(frozen=True)
class QPRelu(Requantizing):
    """x, multiplier [K], shift [K] with K the product of x's last axes: R1 for negatives.

    ``multiplier`` and ``shift`` serve x >= input_zero_point; the arrays serve the rest, and their
    multipliers may be negative.
    """

    input_zero_point: ZeroPoint = 0
    multiplier: Multiplier = 0
    shift: Shift = 62


@dataclass(frozen=True)
class Lookup(Operator):
    """x, table: y = f(x).

    int8 x: 256 entries, entry x + 128. int16 x: 65,536 entries, entry x + 32768; or 513 int16
    entries, between which EI-1 interpolates.
    """


@dataclass(frozen=True)
class QAveragePool(Requantizing):
    """x, multiplier [n], shift [n]: R1 of the window's sum by entry ``count - 1``; n = kh kw.

    The sum runs over x - input_zero_point; where ``count_include_pad``, each pad adds
    pad_value - input_zero_point to it and 1 to the count.
    """

    kernel: tuple[Count, Count] = (1, 1)
    strides: tuple[Count, Count] = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    ceil_pads: tuple[Index, Index] = (0, 0)
    count_include_pad: bool = False
    input_zero_point: ZeroPoint = 0
    pad_value: ZeroPoint = 0


@dataclass(frozen=True)
class QReduceSum(Requantizing):
    """R1 of the sum of x - input_zero_point over ``axes``; a mean's 1/n is in the multiplier."""

    axes: Axes = ()
    keepdims: bool = True
    input_zero_point: ZeroPoint = 0
    multiplier: Multiplier = 0
    shift: Shift = 62


@dataclass(frozen=True)
class QSoftmax(Operator):
    """x, table: int8 at scale 1/256, zero point -128; or int16 at scale 1/32768.

    The table is int32 [256] for int8 x, int32 [2, 256] for int16 x; see docs/arithmetic.md.
    """

    axis: Axis


def _leaves(cls: type[Operator]) -> list[type[Operator]]:
    found = [] if cls in (Operator, Clamped, Requantizing) else [cls]
    for child in cls.__subclasses__():
        found += _leaves(child)
    return found


OPERATORS: dict[str, type[Operator]] = {cls.__name__: cls for cls in _leaves(Operator)}
