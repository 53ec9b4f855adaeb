"""Runtimes timed beside each other: each in a process of its own, all in turn, round by round."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeinfer.cli import peers

__all__ = ["Contender", "Gap", "Timing", "race"]


@dataclass(frozen=True)
class Contender:
    """A runtime with a model file.

    Parameters
    ----------
    name : str
        What readers know it by.
    runtime : str
        One of ``peers.RUNTIMES``.
    path : Path
        The file that it loads.
    integer_edges : bool
        Whether its inputs and outputs are integers where the file leaves the choice.
    precision : str or None
        OpenVINO's for floats; None leaves it to OpenVINO.
    """

    name: str
    runtime: str
    path: Path
    integer_edges: bool = False
    precision: str | None = None


@dataclass(frozen=True)
class Timing:
    """What a contender took: microseconds of a call, a median for each round."""

    contender: Contender
    version: str
    note: str
    rounds: tuple[float, ...]
    inside: tuple[float, ...]  # of the runtime alone; empty where it does not say

    @property
    def median(self) -> float:
        """Of the rounds."""
        return statistics.median(self.rounds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """Between which the middle half of the rounds lies."""
        low, high = np.percentile(self.rounds, (25, 75))
        return float(low), float(high)

    def as_json(self) -> dict[str, Any]:
        """For reports."""
        return {
            "name": self.contender.name,
            "runtime": self.contender.runtime,
            "version": self.version,
            "note": self.note,
            "median_us": self.median,
            "quartiles_us": list(self.quartiles),
            "inside_us": statistics.median(self.inside) if self.inside else None,
            "rounds_us": list(self.rounds),
        }


@dataclass(frozen=True)
class Gap:
    """A contender that did not take part, and why."""

    name: str
    reason: str


def race(
    contenders: Sequence[Contender],
    feed: Mapping[str, np.ndarray],
    *,
    rounds: int,
    seconds: float,
    threads: int = 1,
    isa: str | None = None,
    done: Callable[[str, int, int | None], None],
) -> tuple[list[Timing], list[Gap]]:
    """Time ``contenders`` on ``feed``, a round of each after one of every other.

    All are pinned to the same cores, as many as ``threads``, and only one works at a time.

    Parameters
    ----------
    contenders : sequence of Contender
        Who takes part.
    feed : mapping of str to numpy.ndarray
        One inference's inputs by name.
    rounds : int
        How many rounds each runs.
    seconds : float
        About how long a round takes.
    threads : int
        In every pool.
    isa : str or None
        An instruction set to hold all to; who has no switch for it is a gap.
    done : callable
        Is told a stage, its count, its total.
    """
    gaps: list[Gap] = []
    workers: list[_Worker] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        np.savez(Path(folder) / "feed.npz", allow_pickle=False, **feed)
        for i, contender in enumerate(contenders):
            try:
                worker = stack.enter_context(_started(contender, threads, isa))
                worker.load(Path(folder) / "feed.npz", threads)
                workers.append(worker)
            except _CannotRaceError as failed:
                gaps.append(Gap(contender.name, str(failed)))
            done("loading", i + 1, len(contenders))
        for i in range(rounds):
            # who comes after whom changes, so that nobody always finds the same caches
            turn = i % max(len(workers), 1)
            for worker in workers[turn:] + workers[:turn]:
                worker.round(seconds)
            done("rounds", i + 1, rounds)
    timings = []
    for worker in workers:
        if worker.failure is None:
            timings.append(worker.timing())
        else:
            gaps.append(Gap(worker.contender.name, worker.failure))
    return timings, gaps


class _CannotRaceError(Exception):
    """A contender cannot take part."""


class _Worker:
    """The process of a contender, and what it has measured."""

    def __init__(self, contender: Contender, process: subprocess.Popen[str]) -> None:
        self.contender = contender
        self.failure: str | None = None
        self._process = process
        self._rounds: list[float] = []
        self._inside: list[float] = []
        self._loaded: dict[str, Any] = {}

    def load(self, feed: Path, threads: int) -> None:
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self._loaded = self._ask(
            {
                "runtime": self.contender.runtime,
                "path": str(self.contender.path.resolve()),
                "integer_edges": self.contender.integer_edges,
                "precision": self.contender.precision,
                "feed": str(feed),
                "threads": threads,
                "cores": cores[-threads:],  # the first one serves most interrupts
            }
        )

    def round(self, seconds: float) -> None:
        """Time one more round, unless one has failed."""
        if self.failure is not None:
            return
        try:
            answer = self._ask({"seconds": seconds})
        except _CannotRaceError as failed:
            self.failure = str(failed)
            return
        self._rounds.append(answer["median_us"])
        if answer["inside_us"] is not None:
            self._inside.append(answer["inside_us"])

    def timing(self) -> Timing:
        return Timing(
            self.contender,
            self._loaded["version"],
            self._loaded["note"],
            tuple(self._rounds),
            tuple(self._inside),
        )

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            line = ""
        else:
            line = self._process.stdout.readline()
        if not line:
            raise _CannotRaceError(f"its process ended with exit code {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise _CannotRaceError(answer["error"])
        return answer


@contextmanager
def _started(contender: Contender, threads: int, isa: str | None) -> Iterator[_Worker]:
    """The worker of ``contender``, which ends with the block."""
    reason = peers.missing(contender.runtime)
    if reason is not None:
        raise _CannotRaceError(reason)
    try:
        variables = peers.environment(contender.runtime, threads, isa)
    except ValueError as error:
        raise _CannotRaceError(str(error)) from None
    # -P: a file of the working directory is no module of the runtimes'
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "edgeinfer.cli.race_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **variables},
    )
    try:
        yield _Worker(contender, process)
    finally:
        process.kill()
        process.communicate()
