"""What a run costs beside multiplying: a node, the slowest of many runs, wider integers, threads.

    EDGEINFER_ZOO=DIR python benchmarks/runtime_costs.py [--runs 100000]

Prints Markdown. Pinned to one core but for the threads. A chain of tiny layers shows what a node
costs; the demo's model, how far the slowest runs lie from the median; the zoo's networks
(zoo_folder.py), if they are here, what int16x8 and int16 take and what a second thread gives. The
machine should do nothing else. Takes five minutes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import networks
import numpy as np

from edgeinfer.converters import from_onnx
from edgeinfer.demo import CALIBRATION, MODEL
from edgeinfer.errors import EdgeInferWarning
from edgeinfer.graph import Graph, GraphBuilder, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.quant import quantize
from edgeinfer.runtime.session import Session

LENGTHS = (1, 10, 100, 1000)
WIDTH = 8  # of a tiny layer
SCHEMES = ("int8", "int16x8", "int16")
ROUNDS = 15
ROUND_SECONDS = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--runs",
        type=int,
        default=100_000,
        metavar="N",
        help="of which the slowest hundredth is looked at (%(default)s)",
    )
    arguments = parser.parse_args()
    if arguments.runs < 1:
        parser.error(f"--runs must be at least 1, not {arguments.runs}")
    # a chain of a thousand layers in int8 gives noise, in no time
    warnings.simplefilter("ignore", EdgeInferWarning)
    with one_core():
        show_nodes()
        show_tail(arguments.runs)
    for name in networks.names():
        with tempfile.TemporaryDirectory() as folder:
            try:
                show_network(networks.network(name, Path(folder)), is_first=name == networks.ZOO[0])
            except networks.AbsentError as error:
                print(f"\nno {name}: {error}")


@contextmanager
def one_core() -> Iterator[None]:
    """On the last core that this process may use, where the system lets it choose."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def runner(graph: Graph, feed: Mapping[str, np.ndarray], threads: int = 1) -> Callable[[], object]:
    """One run on bound buffers."""
    session = Session(graph, num_threads=threads)
    (x,) = feed.values()
    out = session.run(x)
    return lambda: session.run(x, out)


def medians(calls: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Microseconds of each call, all of them in turn."""
    rounds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            end = time.perf_counter() + ROUND_SECONDS
            spans = [_span(call)]
            while time.perf_counter() < end:
                spans.append(_span(call))
            rounds[name].append(statistics.median(spans))
    return {name: statistics.median(spans) * 1e6 for name, spans in rounds.items()}


def _span(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


# ---- nodes


def chain(length: int) -> Graph:
    """Fully connected layers of eight values, one after another, each of which turns its input."""
    rng = np.random.default_rng(0)
    builder = GraphBuilder("chain")
    value = builder.input("x", TensorType((1, WIDTH), "float32"))
    for _ in range(length):
        turn, _ = np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))
        weights = builder.constant("weights", turn.astype(np.float32))
        bias = builder.constant("bias", np.zeros(WIDTH, np.float32))
        value = builder.add(ops.Dense(), value, weights, bias)
    return builder.graph(value)


def show_nodes() -> None:
    """How much a run takes longer for one layer more."""
    samples = np.random.default_rng(1).normal(size=(32, WIDTH)).astype(np.float32)
    calls = {}
    for length in LENGTHS:
        graph = quantize(chain(length), samples, observer="minmax")
        calls[str(length)] = runner(graph, {"x": samples[:1]})
    found = medians(calls)
    print("| layers of 8x8 | run | a layer more |")
    print("|---|---|---|")
    before = None
    for length in LENGTHS:
        now = found[str(length)]
        more = "" if before is None else f"{(now - before[1]) / (length - before[0]):.3f} µs"
        print(f"| {length} | {now:.2f} µs | {more} |")
        before = length, now


# ---- the tail


def show_tail(runs: int) -> None:
    """Percentiles of the demo's model, of many runs."""
    with np.load(CALIBRATION) as data:
        samples = data["image"].astype(np.float32)
    graph = quantize(from_onnx(MODEL), samples)
    call = runner(graph, {"image": samples[:1]})
    for _ in range(1000):
        call()
    spans = np.empty(runs)
    for i in range(runs):
        spans[i] = _span(call)
    p50, p99, p999 = np.percentile(spans, (50, 99, 99.9)) * 1e6
    print(
        f"\n{runs:,} runs of the demo's model: median {p50:.2f} µs, 99 % below {p99:.2f} µs ",
        end="",
    )
    print(f"({p99 / p50:.2f} of the median), 99.9 % below {p999:.2f} µs")


# ---- networks


def show_network(network: networks.Network, *, is_first: bool) -> None:
    """Wider integers on one core, and a second thread on as many as there are."""
    floats = from_onnx(network.model)
    samples = {
        name: np.concatenate([sample[name] for sample in network.samples])
        for name in network.samples[0]
    }
    graphs = {scheme: quantize(floats, samples, scheme=scheme) for scheme in SCHEMES}
    feed = network.samples[0]
    with one_core():
        found = medians({scheme: runner(graph, feed) for scheme, graph in graphs.items()})
    both = {str(threads): runner(graphs["int8"], feed, threads) for threads in (1, 2)}
    shared = medians(both)
    if is_first:
        print("\n| network | int8 | int16x8 | int16 | two threads |")
        print("|---|---|---|---|---|")
    cells = [f"{found['int8']:,.1f} µs"]
    cells += [f"{found[scheme] / found['int8']:.2f}" for scheme in SCHEMES[1:]]
    cells.append(f"{shared['1'] / shared['2']:.2f} times as fast")
    print("|", " | ".join((network.name, *cells)), "|", flush=True)


if __name__ == "__main__":
    main()
