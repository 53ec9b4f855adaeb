"""Exponentials, and the hyperbolic functions that are made of them."""

from __future__ import annotations

import numpy as np

from edgeinfer.arithmetic.elementary.by_blocks import of_floats, polynomial

__all__ = ["LN2", "LN2_HI", "LN2_LO", "cosh", "exp", "expm1", "sinh", "tanh"]

# added to a whole number, it leaves that one in the last bits
_WHOLE = 1.5 * 2.0**52


def _scaled(x: np.ndarray, k: np.ndarray) -> np.ndarray:
    """``x`` times 2^k, in two steps where one of them may be no float64."""
    if np.abs(k).max(initial=0) < 1000:
        return x * _power_of_two(k)
    half = np.rint(k * 0.5)
    return x * _power_of_two(half) * _power_of_two(k - half)


def _power_of_two(k: np.ndarray) -> np.ndarray:
    bits = (k + (_WHOLE + 1023)).view(np.int64)
    bits <<= 52
    return bits.view(np.float64)


LN2, _PER_LN2 = 0.6931471805599453, 1.4426950408889634

# log 2 in two parts, of which the first times an exponent is exact
LN2_HI, LN2_LO = 6.93147180369123816490e-01, 1.90821492927058770002e-10

_EXP = (
    1.66666666666666019037e-01,
    -2.77777777770155933842e-03,
    6.61375632143793436117e-05,
    -1.65339022054652515390e-06,
    4.13813679705723846039e-08,
)


def _reduced(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """k and m of ``exp(x) = 2^k (1 + m)``, for x within what float64 holds the result of."""
    k = np.rint(x * _PER_LN2)
    hi, lo = x - k * LN2_HI, k * LN2_LO
    r = hi - lo
    squares = r * r
    c = polynomial(squares, _EXP)
    c *= squares
    np.subtract(r, c, out=c)
    r *= c
    r /= np.subtract(2.0, c, out=c)
    lo -= r
    hi -= lo
    return k, hi


@of_floats
def exp(x: np.ndarray) -> np.ndarray:
    """e to the power of x."""
    k, m = _reduced(np.clip(x, -750.0, 720.0))
    m += 1.0
    return _scaled(m, k)


@of_floats
def expm1(x: np.ndarray) -> np.ndarray:
    """``exp(x) - 1``, exact to the last bits where x is small too."""
    return _expm1(x)


def _expm1(x: np.ndarray) -> np.ndarray:
    k, m = _reduced(np.clip(x, -750.0, 720.0))
    y = _scaled(m, k) + (_scaled(np.ones_like(m), k) - 1.0)
    y = np.where(k == 0, np.where(x == 0, x, m), y)
    return np.where(x > 720.0, np.inf, y)


@of_floats
def tanh(x: np.ndarray) -> np.ndarray:
    """The hyperbolic tangent."""
    t = _expm1(-2.0 * np.abs(x))
    return np.copysign(t / (t + 2.0), x)


@of_floats
def sinh(x: np.ndarray) -> np.ndarray:
    """The hyperbolic sine."""
    far = np.abs(x)
    t = _expm1(np.minimum(far, 700.0))
    half = exp(0.5 * far)
    y = np.where(far <= 700.0, 0.5 * (t + t / (t + 1.0)), 0.5 * half * half)
    return np.copysign(y, x)


@of_floats
def cosh(x: np.ndarray) -> np.ndarray:
    """The hyperbolic cosine."""
    half = exp(0.5 * np.abs(x))
    return 0.5 * half * half + 0.5 / half / half
