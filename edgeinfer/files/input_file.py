"""A file that was handed in, or one error that says why it cannot be read."""

from __future__ import annotations

from pathlib import Path

from edgeinfer.errors import InputError

__all__ = ["check_file", "is_folder", "read_file"]


def is_folder(path: Path) -> bool:
    """Whether ``path`` is a folder.

    Raises
    ------
    InputError
        It is in a folder that cannot be searched.
    """
    try:
        return path.is_dir()
    except OSError as error:
        raise _unreadable(path, error) from error


def check_file(path: Path) -> None:
    """Refuse what is no file: a pipe or a device may never end.

    Raises
    ------
    InputError
        ``path`` is missing, no file, or in a folder that cannot be searched.
    """
    try:
        is_there, is_file = path.exists(), path.is_file()
    except OSError as error:
        raise _unreadable(path, error) from error
    if not is_there:
        raise InputError(f"there is no file {path}")
    if not is_file:
        raise InputError(f"cannot read {path}: it is not a file")


def read_file(path: Path, *, max_bytes: int | None = None) -> bytes:
    """All that is in the file ``path``.

    Raises
    ------
    InputError
        As ``check_file``, reading it fails, or it has more than ``max_bytes``.
    """
    check_file(path)
    try:
        size = path.stat().st_size
        if max_bytes is not None and size > max_bytes:
            raise InputError(f"{path} has {size:,} bytes, and the limit is {max_bytes:,}")
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"cannot read {path}: {error.strerror or error}")
