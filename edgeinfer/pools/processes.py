"""Processes of this machine, beside the one that calls."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeVar

from edgeinfer.pools.pool import HERE, Pool

__all__ = ["Processes"]

Task = TypeVar("Task")
Result = TypeVar("Result")


class Processes(Pool):
    """So many processes; of one, the calling process itself.

    They import the calling program's main module anew, as ``multiprocessing`` does where it spawns.

    Parameters
    ----------
    count : int
        1 or more.
    """

    def __init__(self, count: int) -> None:
        self._count = count

    def map(
        self, job: Callable[[Task], Result], tasks: Iterable[Task], stage: str
    ) -> Generator[Result, None, None]:
        """Side by side; all tasks are taken from the iterable at once."""
        if self._count == 1:
            yield from HERE.map(job, tasks, stage)
            return
        # no forks: whoever shows the progress may have threads
        context = multiprocessing.get_context("spawn")
        with context.Pool(self._count, _keep, (job,)) as pool:
            yield from pool.imap(_result_of_kept, tasks)


_kept: list[Callable[[Any], Any]] = []
"""The job that a process has been told once."""


def _keep(job: Callable[[Any], Any]) -> None:
    _kept.append(job)


def _result_of_kept(task: object) -> object:
    return _kept[0](task)
