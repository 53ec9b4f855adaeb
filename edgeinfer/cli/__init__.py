"""The command line: ``edgeinfer COMMAND``, a thin layer over the Python interface.

One module a command; each imports what is heavy only when it runs.
"""

import io
import sys

__all__ = ["main"]


def main() -> None:
    """Run ``edgeinfer`` with the arguments of this process; ends it with 0, 1, 2 or 130."""
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
    edgeinfer.main(prog_name="edgeinfer")
