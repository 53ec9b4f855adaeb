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

# factors, and how many times as far as was seen another run may reach
_STEP = 1 / 32
_TIMES = 1 + np.arange(65) * _STEP
_AGAIN = 1 + np.arange(480) * _STEP

# in a run that goes beyond all others not the largest number alone does so
_CLIPPED = 2

# fewer runs do not tell what their tail is like
_FEWEST = 5


def headroom(reaches: Reaches, elements: int, step: float) -> float:
    """From 1 to 3.

    With n runs seen the next one goes beyond all of them with a probability of 1 in n + 1. Beyond a
    high threshold most distributions have an exponential tail (Pickands, "Statistical inference
    using extreme order statistics", 1975), here that of the squares, as of normally distributed
    numbers. Its mean s is itself known from k runs only, and then what goes t beyond is left
    ``(1 + t / (k s))^-k`` (the predictive distribution under Jeffreys' prior 1 / s): of a heavier
    tail, the fewer runs tell of it. Two numbers are counted as clipped.

    Parameters
    ----------
    reaches : Reaches
        How far it reached in each run.
    elements : int
        How many it has.
    step : float
        Of its integers, where they reach no farther than was seen.
    """
    largest, excess, told = reaches.tail()
    if excess == 0:
        return 1.0
    told = max(told, _FEWEST)
    beyond = (_AGAIN**2 - 1) * largest**2 / (told * excess)
    left = elementary.exp(-told * elementary.log1p(beyond))
    clipped = np.maximum(_AGAIN - _TIMES[:, None], 0) * largest
    squares = 2 * (clipped * left).sum(1) * (_STEP * largest)
    rounded = elements * (_TIMES * step) ** 2 / 12
    return float(_TIMES[np.argmin(rounded + _CLIPPED * squares / (len(reaches.magnitudes) + 1))])
