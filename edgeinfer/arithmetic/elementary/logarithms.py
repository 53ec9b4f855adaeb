"""Logarithms, the inverses of the hyperbolic functions, and powers."""

from __future__ import annotations

import numpy as np

from edgeinfer.arithmetic.elementary.by_blocks import of_floats, polynomial
from edgeinfer.arithmetic.elementary.exponentials import LN2, LN2_HI, LN2_LO, exp

__all__ = ["arccosh", "arcsinh", "arctanh", "log", "log1p", "power"]

_ROOT_OF_HALF = 0.7071067811865476

_LOG = (
    6.666666666666735130e-01,
    3.999999999940941908e-01,
    2.857142874366239149e-01,
    2.222219843214978396e-01,
    1.818357216161805012e-01,
    1.531383769920937332e-01,
    1.479819860511658591e-01,
)


@of_floats
def log(x: np.ndarray) -> np.ndarray:
    """The natural logarithm; -inf of 0, NaN below."""
    return _log(x)


def _log(x: np.ndarray) -> np.ndarray:
    m, k = np.frexp(x)
    low = m < _ROOT_OF_HALF
    f = np.where(low, 2.0 * m, m) - 1.0
    k = (k - low).astype(np.float64)
    s = f / (2.0 + f)
    squares = s * s
    r = squares * polynomial(squares, _LOG)
    half = 0.5 * f * f
    y = k * LN2_HI - ((half - (s * (half + r) + k * LN2_LO)) - f)
    y = np.where((x > 0) & (x < np.inf), y, np.where(x == 0, -np.inf, np.nan))
    return np.where(x == np.inf, x, y)


@of_floats
def log1p(x: np.ndarray) -> np.ndarray:
    """``log(1 + x)``, exact to the last bits where x is small too."""
    return _log1p(x)


def _log1p(x: np.ndarray) -> np.ndarray:
    # what the sum loses, its logarithm loses in the same proportion (W. Kahan)
    u = 1.0 + x
    kept = u - 1.0
    y = _log(u)
    return np.where((kept == 0) | ~np.isfinite(y), np.where(kept == 0, x, y), y * (x / kept))


@of_floats
def arcsinh(x: np.ndarray) -> np.ndarray:
    """The inverse of ``sinh``."""
    far = np.abs(x)
    near = np.minimum(far, 2.0**28)
    squares = near * near
    y = _log1p(near + squares / (1.0 + np.sqrt(1.0 + squares)))
    return np.copysign(np.where(far > 2.0**28, _log(far) + LN2, y), x)


@of_floats
def arccosh(x: np.ndarray) -> np.ndarray:
    """The inverse of ``cosh``; NaN below 1."""
    t = np.minimum(x, 2.0**28) - 1.0
    y = _log1p(t + np.sqrt(t * (2.0 + t)))
    return np.where(x >= 1.0, np.where(x > 2.0**28, _log(x) + LN2, y), np.nan)


@of_floats
def arctanh(x: np.ndarray) -> np.ndarray:
    """The inverse of ``tanh``; NaN beyond 1."""
    far = np.abs(x)
    return np.copysign(0.5 * _log1p(2.0 * far / (1.0 - far)), x)


# ---- powers

# exponents whose doubles are no greater are worked out by products and a root
_MOST_PRODUCTS = 128


@of_floats
def power(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``a`` to the power of ``b``, as C's ``pow``: NaN where a negative number has none.

    Whole and half exponents up to 64 are products and a root, so that squares of integers are
    integers. Elsewhere the error grows with the logarithm of the result, to 2^-43 of it at most.
    """
    twice = 2.0 * b
    plain = (twice == np.rint(twice)) & (np.abs(twice) <= _MOST_PRODUCTS)
    y = np.ones_like(a) if plain.all() else _general_power(a, b)
    if not plain.any():
        return y
    return np.where(plain, _plain_power(a, np.where(plain, twice, 0.0)), y)


def _plain_power(a: np.ndarray, twice: np.ndarray) -> np.ndarray:
    """``a`` to the power of half of ``twice``, which is whole."""
    left = np.abs(twice).astype(np.int64)
    # + 0 as the root of -0 is -0, and its power 0
    y = np.where(left & 1, np.sqrt(a + 0.0), 1.0)
    squared = a
    while (left := left >> 1).any():
        y = np.where(left & 1, y * squared, y)
        squared = squared * squared
    return np.where(twice < 0, 1.0 / y, y)


def _general_power(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    far = np.abs(a)
    y = exp(b * _log(far))
    odd = np.abs(np.fmod(b, 2.0)) == 1.0
    y = np.where((a < 0) & odd, -y, y)
    y = np.where((a < 0) & (a > -np.inf) & (b != np.rint(b)), np.nan, y)
    return np.where((a == 1.0) | (b == 0.0) | ((a == -1.0) & np.isinf(b)), 1.0, y)
