"""A function of one variable as the table of a ``Lookup``, from nothing but what its node keeps.

Whoever quantizes makes tables here, and whoever reads them checks them here, so a table depends on
its expression, its domain, and the integers that it takes and gives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from edgeinfer.arithmetic import pointwise
from edgeinfer.arithmetic.exact_cache import exact_cache
from edgeinfer.arithmetic.fixedpoint import interpolation_table_16, table
from edgeinfer.errors import QuantizationError

__all__ = [
    "KNOTS",
    "Domain",
    "Integers",
    "function_table",
    "step_ending_on_a_knot",
    "step_with_bends_on_knots",
]

KNOTS = 513
"""The entries of a table between which EI-1 interpolates."""

# how integers stand for real numbers: scale, zero point, element type
Integers: TypeAlias = tuple[float, int, str]

# inputs from one knot to the next
_SPACING = 128

# a scale may become so much coarser to have its knots where a function bends
_COARSER = 1.5

# beside a knot by half an input, a bend errs by less than an input's share of a step
_BESIDE = 0.5

# where bends are looked for, and how many a function may have before they are its nature
_PLACES, _MOST_BENDS = 16385, 4

# the real numbers that a value is known to hold; None where it may be all that its integers do
Domain: TypeAlias = tuple[float, float] | None


# the steps of a recurrent layer have their functions over and over
@exact_cache(64)
def function_table(
    expression: pointwise.Expression, domain: Domain, x: Integers, y: Integers, entries: int
) -> np.ndarray:
    """The table of ``expression`` from integers ``x`` to integers ``y``.

    Parameters
    ----------
    expression : Expression
        The function, of real numbers.
    domain : (float, float) or None
        The numbers that ``x`` is known to hold.
    x, y : Integers
        What the table takes and gives.
    entries : int
        513 of int16 to interpolate between, else one for each integer that ``x`` may be.

    Returns
    -------
    numpy.ndarray
        [entries], of the element type of ``y``; it cannot be written to.

    Raises
    ------
    QuantizationError
        The function is not a number somewhere, or too steep to be interpolated.
    """
    function = _Function(expression, domain, x, y)
    if entries != KNOTS:
        made = table(function, *x[:2], *y[:2], x[2], y[2])
    else:
        knots = interpolation_table_16(function, x[0], y[0])
        if knots is None:
            raise QuantizationError("the function is too steep to be interpolated")
        made = knots
    made.setflags(write=False)
    return made


def step_with_bends_on_knots(
    function: Callable[[np.ndarray], np.ndarray], step: float, out_step: float
) -> float:
    """The least input scale from ``step`` on at which each bend of ``function`` has a knot.

    Between two knots a bend, such as HardSwish's at -3 and 3, errs by an eighth of their distance
    times what the slope changes by: 16 steps where both ranges are alike. Where no scale serves,
    ``step`` itself.
    """
    bends = _bends(function, 32768 * step, out_step)
    bends = [p for p in bends if abs(p) > _BESIDE * step]
    if not bends or len(bends) > _MOST_BENDS:
        return step
    farthest = max(map(abs, bends)) / _SPACING
    counts = range(int(farthest / step), 0, -1)
    for tried in (step, *(farthest / count for count in counts)):
        if tried > _COARSER * step:
            break
        places = np.array(bends) / tried
        if np.abs(places - _SPACING * np.rint(places / _SPACING)).max() <= _BESIDE:
            return tried
    return step


def _bends(
    function: Callable[[np.ndarray], np.ndarray], reach: float, out_step: float
) -> list[float]:
    """Where the slope changes so abruptly that an interpolation across it errs by a step."""
    x = np.linspace(-reach, reach, _PLACES) * (1 + 16 / _PLACES)  # with what lies beside the ends
    with np.errstate(all="ignore"):
        second = np.diff(function(x), 2)  # beside x[1:-1]
        # what two places have more than those beside them: a smooth curve has the same there
        beside = (second[:-3] + second[3:]) / 2
        before, behind = second[1:-2] - beside, second[2:-1] - beside
        changes = np.abs(before + behind) / (x[1] - x[0])
        changes = np.where(np.isfinite(changes), changes, 0.0)
    # the slope of the chord between knots errs by a quarter of the change, over their distance
    least = 4 * out_step / (reach / 256)
    found = []
    for i in np.flatnonzero(changes > least):
        if changes[i] == changes[max(i - 3, 0) : i + 4].max():
            share = behind[i] / (before[i] + behind[i])
            found.append(float(x[i + 2] + share * (x[1] - x[0])))
    return found


def step_ending_on_a_knot(
    function: Callable[[np.ndarray], np.ndarray], in_step: float, step: float
) -> float:
    """The least output scale from ``step`` on with which results end at a knot, if they do.

    Where an output's integers end before the function does, its table bends: what lies beyond the
    last knot that they hold is clamped, and half of what lies before it errs. So the scale holds
    the first knot that would be clamped.
    """
    with np.errstate(all="ignore"):
        y = function(in_step * _SPACING * np.arange(-256.0, 257.0))
    needed = step
    for ends in (y / 32767, y / -32768):
        over = ends > step
        # clamped beside one that is not
        first = over & ~(np.append(over[1:], True) & np.append(True, over[:-1]))
        if first.any():
            wider = float(ends[first].max())
            if 2 * step < 32767 * (wider - step) and wider <= _COARSER * step:
                needed = max(needed, wider)
    return needed


class _Function:
    """An expression at the numbers that integers stand for, rounded as they are.

    An integer stands for all that round to it. Where the function is not finite, they are better
    told by a number a quarter of a step away: to the 0 of a logarithm those round that lie about
    there. And at the ends of what ``x`` holds, a steep function must not turn the rounding into
    more than a step of its own: ``1e9 (m - 1)`` at ``m = 1.00001`` is meant at 1.
    """

    def __init__(
        self, expression: pointwise.Expression, domain: Domain, x: Integers, y: Integers
    ) -> None:
        self._expression = expression
        self._domain = _held(x) if domain is None else domain
        self._step, self._out_step = x[0], y[0]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        low, high = self._domain
        y = pointwise.evaluate(self._expression, x)
        infinite = ~np.isfinite(y)
        if infinite.any():
            nearby = np.clip(x + np.copysign(self._step / 4, (low + high) / 2 - x), low, high)
            y = np.where(infinite, pointwise.evaluate(self._expression, nearby), y)
        for end in (low, high):
            (at_end,) = pointwise.evaluate(self._expression, np.array([end]))
            rounded = (np.abs(x - end) <= self._step / 2) & (np.abs(y - at_end) > self._out_step)
            y = np.where(rounded & ~infinite, at_end, y)
        return y


def _held(x: Integers) -> tuple[float, float]:
    """The real numbers that integers stand for."""
    scale, zero_point, dtype = x
    info = np.iinfo(dtype)
    return scale * (int(info.min) - zero_point), scale * (int(info.max) - zero_point)
