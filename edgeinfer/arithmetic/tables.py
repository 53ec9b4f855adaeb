"""A function of one variable as the table of a ``Lookup``, from nothing but what its node keeps.

Whoever quantizes makes tables here, and whoever reads them checks them here, so a table depends on
its expression, its domain, and the integers that it takes and gives.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from edgeinfer.arithmetic import pointwise
from edgeinfer.arithmetic.fixedpoint import interpolate_16, interpolation_table_16, table
from edgeinfer.errors import QuantizationError

__all__ = ["KNOTS", "Domain", "Integers", "function_table", "interpolation_error"]

KNOTS = 513
"""The entries of a table between which EI-1 interpolates."""

# how integers stand for real numbers: scale, zero point, element type
Integers: TypeAlias = tuple[float, int, str]

# the real numbers that a value is known to hold; None where it may be all that its integers do
Domain: TypeAlias = tuple[float, float] | None


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
        [entries], of the element type of ``y``.

    Raises
    ------
    QuantizationError
        The function is not a number somewhere, or too steep to be interpolated.
    """
    function = _Function(expression, domain, x, y)
    if entries != KNOTS:
        return table(function, *x[:2], *y[:2], x[2], y[2])
    knots = interpolation_table_16(function, x[0], y[0])
    if knots is None:
        raise QuantizationError("the function is too steep to be interpolated")
    return knots


def interpolation_error(knots: np.ndarray, entries: np.ndarray) -> float:
    """By how many steps what ``knots`` give differs from the 65,536 ``entries``, at most."""
    between = interpolate_16(knots, np.arange(-32768, 32768))
    return float(np.abs(between - entries).max())


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
