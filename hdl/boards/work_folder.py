"""The temporary folder in which synthesis tools work, named where it has no room."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeinfer.errors import OutputError

__all__ = ["work_folder"]


@contextmanager
def work_folder() -> Iterator[Path]:
    """A folder that is there as long as the block runs.

    Raises
    ------
    OutputError
        There is no room for it, or for what the block writes.
    """
    try:
        base = tempfile.gettempdir()
    except FileNotFoundError as error:
        raise OutputError(
            "no folder for temporary files takes any; the environment's TMPDIR may name another"
        ) from error
    try:
        # a program that was killed may still write
        with tempfile.TemporaryDirectory(
            dir=base, prefix="edgeinfer-", ignore_cleanup_errors=True
        ) as name:
            yield Path(name)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OutputError(
            f"cannot work in {base}: {error.strerror}; the environment's TMPDIR may name another "
            "folder"
        ) from error
