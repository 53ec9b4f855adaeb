"""Names for what is made, so that nothing is called what something else is called already."""

from __future__ import annotations

from collections.abc import Container, Iterator, Set
from itertools import count

__all__ = ["DistinctNames", "copies", "distinct"]


def copies(name: str) -> Iterator[str]:
    """``name``, ``name@2``, ``name@3`` and so on: what it may be called, best first."""
    yield name
    for number in count(2):
        yield f"{name}@{number}"


def distinct(name: str, *taken: Container[str]) -> str:
    """The first of the ``copies`` of ``name`` that none of ``taken`` has."""
    return next(copy for copy in copies(name) if not any(copy in names for names in taken))


class DistinctNames:
    """Gives names out, each once; a thousand equal ones in no more time than a thousand others.

    Parameters
    ----------
    known : set of str
        The names that a model uses itself; no other name becomes one of them.
    """

    def __init__(self, known: Set[str]) -> None:
        self._known = known
        self._given: set[str] = set()
        self._copies: dict[str, Iterator[str]] = {}  # each where the last search for it ended

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
        left = self._copies.setdefault(name, copies(name))
        return next(copy for copy in left if copy not in self._given and copy not in self._known)
