"""Names of what is being written, and the removal of what a process that was killed left behind.

A file or a folder in the making lies beside its target under a name of its own, until it takes the
target's. A process that ends removes it; one that is killed, or loses power, cannot.
"""

from __future__ import annotations

import re
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path

__all__ = ["draft_name", "sweep"]

_NAME = re.compile(r"\.edgeinfer-[0-9a-f]{16}\.tmp")

_OLD = 24 * 60 * 60
"""Seconds since something was written to a draft after which nobody is at it any more."""


def draft_name() -> str:
    """A name that no file has, of fixed length: one made from a target's could be too long."""
    return f".edgeinfer-{secrets.token_hex(8)}.tmp"


def sweep(folder: Path) -> None:
    """Remove the drafts in ``folder`` that are a day old; what cannot be removed stays."""
    with suppress(OSError):
        for draft in folder.iterdir():
            if _NAME.fullmatch(draft.name):
                with suppress(OSError):
                    _remove_old(draft)


def _remove_old(draft: Path) -> None:
    # a link is not followed: it may have been planted
    if time.time() - draft.lstat().st_mtime < _OLD:
        return
    if draft.is_dir() and not draft.is_symlink():
        shutil.rmtree(draft, ignore_errors=True)
    else:
        draft.unlink()
