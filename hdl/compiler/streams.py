"""Which constants stay in a memory of the NPU, and how the rest passes through it."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
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


def plan_slots(
    blocks: Sequence[tuple[Hashable, int]],
    capacity: int,
    *,
    stream: bool = False,
    computed: Collection[Hashable] = (),
) -> list[Slot]:
    """A slot for each block, in the order in which a program uses them, each once.

    All stay where all fit, unless ``stream`` asks for the opposite, but for those that a run
    computes, which have places of their own then. Otherwise half of the memory, or twice the
    largest block if that is more, is a ring through which the later blocks pass.

    Parameters
    ----------
    blocks : sequence of (hashable, int)
        What each holds, and its size. Of those that hold the same one may stay for all.
    capacity : int
    stream : bool
    computed : collection of hashable
        Contents that are not there before the program starts.

    Raises
    ------
    ValueError
        The largest block is larger than the memory.
    """
    largest = max((size for _, size in blocks), default=0)
    if largest > capacity:
        raise ValueError(f"{largest} > {capacity}")
    sizes = dict(blocks)
    if sum(sizes.values()) <= capacity and not stream:
        ring = sum(size for content, size in sizes.items() if content in computed)
    else:
        ring = capacity if stream else min(capacity, max(2 * largest, capacity // 2))
    resident: dict[Hashable, Slot] = {}
    used = 0
    for content, size in blocks:
        if content in resident or content in computed:
            continue
        if used + size > capacity - ring:
            break
        resident[content] = Slot(used, True, -1)
        used += size
    slots: list[Slot] = []
    start = place = used
    taken: list[tuple[int, int, int]] = []  # address, end, block
    for index, (content, size) in enumerate(blocks):
        if content in resident:
            slots.append(resident[content])
            continue
        if place + size > capacity:
            place = start
        met = [t for t in taken if t[0] < place + size and place < t[1]]
        taken = [t for t in taken if t not in met]
        taken.append((place, place + size, index))
        slots.append(Slot(place, False, max((t[2] for t in met), default=-1)))
        place += size
    return slots
