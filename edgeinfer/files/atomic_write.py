"""Bytes into a file that is either all there or as it was before."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from edgeinfer.errors import OutputError
from edgeinfer.files.drafts import draft_name, sweep
from edgeinfer.files.file_name import as_path

__all__ = ["Draft", "atomic_write", "check_distinct", "check_writable", "is_special"]


def check_distinct(*paths: Path | None) -> None:
    """Refuse now two results, None being none, that one path would have to hold.

    Raises
    ------
    OutputError
        One path stands twice.
    """
    seen: set[str] = set()
    for path in paths:
        if path is None:
            continue
        try:
            real = os.path.realpath(path)
        except OSError as error:  # the current folder is gone
            raise _refusal(path, error) from error
        if real in seen:
            raise OutputError(f"cannot write {path}: it is asked to hold two results")
        seen.add(real)


def check_writable(path: str | os.PathLike[str], *sources: Path) -> None:
    """Refuse now, before long work, a path that a write at the end could not or should not make.

    Raises
    ------
    OutputError
        ``path`` is a folder, it or its folder cannot be written to, its folder is missing, or
        ``path`` is one of ``sources``, the files that the result is made from.
    """
    path = as_path(path)
    try:
        is_folder, has_folder = path.is_dir(), path.parent.is_dir()
        special, is_there = is_special(path), path.exists()
        os.path.realpath(path)  # which the current folder must be there for
    except OSError as error:  # a name that is too long, a folder that cannot be searched
        raise _refusal(path, error) from error
    if any(path.exists() and source.exists() and path.samefile(source) for source in sources):
        raise OutputError(f"cannot write {path}: the result is made from it")
    if is_folder:
        raise OutputError(f"cannot write {path}: it is a folder")
    if not has_folder:
        raise OutputError(f"cannot write {path}: there is no folder {path.parent}")
    # a new file could take the place of one that must not be written to, but should not
    needed = ([] if special else [path.parent]) + ([path] if is_there else [])
    if not all(os.access(each, os.W_OK) for each in needed):
        raise OutputError(f"cannot write {path}: permission denied")


def atomic_write(path: str | os.PathLike[str], data: bytes) -> None:
    """Make ``data`` the content of ``path``; a crash at any time leaves the old file or the new.

    The bytes go to a new file in the same folder, with the permissions of any new file, which
    then takes the name. A link is followed; a device or a pipe is written to as it is.

    Raises
    ------
    OutputError
        The file cannot be written; what was there before is untouched.
    """
    draft = Draft(path)
    try:
        try:
            draft.path.write_bytes(data)
        except OSError as error:
            raise _refusal(path, error) from error
        draft.keep()
    finally:
        draft.discard()


class Draft:
    """A file in the making, ``path``, that takes the place of another when it is kept.

    It lies in the same folder, with the permissions of any new file. A link is followed; a device
    or a pipe is its own draft.

    Raises
    ------
    OutputError
        As ``check_writable``, or there is no room for a file.
    """

    def __init__(self, target: str | os.PathLike[str]) -> None:
        path = as_path(target)
        check_writable(path)
        self._name = target
        if is_special(path):
            self.path = self._target = path
            return
        self._target = Path(os.path.realpath(path))
        sweep(self._target.parent)
        self.path = self._target.parent / draft_name()
        try:
            self.path.touch(exist_ok=False)
        except OSError as error:
            raise _refusal(target, error) from error

    def keep(self) -> None:
        """Put the draft in its target's place, on the disk; OutputError where that fails."""
        if self.path == self._target:
            return
        try:
            _sync(self.path, os.O_RDWR)
            self.path.replace(self._target)
        except OSError as error:
            raise _refusal(self._name, error) from error
        # the new name outlives a power cut only once its folder is on the disk; not every system
        # lets a folder be opened, and the file itself is safe by now
        with contextlib.suppress(OSError):
            _sync(self._target.parent, os.O_RDONLY)

    def discard(self) -> None:
        """Remove the draft, if it has not been kept."""
        if self.path != self._target:
            self.path.unlink(missing_ok=True)


def _refusal(path: str | os.PathLike[str], error: OSError) -> OutputError:
    return OutputError(f"cannot write {os.fspath(path)}: {error.strerror or error}")


def is_special(path: Path) -> bool:
    """Whether ``path`` is a device, a pipe or a folder; an OSError where that cannot be seen."""
    return path.exists() and not path.is_file()


def _sync(path: Path, access: int) -> None:
    descriptor = os.open(path, access)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
