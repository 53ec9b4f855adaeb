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
    first, last, start, end = (np.empty(0, np.int64) for _ in range(4))
    for buffer in sorted(buffers, key=lambda b: (-b.size, b.first)):
        met = (first <= buffer.last) & (last >= buffer.first)
        # where each gap begins: after all that stands lower; the last gap has no end
        free = np.maximum.accumulate(np.concatenate([[0], end[met]]))
        fits = free[:-1] + buffer.size <= start[met]
        buffer.offset = int(free[np.argmax(fits) if fits.any() else -1])
        at = np.searchsorted(start, buffer.offset)
        first, last = np.insert(first, at, buffer.first), np.insert(last, at, buffer.last)
        start = np.insert(start, at, buffer.offset)
        occupied = -(-buffer.size // alignment) * alignment
        end = np.insert(end, at, buffer.offset + occupied)
    return int(end.max(initial=0))
