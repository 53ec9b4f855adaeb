"""An integer model and one input into what each layer takes of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgeinfer.data.samples import runs
from edgeinfer.graph import Graph

if TYPE_CHECKING:
    from edgeinfer.data import DataSet
    from edgeinfer.runtime.session import Session

__all__ = ["LayerTime", "layer_times", "profile"]

_RUNS = 5


@dataclass(frozen=True)
class LayerTime:
    """What one node takes: seconds of a run, and its share of the whole."""

    node: str
    operator: str
    seconds: float
    share: float


def profile(graph: Graph, session: Session, feed: Mapping[str, np.ndarray]) -> list[LayerTime]:
    """The mean over a few runs of each node of ``graph`` that takes any time, in order."""
    total: Counter[str] = Counter()
    for _ in range(_RUNS):
        total.update(session.profile(feed))
    whole = max(sum(total.values()), 1)
    return [
        LayerTime(
            node.name,
            type(node.op).__name__,
            total[node.name] / _RUNS / 1e9,
            total[node.name] / whole,
        )
        for node in graph.nodes
        if node.name in total
    ]


def layer_times(graph: Graph, data: DataSet, threads: int) -> list[LayerTime]:
    """The ``profile`` of an integer model on the first sample; nothing of a float model."""
    if not graph.is_integer:
        return []
    from edgeinfer.runtime.session import Session

    feed = next(runs(graph, data.samples, limit=1))
    return profile(graph, Session(graph, num_threads=threads), feed)
