"""EI-1's R as TOSA's RESCALE: R1 is SINGLE_ROUND, R2 is DOUBLE_ROUND.

docs/arithmetic.md proves both. RESCALE takes a number v and a shift S with ``-2^(S-1) <= v <
2^(S-1)`` alone; where an accumulator may lie outside and the clamp makes the same of it, it is
brought inside before. INT48 it scales by 15 bits alone: such sums are made INT32, where they fit.
"""

from __future__ import annotations

import numpy as np

from edgeinfer.arithmetic.fixedpoint import round_shift
from edgeinfer.converters.tosa.flatbuffer import Tensor
from edgeinfer.converters.tosa.writer import TosaWriter
from edgeinfer.errors import UnsupportedError
from edgeinfer.graph import operators as ops

__all__ = ["clamped", "narrow", "requantized", "rescaled", "rounded", "wide"]

# M and S of RESCALE that leave a number as it is: of 32 bits, and of 16
_ONE = (2**30, 30)
_ONE_16 = (2**14, 14)

_MOST = 2**31 - 1


def rounded(
    to: TosaWriter,
    x: Tensor,
    multiplier: np.ndarray | int,
    shift: np.ndarray | int,
    dtype: str,
    *,
    zero_point: int = 0,
    output_zero_point: int = 0,
    rounding: str = "single",
) -> Tensor:
    """RESCALE: ``R(x - zero_point, M, S) + output_zero_point`` as TOSA's ``dtype``, saturated.

    M and S are one for all, or [C] for the last axis. RESCALE must take the numbers: see
    ``requantized``.
    """
    is_wide = x.dtype == "INT48"
    multipliers = np.atleast_1d(multiplier).astype(np.int16 if is_wide else np.int32)
    operands = [
        x,
        to.constant(multipliers),
        to.constant(np.atleast_1d(shift).astype(np.int8)),
        to.number(zero_point, x.dtype),
        to.number(output_zero_point, dtype),
    ]
    return to.apply(
        "RESCALE",
        operands,
        x.shape,
        dtype,
        scale32=not is_wide,
        rounding_mode=f"{rounding.upper()}_ROUND",
        per_channel=multipliers.size > 1,
        input_unsigned=False,
        output_unsigned=False,
    )


def wide(to: TosaWriter, x: Tensor, zero_point: int) -> Tensor:
    """``x - zero_point`` as INT32."""
    return rounded(to, x, *_ONE, "INT32", zero_point=zero_point)


def narrow(to: TosaWriter, acc: Tensor, largest: int) -> Tensor:
    """Sums (INT32, INT48) that stay within ``largest`` in magnitude, as INT32.

    Raises
    ------
    UnsupportedError
        32 bits may not hold them.
    """
    if largest > _MOST:
        raise UnsupportedError("TOSA scales sums beyond 32 bits by multipliers of 15 bits alone")
    return rounded(to, acc, *_ONE_16, "INT32") if acc.dtype == "INT48" else acc


def rescaled(
    to: TosaWriter,
    acc: Tensor,
    multiplier: int,
    shift: int,
    rounding: str,
    ends: tuple[int, int],
) -> Tensor:
    """``R(acc, M, S)`` as INT32, of accumulators between the ``ends``.

    Raises
    ------
    UnsupportedError
        RESCALE does not take them with this shift.
    """
    acc = _brought_inside(to, acc, multiplier, shift, rounding, ends, (-_MOST, _MOST))
    return rounded(to, acc, multiplier, shift, "INT32", rounding=rounding)


def requantized(
    to: TosaWriter,
    op: ops.Requantizing,
    acc: Tensor,
    multiplier: np.ndarray | int,
    shift: np.ndarray | int,
    largest: np.ndarray | int,
    dtype: str,
) -> Tensor:
    """``clamp(R(acc, M, S) + z)`` of sums (INT32), as ``op`` ends.

    Parameters
    ----------
    multiplier, shift, largest : int, or numpy.ndarray [C]
        One for all, or for each index of the last axis; ``largest`` is what the accumulators stay
        within in magnitude.
    dtype : str
        In the Graph's words.

    Raises
    ------
    UnsupportedError
        RESCALE does not take the accumulators.
    """
    bounds = np.asarray(largest, np.int64)
    clamp = (op.lo - op.output_zero_point, op.hi - op.output_zero_point)
    ends = (-bounds, bounds)
    acc = _brought_inside(to, acc, multiplier, shift, op.rounding, ends, clamp)
    y = rounded(
        to,
        acc,
        multiplier,
        shift,
        dtype.upper(),
        output_zero_point=op.output_zero_point,
        rounding=op.rounding,
    )
    return clamped(to, y, op.lo, op.hi)


def clamped(to: TosaWriter, x: Tensor, lo: int, hi: int) -> Tensor:
    """``x`` (INT8, INT16) within ``lo`` and ``hi``."""
    info = np.iinfo(x.dtype.lower())
    if (lo, hi) == (info.min, info.max):
        return x
    little = info.dtype.newbyteorder("<")
    ends = (list(np.array(end, little).tobytes()) for end in (lo, hi))
    named = dict(zip(("min_val", "max_val"), ends, strict=True))
    return to.apply("CLAMP", [x], x.shape, x.dtype, nan_mode="PROPAGATE", **named)


def _brought_inside(
    to: TosaWriter,
    acc: Tensor,
    multiplier: np.ndarray | int,
    shift: np.ndarray | int,
    rounding: str,
    ends: tuple[np.ndarray | int, np.ndarray | int],
    clamp: tuple[int, int],
) -> Tensor:
    """``acc``, between the ``ends``, as RESCALE takes it, with the same ``R`` within ``clamp``."""
    limits = np.minimum(np.int64(1) << (np.asarray(shift, np.int64) - 1), 2**31)
    kept = np.maximum(ends[0], -limits), np.minimum(ends[1], limits - 1)
    if all(np.array_equal(end, own) for end, own in zip(ends, kept, strict=True)):
        return acc
    for end, own in zip(ends, kept, strict=True):
        far, near = (round_shift(v, multiplier, shift, rounding).clip(*clamp) for v in (end, own))
        if (far != near).any():
            raise UnsupportedError("TOSA takes no shift so small beside accumulators so large")
    # [C], or one for all, which has no axes
    lowest, highest = (to.constant(own.astype(np.int32)) for own in kept)
    acc = to.meet("MAXIMUM", acc, lowest, nan_mode="PROPAGATE")
    return to.meet("MINIMUM", acc, highest, nan_mode="PROPAGATE")
