"""Float operators: what importers make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from edgeinfer.arithmetic import pointwise
from edgeinfer.arithmetic.fixedpoint import Measure
from edgeinfer.graph.operators.attributes import Axes, Count, Index, NotNegative, Real
from edgeinfer.graph.operators.families import (
    OPTIONAL_BIAS,
    SCALE,
    A,
    AlongAxis,
    B,
    Broadcasting,
    Clamped,
    Elementwise,
    FloatOperator,
    Normalizing,
    Recurrent,
    Reducing,
    Role,
    Weighted,
    Windowed,
    X,
    Y,
)

__all__ = [
    "GRU",
    "LRN",
    "LSTM",
    "RNN",
    "Add",
    "AveragePool",
    "Conv",
    "ConvTranspose",
    "Dense",
    "Div",
    "Exceeds",
    "FakeQuantize",
    "LogSoftmax",
    "MatMul",
    "Mul",
    "Normalization",
    "PRelu",
    "Pointwise",
    "Pow",
    "ReduceL2",
    "ReduceMean",
    "ReduceSum",
    "Resize",
    "Softmax",
    "Sub",
    "Where",
]


@dataclass(frozen=True)
class Conv(Weighted, Windowed, Clamped):
    """x [N,H,W,I], weights [O,kh,kw,I/group], optional bias [O] -> [N,H',W',O]."""

    dilations: tuple[Count, Count] = (1, 1)
    group: Count = 1


@dataclass(frozen=True)
class ConvTranspose(Weighted, Windowed, Clamped):
    """x [N,H,W,I], weights [I,kh,kw,O/group], optional bias [O] -> [N,H',W',O]."""

    dilations: tuple[Count, Count] = (1, 1)
    group: Count = 1
    output_padding: tuple[Index, Index] = (0, 0)


@dataclass(frozen=True)
class Dense(Weighted, Clamped):
    """x [..., I], weights [O,I] constant, optional bias [O] -> [..., O]."""


@dataclass(frozen=True)
class MatMul(FloatOperator):
    """a @ b with NumPy's rules for leading axes; both are values that a run computes."""

    takes = (A, B)


@dataclass(frozen=True)
class Pointwise(Elementwise, FloatOperator):
    """A function of one variable on every element; see ``pointwise.py``."""

    expression: Any = "x"

    def __post_init__(self) -> None:
        super().__post_init__()
        pointwise.check(self.expression)

    def __str__(self) -> str:
        return f"Pointwise<{pointwise.text(self.expression)}>"


@dataclass(frozen=True)
class Add(Broadcasting, Clamped):
    """a + b, broadcast."""


@dataclass(frozen=True)
class Sub(Broadcasting, Clamped):
    """a - b, broadcast."""


@dataclass(frozen=True)
class Mul(Broadcasting, Clamped):
    """a * b, broadcast."""


@dataclass(frozen=True)
class Div(Broadcasting, FloatOperator):
    """a / b, broadcast."""


@dataclass(frozen=True)
class Pow(Broadcasting, FloatOperator):
    """a ** b, broadcast; a constant scalar exponent is a Pointwise instead."""


@dataclass(frozen=True)
class Where(Broadcasting, FloatOperator):
    """a where the condition is not 0, else b; all three broadcast.

    The condition is 0 or 1: calibration and the quantizer count on it.
    """

    takes: ClassVar[tuple[Role, ...]] = (Role("condition"), A, B)
    since = "0.2.0"


@dataclass(frozen=True)
class Exceeds(FloatOperator):
    """1 where x is above its constant threshold, else 0; thresholds [C] lie along the last axis."""

    takes = (X, Role("thresholds"))
    since = "0.2.0"


@dataclass(frozen=True)
class FakeQuantize(Elementwise, FloatOperator):
    """x as a model that is quantized already rounds it: ``(q - zero_point) * scale`` of an integer
    q of ``dtype``, the nearest to ``x / scale + zero_point`` that there is."""

    scale: Real
    zero_point: int = 0
    dtype: Literal["int8", "uint8", "int16", "uint16"] = "int8"
    since = "0.2.0"

    def __post_init__(self) -> None:
        super().__post_init__()
        info = np.iinfo(self.dtype)
        if not np.finfo(np.float32).tiny <= self.scale <= np.finfo(np.float32).max:
            raise ValueError(f"FakeQuantize.scale cannot be {self.scale:g}")
        if not info.min <= self.zero_point <= info.max:
            raise ValueError(f"FakeQuantize.zero_point {self.zero_point} is no {self.dtype}")


@dataclass(frozen=True)
class PRelu(Elementwise, FloatOperator):
    """x where x >= 0, else slope * x; x, constant slope broadcast to x."""

    takes = (X, Role("slope"))


