"""The zoo of trained models, in the folder that the environment's EDGEINFER_ZOO names."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any


def folder() -> Path:
    """The folder; without one the benchmark ends."""
    if "EDGEINFER_ZOO" not in os.environ:
        raise SystemExit("EDGEINFER_ZOO must name the zoo's folder")
    return Path(os.environ["EDGEINFER_ZOO"])


def load(name: str) -> Any:
    """An entry: its model, its calibration and its evaluation data."""
    if str(folder()) not in sys.path:
        sys.path.insert(0, str(folder()))
    import zoo

    return zoo.load(name)
