"""An integer model and one input into what each layer takes of a run, and how fast it works."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeinfer.data.samples import runs
from edgeinfer.graph import Graph

if TYPE_CHECKING:
    from edgeinfer.data import DataSet
    from edgeinfer.runtime.session import Session

__all__ = ["LayerRate", "LayerTime", "layer_rates", "layer_times", "profile"]

# a processor that has just woken takes several times as long: a median of a few runs is its
_LEAST_RUNS, _MOST_RUNS = 9, 1000
_SECONDS = 0.2  # that are spent on it, unless so few runs take longer


@dataclass(frozen=True)
class LayerTime:
    """What one node takes: seconds of a run, and its share of the whole."""

    node: str
    operator: str
    seconds: float
    share: float


def profile(graph: Graph, session: Session, feed: Mapping[str, np.ndarray]) -> list[LayerTime]:
    """What each node of ``graph`` that takes any time does take, in order.

    The median of many runs, one right after the other: whatever else the machine did in one of
    them is no layer's.
    """
    profiles: list[dict[str, int]] = []
    end = time.perf_counter() + _SECONDS
    while len(profiles) < _LEAST_RUNS or (len(profiles) < _MOST_RUNS and time.perf_counter() < end):
        profiles.append(session.profile(feed))
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


@dataclass(frozen=True)
class LayerRate:
    """How fast one node works.

    Parameters
    ----------
    layer : LayerTime
        What it takes.
    isa : str
        The instruction set of its kernel.
    macs : int
        Its multiply-accumulates; 0 where it multiplies no tensors.
    peak : float
        Multiply-accumulates of int8 a second that all threads could do; 0 where that is not known.
    """

    layer: LayerTime
    isa: str
    macs: int
    peak: float

    @property
    def rate(self) -> float:
        """Multiply-accumulates a second."""
        return self.macs / max(self.layer.seconds, 1e-9)

    @property
    def share_of_peak(self) -> float | None:
        """None where nothing is multiplied, or the peak is not known."""
        return self.rate / self.peak if self.macs and self.peak else None

    def as_json(self) -> dict[str, Any]:
        """For reports."""
        return {
            "node": self.layer.node,
            "operator": self.layer.operator,
            "share": self.layer.share,
            "us": self.layer.seconds * 1e6,
            "isa": self.isa,
            "macs": self.macs,
            "gmacs_per_second": self.rate / 1e9,
            "peak_gmacs_per_second": self.peak / 1e9 or None,
            "share_of_peak": self.share_of_peak,
        }


def layer_rates(graph: Graph, times: Sequence[LayerTime], threads: int) -> list[LayerRate]:
    """How fast each node of ``times`` works beside the peak of the instructions that it uses."""
    from edgeinfer.cython_kernels.runtime import SUPPORTED, peak
    from edgeinfer.graph.cost import cost
    from edgeinfer.runtime.planner import plan

    steps = plan(graph, isa=os.environ.get("EDGEINFER_ISA") or SUPPORTED[0]).steps
    isas = {step.node: step.isa for step in steps}
    peaks = {isa: peak(isa) * threads for isa in set(isas.values())}
    macs = {layer.node.name: layer.macs for layer in cost(graph).layers}
    return [
        LayerRate(layer, isas[layer.node], macs[layer.node], peaks[isas[layer.node]])
        for layer in times
    ]
