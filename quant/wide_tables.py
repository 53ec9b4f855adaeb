"""A function of 16 bits as a table: 513 knots where these are nearly as good as all entries."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache

import numpy as np

from edgeinfer.arithmetic import pointwise
from edgeinfer.arithmetic.fixedpoint import interpolate_16
from edgeinfer.arithmetic.tables import KNOTS, Domain, Integers, function_table
from edgeinfer.errors import QuantizationError

__all__ = ["INTERPOLATION_STEPS", "wide_table"]

INTERPOLATION_STEPS = 4.0
"""An interpolated table may err by this many output steps before a full one takes its place."""


# a search lowers the same layer a hundred times
@lru_cache(maxsize=256)
def wide_table(
    expression: pointwise.Expression, domain: Domain, x: Integers, y: Integers, least: int = -32768
) -> np.ndarray:
    """The table of ``expression`` from int16 ``x`` to int16 ``y``; inputs below ``least`` are rare.

    See ``function_table``.
    """
    entries = function_table(expression, domain, x, y, 65536)
    likely = np.arange(least, 32768)
    with suppress(QuantizationError):
        knots = function_table(expression, domain, x, y, KNOTS)
        errors = interpolate_16(knots, likely).astype(np.int64) - entries[likely + 32768]
        if np.abs(errors).max() <= INTERPOLATION_STEPS:
            entries = knots
    entries.flags.writeable = False
    return entries
