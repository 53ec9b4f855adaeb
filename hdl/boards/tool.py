"""Runs a synthesis tool in a process of its own: its log, its progress, its error."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from edgeinfer.errors import EdgeInferError, MissingExtraError

__all__ = ["ToolError", "run_tool"]

_PAUSE = 0.2
"""Seconds between two looks at the log."""


class ToolError(EdgeInferError):
    """A tool has ended with an error."""


def run_tool(
    package: str,
    code: str,
    arguments: Sequence[str],
    folder: Path,
    log: str,
    *,
    watch: Callable[[str], None] = lambda line: None,
) -> str:
    """Run ``code`` of an installed Python package; what it printed.

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
    watch : callable
        Told each line as it comes.

    Raises
    ------
    MissingExtraError
        The package is not installed.
    ToolError
        The tool has failed; the message has its first error.
    """
    if find_spec(package) is None:
        raise MissingExtraError(package, "fpga")
    path = folder / log
    with path.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        with path.open(errors="replace") as lines:
            while process.poll() is None:
                for line in lines:
                    watch(line)
                time.sleep(_PAUSE)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    printed = path.read_text(errors="replace")
    if process.returncode:
        told = [line for line in printed.splitlines() if "error" in line.lower()]
        last = (told or printed.splitlines() or ["no message"])[0]
        raise ToolError(f"{package} has failed: {last.strip()}")
    return printed
