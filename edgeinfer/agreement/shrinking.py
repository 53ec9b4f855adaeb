"""The smallest input that shows a difference: what can be at rest is, and the rest is as it was.

Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", 2002, with pieces that
are halved until single elements are left, or the tries are used up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from edgeinfer.graph import Graph

__all__ = ["moved", "smallest"]

_TRIES = 400


def smallest(
    graph: Graph,
    feeds: Mapping[str, np.ndarray],
    differs: Callable[[Mapping[str, np.ndarray]], bool],
) -> dict[str, np.ndarray]:
    """``feeds`` with as many elements as were found at their zero point, or 0, that ``differs``.

    Parameters
    ----------
    graph : Graph
        Whose inputs they are.
    feeds : mapping of str to numpy.ndarray
        Raw integers that differ.
    differs : callable
        Whether given ones do; asked a few hundred times at most.
    """
    found = {name: array.copy() for name, array in feeds.items()}
    rest = {name: _at_rest(graph, name) for name in feeds}
    size = max((array.size for array in found.values()), default=0)
    tries = 0
    while size and tries < _TRIES:
        for name, array in found.items():
            flat = array.reshape(-1)
            for start in range(0, array.size, size):
                piece = slice(start, start + size)
                before = flat[piece].copy()
                if (before == rest[name]).all() or tries == _TRIES:
                    continue
                flat[piece] = rest[name]
                tries += 1
                if not differs(found):
                    flat[piece] = before
        size = size // 2
    return found


def moved(graph: Graph, feeds: Mapping[str, np.ndarray]) -> int:
    """How many elements are not at rest."""
    return sum(int((array != _at_rest(graph, name)).sum()) for name, array in feeds.items())


def _at_rest(graph: Graph, name: str) -> int:
    quantization = graph.types[name].quantization
    return 0 if quantization is None else quantization.zero_point
