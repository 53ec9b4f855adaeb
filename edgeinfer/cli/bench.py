"""``edgeinfer bench``: an integer model into how long a run takes, and where the time goes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from edgeinfer.cli import screen
from edgeinfer.cli.command import Report, command
from edgeinfer.cli.models import open_model
from edgeinfer.cli.options import FILE, image_options, threads_option
from edgeinfer.cli.profiling import profile
from edgeinfer.errors import InputError

if TYPE_CHECKING:
    from edgeinfer.graph import Graph
    from edgeinfer.runtime.session import Stream

__all__ = ["bench"]

_WARM_UP = 3
_SECONDS = 2.0  # about as long as a measurement without --runs takes
_AT_MOST = 1000


@command(example="edgeinfer bench digits.eqm --runs 200")
@click.argument("model", metavar="MODEL.eqm", type=FILE)
@click.option(
    "--runs", metavar="N", type=click.IntRange(1), help="Default: two seconds' worth, 1000 at most."
)
@click.option("--data", metavar="DATA", type=FILE, help="Run its first sample, not noise.")
@threads_option
@image_options
def bench(model: Path, runs: int | None, data: Path | None, threads: int, **images: Any) -> Report:
    """Measure how fast MODEL.eqm runs.

    The input is random, or the first sample of DATA, which is as edgeinfer quantize takes it.
    """
    from edgeinfer.data import ImageOptions, load_data
    from edgeinfer.data.samples import runs as runs_of
    from edgeinfer.graph.cost import cost
    from edgeinfer.runtime.session import Session

    graph = open_model(model)
    if not graph.is_integer:
        raise InputError(f"{model} is a float model; quantize it first")
    session = Session(graph, num_threads=threads)
    stream = session.stream()
    if data is None:
        feed = _noise(graph)
    else:
        dataset = load_data(data, graph, ImageOptions(**images), samples=1)
        feed = next(runs_of(graph, dataset.samples, limit=1))
    for _ in range(_WARM_UP):
        stream.run(feed)
    if runs is None:
        runs = int(np.clip(_SECONDS / max(_time(stream, feed), 1e-6), 1, _AT_MOST))
    with screen.progress() as done:
        seconds = []
        for i in range(runs):
            seconds.append(_time(stream, feed))
            done("running", i + 1, runs)
    times = profile(graph, session, feed)
    p50, p90, p99 = (float(p) for p in np.percentile(seconds, (50, 90, 99)))
    rate = cost(graph).macs / p50 / 1e9
    rows = [(layer.node, layer.operator, f"{layer.share:.1%}") for layer in times]
    return Report(
        {
            "model": str(model),
            "threads": threads,
            "runs": runs,
            "median_us": p50 * 1e6,
            "p90_us": p90 * 1e6,
            "p99_us": p99 * 1e6,
            "gmacs_per_second": rate,
            "memory_bytes": session.arena_bytes,
            "layers": [{"node": layer.node, "share": layer.share} for layer in times],
        },
        [
            screen.table(("layer", "operator", "time"), rows, left=2),
            "",
            screen.pairs(
                [
                    ("latency, median", screen.milliseconds(p50)),
                    ("90 % are below", screen.milliseconds(p90)),
                    ("99 % are below", screen.milliseconds(p99)),
                    ("throughput", f"{rate:.2f} GMAC/s, threads: {threads}"),
                    ("runs", str(runs)),
                ]
            ),
        ],
    )


def _noise(graph: Graph) -> dict[str, np.ndarray]:
    """Raw integers for every input; indices stay 0, which is inside every axis."""
    rng = np.random.default_rng(0)
    feed = {}
    for name in graph.inputs:
        kind = graph.types[name]
        info = np.iinfo(kind.dtype) if kind.quantization is not None else None
        shape = kind.shape
        feed[name] = (
            np.zeros(shape, kind.dtype)
            if info is None
            else rng.integers(info.min, info.max, shape, kind.dtype, endpoint=True)
        )
    return feed


def _time(stream: Stream, feed: dict[str, np.ndarray]) -> float:
    start = time.perf_counter()
    stream.run(feed)
    return time.perf_counter() - start
