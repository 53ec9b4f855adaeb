"""Programs that run while a call does, and end with it: with all that they have started."""

from __future__ import annotations

import codecs
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, TypeAlias

from edgeinfer.errors import InputError

__all__ = ["KILLED", "QUOTED", "Ended", "run", "run_all"]

KILLED = 9
"""The signal SIGKILL, for which Windows has no name."""

QUOTED = 500
"""Characters of a line that an error repeats."""

_LONGEST_LINE = 1 << 16
_POLL_SECONDS = 0.1
"""In which an end or a signal is noticed that does not make itself felt."""
_STILL_SECONDS = 1.0
"""Of silence, after which nothing more is expected of a program that has ended; others may keep
its output open for ever."""


# a program's line, in the end its code, or why it could not be run
_Told: TypeAlias = "tuple[_Program, str | int | Exception]"


@dataclass(frozen=True)
class Ended:
    """A program that has run.

    Parameters
    ----------
    code : int
        0 if all went well; what a signal killed has its number, negative.
    lines : tuple of str
        What it printed to stdout and stderr.
    """

    code: int
    lines: tuple[str, ...]

    def complaint(self, pattern: str) -> str:
        """The first line in which ``pattern`` is found, or what it said last; as much as fits."""
        told = [line for line in self.lines if re.search(pattern, line)]
        said = told[:1] or [line for line in self.lines if line.strip()][-1:] or ["no message"]
        return said[0].strip()[:QUOTED]


def run(
    command: Sequence[str],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    seconds: float | None = None,
    watch: Callable[[str], object] = lambda line: None,
) -> Ended:
    """Run ``command``, without an input, to its end.

    It has a process group of its own, which is killed as a whole when the program ends or an error
    or an interrupt leaves this call: what a shell script has started would outlive the script.
    What leaves its group is not ended, nor, on Windows, what has lost its parent.

    Parameters
    ----------
    command : sequence of str
    folder : Path or None
        Where it runs; None takes the current one.
    environment : mapping or None
        In place of this process's.
    seconds : float or None
        After which it is killed.
    watch : callable
        Told each line as it comes; what it raises ends the program.

    Raises
    ------
    InputError
        It cannot be run.
    """
    (ended,) = _run([_Program(command, folder, environment, seconds)], 1, watch, lambda ended: None)
    return ended


def run_all(
    commands: Iterable[Sequence[str]],
    *,
    at_once: int,
    environment: Mapping[str, str] | None = None,
    watch: Callable[[Ended], object],
) -> None:
    """Run ``commands`` as ``run`` does, up to ``at_once`` of them at a time.

    ``watch`` is told how each ends as it does; what it raises ends the others.
    """
    programs = [_Program(command, None, environment, None) for command in commands]
    _run(programs, at_once, lambda line: None, watch)


def _run(
    programs: Iterable[_Program],
    at_once: int,
    watch_lines: Callable[[str], object],
    watch_ends: Callable[[Ended], object],
) -> list[Ended]:
    # Python's own pools of threads may wait for ever after an interrupt
    waiting, going = deque(programs), dict[_Program, list[str]]()
    told, ended = SimpleQueue[_Told](), list[Ended]()
    try:
        while waiting or going:
            while waiting and len(going) < at_once:
                program = waiting.popleft()
                going[program] = []
                program.begin(told)
            program, message = _next(told)
            if isinstance(message, str):
                going[program].append(message)
                watch_lines(message)
            elif isinstance(message, Exception):
                why = message.strerror if isinstance(message, OSError) else message
                raise InputError(f"cannot run {program.name}: {why}") from message
            else:
                ended.append(Ended(message, tuple(going.pop(program))))
                watch_ends(ended[-1])
    finally:
        for program in going:
            program.end()
        while not all(program.is_over for program in going):
            time.sleep(_POLL_SECONDS)
    return ended


def _next(told: SimpleQueue[_Told]) -> _Told:
    while True:
        # a signal that comes just before it waits is heard a little later
        with suppress(Empty):
            return told.get(timeout=_POLL_SECONDS)


class _Program:
    """One program, which a thread of its own starts, reads and waits for.

    Signals are heard by the main thread alone: none comes between the start of a program and the
    note that it runs.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path | None,
        environment: Mapping[str, str] | None,
        seconds: float | None,
    ) -> None:
        self._command, self._folder, self._environment = command, folder, environment
        self._seconds = seconds
        self._until: float | None = None
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self.is_over = False

    @property
    def name(self) -> str:
        return self._command[0]

    def begin(self, told: SimpleQueue[_Told]) -> None:
        """Run it beside this thread; ``told`` gets its lines and its code, or what it failed by."""
        self._until = None if self._seconds is None else time.monotonic() + self._seconds
        # one that an interrupt leaves half started must not be waited for at the end
        threading.Thread(target=self._work, args=(told,), daemon=True).start()

    def end(self) -> None:
        """Kill it, or do not let it begin."""
        with self._lock:
            if self._process is None:
                self.is_over = True
            elif self._process.returncode is None:
                _kill_group(self._process)

    def _work(self, told: SimpleQueue[_Told]) -> None:
        try:
            with self._lock:
                if self.is_over:
                    return
                process = self._process = subprocess.Popen(
                    self._command,
                    cwd=self._folder,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    bufsize=0,
                    process_group=0,
                )
        except (OSError, ValueError) as error:
            told.put((self, error))
            return
        for line in _lines(self._pieces(process)):
            told.put((self, line))
        with suppress(subprocess.TimeoutExpired):
            process.wait(None if self._until is None else max(0, self._until - time.monotonic()))
        # with what it has left running; the group's number is nobody else's while one is in it
        _kill_group(process)
        told.put((self, process.wait()))
        self.is_over = True

    def _pieces(self, process: subprocess.Popen[bytes]) -> Iterator[bytes]:
        """What it prints, until nobody does, or it has ended and others keep still."""
        assert process.stdout is not None
        pieces: SimpleQueue[bytes] = SimpleQueue()
        # Windows waits for a pipe by reading it, which a thread that nobody waits for can do
        threading.Thread(target=_read, args=(process.stdout, pieces), daemon=True).start()
        heard = time.monotonic()
        while not self._is_late():
            with suppress(Empty):
                piece = pieces.get(timeout=_POLL_SECONDS)
                if not piece:
                    return
                yield piece
                heard = time.monotonic()
            if process.poll() is None:
                heard = time.monotonic()
            elif time.monotonic() - heard > _STILL_SECONDS:
                return

    def _is_late(self) -> bool:
        return self._until is not None and time.monotonic() > self._until


def _read(output: IO[bytes], pieces: SimpleQueue[bytes]) -> None:
    """Hand on what comes, then nothing, until all who have the output have closed it."""
    with output:
        while piece := output.read(_LONGEST_LINE):
            pieces.put(piece)
    pieces.put(b"")


def _lines(pieces: Iterator[bytes]) -> Iterator[str]:
    """Whole lines; one that is too long comes in parts."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest = ""
    for piece in pieces:
        *lines, rest = (rest + decoder.decode(piece)).split("\n")
        yield from (f"{line}\n" for line in lines)
        if len(rest) > _LONGEST_LINE:
            yield rest
            rest = ""
    if rest := rest + decoder.decode(b"", final=True):
        yield rest


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        kill = ["taskkill", "/F", "/T", "/PID", str(process.pid)]
        subprocess.run(kill, capture_output=True, check=False)
    else:
        # nothing of it is left; on macOS that is a question of permission
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
