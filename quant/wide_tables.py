"""A function of 16 bits as a table: 513 knots where these are nearly as good as all entries."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from edgeinfer.arithmetic import pointwise
from edgeinfer.arithmetic.exact_cache import exact_cache
from edgeinfer.arithmetic.fixedpoint import interpolate_16, multiplier_and_shift, requantize
from edgeinfer.arithmetic.tables import (
    KNOTS,
    Domain,
    Integers,
    function_table,
    step_with_bends_on_knots,
)
from edgeinfer.errors import QuantizationError
from edgeinfer.graph import nearest_float32

__all__ = ["wide_table", "wide_table_and_step"]

# an interpolated table may err by this many output steps before a full one takes its place
_INTERPOLATION_STEPS = 4


# a search lowers the same layer a hundred times
@exact_cache(256)
def wide_table(
    expression: pointwise.Expression, domain: Domain, x: Integers, y: Integers, least: int = -32768
) -> np.ndarray:
    """The table of ``expression`` from int16 ``x`` to int16 ``y``; inputs below ``least`` are rare.

    See ``function_table``.
    """
    entries = function_table(expression, domain, x, y, 65536)
    knots = _knots(expression, domain, x, x[0], y, entries, least)
    return entries if knots is None else knots


@exact_cache(256)
def wide_table_and_step(
    expression: pointwise.Expression, domain: Domain, x: Integers, y: Integers
) -> tuple[np.ndarray, float]:
    """As ``wide_table``, and the scale of what it takes: that of ``x``, or a finer one.

    Where knots are not good enough at that of ``x``, they may be at one that reaches no farther
    than the function still changes, and has knots where it bends.
    """
    entries = function_table(expression, domain, x, y, 65536)
    for step in (x[0], _finer_step(expression, x, y, entries)):
        knots = _knots(expression, domain, x, step, y, entries)
        if knots is not None:
            return knots, step
    return entries, x[0]


def _knots(
    expression: pointwise.Expression,
    domain: Domain,
    x: Integers,
    step: float,
    y: Integers,
    entries: np.ndarray,
    least: int = -32768,
) -> np.ndarray | None:
    """The table of 513 for ``x`` at another ``step``; None where it is not near ``entries``."""
    q = np.arange(least, 32768)
    taken = requantize(q, *multiplier_and_shift(x[0] / step), 0, -32768, 32767)
    with suppress(QuantizationError):
        knots = function_table(expression, domain, (step, 0, "int16"), y, KNOTS)
        errors = interpolate_16(knots, taken).astype(np.int64) - entries[q + 32768]
        slopes = np.diff(knots.astype(np.int64))
        if np.abs(errors).max() <= _INTERPOLATION_STEPS and np.abs(slopes).max() < 2**15:
            return knots
    return None


def _finer_step(
    expression: pointwise.Expression, x: Integers, y: Integers, entries: np.ndarray
) -> float:
    """The scale of ``x`` that reaches as far as ``entries`` change, or a little farther."""
    changes = np.flatnonzero(np.diff(entries)) - 32768
    farthest = max(-int(changes.min(initial=0)), int(changes.max(initial=0)) + 1)
    low, high = -32768 * y[0], 32767 * y[0]

    def clamped(reals: np.ndarray) -> np.ndarray:
        return np.clip(pointwise.evaluate(expression, reals), low, high)

    return nearest_float32(step_with_bends_on_knots(clamped, x[0] * farthest / 32767, y[0]))
