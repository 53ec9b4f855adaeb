"""Weights rounded in turn have the bits of a plain transcription, and leave a bounded error."""

import platform
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeinfer.cython_kernels.runtime import round_in_turn
from tests.example_counts import examples
from tests.runtime.test_float_mode import FLUSHED, PLAIN, ROUNDINGS, set_mode


def moments(rng: np.random.Generator, groups: int, n: int, rank: int) -> np.ndarray:
    """Of ``rank`` vectors, damped, as fewer than n leave them singular."""
    x = rng.integers(-128, 128, (groups, rank, n)).astype(np.float64)
    h = np.matmul(x.transpose(0, 2, 1), x)
    return h + (1 + 0.01 * np.einsum("gkk->g", h)[:, None, None] / n) * np.eye(n)


def factor(h: np.ndarray) -> np.ndarray:
    """R, upper triangular, of h = R R^T; the last column first, one after another."""
    a = h.copy()
    for j in reversed(range(len(a))):
        a[j, j] = np.sqrt(a[j, j])
        a[:j, j] /= a[j, j]
        a[:j, :j] -= a[:j, j, None] * a[None, :j, j]
    return np.triu(a)


def in_turn(r: np.ndarray, w: np.ndarray, top: float) -> np.ndarray:
    shares, q = np.zeros_like(w), np.zeros_like(w)
    for j in range(len(r)):
        target = np.clip(w[:, j] + shares[:, j] / r[j, j], -top, top)
        whole = np.trunc(target)
        away = np.where(np.abs(target - whole) >= 0.5, np.copysign(1.0, target), 0.0)
        q[:, j] = whole + away
        shares[:, j + 1 :] += (w[:, j] - q[:, j])[:, None] * r[j, j + 1 :]
    return q


CASES = {
    "seed": st.integers(0, 2**32 - 1),
    "n": st.integers(1, 37),
    "channels": st.integers(1, 19),
    "groups": st.integers(1, 3),
    "rank": st.integers(0, 60),
}


@settings(max_examples=examples(100), deadline=None)
@given(**CASES, top=st.sampled_from([3, 127]))
def test_it_has_the_bits_of_a_plain_transcription(seed, n, channels, groups, rank, top):
    rng = np.random.default_rng(seed)
    h, w = moments(rng, groups, n, rank), rng.normal(size=(groups, channels, n)) * 2
    w[rng.random(w.shape) < 0.2] *= 4
    # halves, of which there is no nearer integer
    w[rng.random(w.shape) < 0.1] = 1.5
    factors = h.copy()
    q = w.copy()
    round_in_turn(factors, q, top)
    for group in range(groups):
        r = factor(h[group])
        assert np.array_equal(np.triu(factors[group]), r)
        assert np.array_equal(q[group], in_turn(r, w[group], top))


@settings(max_examples=examples(100), deadline=None)
@given(**CASES)
def test_what_it_leaves_is_a_quarter_of_the_squared_pivots_at_most(seed, n, channels, groups, rank):
    rng = np.random.default_rng(seed)
    h, w = moments(rng, groups, n, rank), rng.normal(size=(groups, channels, n)) * 20
    factors, q = h.copy(), w.copy()
    round_in_turn(factors, q, 1e6)
    left = np.einsum("gci,gij,gcj->gc", w - q, h, w - q)
    pivots = np.einsum("gkk->gk", factors)
    assert (left <= (pivots**2).sum(1)[:, None] / 4 * (1 + 1e-9)).all()


def test_independent_weights_round_to_nearest():
    w = np.array([[[0.5, -0.5, 1.49, -7.0, 126.9, 300.0, -300.0, 0.49999999999999994]]])
    round_in_turn(np.diag(np.arange(1.0, 9))[None].copy(), w, 127)
    assert w.tolist() == [[[1, -1, 1, -7, 127, 127, -127, 0]]]


def test_inputs_that_are_alike_make_up_for_each_other():
    # four inputs that are one and the same: of four weights of 0.3 only the sum matters
    w = np.full((1, 1, 4), 0.3)
    round_in_turn(np.ones((1, 4, 4)) + 1e-9 * np.eye(4), w, 127)
    assert w.sum() == 1


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="sets x86-64's MXCSR"
)
@pytest.mark.parametrize("mode", [PLAIN | FLUSHED, *(PLAIN | rounding for rounding in ROUNDINGS)])
def test_the_callers_mode_of_floats_changes_no_bit_and_stays(mode):
    rng = np.random.default_rng(0)
    h, w = moments(rng, 1, 30, 50), rng.normal(size=(1, 9, 30)) * 9
    found, expected = (h.copy(), w.copy()), (h.copy(), w.copy())
    round_in_turn(*expected, 127)
    set_mode(mode)
    try:
        round_in_turn(*found, 127)
    finally:
        after = set_mode(PLAIN)
    assert after == mode
    assert all(a.tobytes() == b.tobytes() for a, b in zip(found, expected, strict=True))


GOOD = np.eye(3)[None]


@pytest.mark.parametrize(
    ("h", "w", "message"),
    [
        (GOOD[0], np.zeros((1, 2, 3)), "moments and weights are float64 of three axes"),
        (GOOD, np.zeros((2, 3)), "moments and weights are float64 of three axes"),
        (
            GOOD.astype(np.float32),
            np.zeros((1, 2, 3)),
            "moments and weights are float64 of three axes",
        ),
        (GOOD, np.zeros((1, 2, 4)), "moments must be [1, 4, 4] as the weights are"),
        (GOOD, np.zeros((2, 2, 3)), "moments must be [2, 3, 3] as the weights are"),
        (
            np.stack([np.eye(3), np.ones((3, 3))]),
            np.zeros((2, 2, 3)),
            "the moments of group 1 are not positive definite at column 1",
        ),
        (
            np.full((1, 3, 3), np.nan),
            np.zeros((1, 2, 3)),
            "the moments of group 0 are not positive definite at column 2",
        ),
    ],
)
def test_what_is_no_moments_is_refused(h, w, message):
    with pytest.raises(ValueError) as caught:
        round_in_turn(h.copy(), w, 127)
    assert str(caught.value) == message


def test_arrays_that_cannot_be_written_in_place_are_refused():
    w = np.zeros((1, 2, 3))
    w.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        round_in_turn(GOOD.copy(), w, 127)
    with pytest.raises(ValueError, match="not C-contiguous"):
        round_in_turn(GOOD.copy(), np.zeros((1, 3, 2)).transpose(0, 2, 1), 127)
