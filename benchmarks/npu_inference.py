"""One inference on the simulated NPU, for benchmarks that count its cycles."""

from __future__ import annotations

import time

from edgeinfer.graph import Graph
from edgeinfer.hdl.simulation.simulation import InferenceReport, Simulation
from edgeinfer.runtime.session import Arrays


def inference(
    graph: Graph, config: str, x: Arrays, **options: bool
) -> tuple[InferenceReport, float]:
    """Its report, and its seconds; the benchmark ends where a value is not the CPU's."""
    with Simulation(graph, config, **options) as simulation:
        start = time.perf_counter()
        simulation.run(x)
        seconds = time.perf_counter() - start
        if wrong := simulation.mismatches():
            raise SystemExit(str(wrong[0]))
        return simulation.report(), seconds
