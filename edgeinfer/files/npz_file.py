"""Arrays into an .npz file that is either all there or as it was before."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edgeinfer.files.atomic_write import atomic_write

__all__ = ["write_npz"]


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write ``arrays``, by their names.

    Raises
    ------
    OutputError
        As ``atomic_write``.
    """
    file = io.BytesIO()
    # an array's name may be that of an option, which mypy takes it for
    np.savez(file, **arrays)  # type: ignore[arg-type]
    atomic_write(path, file.getvalue())
