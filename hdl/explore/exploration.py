"""A model on every candidate: the Pareto front, and the best NPU under a budget."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from edgeinfer.errors import InputError, UnsupportedError
from edgeinfer.graph import Graph
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.explore.candidates import CANDIDATES, SIDES, arrays, candidates
from edgeinfer.hdl.explore.estimate import Estimate, estimate
from edgeinfer.pools import HERE, Pool

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
    pool: Pool = HERE,
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
    pool : Pool
        Who tries arrays: ``edgeinfer.pools.Processes(4)``, say. What is found is the same.
    progress : callable
        Told how many NPUs have been tried or left out, and of how many.

    Raises
    ------
    UnsupportedError
        The model compiles for none of them; the message is the last one's.
    InputError
        ``largest`` leaves none to try, or the pool's workers have gone.
    """
    if largest < SIDES[0]:
        raise InputError(f"largest must be at least {SIDES[0]} columns, not {largest}")
    width = 16 if any(kind.dtype == "int16" for kind in graph.types.values()) else 8
    every = list(arrays(width, largest))
    total = len(every) * CANDIDATES
    found: list[Estimate] = []
    refusal: UnsupportedError | None = None
    for done, array in enumerate(pool.map(_Try(graph), every, "exploring")):
        for tried, each in enumerate(array.estimates):
            progress(done * CANDIDATES + tried, total)
            found.append(each)
        refusal = array.refusal or refusal
        progress((done + 1) * CANDIDATES, total)
    if not found:
        assert refusal is not None
        raise refusal
    found.sort(key=lambda each: (each.cycles, *_size(each)))
    return Exploration(tuple(found), budget)


@dataclass(frozen=True)
class _Tried:
    """Estimates of an array with memories of all sizes; the refusal where none takes the model."""

    estimates: tuple[Estimate, ...]
    refusal: UnsupportedError | None = None


@dataclass(frozen=True)
class _Try:
    """A job: what a model takes on an array with roomy memories, and with smaller ones."""

    graph: Graph

    def __call__(self, roomy: NpuConfig) -> _Tried:
        found = []
        try:
            for config in candidates(self.graph, roomy):
                with suppress(UnsupportedError):  # its memories are too small for a layer
                    found.append(estimate(self.graph, config))
        except UnsupportedError as error:
            return _Tried(tuple(found), error)
        return _Tried(tuple(found))
