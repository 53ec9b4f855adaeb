"""Which commit a benchmark measures."""

from __future__ import annotations

import subprocess
from pathlib import Path


def commit(*written: Path) -> str:
    """The commit that is checked out; with a + where files here differ, but for ``written``."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True)
        return done.stdout.strip()

    others = [f":!{path.name}" for path in written]
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", *others)
    return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")
