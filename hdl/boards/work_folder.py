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
        with tempfile.TemporaryDirectory(prefix="edgeinfer-") as name:
            yield Path(name)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OutputError(
            f"cannot work in {tempfile.gettempdir()}: {error.strerror}; the environment's TMPDIR "
            "may name another folder"
        ) from error
