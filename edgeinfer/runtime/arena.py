"""Lifetimes into places in one memory, so that what lives at different times may share it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

__all__ = ["Buffer", "allocate"]


@dataclass(eq=False)
class Buffer:
    """Memory that one value, or several in turn, occupy from step ``first`` to step ``last``.

    Parameters
    ----------
    size : int
        In whatever unit ``allocate`` is to place it.
    first, last : int
        Both included.
    offset : int
        Where it lies; set by ``allocate``.
    """

    size: int
    first: int
    last: int
    offset: int = -1


def allocate(buffers: Iterable[Buffer], alignment: int = 1) -> int:
    """Give each buffer its offset, the largest first at the lowest that is free; the memory's size.

    Greedy by size: Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net
    Inference" (2020). Those placed stand in order of their offsets, so that a buffer's place is
    found in a few array operations even among thousands.
    """
    placed = np.empty((4, 0), np.int64)
    for buffer in sorted(buffers, key=lambda b: (-b.size, b.first)):
        first, last, start, end = placed
        met = (first <= buffer.last) & (last >= buffer.first)
        # where each gap begins: after all that stands lower; the last gap has no end
        free = np.maximum.accumulate(np.concatenate([[0], end[met]]))
        fits = free[:-1] + buffer.size <= start[met]
        buffer.offset = int(free[np.argmax(fits) if fits.any() else -1])
        at = np.searchsorted(start, buffer.offset)
        top = buffer.offset - (-buffer.size // alignment) * alignment
        own = np.array([[buffer.first], [buffer.last], [buffer.offset], [top]])
        placed = np.concatenate([placed[:, :at], own, placed[:, at:]], 1)
    return int(placed[3].max(initial=0))
