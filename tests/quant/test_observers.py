"""Histograms are sums, and each observer reads the range from one that its rule says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgeinfer.errors import QuantizationError
from edgeinfer.quant.observers import OBSERVERS, Histogram, Levels, entropy, minmax, mse, percentile

INT8 = Levels(255, False)
INT16 = Levels(65534, True)

arrays = hnp.arrays(
    np.float32,
    st.integers(0, 40),
    elements=st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False),
)


def histogram(*streams: np.ndarray) -> Histogram:
    h = Histogram()
    for x in streams:
        h.add(x)
    return h


def same(a: Histogram, b: Histogram) -> bool:
    return (a.low, a.high, a.zeros, a.counts.tolist()) == (
        b.low,
        b.high,
        b.zeros,
        b.counts.tolist(),
    )


@given(arrays, arrays, arrays)
def test_order_and_batches_change_nothing(a, b, c):
    assert same(histogram(a, b, c), histogram(np.concatenate([c, a, b])))


@given(arrays, arrays)
def test_merging_equals_a_single_pass(a, b):
    merged = histogram(a)
    merged.merge(histogram(b))
    assert same(merged, histogram(a, b))


@given(arrays)
def test_every_value_is_counted_once(x):
    assert histogram(x).total == x.size


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused(bad):
    with pytest.raises(QuantizationError, match=r"^a value is not finite$"):
        histogram(np.array([1.0, bad], np.float32))


@pytest.mark.parametrize("name", OBSERVERS)
@pytest.mark.parametrize("levels", [INT8, INT16])
def test_ranges_hold_zero_and_nothing_unseen(name, levels):
    rng = np.random.default_rng(3)
    for x in (rng.normal(size=5000), rng.exponential(size=5000), -rng.exponential(size=500) - 3):
        low, high = OBSERVERS[name](histogram(x.astype(np.float32)), levels)
        assert min(x.min(), 0) - 1e-3 <= low <= 0 <= high <= max(x.max(), 0) + 1e-3


def test_minmax_is_exact():
    x = np.array([-3.25, 0.5, 7.125], np.float32)
    assert minmax(histogram(x), INT8) == (-3.25, 7.125)


def test_percentile_leaves_out_the_rarest():
    x = np.concatenate([np.linspace(-1, 1, 100_000), [50.0]]).astype(np.float32)
    low, high = percentile(histogram(x), INT8)
    assert -1 <= low < -0.98
    assert 0.98 < high < 1.1


@pytest.mark.parametrize("observer", [mse, entropy])
def test_an_outlier_is_cut_where_that_pays(observer):
    x = np.concatenate([np.random.default_rng(0).normal(size=1_000_000), [60.0]]).astype(np.float32)
    assert observer(histogram(x), INT8)[1] < 30


def test_mse_cuts_nothing_of_sixteen_bits():
    x = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    low, high = mse(histogram(x), INT16)
    assert (low, high) == (x.min(), x.max())


def test_mse_is_no_worse_than_any_cut_of_a_grid():
    x = np.random.default_rng(1).laplace(size=50_000).astype(np.float32)

    def error(low: float, high: float) -> float:
        step = (high - low) / 255
        q = np.clip(np.round(x / step), np.round(low / step), np.round(high / step)) * step
        return float(((x - q) ** 2).mean())

    chosen = error(*mse(histogram(x), INT8))
    grid = [error(x.min() * a, x.max() * b) for a in (0.4, 0.6, 0.8, 1) for b in (0.4, 0.6, 0.8, 1)]
    assert chosen < 1.05 * min(grid)
