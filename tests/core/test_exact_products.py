"""Products whose sums are exact have one result, whatever the order, and err as float32 does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeinfer.arithmetic.exact_products import Rows, product
from tests.example_counts import examples


def in_turn(a: np.ndarray, b: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The sums that ``product`` is of, one product after another in ``order``, rounded once."""
    rows, columns = Rows.of(a), Rows.of(b)
    total = np.zeros((len(a), len(b)))
    for k in order:
        total += rows.integers[:, k, None] * columns.integers[None, :, k]
        assert np.abs(total).max(initial=0) <= 2.0**53
    # what floats cannot hold is infinite, in any order
    with np.errstate(over="ignore"):
        return (total * rows.steps * columns.steps.T).astype(np.float32)


@settings(max_examples=examples(60), deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 700), st.sampled_from([0.0, 3.0, 12.0]))
def test_no_order_of_a_sum_changes_a_bit(seed, count, spread):
    rng = np.random.default_rng(seed)
    a, b = (
        (rng.normal(size=(3, count)) * np.exp(rng.normal(0, spread, (3, count)))).astype("f4")
        for _ in range(2)
    )
    expected = product(a, Rows.of(b))
    for order in (np.arange(count), rng.permutation(count), np.argsort(-np.abs(a[0] * b[0]))):
        assert np.array_equal(in_turn(a, b, order), expected)


@pytest.mark.parametrize("count", [1, 16, 300, 5000])
def test_the_error_is_below_float32s_own_of_the_norms(count):
    rng = np.random.default_rng(count)
    a, b = (rng.normal(size=(40, count)).astype("f4") for _ in range(2))
    exact = a.astype(np.float64) @ b.T.astype(np.float64)
    norms = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)
    rounding = 2.0**-24 * np.abs(exact)
    assert (np.abs(product(a, Rows.of(b)) - exact) <= 2.0**-24 * norms + rounding).all()


def test_numbers_of_24_bits_lose_nothing_beside_their_like():
    a = np.array([[2.0**24 - 1, 1.0, 2.0**23 + 1]], "f4")
    assert product(a, Rows.of(np.eye(3, dtype="f4"))).tolist() == a.tolist()


@pytest.mark.parametrize("scale", [1e-38, 1e-20, 1e19])
def test_rows_of_any_magnitude_are_multiplied(scale):
    a = np.array([[3.0, -1.0], [0.0, 0.0]], "f4") * np.float32(scale)
    expected = np.array([[9, 2], [0, 0]]) * scale
    assert np.allclose(product(a, Rows.of(np.array([[3, 0], [1, 1]], "f4"))), expected, 1e-6, 0)


def test_what_is_not_finite_stays_so_in_its_row():
    a = np.array([[np.inf, 1.0], [np.nan, 1.0], [3e38, 3e38], [1.0, 1.0]], "f4")
    found = product(a, Rows.of(np.array([[2.0, 1.0]], "f4"))).ravel()
    assert np.array_equal(found, [np.inf, np.nan, np.inf, 3.0], equal_nan=True)


def test_matrices_are_multiplied_one_by_one_or_all_by_one():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(4, 5, 7)).astype("f4"), rng.normal(size=(4, 6, 7)).astype("f4")
    found = product(a, Rows.of(b))
    assert found.shape == (4, 5, 6)
    for i in range(4):
        assert np.array_equal(found[i], product(a[i], Rows.of(b[i])))
    assert np.array_equal(product(a, Rows.of(b[0]))[2], product(a[2], Rows.of(b[0])))
