"""Host memory's channels in time: bursts of the instruction fetch, of LOAD and of STORE."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["ReadBus", "Stretch", "WriteBus", "bursts"]

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


def bursts(stretch: Stretch) -> Iterator[int]:
    """The beats of each burst in order."""
    for line in range(stretch.lines):
        left = stretch.beats
        room = _BURST - (stretch.host + line * stretch.step) % _BURST
        while left:
            taken = min(left, room)
            yield taken
            left -= taken
            room = _BURST


class ReadBus:
    """One read channel for two clients; the fetch's bursts go first.

    Requests are served in the order of time: ``serve`` is to be called when nothing else can
    happen before one of those that wait is answered.
    """

    def __init__(self) -> None:
        self._turn = 0  # when the next burst may have its turn
        self._ends: deque[int] = deque([0] * _OUTSTANDING, _OUTSTANDING)
        self._fetches: deque[tuple[int, int, list[int]]] = deque()
        self._load: tuple[int, Iterator[int], list[int]] | None = None
        self._next = 0  # beats of the load's next burst

    def fetch(self, time: int, beats: int, answer: list[int]) -> None:
        """The instruction fetch asks for ``beats`` at ``time``; ``answer`` gets their first's."""
        self._fetches.append((time, beats, answer))

    def load(self, time: int, stretch: Stretch, answer: list[int]) -> None:
        """LOAD asks at ``time``; ``answer`` gets the last turn of a burst and the end of all."""
        assert self._load is None
        self._load = time + _ASKED, bursts(stretch), answer
        self._next = next(self._load[1])

    def serve(self) -> bool:
        """Answer the request that comes first; False where there is none."""
        while self._load is not None:
            asked, rest, answer = self._load
            turn = self._turn_at(asked)
            if self._fetches and self._fetches[0][0] <= turn:
                break
            end = self._burst(turn, self._next)
            following = next(rest, 0)
            if not following:
                answer += [turn, end]
                self._load = None
                return True
            self._next = following
        if not self._fetches:
            return False
        time, beats, answer = self._fetches.popleft()
        first = -1
        while beats:
            own = min(beats, _BURST)
            end = self._burst(self._turn_at(time), own)
            first = end - own if first < 0 else first
            beats -= own
        answer.append(first)
        return True

    def _turn_at(self, time: int) -> int:
        return max(time, self._turn, self._ends[0])

    def _burst(self, turn: int, beats: int) -> int:
        """When a burst that has its turn at ``turn`` has ended."""
        end = max(turn + _LATENCY, self._ends[-1]) + beats
        self._ends.append(end)
        self._turn = turn + 1
        return end


class WriteBus:
    """The write channel, of STORE alone."""

    def __init__(self) -> None:
        self._answers: deque[int] = deque([0] * _OUTSTANDING, _OUTSTANDING)

    def store(self, time: int, stretch: Stretch) -> int:
        """When all is answered that STORE, which takes its instruction at ``time``, writes."""
        beat = time + _WRITTEN
        for beats in bursts(stretch):
            beat = max(beat, self._answers[0]) + beats
            self._answers.append(beat + _ANSWERED)
        return self._answers[-1]
