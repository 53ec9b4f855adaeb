"""The command line: ``edgeinfer COMMAND``, a thin layer over the Python interface.

One module a command; each imports what is heavy only when it runs.
"""

import io
import signal
import sys
from types import FrameType

__all__ = ["main"]


def main() -> None:
    """Run ``edgeinfer`` with the arguments of this process.

    It ends with 0, 1 or 2; at a signal with 128 and its number, leaving no tool running and no
    draft behind.
    """
    try:
        from edgeinfer.cli.commands import edgeinfer
    except ModuleNotFoundError as error:
        if error.name not in ("click", "rich"):
            raise
        sys.exit(f"error: {error.name} is not installed; pip install 'edgeinfer[cli]'")
    # a terminal that lacks a character gets a question mark, not a failure
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # of Windows' only the first
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)
    edgeinfer.main(prog_name="edgeinfer")


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
