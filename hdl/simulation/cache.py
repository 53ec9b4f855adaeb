"""The folder in which simulators are kept: it and they are the user's alone, as they are loaded."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Literal

from platformdirs import user_cache_path

from edgeinfer.errors import OutputError

__all__ = ["OWN", "cache_folder", "is_own"]

OWN = 0o700
"""The mode of the folder and of what is kept in it."""


def cache_folder() -> Path:
    """The folder of simulators in the user's cache, made where there is none.

    Who can write there decides what runs in this process: it and the folder around it, which is
    edgeinfer's too, must belong to this user or to root, and nobody else may write there. On
    Windows, where modes say nothing, that is left to the folder of the user's profile.

    Raises
    ------
    OutputError
        It cannot be made, belongs to another user, or others may write there.
    """
    try:
        folder = user_cache_path("edgeinfer", appauthor=False) / "simulators"
    except RuntimeError as error:
        raise OutputError(
            "there is no home directory to keep simulators in; set XDG_CACHE_HOME"
        ) from error
    try:
        folder.parent.parent.mkdir(parents=True, exist_ok=True)
        for each in (folder.parent, folder):
            with suppress(FileExistsError):
                each.mkdir(OWN)
        why = _refusal(folder.parent) or _refusal(folder)
    except OSError as error:
        why = error.strerror
    if why is not None:
        raise OutputError(f"cannot keep simulators in {folder}: {why}")
    return folder


def is_own(library: Path) -> bool:
    """Whether only this user, or root, can have written ``library``."""
    return _stranger(library.lstat()) is None


def _refusal(folder: Path) -> str | None:
    """What is wrong with ``folder``; others no longer see what is in it."""
    found = folder.stat()
    stranger = _stranger(found)
    if stranger == "owner":
        return f"{folder} belongs to another user; set XDG_CACHE_HOME to a folder of your own"
    if stranger is not None:
        return f"others may write to {folder}; remove it, and it is made anew"
    if stat.S_IMODE(found.st_mode) & ~OWN:
        with suppress(OSError):  # nobody else writes there in any case
            folder.chmod(found.st_mode & OWN)
    return None


def _stranger(found: os.stat_result) -> Literal["owner", "writer"] | None:
    """Who but this user and root has a say in a file."""
    # there, modes say nothing
    if sys.platform != "win32":
        if found.st_uid not in (0, os.geteuid()):
            return "owner"
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return "writer"
    return None
