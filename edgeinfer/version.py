"""The version of this package, and what "needs version X" means."""

from __future__ import annotations

import re

__all__ = ["__version__", "release"]

__version__ = "0.2.0.dev0"


def release(version: str) -> tuple[int, ...]:
    """The numbers of a version without what marks it as not released: 0.2.0.dev0 is (0, 2, 0).

    Raises
    ------
    ValueError
        ``version`` does not begin with three numbers.
    """
    found = re.match(r"(\d{1,6})\.(\d{1,6})\.(\d{1,6})", version)
    if found is None:
        raise ValueError(f"{version!r} is no version")
    return tuple(map(int, found.groups()))
