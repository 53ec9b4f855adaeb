"""What lowering must know beside the float Graph: the integer type of each value.

``choose_types`` makes an ``IntegerTypes`` from data; who reads a model that is quantized already
makes one from what that model states, each type by ``given_type``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgeinfer.errors import QuantizationError
from edgeinfer.graph import Quantization, TensorType
from edgeinfer.quant.schemes import Width

__all__ = ["IntegerTypes", "given_type"]


@dataclass(frozen=True)
class IntegerTypes:
    """The types of an integer Graph, before there is one.

    Parameters
    ----------
    values : mapping of str to TensorType
        The type of every value of the float Graph that is not constant: int8 or int16 with a
        scale where that is float32, else as it is.
    weights : str
        The width of weights behind 16-bit activations; behind 8-bit ones they are int8.
    domains : mapping of str to (float, float)
        What each value is known to hold, where that is known: a table is not asked for sense
        outside of it, as a logarithm has none below 0.
    """

    values: Mapping[str, TensorType]
    weights: Width = "int8"
    domains: Mapping[str, tuple[float, float]] = field(default_factory=dict)


# what a foreign zero point is moved by, to the signed type of as many bits
_SHIFTED: dict[str, tuple[Width, int]] = {
    "int8": ("int8", 0),
    "uint8": ("int8", 128),
    "int16": ("int16", 0),
    "uint16": ("int16", 32768),
}


def given_type(shape: tuple[int, ...], dtype: str, scale: float, zero_point: int = 0) -> TensorType:
    """The type of an activation that another tool has quantized.

    Unsigned integers become the signed ones of the same width that stand for the same numbers:
    ``q`` and the zero point both lose 128, or 32768 of 16 bits.

    Raises
    ------
    QuantizationError
        The width is not 8 or 16 bits, or 16 bits are not symmetric about 0.
    """
    if dtype not in _SHIFTED:
        raise QuantizationError(
            f"an activation of type {dtype} cannot be taken; it has {', '.join(_SHIFTED)}"
        )
    signed, shift = _SHIFTED[dtype]
    moved = zero_point - shift
    if signed == "int16" and moved != 0:
        raise QuantizationError(
            f"{dtype} with zero point {zero_point} cannot be taken; 16 bits are symmetric, with "
            f"zero point {shift}"
        )
    return TensorType(shape, signed, Quantization.per_tensor(scale, moved))
