"""Lifetimes into places in one memory, so that what lives at different times may share it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

__all__ = ["Buffer", "allocate", "allocate_beside"]


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
    """Give each buffer its offset, the lowest that is free when its turn comes; the memory's size.

    The largest first, which is best for most networks (Pisarchyk and Lee, "Efficient Memory
    Management for Deep Neural Net Inference", 2020); in order of time where that takes less.
    """
    by_size = sorted(buffers, key=lambda b: (-b.size, b.first))
    size = _place(by_size, alignment)
    if size > _alive_at_once(by_size, alignment):
        offsets = [buffer.offset for buffer in by_size]
        in_time = _place(sorted(by_size, key=lambda b: (b.first, -b.size)), alignment)
        if in_time < size:
            return in_time
        for buffer, offset in zip(by_size, offsets, strict=True):
            buffer.offset = offset
    return size


def allocate_beside(
    standing: Iterable[Buffer], buffers: Iterable[Buffer], alignment: int = 1
) -> int:
    """Give each of ``buffers`` the lowest offset that is free beside ``standing``, which have
    theirs; the memory's size."""
    return _place(list(buffers), alignment, standing)


def _alive_at_once(buffers: Sequence[Buffer], alignment: int) -> int:
    """The most that is alive at any step, which no placement can be smaller than."""
    changes: dict[int, int] = {}
    for buffer in buffers:
        size = _aligned(buffer.size, alignment)
        changes[buffer.first] = changes.get(buffer.first, 0) + size
        changes[buffer.last + 1] = changes.get(buffer.last + 1, 0) - size
    return max(accumulate(change for _, change in sorted(changes.items())), default=0)


def _aligned(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment


def _place(buffers: Sequence[Buffer], alignment: int, standing: Iterable[Buffer] = ()) -> int:
    """Each buffer in turn at the lowest offset that is free while it lives; the memory's size.

    Those placed stand in order of their offsets, so that a buffer's place is found in a few array
    operations even among thousands.
    """
    known = [
        (b.first, b.last, b.offset, b.offset + _aligned(b.size, alignment))
        for b in sorted(standing, key=lambda b: b.offset)
    ]
    placed = np.array(known, np.int64).reshape(-1, 4).T
    for buffer in buffers:
        first, last, start, end = placed
        met = (first <= buffer.last) & (last >= buffer.first)
        # where each gap begins: after all that stands lower; the last gap has no end
        free = np.maximum.accumulate(np.concatenate([[0], end[met]]))
        fits = free[:-1] + buffer.size <= start[met]
        buffer.offset = int(free[np.argmax(fits) if fits.any() else -1])
        at = np.searchsorted(start, buffer.offset)
        top = buffer.offset + _aligned(buffer.size, alignment)
        own = np.array([[buffer.first], [buffer.last], [buffer.offset], [top]])
        placed = np.concatenate([placed[:, :at], own, placed[:, at:]], 1)
    return int(placed[3].max(initial=0))
