"""Files into a new folder, which is either all there or not at all."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from edgeinfer.errors import OutputError
from edgeinfer.files.drafts import draft_name, sweep

__all__ = ["check_new_folder", "write_new_folder"]


def check_new_folder(path: Path) -> None:
    """Refuse now, before long work, a folder that cannot be made at the end.

    Raises
    ------
    OutputError
        ``path`` is a file, a link, the current folder, a mount point or a folder with something
        in it, or its own folder is missing or cannot be written to.
    """
    try:
        why = _why_not(path)
    except OSError as error:  # a name that is too long, a folder that cannot be searched
        why = error.strerror
    if why:
        raise OutputError(f"cannot write {path}: {why}")


def _why_not(path: Path) -> str | None:
    if path.is_symlink():
        return "it is a link"
    if path.is_dir():
        if any(path.iterdir()):
            return "the folder is not empty"
        # it is to be replaced, which would leave the user in a folder that is gone
        if path.samefile(Path.cwd()):
            return "it is the current folder"
        if os.path.ismount(path):
            return "it is a mount point"
    elif path.exists():
        return "it is a file"
    parent = path.absolute().parent
    if not parent.is_dir():
        return f"there is no folder {path.parent}"
    return None if os.access(parent, os.W_OK) else "permission denied"


def write_new_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Make the folder ``path`` with ``files``, by their paths in it; after a crash it is not there.

    Raises
    ------
    OutputError
        As ``check_new_folder``, or the disk is full.
    """
    check_new_folder(path)
    path = path.absolute()
    sweep(path.parent)
    work = path.parent / draft_name()
    try:
        work.mkdir(0o700)
        for name, content in files.items():
            file = work / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        work.chmod(_mode(path))
        # an empty folder of that name is replaced, which Windows does not do by itself
        if sys.platform == "win32" and path.is_dir():
            path.rmdir()
        work.replace(path)
    except BaseException as error:  # an interrupt leaves nothing behind either
        shutil.rmtree(work, ignore_errors=True)
        if not isinstance(error, OSError):
            raise
        raise OutputError(f"cannot write {path}: {error.strerror}") from error


def _mode(path: Path) -> int:
    """The permissions of an empty folder that is replaced, or of any new one."""
    if path.is_dir():
        return stat.S_IMODE(path.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o777 & ~mask
