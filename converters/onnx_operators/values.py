"""The values of an ONNX model as its import knows them: constants, and what a run computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from edgeinfer.errors import ModelError
from edgeinfer.graph import TensorType
from edgeinfer.graph import operators as ops

__all__ = ["ANY_INT64", "Dynamic", "Kind", "Operand", "Quantized", "Static", "Step"]

ANY_INT64 = (-(2**63), 2**63 - 1)
"""The bounds of a number of int64 of which nothing is known."""

Kind: TypeAlias = Literal["floats", "integers", "truth values", "quantized integers"]
"""What the elements of an ONNX value are, whatever type holds them in a Graph.

Quantized integers are in the Graph the floats that they stand for.
"""


@dataclass(frozen=True)
class Quantized:
    """How quantized integers stand for floats: as ``(q - zero_point) * scale``.

    Parameters
    ----------
    dtype : str
        The integers' type in the model: int8, uint8, int16 or uint16.
    scale, zero_point
        Of all elements.
    """

    dtype: str
    scale: float
    zero_point: int

    def __str__(self) -> str:
        return f"{self.dtype} at scale {self.scale:g} and zero point {self.zero_point}"


@dataclass(eq=False)
class Static:
    """A value that is known when the model is imported.

    Parameters
    ----------
    array : numpy.ndarray
        Its elements.
    name : str
        Its name.
    scale : numpy.ndarray, optional
        Of floats that quantized integers stand for: what they are whole multiples of, broadcast
        along each axis that it has an extent of 1 along.
    """

    array: np.ndarray
    name: str
    scale: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return self.array.shape

    @property
    def kind(self) -> Kind:
        """What its elements are."""
        if self.array.dtype == np.bool_:
            return "truth values"
        return "integers" if self.array.dtype.kind in "iu" else "floats"

    def clamped(self) -> np.ndarray:
        """Its elements as float32, an infinity as the largest one; ModelError where one is NaN."""
        self._refuse_text()
        array = np.asarray(self.array, np.float64)
        if np.isnan(array).any():
            raise ModelError(f"initializer {self.name!r} holds NaN values")
        largest = np.finfo(np.float32).max
        return np.clip(array, -largest, largest).astype(np.float32)

    def finite(self) -> np.ndarray:
        """Its elements as float32; ModelError where one is NaN or infinite."""
        self._refuse_text()
        with np.errstate(over="ignore"):
            array = np.asarray(self.array, np.float32)
        if not np.isfinite(array).all():
            raise ModelError(f"initializer {self.name!r} holds NaN or infinite values")
        return array

    def _refuse_text(self) -> None:
        if self.array.dtype.kind in "OSU":
            raise ModelError(f"initializer {self.name!r} holds text, not numbers")


@dataclass(eq=False)
class Dynamic:
    """A value that a run computes; it gets its ONNX name when its node is done.

    Parameters
    ----------
    name : str
        Its name so far.
    type : TensorType
        Its type in the Graph.
    kind : str
        What its elements are in the model. Whole numbers may be float32 in the Graph, and so may
        truth values, as 0 and 1.
    bounds : (int, int)
        The least and the largest number that it may hold, where it is int64 in the Graph.
    leaves_over : bool
        It has rows for more than there may be; those that are left over hold -1.
    quantized : Quantized, optional
        What its quantized integers stand for.
    """

    name: str
    type: TensorType
    kind: Kind = "floats"
    bounds: tuple[int, int] = ANY_INT64
    leaves_over: bool = False
    quantized: Quantized | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return self.type.shape


Operand: TypeAlias = Static | Dynamic


@dataclass(eq=False)
class Step:
    """A node of the Graph to come; None is an optional operand that is left out."""

    name: str
    op: ops.Operator
    operands: tuple[Operand | None, ...]
    outputs: tuple[Dynamic, ...]
