"""Operators on the way to a result: each gives a value of the type that is asked for.

They round once. Rounding twice is of 8 bits alone, and here one operand at least has 16.
"""

from __future__ import annotations

import numpy as np

from edgeinfer.arithmetic.fixedpoint import AddParameters, add_parameters, multiplier_and_shift
from edgeinfer.arithmetic.tables import Integers
from edgeinfer.graph import TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.quant.bounds import Range
from edgeinfer.quant.fragment import Fragment, OutputStage
from edgeinfer.quant.schemes import activation_type
from edgeinfer.quant.wide_tables import wide_table

__all__ = [
    "covered",
    "difference_of",
    "emit_function",
    "ending",
    "integers",
    "of_reach",
    "product_of",
    "rescaled",
    "sum_of",
]


def of_reach(shape: tuple[int, ...], reach: float) -> TensorType:
    """The type of a value of 16 bits within ``-reach`` ... ``reach``."""
    return activation_type(shape, 0.0, reach, "int16", 1.0)


def integers(t: TensorType) -> Integers:
    """Scale, zero point and element type of ``t``."""
    assert t.quantization is not None
    return t.quantization.step, t.quantization.zero_point, t.dtype


def covered(t: TensorType) -> Range:
    """The real numbers that ``t`` covers."""
    step, zero_point, dtype = integers(t)
    info = np.iinfo(dtype)
    return step * (int(info.min) - zero_point), step * (int(info.max) - zero_point)


def ending(t: TensorType) -> OutputStage:
    """How an operator ends that gives type ``t``."""
    info = np.iinfo(t.dtype)
    return {
        "output_zero_point": integers(t)[1],
        "lo": info.min,
        "hi": info.max,
        "rounding": "single",
    }


def sum_of(to: Fragment, a: str, b: str, t: TensorType) -> ops.QAdd:
    """``a + b``, of 16 bits each."""
    return ops.QAdd(**ending(t), **_common_scale(to, a, b, t))


def difference_of(to: Fragment, a: str, b: str, t: TensorType) -> ops.QSub:
    """``a - b``, of 16 bits each."""
    return ops.QSub(**ending(t), **_common_scale(to, a, b, t))


def _common_scale(to: Fragment, a: str, b: str, t: TensorType) -> AddParameters:
    return add_parameters(to.kind(a)[0], to.kind(b)[0], integers(t)[0], bits=16)


def product_of(to: Fragment, a: str, b: str, t: TensorType) -> ops.QMul:
    """``a b``, each of its own zero point."""
    (a_step, a_zero, _), (b_step, b_zero, _) = to.kind(a), to.kind(b)
    multiplier, shift = multiplier_and_shift(a_step * b_step / integers(t)[0])
    return ops.QMul(
        **ending(t),
        a_zero_point=a_zero,
        b_zero_point=b_zero,
        multiplier=multiplier,
        shift=shift,
    )


def rescaled(to: Fragment, x: str, t: TensorType) -> ops.Rescale:
    """``x`` itself."""
    step, zero_point, _ = to.kind(x)
    multiplier, shift = multiplier_and_shift(step / integers(t)[0])
    return ops.Rescale(**ending(t), input_zero_point=zero_point, multiplier=multiplier, shift=shift)


def emit_function(
    to: Fragment, part: str, t: TensorType, lookup: ops.Lookup, x: str, least: int
) -> str:
    """A function of 16 bits as type ``t``, of 513 entries where these serve from ``least`` on."""
    entries = wide_table(lookup.expression, lookup.domain, to.kind(x), integers(t), least)
    return to.emit_part(part, t, lookup, x, to.constant(f"{part} table", entries, None))
