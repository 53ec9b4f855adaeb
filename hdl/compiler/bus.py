"""Host memory's channels in time: bursts of the instruction fetch, of LOAD and of STORE."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from math import gcd, inf

__all__ = ["ReadBus", "Stretch", "WriteBus"]

_BURST = 16
"""Beats of a burst at most; bursts begin anew at multiples of so many."""

_OUTSTANDING = 4
"""Bursts on their way."""

_ASKED = 2
"""From a unit's taking of an instruction to its first burst's turn."""

_LATENCY = 21
"""From a burst's turn to its first beat, on a bus that answers after 20 cycles."""

_ANSWERED = 3
"""From a written burst's last beat until another may take its place."""

_WRITTEN = 8
"""From STORE's taking of an instruction to its first beat."""


@dataclass(frozen=True)
class Stretch:
    """Lines that a unit asks for at once.

    Parameters
    ----------
    host : int
        Beats from the base address to the first line, which begins a burst there.
    step : int
        Beats from a line to the next.
    lines, beats : int
        Lines, and the beats of each.
    """

    host: int
    step: int
    lines: int
    beats: int

    def runs(self, line: int) -> list[tuple[int, int]]:
        """The bursts of ``line`` in order: beats, and how many bursts of so many."""
        return _cut(self.beats, (self.host + line * self.step) % _BURST)

    @property
    def period(self) -> int:
        """Lines after which bursts are cut as before, and at least as many as are on their way."""
        return max(_OUTSTANDING, _BURST // gcd(self.step, _BURST))


@lru_cache(maxsize=1 << 14)
def _cut(beats: int, begin: int) -> list[tuple[int, int]]:
    """The bursts of ``beats`` from the beat ``begin`` of a burst's room on; not to be changed."""
    head = min(beats, -begin % _BURST)
    whole, tail = divmod(beats - head, _BURST)
    return [(b, n) for b, n in ((head, 1), (_BURST, whole), (tail, 1)) if b and n]


class _Progress:
    """What has been served of a stretch, which was asked for at ``asked``."""

    def __init__(self, stretch: Stretch, asked: int) -> None:
        self.stretch, self.asked = stretch, asked
        self.period = stretch.period
        self.line = 0
        self.runs = stretch.runs(0)
        self.run = 0  # the first that is not served
        self.left = self.runs[0][1]  # bursts of it
        self.before: tuple[int, ...] = ()  # the channel's state a period ago


class _Channel(ABC):
    """Bursts one after another, so many on their way at most.

    Sooner or later every period of a stretch takes as long as the one before: what is left of it
    is then known without going through its bursts.
    """

    def __init__(self) -> None:
        self._time = 0  # when the next burst may have its turn
        self._ends: deque[int] = deque([0] * _OUTSTANDING, _OUTSTANDING)

    def _turn(self, asked: int) -> int:
        """The turn of a burst that was asked for at ``asked``."""
        turn, free = self._time, self._ends[0]
        if free > turn:
            turn = free
        return asked if asked > turn else turn

    @abstractmethod
    def _burst(self, turn: int, beats: int) -> None:
        """A burst has its turn."""

    def _go(self, progress: _Progress, limit: float) -> bool:
        """Serve what has its turn before ``limit``; whether that is all."""
        stretch, period, asked = progress.stretch, progress.period, progress.asked
        while True:
            runs = progress.runs
            while progress.run < len(runs):
                left = self._run(asked, runs[progress.run][0], progress.left, limit)
                if left:
                    progress.left = left
                    return False
                progress.run += 1
                if progress.run < len(runs):
                    progress.left = runs[progress.run][1]
            progress.line += 1
            if progress.line % period == 0:
                periods = (stretch.lines - progress.line - 1) // period
                progress.line += period * self._skip(progress.before, periods, limit)
                progress.before = self._state()
            if progress.line >= stretch.lines:
                return True
            progress.runs = stretch.runs(progress.line)
            progress.run, progress.left = 0, progress.runs[0][1]

    def _run(self, asked: int, beats: int, count: int, limit: float) -> int:
        """Serve up to ``count`` equal bursts; how many are left at ``limit``."""
        before: tuple[int, ...] = ()
        while count:
            turn = self._turn(asked)
            if turn >= limit:
                return count
            self._burst(turn, beats)
            count -= 1
            if count % _OUTSTANDING == 0 and count:
                count -= _OUTSTANDING * self._skip(before, count // _OUTSTANDING, limit)
                before = self._state()
        return 0

    def _state(self) -> tuple[int, ...]:
        return (self._time, *self._ends)

    def _skip(self, before: tuple[int, ...], periods: int, limit: float) -> int:
        """Let up to ``periods`` pass that take as long as the one since ``before``; how many."""
        if not before or periods <= 0:
            return 0
        now = self._state()
        step = now[0] - before[0]
        if any(b - a != step for a, b in zip(before, now, strict=True)):
            return 0
        if limit < inf:
            periods = min(periods, max(0, int(limit) - now[0]) // step)
        self._time += periods * step
        self._ends.extend(end + periods * step for end in tuple(self._ends))
        return periods


class ReadBus(_Channel):
    """The read channel of two clients; the fetch's bursts go first.

    Requests are served in the order of time: ``serve`` is to be called when nothing else can
    happen before one of those that wait is answered.
    """

    def __init__(self) -> None:
        super().__init__()
        self._fetches: deque[tuple[int, int, list[int]]] = deque()
        self._load: tuple[_Progress, list[int]] | None = None

    def fetch(self, time: int, beats: int, answer: list[int]) -> None:
        """The instruction fetch asks for ``beats`` at ``time``; ``answer`` gets their first's."""
        self._fetches.append((time, beats, answer))

    def load(self, time: int, stretch: Stretch, answer: list[int]) -> None:
        """LOAD asks at ``time``; ``answer`` gets the end of its bursts' turns, and of all beats."""
        assert self._load is None
        self._load = _Progress(stretch, time + _ASKED), answer

    def serve(self) -> bool:
        """Answer the request that comes first; False where there is none."""
        if self._load is not None:
            progress, answer = self._load
            if self._go(progress, self._fetches[0][0] if self._fetches else inf):
                answer += [self._time, self._ends[-1]]
                self._load = None
                return True
        if not self._fetches:
            return False
        time, beats, answer = self._fetches.popleft()
        while beats:
            own = min(beats, _BURST)
            self._burst(self._turn(time), own)
            if not answer:
                answer.append(self._ends[-1] - own)
            beats -= own
        return True

    def _burst(self, turn: int, beats: int) -> None:
        first, ends = turn + _LATENCY, self._ends
        ends.append((first if first > ends[-1] else ends[-1]) + beats)
        self._time = turn + 1


class WriteBus(_Channel):
    """The write channel, of STORE alone."""

    def store(self, time: int, stretch: Stretch) -> int:
        """When all is answered that STORE, which takes its instruction at ``time``, writes."""
        self._go(_Progress(stretch, time + _WRITTEN), inf)
        return self._ends[-1]

    def _burst(self, turn: int, beats: int) -> None:
        self._time = turn + beats
        self._ends.append(self._time + _ANSWERED)
