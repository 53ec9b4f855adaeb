"""Runs a synthesis tool in a process of its own: its log, its progress, its error."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from edgeinfer.errors import EdgeInferError, InputError, MissingExtraError

__all__ = ["ToolError", "check_installed", "run_tool"]


class ToolError(EdgeInferError):
    """A tool has ended with an error."""


def check_installed(*packages: str) -> None:
    """Refuse, before any work, what will be missed on the way.

    Raises
    ------
    MissingExtraError
        A package is not installed.
    """
    for package in packages:
        if find_spec(package) is None:
            raise MissingExtraError(package, "fpga")


def run_tool(
    package: str,
    code: str,
    arguments: Sequence[str],
    folder: Path,
    log: str,
    *,
    program: str | None = None,
    watch: Callable[[str], None] = lambda line: None,
) -> str:
    """Run a tool of an installed Python package; what it printed.

    Parameters
    ----------
    package : str
        What must be installed.
    code : str
        Python that runs the tool with ``sys.argv[1:]``.
    arguments : sequence of str
    folder : Path
        Where it runs.
    log : str
        The file in ``folder`` that takes all that it prints.
    program : str or None
        An executable that stands for the package's tool; it takes the same arguments.
    watch : callable
        Told each line as it comes.

    Raises
    ------
    InputError
        ``program`` cannot be run.
    MissingExtraError
        The package is not installed.
    ToolError
        The tool has failed; the message has its first error, or what it said last, or the
        signal that killed it.
    """
    if program is None:
        check_installed(package)
    command = [sys.executable, "-c", code] if program is None else [program]
    printed: list[str] = []
    try:
        process = subprocess.Popen(
            [*command, *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise InputError(f"cannot run {command[0]}: {error.strerror}") from error
    assert process.stdout is not None
    try:
        with (folder / log).open("w", buffering=1) as file, process.stdout:
            for line in process.stdout:
                file.write(line)
                printed.append(line)
                watch(line)
    except BaseException:
        # interrupted, or the disk is full
        process.kill()
        raise
    finally:
        process.wait()
    if process.returncode < 0:
        number = -process.returncode
        raise ToolError(
            f"{program or package} was killed by signal {number}; is there enough memory?"
        )
    if process.returncode:
        told = [line for line in printed if re.match(r"(ERROR|fatal|\w+Error)\b", line)]
        said = told[:1] or [line for line in printed if line.strip()][-1:] or ["no message"]
        raise ToolError(f"{program or package} has failed: {said[0].strip()}")
    return "".join(printed)
