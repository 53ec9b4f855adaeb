"""An integer model and one input into what each layer takes of a run."""

from __future__ import annotations

import statistics
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

_RUNS = 9


@dataclass(frozen=True)
class LayerTime:
    """What one node takes: seconds of a run, and its share of the whole."""

    node: str
    operator: str
    seconds: float
    share: float


def profile(graph: Graph, session: Session, feed: Mapping[str, np.ndarray]) -> list[LayerTime]:
    """What each node of ``graph`` that takes any time does take, in order.

    The median of a few runs: whatever else the machine did in one of them is no layer's.
    """
    profiles = [session.profile(feed) for _ in range(_RUNS)]
    medians = {name: statistics.median(p[name] for p in profiles) for name in profiles[0]}
    whole = max(sum(medians.values()), 1)
    return [
        LayerTime(
            node.name,
            type(node.op).__name__,
            medians[node.name] / 1e9,
            medians[node.name] / whole,
        )
        for node in graph.nodes
        if node.name in medians
    ]


def layer_times(graph: Graph, data: DataSet, threads: int) -> list[LayerTime]:
    """The ``profile`` of an integer model on the first sample; nothing of a float model."""
    if not graph.is_integer:
        return []
    from edgeinfer.runtime.session import Session

    feed = next(runs(graph, data.samples, limit=1))
    return profile(graph, Session(graph, num_threads=threads), feed)
