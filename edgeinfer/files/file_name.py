"""The path that a caller names a file by, or one error that says why it can be none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from edgeinfer.errors import InputError

__all__ = ["as_path"]


def as_path(name: str | os.PathLike[str] | Any) -> Path:
    """``name`` as a Path.

    Raises
    ------
    InputError
        It is neither a string nor a path, or the system can have no file of that name.
    """
    try:
        path = Path(name)
    except TypeError:
        raise InputError(
            f"a file is named by a string or a pathlib.Path, not by {_kind(name)}"
        ) from None
    try:
        encoded = os.fsencode(path)
    except UnicodeEncodeError:
        encoded = b"\0"
    if b"\0" in encoded:
        raise InputError(f"{str(path)!r} is no name that a file can have")
    return path


def _kind(name: object) -> str:
    return "None" if name is None else type(name).__name__
