"""A model on every candidate: the Pareto front, and the best NPU under a budget."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from edgeinfer.errors import InputError, UnsupportedError
from edgeinfer.graph import Graph
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.explore.candidates import CANDIDATES, SIDES, arrays, candidates
from edgeinfer.hdl.explore.estimate import Estimate, estimate

__all__ = ["Budget", "Exploration", "explore"]


@dataclass(frozen=True)
class Budget:
    """What an FPGA, or a part of it, has.

    Parameters
    ----------
    multipliers : int or None
        Of 18 x 18 bits; None for any number.
    memory_bytes : int or None
    """

    multipliers: int | None = None
    memory_bytes: int | None = None

    def holds(self, found: Estimate) -> bool:
        """Whether ``found`` can be built."""
        return (self.multipliers is None or found.multipliers <= self.multipliers) and (
            self.memory_bytes is None or found.memory_bytes <= self.memory_bytes
        )


@dataclass(frozen=True)
class Exploration:
    """What was found.

    Parameters
    ----------
    estimates : tuple of Estimate
        All, fastest first.
    budget : Budget
    """

    estimates: tuple[Estimate, ...]
    budget: Budget

    @property
    def affordable(self) -> tuple[Estimate, ...]:
        """Those that the budget holds."""
        return tuple(each for each in self.estimates if self.budget.holds(each))

    @property
    def best(self) -> Estimate:
        """The fastest that the budget holds; of equals the smallest.

        Raises
        ------
        InputError
            It holds none; the message says what the smallest takes.
        """
        if not self.affordable:
            least = min(self.estimates, key=_size)
            raise InputError(
                f"no NPU for this model fits: the smallest, {least.config.name}, takes "
                f"{least.multipliers} multipliers and {least.memory_bytes:,} bytes of memory"
            )
        return min(self.affordable, key=lambda each: (each.cycles, *_size(each)))

    @property
    def front(self) -> tuple[Estimate, ...]:
        """Those of the affordable that none is better than in cycles, multipliers and memory."""
        kept: list[Estimate] = []
        for each in sorted(self.affordable, key=lambda e: (e.cycles, *_size(e))):
            if not any(
                other.multipliers <= each.multipliers and other.memory_bytes <= each.memory_bytes
                for other in kept
            ):
                kept.append(each)
        return tuple(kept)


def _size(found: Estimate) -> tuple[int, int]:
    return found.multipliers, found.memory_bytes


def explore(
    graph: Graph,
    budget: Budget = Budget(),
    *,
    largest: int = 256,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Exploration:
    """Try arrays from 4x4 to ``largest`` columns, with memories of three sizes each.

    Parameters
    ----------
    graph : Graph
        An integer Graph with a batch of 1.
    budget : Budget
        Which of them are affordable.
    largest : int
        Columns at most; 4 or more.
    workers : int
        Processes that try arrays side by side. More than one import the calling program's main
        module anew, as ``multiprocessing`` does where it spawns.
    progress : callable
        Told how many NPUs have been tried or left out, and of how many.

    Raises
    ------
    UnsupportedError
        The model compiles for none of them; the message is the last one's.
    InputError
        ``largest`` leaves none to try.
    """
    if largest < SIDES[0]:
        raise InputError(f"largest must be at least {SIDES[0]} columns, not {largest}")
    width = 16 if any(kind.dtype == "int16" for kind in graph.types.values()) else 8
    every = list(arrays(width, largest))
    total = len(every) * CANDIDATES
    found: list[Estimate] = []
    refusal: UnsupportedError | None = None
    with _tried(graph, every, workers) as arrays_tried:
        for done, array in enumerate(arrays_tried):
            for tried, each in enumerate(array):
                progress(done * CANDIDATES + tried, total)
                if isinstance(each, UnsupportedError):
                    refusal = each
                else:
                    found.append(each)
            progress((done + 1) * CANDIDATES, total)
    if not found:
        assert refusal is not None
        raise refusal
    found.sort(key=lambda each: (each.cycles, *_size(each)))
    return Exploration(tuple(found), budget)


Tried = Iterable[Estimate | UnsupportedError]


@contextmanager
def _tried(graph: Graph, every: list[NpuConfig], workers: int) -> Iterator[Iterable[Tried]]:
    """What ``_array`` finds for each of ``every``, in their order."""
    if workers == 1:
        yield (_array(graph, roomy) for roomy in every)
        return
    # no forks: whoever shows the progress may have threads
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(workers, len(every)), _keep, (graph,)) as pool:
        yield pool.imap(_array_of_kept, every)


def _array(graph: Graph, roomy: NpuConfig) -> Iterator[Estimate | UnsupportedError]:
    """Estimates of an array with memories of all sizes; the refusal where none takes the model."""
    try:
        for config in candidates(graph, roomy):
            with suppress(UnsupportedError):  # its memories are too small for one of the layers
                yield estimate(graph, config)
    except UnsupportedError as error:
        yield error


_kept: list[Graph] = []
"""The Graph that a worker has been told once."""


def _keep(graph: Graph) -> None:
    _kept.append(graph)


def _array_of_kept(roomy: NpuConfig) -> list[Estimate | UnsupportedError]:
    return list(_array(_kept[0], roomy))
