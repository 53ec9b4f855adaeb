"""A stream of arrays into a histogram, and a histogram into the range that its values are given.

A ``Histogram`` is a sum: two of them merge into the one that a single pass over both streams would
have made, bit for bit, so calibration streams, resumes and spreads over workers. The observers are
rules that read one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from edgeinfer.arithmetic import elementary
from edgeinfer.errors import QuantizationError

__all__ = ["OBSERVERS", "Histogram", "Levels", "Observer", "entropy", "minmax", "mse", "percentile"]

_BINS = 8192  # over [-2^e, 2^e): at least 2,048 of them for any one-sided stream
_HALF = _BINS // 2
_LOWEST_EXPONENT = -120


@dataclass
class Histogram:
    """Counts of values in bins of equal width over ``[-2^exponent, 2^exponent)``.

    The extent is a power of two that doubles when a value falls outside, and pairs of bins then
    join exactly; so the result depends on the values alone, not on their order.
    """

    low: float = math.inf
    high: float = -math.inf
    exponent: int = _LOWEST_EXPONENT
    zeros: int = 0
    counts: np.ndarray = field(default_factory=lambda: np.zeros(_BINS, np.int64))

    @property
    def total(self) -> int:
        """How many values were seen."""
        return self.zeros + int(self.counts.sum())

    @property
    def reach(self) -> float:
        """The largest magnitude seen; 0 where nothing was."""
        return max(-self.low, self.high, 0.0)

    def add(self, x: np.ndarray) -> None:
        """Count the values of ``x``.

        Raises
        ------
        QuantizationError
            One of them is not finite.
        """
        if x.size == 0:
            return
        # + 0: of 0 and -0 either is the least one
        low, high = float(x.min()) + 0, float(x.max()) + 0
        if not (math.isfinite(low) and math.isfinite(high)):
            raise QuantizationError("a value is not finite")
        self.low, self.high = min(self.low, low), max(self.high, high)
        reach = max(-low, high)
        if reach > 0:
            self._widen(math.frexp(reach)[1])
        # a product with a power of two is exact, so a value's bin does not depend on its batch
        scaled = np.multiply(x, math.ldexp(_HALF, -self.exponent), dtype=np.float64).ravel()
        bins = np.floor(scaled, out=scaled).astype(np.int64)
        bins += _HALF
        zeros = x.size - int(np.count_nonzero(x))
        self.counts += np.bincount(bins, minlength=_BINS)
        self.counts[_HALF] -= zeros
        self.zeros += zeros

    def merge(self, other: Histogram) -> None:
        """Count what ``other`` has counted."""
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self.zeros += other.zeros
        self._widen(other.exponent)
        joined = Histogram(exponent=other.exponent, counts=other.counts)
        joined._widen(self.exponent)
        self.counts = self.counts + joined.counts

    def _widen(self, exponent: int) -> None:
        doublings = exponent - self.exponent
        if doublings <= 0:
            return
        self.exponent = exponent
        if not self.counts.any():
            return
        # bins of the wider extent: floor(i / 2^k) on each side of the middle
        index = ((np.arange(_BINS) - _HALF) >> min(doublings, 62)) + _HALF
        self.counts = np.bincount(index, self.counts, _BINS).astype(np.int64)

    def centers(self) -> np.ndarray:
        """The middle of every bin, float64."""
        return np.ldexp((np.arange(_BINS) - _HALF + 0.5) / _HALF, self.exponent)


@dataclass(frozen=True)
class Levels:
    """The integers that a range is divided into: 255 steps, or symmetric about 0."""

    steps: int
    symmetric: bool


# from what was seen, and the integers there are, to the range (low <= 0 <= high) they should cover
Observer = Callable[[Histogram, Levels], tuple[float, float]]


def minmax(seen: Histogram, levels: Levels) -> tuple[float, float]:
    """Everything seen, and 0."""
    return min(seen.low, 0.0), max(seen.high, 0.0)


def percentile(seen: Histogram, levels: Levels, share: float = 0.9999) -> tuple[float, float]:
    """The middle ``share`` of all values, and 0."""
    low, high = minmax(seen, levels)
    counts = seen.counts.copy()
    counts[_HALF] += seen.zeros
    cumulative = np.cumsum(counts)
    tail = (1 - share) / 2 * cumulative[-1]
    width = math.ldexp(1.0 / _HALF, seen.exponent)
    edges = np.ldexp((np.arange(_BINS + 1) - _HALF) / _HALF, seen.exponent)
    first = int(np.searchsorted(cumulative, tail, side="right"))
    last = int(np.searchsorted(cumulative, cumulative[-1] - tail, side="left"))
    return max(low, min(float(edges[first]), 0.0)), min(high, max(float(edges[last]) + width, 0.0))


def entropy(seen: Histogram, levels: Levels) -> tuple[float, float]:
    """The symmetric cut whose quantized histogram is nearest to the whole one (Kullback-Leibler).

    After TensorRT's calibrator (S. Migacz, "8-bit inference with TensorRT", GTC 2017): the
    magnitudes are cut at each of 128 places, what lies beyond joins the last bin, and the
    distribution is compared with itself after quantization to 128 magnitudes.
    """
    low, high = minmax(seen, levels)
    magnitudes = seen.counts[_HALF:] + seen.counts[:_HALF][::-1]
    reach = max(-low, high)
    if reach == 0 or levels.steps > 255:
        return low, high
    used = min(_HALF, math.ceil(math.ldexp(reach, -seen.exponent) * _HALF))
    best = min(
        (_divergence(magnitudes[:used], cut), cut)
        for cut in np.unique(np.linspace(min(128, used), used, 128).astype(int)).tolist()
    )[1]
    threshold = math.ldexp(best / _HALF, seen.exponent)
    return max(low, -threshold), min(high, threshold)


def _divergence(magnitudes: np.ndarray, cut: int) -> float:
    p = magnitudes[:cut].astype(np.float64)
    kept = p.copy()
    p[-1] += magnitudes[cut:].sum()
    group = np.arange(cut) * 128 // cut
    filled = kept > 0
    sums = np.bincount(group, kept, 128)
    sizes = np.bincount(group, filled, 128)
    q = np.where(filled, sums[group] / np.maximum(sizes[group], 1), 0.0)
    p_sum, q_sum = p.sum(), q.sum()
    if p_sum == 0 or q_sum == 0:
        return math.inf
    p, q = p / p_sum, q / q_sum
    some = p > 0
    return float((p[some] * elementary.log(p[some] / np.maximum(q[some], 1e-12))).sum())


def mse(seen: Histogram, levels: Levels) -> tuple[float, float]:
    """The range with the least expected squared error.

    What is cut off errs by its distance from the cut; what is kept errs by step^2 / 12, but for
    exact zeros, which are always exact.
    """
    low, high = minmax(seen, levels)
    centers = seen.centers()
    counts = seen.counts.astype(np.float64)
    kept = counts.sum()
    if kept == 0 or low == high:
        return low, high
    shares = np.linspace(0.2, 1.0, 161)
    lows, highs = low * shares, high * shares
    above = np.array([_cut_error(centers, counts, h) for h in highs])
    below = np.array([_cut_error(-centers, counts, -b) for b in lows])
    if levels.symmetric:
        reach = np.maximum(-low, high) * shares
        above = np.array([_cut_error(centers, counts, r) for r in reach])
        below = np.array([_cut_error(-centers, counts, r) for r in reach])
        error = above + below + kept * (2 * reach / levels.steps) ** 2 / 12
        cut = float(reach[int(error.argmin())])
        return max(low, -cut), min(high, cut)
    step = (highs[:, None] - lows[None, :]) / levels.steps
    error = above[:, None] + below[None, :] + kept * step**2 / 12
    i, j = np.unravel_index(int(error.argmin()), error.shape)
    return float(lows[j]), float(highs[i])


def _cut_error(centers: np.ndarray, counts: np.ndarray, cut: float) -> float:
    beyond = np.maximum(centers - cut, 0)
    return float((counts * beyond * beyond).sum())


OBSERVERS: dict[str, Observer] = {
    "entropy": entropy,
    "minmax": minmax,
    "mse": mse,
    "percentile": percentile,
}
