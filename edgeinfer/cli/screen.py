"""Numbers and tables as a terminal of 80 columns shows them, and progress while work is long."""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import TYPE_CHECKING

import numpy as np
from rich import box
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from edgeinfer.cli.output import SafeConsole, tell
from edgeinfer.data.samples import runs
from edgeinfer.printable import printable

if TYPE_CHECKING:
    from edgeinfer.data import DataSet
    from edgeinfer.graph import Graph

__all__ = [
    "decibels",
    "extents",
    "fitted",
    "in_decibels",
    "kib",
    "milliseconds",
    "pairs",
    "progress",
    "stages",
    "table",
    "told_apart",
    "tracked",
    "width",
]

_log = logging.getLogger("edgeinfer.cli")

_GAP = 3  # between two columns


def width() -> int:
    """The columns of the terminal, or 80."""
    return shutil.get_terminal_size().columns


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> Table:
    """A table whose first ``left`` columns are text and the rest numbers.

    What is too wide is taken from the names in the first column.
    """
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    for i, heading in enumerate(headings):
        made.add_column(printable(heading), justify="left" if i < left else "right", no_wrap=True)
    others = zip(*(row[1:] for row in (headings, *rows)), strict=True)
    taken = sum(max(map(len, column)) + _GAP for column in others)
    names = told_apart([row[0] for row in rows], max(width() - taken, 8))
    for name, row in zip(names, rows, strict=True):
        made.add_row(name, *map(printable, row[1:]))
    return made


def pairs(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Names and values side by side, one pair a line."""
    longest = max(len(name) for name, _ in rows)
    return [f"{name:<{longest}}  {value}" for name, value in rows]


def fitted(name: str, room: int = 26) -> str:
    """The end of a long name, which is what tells one layer from the next."""
    shown = printable(name)
    return shown if len(shown) <= room else f"…{shown[1 - room :]}"


def told_apart(names: Sequence[str], room: int) -> list[str]:
    """Each of ``names`` within ``room``, and different ones different.

    Where layers' names end alike, as exporters make them, what tells them apart is shown instead;
    where many groups of them do, as the blocks of a transformer, some of their end as well.
    """
    shown = [fitted(name, room) for name in names]
    alike: dict[str, set[str]] = {}
    for name, short in zip(names, shown, strict=True):
        alike.setdefault(short, set()).add(name)
    for short, group in alike.items():
        if len(group) == 1 or room < 4:
            continue
        ending = _ending(group)
        places = [i for i, each in enumerate(shown) if each == short and names[i] in group]
        fronts = told_apart([names[i][: len(names[i]) - ending] for i in places], room - 1)
        for i, front in zip(places, fronts, strict=True):
            shown[i] = f"{front}…"
    groups = [group for group in alike.values() if len(group) > 1]
    while len(set(shown)) < len(set(names)) and groups:
        fuller = {n: short for group in groups for n, short in _with_ends(group, room).items()}
        shown = [fuller.get(name, each) for name, each in zip(names, shown, strict=True)]
        joined = _joined(groups, dict(zip(names, shown, strict=True)))
        if joined == groups:
            break
        groups = joined
    return shown


def _joined(groups: Sequence[set[str]], shown: Mapping[str, str]) -> list[set[str]]:
    """The groups, those that have a shown name in common as one."""
    joined: list[set[str]] = []
    for group in groups:
        with_it = [g for g in joined if {shown[n] for n in g} & {shown[n] for n in group}]
        joined = [*(g for g in joined if g not in with_it), group.union(*with_it)]
    return joined


def _with_ends(group: set[str], room: int) -> dict[str, str]:
    """What tells names apart that end alike, and as much of their end as ``room`` leaves."""
    names = sorted(group)
    fronts = [name[: len(name) - _ending(names)] for name in names]
    best: dict[str, str] = {}
    for tail in range(room - 4, 3, -1):
        shown = [
            f"{front}…{name[-tail:]}"
            for front, name in zip(told_apart(fronts, room - 1 - tail), names, strict=True)
        ]
        if len(set(shown)) > len(set(best.values())):
            best = dict(zip(names, shown, strict=True))
        if len(set(shown)) == len(names):
            break
    return best


def _ending(names: Iterable[str]) -> int:
    """How many characters at the end the names have in common."""
    backwards = zip(*(reversed(name) for name in names), strict=False)
    return sum(1 for _ in takewhile(lambda ends: len(set(ends)) == 1, backwards))


def extents(shape: Sequence[int]) -> str:
    """``1x28x28x3``; a scalar's is ``scalar``."""
    return "x".join(map(str, shape)) or "scalar"


def decibels(value: float) -> str:
    """A ratio in dB, or ``exact`` where there is no noise at all."""
    return "exact" if value == math.inf else f"{value:.1f}"


def in_decibels(value: float) -> str:
    """A ratio with its unit, for where no heading says it."""
    return decibels(value) if value == math.inf else f"{decibels(value)} dB"


def kib(count: int) -> str:
    """A number of bytes in KiB."""
    return f"{count / 1024:,.1f} KiB"


def milliseconds(seconds: float) -> str:
    """A duration in the unit that keeps it readable."""
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.1f} µs"


@contextmanager
def progress() -> Iterator[Callable[[str, int, int | None], None]]:
    """Bars on stderr while it is a terminal; the callable takes a stage, its count, its total."""
    console = SafeConsole(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[count]}"),
    )
    with Progress(
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        tasks: dict[str, TaskID] = {}
        spans: dict[str, tuple[float, float]] = {}

        def done(stage: str, count: int, total: int | None) -> None:
            shown = f"{count}/{total}" if total else f"{count}" if count else ""
            now = time.perf_counter()
            spans[stage] = spans.get(stage, (now, now))[0], now
            if stage not in tasks:
                _log.info("%s", stage)
                tasks[stage] = bar.add_task(stage, total=total, count=shown)
            bar.update(tasks[stage], completed=count, total=total, count=shown)

        yield done
    for stage, (begun, ended) in spans.items():
        _log.debug("%s took %.2f s", stage, ended - begun)


@contextmanager
def stages() -> Iterator[Callable[[str, int, int | None], None]]:
    """As ``progress``; and a line for each stage where stderr is no terminal but a log.

    For work of hours, which is not to look dead.
    """
    if SafeConsole(stderr=True).is_terminal:
        with progress() as done:
            yield done
        return
    begun = set()

    def begin(stage: str, count: int, total: int | None) -> None:
        if stage not in begun:
            begun.add(stage)
            tell(stage)

    yield begin


@contextmanager
def tracked(
    what: str, graph: Graph, data: DataSet, limit: int | None = None
) -> Iterator[Iterator[dict[str, np.ndarray]]]:
    """At most ``limit`` runs of ``graph`` on ``data``, with a bar on stderr as they are worked off.

    The bar goes away on an error too.
    """
    total = data.count_within(limit)
    with progress() as done:

        def counted() -> Iterator[dict[str, np.ndarray]]:
            for count, feed in enumerate(runs(graph, data.samples, limit=limit), start=1):
                yield feed
                done(what, count, total)

        yield counted()
