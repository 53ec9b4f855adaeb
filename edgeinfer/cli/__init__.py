"""The command line: ``edgeinfer COMMAND``, a thin layer over the Python interface.

One module a command; each imports what is heavy only when it runs.
"""

import contextlib
import io
import os
import signal
import sys
import warnings
from pathlib import Path
from types import FrameType

__all__ = ["main"]

_ENDING = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGQUIT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)
]


class _Signalled(BaseException):
    """A signal ends the process; not a KeyboardInterrupt, for which click has an exit code."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main() -> None:
    """Run ``edgeinfer`` with the arguments of this process.

    It ends with 0, 1 or 2; at a signal with 128 and its number, leaving no tool running and no
    draft behind.
    """
    for number in _ENDING:
        # one that whoever started us ignores stays ignored
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _end)
    if not sys.warnoptions:
        # of libraries, for programmers: of odd image files, of hardware that an interrupt left
        warnings.simplefilter("ignore")
    try:
        _run()
    except _Signalled as ended:
        name = signal.Signals(ended.number).name
        said = "interrupted" if name == "SIGINT" else f"ended by {name}"
        with contextlib.suppress(OSError):
            print(f"error: {said}", file=sys.stderr, flush=True)
        sys.exit(128 + ended.number)


def _run() -> None:
    try:
        from edgeinfer.cli.commands import edgeinfer
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in ("click", "rich"):
            raise
        sys.exit(
            f"error: {package} is not installed, which commands need; install it with: "
            "pip install 'edgeinfer[cli]', or in a checkout: pip install -e '.[cli]'"
        )
    # who has closed them wants to read nothing; open until the process ends
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    # a terminal that lacks a character gets a question mark, not a failure
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        edgeinfer.main(prog_name="edgeinfer")
    except OSError as error:  # of click's own output: the help
        sys.exit(f"error: cannot write the output: {error.strerror}")


def _end(number: int, frame: FrameType | None) -> None:
    # another one must not disturb what this one cleans up
    for ending in _ENDING:
        signal.signal(ending, signal.SIG_IGN)
    raise _Signalled(number)
