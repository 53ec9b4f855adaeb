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

    The weight of the largest second moment comes first, as later ones make up for it. What counts
    is the error about its mean, as the bias takes the mean.

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
        rounded[:, :, block] = _in_order(weights[:, :, block], about_mean, least, top)
    return rounded


def _in_order(weights: np.ndarray, h: np.ndarray, least: np.ndarray, top: int) -> np.ndarray:
    places = np.arange(h.shape[1])
    diagonal = h[:, places, places]
    order = np.argsort(-diagonal, axis=1, kind="stable")
    damping = _DAMPING * diagonal.sum(1) / len(places) + least
    # of zeros alone there is nothing to make up for
    damping = np.where(damping > 0, damping, 1.0)
    h = np.take_along_axis(h, order[:, :, None], 1)
    h = np.take_along_axis(h, order[:, None, :], 2)
    h[:, places, places] += damping[:, None]
    turned = np.take_along_axis(weights, order[:, None, :], 2)
    round_in_turn(np.ascontiguousarray(h), turned, top)
    rounded = np.empty_like(weights)
    np.put_along_axis(rounded, np.broadcast_to(order[:, None, :], turned.shape), turned, 2)
    return rounded
