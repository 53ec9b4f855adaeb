"""Sums of products with constant weights: how far they reach, and what a zero point adds."""

from __future__ import annotations

import numpy as np

from edgeinfer.arithmetic.fixedpoint import Measure

__all__ = ["folded_bias", "largest_resized", "largest_sums", "normalized_reach", "reach"]


def reach(dtype: str, zero_point: int) -> int:
    """The largest ``|q - zero_point|`` of an integer ``q`` of ``dtype``."""
    info = np.iinfo(dtype)
    return max(int(info.max) - zero_point, zero_point - int(info.min))


def normalized_reach(measure: Measure, dtype: str, zero_point: int) -> int:
    """The largest distance of an integer from what a normalization measures it by.

    That is its group's mean for a variance, and the zero point for squares and magnitudes.
    """
    info = np.iinfo(dtype)
    return int(info.max) - int(info.min) if measure == "variance" else reach(dtype, zero_point)


def largest_sums(weights: np.ndarray, bias: np.ndarray, reach: int) -> np.ndarray:
    """What each channel's ``sum (q - zero_point) w + bias`` surely stays within, in magnitude.

    Parameters
    ----------
    weights : integer numpy.ndarray [O, ...]
    bias : numpy.ndarray [O]
        Integers, or whole numbers as floats, which may be too large for any integer type.
    reach : int
        The largest ``|q - zero_point|``.

    Returns
    -------
    numpy.ndarray
        [O], int64, or float64 where ``bias`` is.
    """
    # wider, as no narrow type holds the magnitude of its least integer
    magnitudes = np.abs(weights.reshape(len(weights), -1).astype(np.int32))
    offsets = np.abs(bias.astype(np.promote_types(bias.dtype, np.int64)))
    sums: np.ndarray = magnitudes.sum(1, dtype=np.int64) * reach + offsets
    return sums


def folded_bias(weights: np.ndarray, bias: np.ndarray, zero_point: int) -> np.ndarray:
    """The bias for sums over ``q`` instead of ``q - zero_point``, int64 [O]."""
    sums = weights.reshape(len(weights), -1).astype(np.int64).sum(1)
    folded: np.ndarray = bias.astype(np.int64) - zero_point * sums
    return folded


def largest_resized(
    row_weights: np.ndarray, column_weights: np.ndarray, reach: int
) -> tuple[int, int]:
    """What a resize's sums over rows, and over rows and columns, stay within, in magnitude.

    ``row_weights`` and ``column_weights`` are integers [n, taps]; ``reach`` is as above.
    """
    rows, columns = (
        max(1, int(np.abs(weights.astype(np.int64)).sum(1).max()))
        for weights in (row_weights, column_weights)
    )
    return reach * rows, reach * rows * columns
