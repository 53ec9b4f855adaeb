"""An output's parts: its channels, or whatever else has an index along one of its axes."""

from __future__ import annotations

import numpy as np

__all__ = ["extremes_along", "part_axes", "sums_along"]

# an axis of more is one of places, not of kinds
_MOST_PARTS = 1024


def part_axes(shape: tuple[int, ...]) -> list[int]:
    """The axes of an output along which an index may mean something of its own."""
    return [axis for axis, extent in enumerate(shape) if 1 < extent <= _MOST_PARTS]


def sums_along(x: np.ndarray, axis: int) -> np.ndarray:
    """The sum over all other axes, for each index along ``axis``."""
    return np.asarray(x.sum(_others(x, axis)))


def extremes_along(x: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """The smallest and the largest over all other axes, for each index along ``axis``."""
    others = _others(x, axis)
    return x.min(others), x.max(others)


def _others(x: np.ndarray, axis: int) -> tuple[int, ...]:
    return tuple(other for other in range(x.ndim) if other != axis)
