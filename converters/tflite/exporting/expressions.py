"""A function of one variable as operators of TensorFlow Lite's integers.

What lies between two of them has integers too, of a scale for all that a table of the function's
integers would go through there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeinfer.arithmetic import pointwise
from edgeinfer.arithmetic.pointwise import Expression
from edgeinfer.converters.tflite.exporting.graph_writer import GraphWriter
from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import Quantization, TensorType

__all__ = ["write_expression"]

_SAME = {
    "abs": "ABS",
    "elu": "ELU",
    "exp": "EXP",
    "gelu": "GELU",
    "hard_swish": "HARD_SWISH",
    "log": "LOG",
    "neg": "NEG",
    "relu": "RELU",
    "sigmoid": "LOGISTIC",
    "tanh": "TANH",
}
_PAIRS = {"add": "ADD", "max": "MAXIMUM", "min": "MINIMUM", "mul": "MUL", "sub": "SUB"}

# by function of 8 bits, and of 16, the quantization of its result that TensorFlow Lite prescribes
_PRESCRIBED = {
    "int8": {"sigmoid": (1 / 256, -128), "tanh": (1 / 128, 0)},
    "int16": {"sigmoid": (1 / 32768, 0), "tanh": (1 / 32768, 0)},
}


def write_expression(expression: Expression, x: str, y: str, to: GraphWriter) -> None:
    """Write the function ``expression`` of the value ``x``, which gives the value ``y``.

    Raises
    ------
    UnsupportedError
        TensorFlow Lite has no operator for a function in it.
    """
    t = to.type(x)
    q = t.quantization
    assert q is not None
    info = np.iinfo(t.dtype)
    numbers = (np.arange(info.min, info.max + 1, dtype=np.float64) - q.zero_point) * q.step
    _Function(to, x, t, numbers).give(expression, y)


@dataclass
class _Function:
    """The function in the making; ``numbers`` are all that x can be."""

    to: GraphWriter
    x: str
    kind: TensorType
    numbers: np.ndarray

    def give(self, expression: Expression, y: str) -> None:
        """Write what gives the value ``y``."""
        self._write(expression, self.to.place(y), self.to.type(y).quantization)

    def _place(self, expression: Expression, like: Quantization | None) -> int:
        """That of a tensor with the values of ``expression``."""
        if expression == "x":
            return self.to.place(self.x)
        if isinstance(expression, float | int):
            # alike where the operator asks for one scale
            q = like or self._quantization(np.array([0.0, float(expression)]))
            return self.to.like(TensorType((1,), self.kind.dtype, q), float(expression), "number")
        q = self._prescribed(expression[0]) or like or self._range(expression)
        made = self.to.between(str(expression[0]), TensorType(self.kind.shape, self.kind.dtype, q))
        self._write(expression, made, q)
        return made

    def _write(self, expression: Expression, y: int, q: Quantization | None) -> None:
        if not isinstance(expression, tuple):
            self.to.write("QUANTIZE", [self._place(expression, None)], [y])
            return
        name, *arguments = expression
        own = self._prescribed(name)
        if own is not None and own != q:
            self.to.write("QUANTIZE", [self._place(expression, None)], [y])
        elif name == "clip":
            value, low, high = arguments
            self._write(("min", ("max", value, low), high), y, q)
        elif name in _PAIRS:
            # the larger of two is one of them, at the scale that it has
            alike = q if name in ("max", "min") else None
            places = [self._alike(argument, alike) for argument in arguments]
            activation = {} if alike else {"FusedActivationFunction": 0}
            self.to.write(_PAIRS[name], places, [y], **activation)
        elif name == "leaky_relu":
            x, alpha = self._place(arguments[0], None), float(arguments[1])
            self.to.write("LEAKY_RELU", [x], [y], Alpha=alpha)
        elif name in _SAME and arguments[1:] in ([], [1.0]):
            self.to.write(_SAME[name], [self._place(arguments[0], None)], [y])
        else:
            raise UnsupportedError(f"TensorFlow Lite has no operator of integers for {name}")

    def _alike(self, expression: Expression, like: Quantization | None) -> int:
        """As ``_place``, rescaled where x has another scale than is asked for."""
        if expression == "x" and like is not None and like != self.kind.quantization:
            made = self.to.between("x", TensorType(self.kind.shape, self.kind.dtype, like))
            self.to.write("QUANTIZE", [self.to.place(self.x)], [made])
            return made
        return self._place(expression, like)

    def _prescribed(self, name: object) -> Quantization | None:
        known = _PRESCRIBED[self.kind.dtype].get(str(name))
        return None if known is None else Quantization.per_tensor(*known)

    def _range(self, expression: Expression) -> Quantization:
        with np.errstate(all="ignore"):
            values = pointwise.evaluate(expression, self.numbers)
        return self._quantization(values)

    def _quantization(self, values: np.ndarray) -> Quantization:
        """That which holds ``values``, and 0."""
        values = values[np.isfinite(values)]
        low, high = float(min(values.min(initial=0), 0)), float(max(values.max(initial=0), 0))
        if self.kind.dtype == "int16":
            return Quantization.per_tensor(max(-low, high, 2.0**-20) / 32767, 0)
        step = max(high - low, 2.0**-20) / 255
        return Quantization.per_tensor(step, int(np.clip(round(-128 - low / step), -128, 127)))
