"""The end of a layer in 32 bits, and channels that need none (arithmetic.md, "Shorter forms")."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeinfer.arithmetic import fixedpoint
from edgeinfer.graph import operators as ops

__all__ = ["ShortStage", "constant_channels", "short_rescale", "short_stage"]


def constant_channels(
    op: ops.QConv | ops.QDense, spread: np.ndarray, stage: tuple[np.ndarray, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Which channels give one integer whatever x is, and what each gives for its least sum.

    A result grows with its sum, so a channel is constant where both ends of its sums give the same.

    Parameters
    ----------
    spread : numpy.ndarray
        How far each channel's sums may lie from its bias, int64 [O].
    stage : tuple of numpy.ndarray
        Bias, multiplier and shift, [O].
    """
    bias, multiplier, shift = stage
    least, most = (
        fixedpoint.requantize(
            bias + sign * spread, multiplier, shift, op.output_zero_point, op.lo, op.hi, op.rounding
        )
        for sign in (-1, 1)
    )
    return least == most, least


@dataclass(frozen=True)
class ShortStage:
    """Requantization in 32 bits: ``(hi32(acc * multiplier) + rounding) >> shift``.

    Parameters
    ----------
    multiplier, rounding, shift : numpy.ndarray
        int32 [channels]; the zero point of the output is in ``rounding``.
    """

    multiplier: np.ndarray
    rounding: np.ndarray
    shift: np.ndarray


def short_stage(
    multiplier: np.ndarray, shift: np.ndarray, zero_point: int, largest: np.ndarray
) -> ShortStage | None:
    """The short form of ``R1(acc, M, S) + zero_point`` (docs/arithmetic.md, "Shorter forms").

    Parameters
    ----------
    multiplier, shift : numpy.ndarray
        M >= 0 and S of each channel.
    zero_point : int
        The output's.
    largest : numpy.ndarray
        A bound of each channel's ``|acc|``.
    """
    m, s, most = (array.astype(np.int64) for array in (multiplier, shift, largest))
    # below half a step every result is 0, whatever the shift: |acc| M < 2^62
    dead = most * m < np.int64(1) << (s - 1)
    m, s = np.where(dead, 0, m), np.where(dead, 33, s)
    if s.min(initial=33) < 33:
        return None
    rounding = (np.int64(1) << (s - 33)) + (np.int64(zero_point) << (s - 32))
    if (((most * m) >> 32) + 1 + np.abs(rounding)).max(initial=0) >= 2**31:
        return None
    return ShortStage(*(array.astype(np.int32) for array in (m, rounding, s - 32)))


def short_rescale(op: ops.Rescale) -> tuple[int, int, int] | None:
    """Multiplier, rounding and shift of a rescale of int16 without a zero point, as a product of 16
    bits leaves hi32 of it times 2^16 (docs/arithmetic.md, "Shorter forms")."""
    if op.input_zero_point != 0 or op.rounding != "single" or not 17 <= op.shift <= 47:
        return None
    shift = op.shift - 16
    rounding = (1 << (shift - 1)) + (op.output_zero_point << shift)
    highs = (q * op.multiplier >> 16 for q in (-(1 << 15), (1 << 15) - 1))
    fits = all(-(1 << 31) <= high + rounding < 1 << 31 for high in highs)
    return (op.multiplier, rounding, shift) if fits else None
