"""Processes that run while a block does, and end with it: with all that they have started."""

from __future__ import annotations

import codecs
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO

from edgeinfer.errors import InputError

__all__ = ["KILLED", "QUOTED", "Ended", "Processes"]

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


class Processes:
    """A context whose processes have all ended when it is left; threads may share it.

    Each has a process group of its own, which is killed as a whole when the program ends or the
    block is left: what a shell script has started would outlive the script. What leaves its group
    is not ended, nor, on Windows, what has lost its parent.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: set[_Run] = set()
        self._over = False

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._over = True
            for run in self._runs:
                run.end()

    def run(
        self,
        command: Sequence[str],
        *,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        seconds: float | None = None,
        watch: Callable[[str], object] = lambda line: None,
    ) -> Ended:
        """Run ``command``, without an input, to its end.

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
        run = _Run(command, folder, environment, seconds)
        with self._lock:
            self._runs.add(run)
            if self._over:
                run.end()
        # one that an interrupt leaves half started must not be waited for at the end
        thread = threading.Thread(target=run.work, daemon=True)
        lines: list[str] = []
        try:
            thread.start()
            while isinstance(told := run.next(), str):
                lines.append(told)
                watch(told)
        except BaseException:
            run.end()
            raise
        finally:
            if thread.is_alive():
                thread.join()
            with self._lock:
                self._runs.discard(run)
        if isinstance(told, OSError):
            raise InputError(f"cannot run {command[0]}: {told.strerror}") from told
        return Ended(told, tuple(lines))


class _Run:
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
        self._until = None if seconds is None else time.monotonic() + seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._over = False
        self._told: SimpleQueue[str | int | OSError] = SimpleQueue()

    def next(self) -> str | int | OSError:
        """A line of its output, or in the end its code, or why it could not be run."""
        while True:
            # a signal that comes just before it waits is heard a little later
            with suppress(Empty):
                return self._told.get(timeout=_POLL_SECONDS)

    def end(self) -> None:
        """Kill it, or do not let it begin."""
        with self._lock:
            self._over = True
            if self._process is not None and self._process.returncode is None:
                _kill_group(self._process)

    def work(self) -> None:
        """Run it."""
        try:
            with self._lock:
                if self._over:
                    self._told.put(-KILLED)
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
        except OSError as error:
            self._told.put(error)
            return
        for line in _lines(self._pieces(process)):
            self._told.put(line)
        with suppress(subprocess.TimeoutExpired):
            process.wait(None if self._until is None else max(0, self._until - time.monotonic()))
        # with what it has left running; the group's number is nobody else's while one is in it
        _kill_group(process)
        self._told.put(process.wait())

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
