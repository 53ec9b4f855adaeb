"""Elementwise operators on int16 as links of a chain, which one call of a kernel computes.

``link`` is what a rule of ``lower`` makes of its operator, ``joined`` a chain of several in one
call: what one gives another stays on the kernel's stack (cython_kernels/chain_s16.h).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from edgeinfer.runtime.catalogue.call import ELEMENT_WORK, KernelCall, KernelSite, Link

__all__ = ["Function", "joined", "link"]

# what chain_s16.h has room for: elements of a row, rows of a block, operands
_BLOCK, _ROWS, _OPERANDS = 128, 16, 16

# int32 of a link there
_FIELDS = 24


class Function(IntEnum):
    """What a link does, as chain_s16.h numbers it."""

    ADD = 0
    SUBTRACT = 1
    MULTIPLY = 2
    RESCALE = 3
    INTERPOLATE = 4


_Stage = tuple[int, int, int]
_NO_STAGE = (0, 0, 0)


def link(
    site: KernelSite,
    function: Function,
    roles: Sequence[str],
    stages: Sequence[_Stage] = (),
    *,
    table: np.ndarray | None = None,
    ends: tuple[int, int] = (-(1 << 15), (1 << 15) - 1),
) -> list[KernelCall]:
    """The operator at ``site`` as a chain of one link.

    Parameters
    ----------
    site : KernelSite
        Its inputs are int16, of as many elements as its output.
    function : Function
        What it does.
    roles : sequence of str
        Its inputs.
    stages : sequence of tuple of int
        Multiplier, rounding and shift of a, of b and of the result, as far as it has them.
    table : numpy.ndarray, optional
        The 513 knots of INTERPOLATE.
    ends : tuple of int
        The clamp.
    """
    filled = [*stages, *[_NO_STAGE] * 3]
    a, b, result = filled[:3]
    own = Link(
        int(function),
        tuple(map(site.node.input, roles)),
        site.node.output,
        site.elements,
        site.output.itemsize,
        (*map(_twice, ends), *_operand_numbers(*a), *_operand_numbers(*b), *result),
        table,
    )
    call = joined([own], lambda name: (name, 0), {own.gives})
    assert call is not None
    return [call]


def _twice(word: int) -> int:
    """Two words of 16 bits as an int32."""
    both = (word & 0xFFFF) * 0x10001
    return both - (both >> 31 << 32)


def _operand_numbers(multiplier: int, rounding: int, shift: int) -> tuple[int, ...]:
    """The ``operand_numbers`` of chain_s16.h."""
    high, low = multiplier >> 16, multiplier & 0xFFFF
    return high | 1 << 16, _twice(low), -(low >> 15), rounding, shift


@dataclass(frozen=True)
class _Piece:
    """Elements of a value from ``start`` on: of link ``maker`` or, where that is None, of the
    operand ``name``."""

    maker: int | None
    name: str
    start: int


def joined(
    links: Sequence[Link], root: Callable[[str], tuple[str, int]], seen: Collection[str]
) -> KernelCall | None:
    """One call for ``links``, in order, or None where they do not fit one.

    All rows of a chain have as many elements as the shortest of what it gives. A longer value is
    pieces of that many, of which those are computed that something takes.

    Parameters
    ----------
    links : sequence of Link
        Each after those whose results it takes.
    root : callable
        The value whose bytes a value is, and from which of them on.
    seen : collection of str
        Those of their results that others see.
    """
    lengths = [each.elements for each in links if each.gives in seen]
    length = min(lengths, default=0)
    if length == 0 or any(n % length for n in lengths):
        return None
    places = [root(each.gives) for each in links]

    def piece(name: str, start: int, before: int) -> _Piece | None:
        source, at = root(name)
        first = at + 2 * start
        for maker in range(before):
            if places[maker][0] == source:
                local = first - places[maker][1]
                if 0 <= local <= 2 * (links[maker].elements - length):
                    return _Piece(maker, name, local // 2)
                if -2 * length < local < 2 * links[maker].elements:
                    return None  # partly of this link
        return _Piece(None, name, start)

    wanted: list[set[int]] = [
        set(range(0, each.elements, length)) if each.gives in seen else set() for each in links
    ]
    taken: dict[tuple[int, int], list[_Piece]] = {}
    for index in reversed(range(len(links))):
        for start in wanted[index]:
            found = [piece(name, start, index) for name in links[index].takes]
            pieces = [each for each in found if each is not None]
            if len(pieces) < len(found):
                return None
            taken[index, start] = pieces
            for each in pieces:
                if each.maker is not None:
                    wanted[each.maker].add(each.start)
    return _call(links, length, dict(sorted(taken.items())), seen)


def _call(
    links: Sequence[Link],
    length: int,
    taken: dict[tuple[int, int], list[_Piece]],
    seen: Collection[str],
) -> KernelCall | None:
    """The call of links whose pieces, in order, are those of ``taken``."""
    tables = {id(each.table): each.table for each in links if each.table is not None}
    inputs = {p.name: None for pieces in taken.values() for p in pieces if p.maker is None}
    outputs = [each.gives for each in links if each.gives in seen]
    keys: list[object] = [None, *tables, *inputs, *(("output", name) for name in outputs)]
    operand = {key: index for index, key in enumerate(keys)}
    rows = _rows(taken)
    if len(keys) > _OPERANDS or max(rows.values()) >= _ROWS:
        return None

    def place(p: _Piece) -> tuple[int, int]:
        return (operand[p.name], p.start) if p.maker is None else (-1 - rows[p.maker, p.start], 0)

    program = np.zeros((len(taken), _FIELDS), np.int32)
    for fields, ((index, start), pieces) in zip(program, taken.items(), strict=True):
        own = links[index]
        sources = [place(p) for p in pieces]
        if own.table is not None:
            sources.append((operand[id(own.table)], 0))
        sources += [(0, 0)] * (2 - len(sources))
        out = (operand["output", own.gives], start) if own.gives in seen else (-1, 0)
        row = rows[index, start]
        fields[:] = (own.function, *sources[0], *sources[1], row, *out, own.bytes, *own.numbers)
    return KernelCall(
        "chain_s16",
        (program, *(t for t in tables.values() if t is not None), *inputs, *outputs),
        {"links": len(taken), "length": length},
        units=-(-length // _BLOCK),
        work=ELEMENT_WORK * length * len(taken),
        in_place=_overwritable(links, length, taken),
        outputs=len(outputs),
        links=tuple(links),
    )


def _rows(taken: dict[tuple[int, int], list[_Piece]]) -> dict[tuple[int, int], int]:
    """A row of the stack for each piece, free again behind the last that takes it."""
    last = dict.fromkeys(taken)
    for key, pieces in taken.items():
        last.update({(p.maker, p.start): key for p in pieces if p.maker is not None})
    free: list[int] = []
    rows: dict[tuple[int, int], int] = {}
    for key, pieces in taken.items():
        # a link writes its row vector by vector, behind what it has taken
        ending = {(p.maker, p.start) for p in pieces if p.maker is not None}
        free += sorted((rows[each] for each in ending if last[each] == key), reverse=True)
        rows[key] = free.pop() if free else len(set(rows.values()))
        if last[key] is None:
            free.append(rows[key])
    return rows


def _overwritable(
    links: Sequence[Link], length: int, taken: dict[tuple[int, int], list[_Piece]]
) -> tuple[str, ...]:
    """The inputs over which the last link may write: those that are taken from their beginning
    alone, row by row as it gives them."""
    if links[-1].elements != length or links[-1].bytes != 2:
        return ()
    starts: dict[str, set[int]] = {}
    for pieces in taken.values():
        for p in pieces:
            if p.maker is None:
                starts.setdefault(p.name, set()).add(p.start)
    return tuple(name for name, found in starts.items() if found == {0})
