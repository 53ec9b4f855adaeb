"""What edgeinfer logs, on stderr while a command runs: warnings, and with -v what is done."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from edgeinfer.cli.output import tell
from edgeinfer.printable import one_line

__all__ = ["logged"]

_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


class _Stderr(logging.Handler):
    """A line for each record: a warning as commands print them, anything else with its logger."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print ``record``."""
        warned = record.levelno >= logging.WARNING
        tell(f"{'warning' if warned else record.name}: {one_line(self.format(record))}")


@contextmanager
def logged(verbose: int) -> Iterator[None]:
    """Print what the logger ``edgeinfer`` and those below it say meanwhile.

    Parameters
    ----------
    verbose : int
        0 for warnings, 1 for what is done, 2 or more for details.
    """
    logger = logging.getLogger("edgeinfer")
    level, handler = logger.level, _Stderr()
    logger.addHandler(handler)
    logger.setLevel(_LEVELS[min(verbose, 2)])
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
