"""Turns names that may stand for several things into one name each, and none that a model uses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Set

__all__ = ["DistinctNames"]


class DistinctNames:
    """Gives names out, each once.

    Parameters
    ----------
    known : set of str
        The names that a model uses itself; no other name becomes one of them.
    """

    def __init__(self, known: Set[str]) -> None:
        self._known = known
        self._given: set[str] = set()
        self._copies: Counter[str] = Counter()

    def claim(self, name: str) -> str:
        """``name`` where nothing has it so far, else ``name@N``, which nothing is called."""
        if name in self._given:
            name = self._copy(name)
        self._given.add(name)
        return name

    def made(self, name: str) -> str:
        """``name`` where the model does not use it, else ``name@N``; not yet given out."""
        return self._copy(name) if name in self._known else name

    def _copy(self, name: str) -> str:
        copy = name
        while copy in self._given or copy in self._known:
            self._copies[name] += 1
            copy = f"{name}@{self._copies[name] + 1}"
        return copy
