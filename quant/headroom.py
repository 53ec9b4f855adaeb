"""How many times as far as was seen a value should reach: where its error is least.

Every element pays for a range with larger steps, and what goes beyond it in a run yet to come is
clipped. So a value of few elements, such as a pooled feature or the outputs, gets more range than
was seen where single runs reached far beyond the others, and one of many pixels none.
"""

from __future__ import annotations

import numpy as np

from edgeinfer.arithmetic import elementary
from edgeinfer.quant.reaches import Reaches

__all__ = ["headroom"]

_TIMES = 1 + np.arange(65) / 32

# in a run that goes beyond all others not the largest number alone does
_CLIPPED = 4


def headroom(reaches: Reaches, elements: int, step: float) -> float:
    """From 1 to 3.

    With n runs seen the next one goes beyond all of them with a probability of 1 in n + 1. Beyond a
    high threshold most distributions have an exponential tail (Pickands, "Statistical inference
    using extreme order statistics", 1975), here that of the squares, as of normally distributed
    numbers: of mean s, beyond h times the largest reach r it is left ``exp(-(h^2 - 1) r^2 / s)``,
    and the mean square of what is clipped there is about ``2 (s / 2 h r)^2``. Four numbers are
    counted as clipped.

    Parameters
    ----------
    reaches : Reaches
        How far it reached in each run.
    elements : int
        How many it has.
    step : float
        Of its integers, where they reach no farther than was seen.
    """
    largest, excess = reaches.tail()
    if excess == 0:
        return 1.0
    rounded = elements * (_TIMES * step) ** 2 / 12
    left = elementary.exp(-(_TIMES**2 - 1) * largest**2 / excess)
    clipped = (
        _CLIPPED * 2 * (excess / (2 * _TIMES * largest)) ** 2 * left / (len(reaches.magnitudes) + 1)
    )
    return float(_TIMES[np.argmin(rounded + clipped)])
