"""Runs a synthesis tool in a process of its own: its log, its progress, its error."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from edgeinfer.errors import EdgeInferError, MissingExtraError
from edgeinfer.hdl.processes import KILLED, run

__all__ = ["ToolError", "check_installed", "run_tool"]


class ToolError(EdgeInferError):
    """A tool has ended with an error."""


def _signal(number: int) -> str:
    name = signal.strsignal(number) or "an unknown signal"
    # the system kills what takes too much
    memory = "; is there enough memory?" if number == KILLED else ""
    return f"signal {number} ({name}){memory}"


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
    with (folder / log).open("w", buffering=1) as file:

        def heard(line: str) -> None:
            file.write(line)
            watch(line)

        # what a tool that is killed leaves of its own temporary files goes with the folder
        environment = {**os.environ, "TMPDIR": str(folder)}
        ended = run([*command, *arguments], folder=folder, environment=environment, watch=heard)
    name = program or package
    if ended.code < 0:
        raise ToolError(f"{name} was ended by {_signal(-ended.code)}")
    if ended.code:
        said = ended.complaint(r"^(ERROR|fatal|\w+Error)\b")
        raise ToolError(f"{name} has failed: {said}")
    return "".join(ended.lines)
