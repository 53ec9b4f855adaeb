"""Sines, cosines, tangents and their inverses."""

from __future__ import annotations

import functools

import numpy as np

from edgeinfer.arithmetic.elementary.by_blocks import of_floats, polynomial

__all__ = ["arccos", "arcsin", "arctan", "cos", "sin", "tan"]

# half of pi in three parts, of which the first two have 33 bits
_HALF_PI = 1.5707963267948966
_PARTS = 1.57079632673412561417e00, 6.07710050630396597660e-11, 2.02226624879595063154e-21

# beyond, and so near a multiple of half of pi, these parts are too few
_FAR, _NEAR = 1e6, 2.0**-20

_SIN = (
    -1.66666666666666324348e-01,
    8.33333333332248946124e-03,
    -1.98412698298579493134e-04,
    2.75573137070700676789e-06,
    -2.50507602534068634195e-08,
    1.58969099521155010221e-10,
)
_COS = (
    4.16666666666666019037e-02,
    -1.38888888888741095749e-03,
    2.48015872894767294178e-05,
    -2.75573143513906633035e-07,
    2.08757232129817482790e-09,
    -1.13596475577881948265e-11,
)


def _turned(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which quarter of a turn x is nearest to, and how far away in two parts."""
    n = np.rint(x * (1.0 / _HALF_PI))
    first = x - n * _PARTS[0]
    taken = n * _PARTS[1]
    second = first - taken
    rest = n * _PARTS[2] - ((first - second) - taken)
    high = second - rest
    low = (second - high) - rest
    quarter = np.where(np.isfinite(n), np.fmod(n, 4.0), 0.0)
    hard = ((np.abs(x) > _FAR) | ((np.abs(high) < _NEAR) & (n != 0))) & np.isfinite(x)
    for i in np.flatnonzero(hard):
        quarter[i], high[i], low[i] = _turned_exactly(float(x[i]))
    return quarter.astype(np.int64) & 3, high, low


# float64 goes up to 2^1024
_PI_BITS = 1300


def _turned_exactly(x: float) -> tuple[int, float, float]:
    numerator, denominator = x.as_integer_ratio()
    whole = (numerator << _PI_BITS) // denominator
    half_pi = _pi() >> 1
    n = (2 * whole + half_pi) // (2 * half_pi)
    rest = whole - n * half_pi
    high = rest / (1 << _PI_BITS)
    above, below = high.as_integer_ratio()
    low = (rest - (above << _PI_BITS) // below) / (1 << _PI_BITS)
    return n & 3, high, low


@functools.cache
def _pi() -> int:
    """pi times 2^1300, by the formula of J. Machin."""

    def inverse_tangent(n: int) -> int:
        """That of 1 / n."""
        power = total = (1 << (_PI_BITS + 32)) // n
        sign, k = 1, 1
        while power:
            power //= n * n
            sign, k = -sign, k + 2
            total += sign * (power // k)
        return total

    return (16 * inverse_tangent(5) - 4 * inverse_tangent(239)) >> 32


def _sine(x: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Of ``x + low``, for x up to a quarter of pi."""
    z = x * x
    v = z * x
    r = polynomial(z, _SIN[1:])
    return x - ((z * (0.5 * low - v * r) - low) - v * _SIN[0])


def _cosine(x: np.ndarray, low: np.ndarray) -> np.ndarray:
    z = x * x
    half = 0.5 * z
    w = 1.0 - half
    return w + (((1.0 - w) - half) + (z * z * polynomial(z, _COS) - x * low))


def _sine_and_cosine(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    quarter, high, low = _turned(x)
    s, c = _sine(high, low), _cosine(high, low)
    odd = (quarter & 1) == 1
    sine, cosine = np.where(odd, c, s), np.where(odd, s, c)
    return (
        np.where(quarter & 2, -sine, sine),
        np.where((quarter + 1) & 2, -cosine, cosine),
    )


@of_floats
def sin(x: np.ndarray) -> np.ndarray:
    """The sine; NaN of what is infinite."""
    return np.where(x == 0, x, _sine_and_cosine(x)[0])


@of_floats
def cos(x: np.ndarray) -> np.ndarray:
    """The cosine; NaN of what is infinite."""
    return _sine_and_cosine(x)[1]


@of_floats
def tan(x: np.ndarray) -> np.ndarray:
    """The tangent; NaN of what is infinite."""
    sine, cosine = _sine_and_cosine(x)
    return np.where(x == 0, x, sine / cosine)


# the inverse tangents of 0, 1/2, 1, 3/2 and infinity, and what they are more than a float64
_ARCTAN_AT = np.array(
    [
        0.0,
        4.63647609000806093515e-01,
        7.85398163397448278999e-01,
        9.82793723247329054082e-01,
        _HALF_PI,
    ]
)
_ARCTAN_MORE = np.array(
    [
        0.0,
        2.26987774529616870924e-17,
        3.06161699786838301793e-17,
        1.39033110312309984516e-17,
        6.12323399573676603587e-17,
    ]
)
_ARCTAN = (
    3.33333333333329318027e-01,
    -1.99999999998764832476e-01,
    1.42857142725034663711e-01,
    -1.11111104054623557880e-01,
    9.09088713343650656196e-02,
    -7.69187620504482999495e-02,
    6.66107313738753120669e-02,
    -5.83357013379057348645e-02,
    4.97687799461593236017e-02,
    -3.65315727442169155270e-02,
    1.62858201153657823623e-02,
)


@of_floats
def arctan(x: np.ndarray) -> np.ndarray:
    """The inverse tangent."""
    return _arctan(x)


def _arctan(x: np.ndarray) -> np.ndarray:
    far = np.abs(x)
    place = (
        (far >= 7 / 16).astype(np.int64) + (far >= 11 / 16) + (far >= 19 / 16) + (far >= 39 / 16)
    )
    from_place = np.choose(
        place,
        [
            far,
            (2.0 * far - 1.0) / (2.0 + far),
            (far - 1.0) / (far + 1.0),
            (far - 1.5) / (1.0 + 1.5 * far),
            -1.0 / far,
        ],
    )
    z = from_place * from_place
    bent = from_place * (z * polynomial(z, _ARCTAN))
    y = _ARCTAN_AT[place] - ((bent - _ARCTAN_MORE[place]) - from_place)
    return np.copysign(np.where(place == 0, from_place - bent, y), x)


@of_floats
def arcsin(x: np.ndarray) -> np.ndarray:
    """The inverse sine; NaN beyond 1."""
    return np.where(x == 0, x, _arctan(x / np.sqrt((1.0 - x) * (1.0 + x))))


@of_floats
def arccos(x: np.ndarray) -> np.ndarray:
    """The inverse cosine; NaN beyond 1."""
    return 2.0 * _arctan(np.sqrt((1.0 - x) / (1.0 + x)))
