"""Weights rounded one after another, each making up for what those before it are off by.

With the second moments H of what a channel multiplies, its weights w and their integers q leave the
squared error ``(w - q)^T H (w - q)``. Nearest integers make every difference least by itself; taken
in turn, each is rounded from where the error is least, given those before it: GPTQ (Frantar et al.,
2022), which is Babai's nearest plane (Chen et al., 2025).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from edgeinfer.cython_kernels.runtime import round_in_turn
from edgeinfer.quant.rounding.moments import Moments

__all__ = ["blocks_of", "rounded_in_turn"]

# of the mean second moment: what was not seen must not be rounded at random
_DAMPING = 0.01

# more weights than these have moments by parts: their cube is the work, their square the memory
_LONGEST = 1536


def blocks_of(length: int) -> list[slice]:
    """A channel's weights in parts of like length, each rounded by itself."""
    count = -(-length // _LONGEST)
    ends = [length * i // count for i in range(count + 1)]
    return [slice(begin, end) for begin, end in pairwise(ends)]


def rounded_in_turn(weights: np.ndarray, moments: Moments, top: int) -> np.ndarray:
    """Whole numbers for weights.

    They come in the order of the file: no other is better. What counts is the error about its mean,
    as the bias takes the mean.

    Parameters
    ----------
    weights : numpy.ndarray
        [groups, channels, K] float64, in steps.
    moments : Moments
        With the products of ``blocks_of(K)``.
    top : int
        The largest magnitude.
    """
    rounded = np.empty_like(weights)
    for block, products in zip(blocks_of(weights.shape[2]), moments.products, strict=True):
        sums = moments.sums[:, block]
        about_mean = products - sums[:, :, None] * (sums[:, None, :] / moments.count)
        # what float64 takes away too much of large means must leave the pivots positive
        largest = np.einsum("gkk->gk", products).max(1)
        least = products.shape[1] * largest * 2.0**-50
        rounded[:, :, block] = _damped(weights[:, :, block], about_mean, least, top)
    return rounded


def _damped(weights: np.ndarray, h: np.ndarray, least: np.ndarray, top: int) -> np.ndarray:
    places = np.arange(h.shape[1])
    damping = _DAMPING * h[:, places, places].sum(1) / len(places) + least
    # of zeros alone there is nothing to make up for
    h[:, places, places] += np.where(damping > 0, damping, 1.0)[:, None]
    rounded = weights.copy()
    round_in_turn(np.ascontiguousarray(h), rounded, top)
    return rounded