@dataclass(frozen=True)
class AveragePool(Windowed, FloatOperator):
    """Mean of each window of x [N,H,W,C].

    ``ceil_pads`` (bottom, right) are the rows and columns that ONNX's ceil_mode adds; they count
    in no divisor, ``pads`` do where ``count_include_pad``.
    """

    kernel: tuple[Count, Count] = (1, 1)
    ceil_pads: tuple[Index, Index] = (0, 0)
    count_include_pad: bool = False


@dataclass(frozen=True)
class ReduceMean(Reducing, FloatOperator):
    """Mean over ``axes``."""


@dataclass(frozen=True)
class ReduceSum(Reducing, FloatOperator):
    """Sum over ``axes``."""


@dataclass(frozen=True)
class ReduceL2(Reducing, FloatOperator):
    """Root of the sum of squares over ``axes``."""

    since = "0.2.0"


@dataclass(frozen=True)
class Softmax(AlongAxis, FloatOperator):
    """exp(x - max) / sum of them, along ``axis``."""


@dataclass(frozen=True)
class LogSoftmax(AlongAxis, FloatOperator):
    """The logarithm of Softmax along ``axis``."""


@dataclass(frozen=True)
class LRN(Normalizing):
    """Local response normalization across the last axis (channels, NHWC)."""

    size: Count
    alpha: Real
    beta: Real
    bias: Real


@dataclass(frozen=True)
class Normalization(Normalizing, Clamped):
    """x / sqrt(measure + epsilon) * scale + bias, the measure taken over ``axes``.

    It is the variance, with the mean taken away from x; or x stays, and it is the mean of squares,
    or the square of the mean of magnitudes. scale and optional bias are broadcast to x. Where
    ``is_least``, epsilon is not added: it is the least that the measure is taken for. What is
    divided by 0 is 0.
    """

    since = "0.2.0"
    takes = (X, SCALE, OPTIONAL_BIAS)

    axes: Axes = ()
    epsilon: NotNegative = 0.0
    measure: Measure = "variance"
    is_least: bool = False


@dataclass(frozen=True)
class RNN(Recurrent):
    """h = hidden(W x + R h), of one gate: every h."""

    gates = 1
    activations = ("hidden",)
    since = "0.2.0"

    hidden: Any = ("tanh", "x")


@dataclass(frozen=True)
class GRU(Recurrent):
    """h = (1 - z) n + z h, of gates z, r and the candidate n, in this order: every h, twice.

    z and r are gate(W x + R h). n is candidate(W x + R (r h)), or where ``linear_before_reset``
    candidate(W x + r (R h)), the bias of R h included. In integers the second result has the bits
    that the next step adds to, the first as many as R multiplies.
    """

    gives = (Y, Role("memory"))
    gates = 3
    activations = ("gate", "candidate")
    firsts = ("initial", "initial")
    since = "0.2.0"

    gate: Any = ("sigmoid", "x")
    candidate: Any = ("tanh", "x")
    linear_before_reset: bool = False


@dataclass(frozen=True)
class LSTM(Recurrent):
    """c = f c + i n, h = o hidden(c), of gates i, o, f and the candidate n: every h, and every c.

    i, o and f are gate(W x + R h + P c), n is candidate(W x + R h). c is the one before, for o the
    new one; peepholes P [3 H] have the order i, o, f. Where ``input_forget``, f is 1 - i.
    """

    takes = (
        *Recurrent.takes,
        Role("initial_cell", "optional", trained=False),
        Role("peepholes", "optional"),
    )
    gives = (Y, Role("cells"))
    gates = 4
    activations = ("gate", "candidate", "hidden")
    firsts = ("initial", "initial_cell")
    since = "0.2.0"

    gate: Any = ("sigmoid", "x")
    candidate: Any = ("tanh", "x")
    hidden: Any = ("tanh", "x")
    input_forget: bool = False


@dataclass(frozen=True)
class Resize(FloatOperator):
    """x [N,H,W,C] to [N,H',W',C]: each row is a weighted sum of rows of x, each column likewise.

    ``rows`` holds for each output row the first of its neighbours in x, and the weights of that
    and those that follow; of all rows as many. ``columns`` is the same for columns.
    """

    rows: tuple[tuple[Index, tuple[Real, ...]], ...]
    columns: tuple[tuple[Index, tuple[Real, ...]], ...]

    @property
    def interpolates(self) -> bool:
        """Whether each element lies between two neighbours along each axis, or is 0."""
        weights = [each for side in (self.rows, self.columns) for _, each in side]
        # sums of float32 weights are not 1 to the last bit
        return all(len(w) <= 2 and min(w) >= 0 and sum(w) < 1 + 1e-6 for w in weights)
