"""Programs that run while a block does, and end with it: with all that they have started."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edgeinfer.errors import InputError

__all__ = ["Ended", "Programs"]

_LONGEST_LINE = 1 << 16


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


class Programs:
    """A context whose programs have all ended when it is left; threads may share it.

    Each has a process group of its own, which is killed as a whole. What a shell script has
    started would outlive the script, and hold the pipe open that its output comes through.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._over = False

    def __enter__(self) -> Programs:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._over = True
            for process in self._running:
                _kill(process)

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
        with self._lock:
            process = _started(command, folder, environment)
            self._running.add(process)
            if self._over:
                _kill(process)
        reaper = threading.Thread(target=_reap, args=(process, seconds))
        reaper.start()
        lines = []
        assert process.stdout is not None
        try:
            while line := process.stdout.readline(_LONGEST_LINE):
                lines.append(line)
                watch(line)
        except BaseException:
            _kill(process)
            raise
        finally:
            reaper.join()
            process.stdout.close()
            with self._lock:
                self._running.discard(process)
        return Ended(process.returncode, tuple(lines))


def _started(
    command: Sequence[str], folder: Path | None, environment: Mapping[str, str] | None
) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            process_group=0,
        )
    except OSError as error:
        raise InputError(f"cannot run {command[0]}: {error.strerror}") from error


def _reap(process: subprocess.Popen[str], seconds: float | None) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        _kill(process)
        process.wait()
    _kill_group(process.pid)


def _kill(process: subprocess.Popen[str]) -> None:
    # once it has been waited for, its number may be another's
    if process.returncode is None:
        _kill_group(process.pid)


def _kill_group(number: int) -> None:
    # nothing of it is left; on macOS that is a question of permission
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(number, signal.SIGKILL)
