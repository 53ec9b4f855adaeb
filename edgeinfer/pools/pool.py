"""Jobs and tasks into results, in the order of the tasks: what is asked of whoever works.

Whoever shares work out is given a Pool and does not know where it is. So that the results are the
same everywhere, a job is a function of the task alone: what it keeps from one task for the next
may save time and change nothing else.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

__all__ = ["HERE", "Gathering", "Pool"]

Task = TypeVar("Task")
Result = TypeVar("Result")
Item = TypeVar("Item")
Counted = TypeVar("Counted", contravariant=True)

# so many items are one task: a worker is told of them, and tells what they add up to, at once
_ITEMS = 8


class Gathering(Protocol[Counted]):
    """What items add up to, in whatever order and parts they are taken in."""

    def another(self) -> Self:
        """One that has taken in nothing yet."""

    def take_in(self, item: Counted) -> None:
        """Add one item."""

    def merge(self, other: Self) -> None:
        """Add all that ``other`` has taken in."""


class Pool(ABC):
    """Workers, or one."""

    @abstractmethod
    def map(
        self, job: Callable[[Task], Result], tasks: Iterable[Task], stage: str
    ) -> Generator[Result, None, None]:
        """What ``job`` makes of each of ``tasks``, in their order.

        A task is taken from the iterable when a worker is about to be free for it. Whoever needs no
        further results closes the generator.

        Parameters
        ----------
        job : callable
            Of one task. Where others work they have copies of it, so it can be pickled, as tasks
            and results can.
        tasks : iterable
            What it is called with.
        stage : str
            What is being done, for those who watch.

        Raises
        ------
        Exception
            What ``job`` raised of the first task for which it did.
        InputError
            The workers have gone.
        """

    def gather(
        self, whole: Gathering[Item], items: Iterable[Item], stage: str
    ) -> Generator[Item, None, None]:
        """Let ``whole`` take in ``items``; each is given back when that is done.

        Parameters and errors are those of ``map``.
        """
        for some, part in self.map_some(_Part(whole.another()), items, stage):
            whole.merge(part)
            yield from some

    def map_some(
        self, job: Callable[[list[Item]], Result], items: Iterable[Item], stage: str
    ) -> Generator[tuple[list[Item], Result], None, None]:
        """Some items at a time, and what ``job`` makes of them, in their order.

        Parameters and errors are those of ``map``.
        """
        given: deque[list[Item]] = deque()

        def tasks() -> Iterator[list[Item]]:
            rest = iter(items)
            while some := list(itertools.islice(rest, _ITEMS)):
                given.append(some)
                yield some

        with closing(self.map(job, tasks(), stage)) as results:
            for result in results:
                yield given.popleft(), result


class _Here(Pool):
    """This process, in this thread: each task when its result is asked for."""

    def map(
        self, job: Callable[[Task], Result], tasks: Iterable[Task], stage: str
    ) -> Generator[Result, None, None]:
        """One after another."""
        for task in tasks:
            yield job(task)

    def gather(
        self, whole: Gathering[Item], items: Iterable[Item], stage: str
    ) -> Generator[Item, None, None]:
        """One after another, and nothing to merge."""
        for item in items:
            whole.take_in(item)
            yield item


HERE: Pool = _Here()
"""This process."""


@dataclass(frozen=True)
class _Part(Generic[Item]):
    """A job: what some items add up to."""

    empty: Gathering[Item]

    def __call__(self, items: list[Item]) -> Gathering[Item]:
        part = self.empty.another()
        for item in items:
            part.take_in(item)
        return part
