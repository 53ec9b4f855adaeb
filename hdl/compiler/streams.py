"""Which constants stay in a memory of the NPU, and how the rest passes through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Slot", "plan_slots"]


@dataclass(frozen=True)
class Slot:
    """A block's place in its memory.

    Parameters
    ----------
    address : int
    resident : bool
        It is there before the program starts and stays.
    after : int
        The last earlier block whose place it takes; -1 where the place was free.
    """

    address: int
    resident: bool
    after: int


def plan_slots(sizes: Sequence[int], capacity: int, *, stream: bool = False) -> list[Slot]:
    """A slot for each block, in the order in which a program uses them, each once.

    All stay where all fit, unless ``stream`` asks for the opposite. Otherwise half of the memory,
    or twice the largest block if that is more, is a ring through which the later blocks pass.

    Raises
    ------
    ValueError
        The largest block is larger than the memory.
    """
    largest = max(sizes, default=0)
    if largest > capacity:
        raise ValueError(f"{largest} > {capacity}")
    if sum(sizes) <= capacity and not stream:
        ring = 0
    else:
        ring = capacity if stream else min(capacity, max(2 * largest, capacity // 2))
    slots: list[Slot] = []
    used = 0
    for size in sizes:
        if used + size > capacity - ring:
            break
        slots.append(Slot(used, True, -1))
        used += size
    start = place = used
    taken: list[tuple[int, int, int]] = []  # address, end, block
    for index in range(len(slots), len(sizes)):
        size = sizes[index]
        if place + size > capacity:
            place = start
        met = [t for t in taken if t[0] < place + size and place < t[1]]
        taken = [t for t in taken if t not in met]
        taken.append((place, place + size, index))
        slots.append(Slot(place, False, max((t[2] for t in met), default=-1)))
        place += size
    return slots
