"""Quotients by a scale without a division (docs/arithmetic.md, "Quotients of floats")."""

from __future__ import annotations

from functools import cache

import numpy as np

__all__ = ["short_quotient"]

# so many floats on each side of a half are looked at, the first to reach its integer among them
_AROUND = 4


@cache
def short_quotient(scale: float, zero_point: int) -> tuple[float, float] | None:
    """Two floats with ``rint(fma(x, high, x * low))`` equal to ``rint(x / scale)`` for every float
    x, as far as int8 tells them apart (docs/arithmetic.md, "Shorter forms").

    Both grow with x, so they are equal where they reach each integer at the same float.
    """
    if not 2.0**-100 <= scale <= 2.0**100:
        return None
    divisor = np.float32(scale)
    high = np.float32(1 / float(divisor))
    low = np.float32(1 / float(divisor) - float(high))
    k = np.arange(-127, 128) - zero_point
    x = [((k - 0.5) * float(divisor)).astype(np.float32)]
    for _ in range(_AROUND):
        x = [np.nextafter(x[0], -np.inf), *x, np.nextafter(x[-1], np.inf)]
    around = np.stack(x).astype(np.float32)
    expected = np.rint(around / divisor) >= k
    # exact but for the last sum, which must not lie where that decides
    quotient = around.astype(np.float64) * float(high) + around * low
    found = [
        np.rint((quotient * (1 + sign * 2.0**-52)).astype(np.float32)) >= k for sign in (-1, 1)
    ]
    equal = all(np.array_equal(reached, expected) for reached in found)
    if not equal or expected[0].any() or not expected[-1].all():
        return None
    return float(high), float(low)
