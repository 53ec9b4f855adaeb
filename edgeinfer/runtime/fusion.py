"""Neighbouring nodes whose operators are links of a chain into one step.

Where a value between them is read by nobody else, it has no place in the arena.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgeinfer.graph import Graph
from edgeinfer.runtime.catalogue import KernelCall, joined

__all__ = ["Fusion", "apart", "fused"]

# so many nodes at most are one step
_MOST = 16


@dataclass(frozen=True)
class Fusion:
    """Which nodes run together.

    Parameters
    ----------
    calls : sequence of sequence of KernelCall
        Of each node; of those that run together the last has the call, which is theirs.
    times : sequence of int
        When each node runs: with the last of those with which it runs.
    inner : set of str
        The values that have no place.
    """

    calls: Sequence[Sequence[KernelCall]]
    times: Sequence[int]
    inner: frozenset[str]


def apart(calls: Sequence[Sequence[KernelCall]]) -> Fusion:
    """Each node by itself."""
    return Fusion(calls, range(len(calls)), frozenset())


def fused(
    graph: Graph,
    calls: Sequence[Sequence[KernelCall]],
    root: Callable[[str], tuple[str, int]],
    needs: Callable[[KernelCall], bool],
) -> Fusion:
    """As many neighbours together as one call takes.

    Parameters
    ----------
    graph : Graph
        What is planned.
    calls : sequence of sequence of KernelCall
        Of each node by itself.
    root : callable
        The value whose bytes a value is, and from which of them on.
    needs : callable
        Whether a call moves anything.
    """
    moving = [any(map(needs, node_calls)) for node_calls in calls]
    readers: dict[str, list[int]] = {}
    for index, node in enumerate(graph.nodes):
        for name in node.operands if moving[index] else ():
            readers.setdefault(root(name)[0], []).append(index)
    kept = {root(name)[0] for name in (*graph.sources, *graph.results)}

    def together(run: Sequence[int]) -> KernelCall | None:
        """The call of these nodes, if there is one."""
        links = [link for index in run for link in calls[index][0].links]
        seen = set()
        for link in links:
            source, _ = root(link.gives)
            if source in kept or any(i not in run for i in readers.get(source, ())):
                seen.add(link.gives)
        return joined(links, root, seen)

    of_all, times = [list(node_calls) for node_calls in calls], list(range(len(calls)))
    inner: set[str] = set()
    for run in _runs(calls, moving):
        while len(run) > 1:
            end = len(run)
            while end > 1 and (call := together(run[:end])) is None:
                end -= 1
            if end > 1:
                assert call is not None
                members = run[:end]
                for index in members:
                    of_all[index] = []
                of_all[members[-1]] = [call]
                times[members[0] : members[-1] + 1] = [members[-1]] * (members[-1] + 1 - members[0])
                outputs = call.operands[-call.outputs :]
                inner.update(link.gives for link in call.links if link.gives not in outputs)
            run = run[end:]
    return Fusion(of_all, times, frozenset(inner))


def _runs(calls: Sequence[Sequence[KernelCall]], moving: Sequence[bool]) -> list[list[int]]:
    """Nodes that are links one after another, but for those that move nothing."""
    runs: list[list[int]] = [[]]
    for index, node_calls in enumerate(calls):
        if not moving[index]:
            continue
        is_link = len(node_calls) == 1 and bool(node_calls[0].links)
        if not is_link or len(runs[-1]) == _MOST:
            runs.append([])
        if is_link:
            runs[-1].append(index)
    return runs
