"""Biases by which a layer's mean output is what its reference gives.

Rounded weights times inputs that are not 0 in the mean, and inputs that were clipped or rounded
before, move every output of a channel alike (Nagel et al., "Data-free quantization through weight
equalization and bias correction", 2019). Here both means are measured.
"""

from __future__ import annotations

import numpy as np

from edgeinfer.arithmetic.fixedpoint import round_half_away
from edgeinfer.quant.rounding.moments import Moments

__all__ = ["offsets"]


def offsets(weights: np.ndarray, rounded: np.ndarray, moments: Moments, ratio: float) -> np.ndarray:
    """What to add to the integers of the bias, [channels] int64.

    Parameters
    ----------
    weights, rounded : numpy.ndarray
        [groups, channels, K] float64, in steps: as they were, and whole numbers.
    moments : Moments
        Of what they multiply.
    ratio : float
        The step of the reference's integers in those of the integer Graph's.
    """
    # NumPy adds up along an axis in an order of its own, the same everywhere; a BLAS does not
    wanted = (weights * (moments.references * ratio)[:, None, :]).sum(2)
    found = (rounded * moments.sums[:, None, :]).sum(2)
    return round_half_away(((wanted - found) / moments.count).reshape(-1)).astype(np.int64)
