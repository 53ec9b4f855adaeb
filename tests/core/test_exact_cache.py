"""A result is remembered, and given only to arguments that are the same numbers."""

import math

from edgeinfer.arithmetic.exact_cache import exact_cache


def test_what_compares_equal_has_results_of_its_own():
    asked = []

    @exact_cache(8)
    def sign(x, *, of=1.0):
        asked.append(x)
        return math.copysign(of, x), type(x)

    zeros = (0.0, -0.0, 0, False)
    first = [sign(x) for x in zeros]
    assert first == [(1.0, float), (-1.0, float), (1.0, int), (1.0, bool)]
    assert [sign(x) for x in zeros] == first
    assert len(asked) == 4
    assert sign(-0.0, of=2.0) == (-2.0, float)


def test_no_more_results_are_kept_than_was_said():
    asked = []

    @exact_cache(2)
    def same(x):
        asked.append(x)
        return x

    assert [same(x) for x in (1, 2, 1, 3, 1, 2)] == [1, 2, 1, 3, 1, 2]
    assert asked == [1, 2, 3, 2]
