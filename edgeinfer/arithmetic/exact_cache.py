"""A cache for functions of numbers that tells apart what compares equal: 0.0, -0.0 and 0."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

__all__ = ["exact_cache"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def exact_cache(most: int) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """As ``functools.lru_cache``, of ``most`` results, for arguments that are told by their text.

    0.0 and -0.0 are equal and hash alike, but an expression that holds one of them is another
    function than that which holds the other.

    Parameters
    ----------
    most : int
        How many results are kept; the one that was asked for least lately goes first.

    Returns
    -------
    callable
        A decorator. What it decorates takes numbers, strings, None, and tuples of such; callers
        share what it returns, so that must not be written to.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        def with_text(text: str, *args: _P.args, **kwargs: _P.kwargs) -> _R:
            return function(*args, **kwargs)

        known: Callable[..., _R] = lru_cache(most)(with_text)

        @wraps(function)
        def asked(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            return known(repr((args, kwargs)), *args, **kwargs)

        return asked

    return decorate
