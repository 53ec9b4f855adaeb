"""What a run costs beside its arithmetic: chains of tiny layers, and how steady latency is.

    python benchmarks/node_cost.py [MODEL.eqm] [--runs N] [--cpu N]

Prints Markdown: microseconds of runs of 1, 10, 100 and 1000 layers, and what each further node
adds; of MODEL.eqm, or a chain of 10, the median, the 99th percentile and their ratio.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import edgeinfer
from edgeinfer.arithmetic import fixedpoint
from edgeinfer.graph import Graph, GraphBuilder, Quantization, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.runtime.session import Session

LENGTHS = (1, 10, 100, 1000)
CHANNELS = 16
SCALE = Quantization.per_tensor(0.05)

# rounds that are timed in turn, so that no length meets a busy moment alone
ROUNDS = 40
SECONDS_A_ROUND = 0.005


def table(builder: GraphBuilder, x: str, rng: np.random.Generator) -> str:
    """A function of each of 16 elements."""
    entries = builder.constant(
        f"{x}/table", rng.integers(-128, 128, 256).astype(np.int8), quantization=SCALE
    )
    return builder.add(ops.Lookup(), x, entries)


def convolution(builder: GraphBuilder, x: str, rng: np.random.Generator) -> str:
    """A 1x1 convolution of one pixel of 16 channels."""
    multiplier, shift = fixedpoint.multiplier_and_shift(1 / (40 * CHANNELS**0.5))
    weights = rng.integers(-127, 128, (CHANNELS, 1, 1, CHANNELS)).astype(np.int8)
    constants = {
        "weights": weights,
        "bias": rng.integers(-3000, 3000, CHANNELS).astype(np.int32),
        "multiplier": np.full(CHANNELS, multiplier, np.int32),
        "shift": np.full(CHANNELS, shift, np.int8),
    }
    names = [builder.constant(f"{x}/{name}", array) for name, array in constants.items()]
    return builder.add(ops.QConv(), x, *names)


def chain(layer: Callable[[GraphBuilder, str, np.random.Generator], str], length: int) -> Graph:
    """x through ``length`` layers."""
    rng, builder = np.random.default_rng(0), GraphBuilder()
    value = builder.input("x", TensorType((1, 1, 1, CHANNELS), "int8", SCALE))
    for _ in range(length):
        value = layer(builder, value, rng)
    return builder.graph(value)


def bound(session: Session) -> Callable[[], None]:
    """A run of ``session`` between arrays of its own, from floats to floats."""
    rng = np.random.default_rng(0)
    x = {i.name: rng.normal(0, 1, i.shape).astype(np.float32) for i in session.inputs}
    out = {o.name: np.empty(o.shape, np.float32) for o in session.outputs}
    return session.bind(x, out).run


def seconds(run: Callable[[], None], repeats: int) -> float:
    """Of one run, among ``repeats``."""
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats


def node_cost(layer: Callable[[GraphBuilder, str, np.random.Generator], str]) -> None:
    """A row of the table: chains of ``layer``."""
    runs = [bound(Session(chain(layer, length))) for length in LENGTHS]
    repeats = [max(1, int(SECONDS_A_ROUND / seconds(run, 20))) for run in runs]
    best = [float("inf")] * len(runs)
    for _ in range(ROUNDS):
        timed = map(seconds, runs, repeats)
        best = list(map(min, best, timed))
    cells = [f"{1e6 * time:.2f}" for time in best]
    added = (best[-1] - best[0]) / (LENGTHS[-1] - LENGTHS[0])
    print(f"| {layer.__name__} | {' | '.join(cells)} | {1e6 * added:.3f} |")


def steadiness(name: str, session: Session, count: int) -> None:
    """A row: the latency of ``count`` runs, each timed alone."""
    run, times = bound(session), np.empty(count, np.int64)
    for _ in range(1000):
        run()
    for i in range(count):
        start = time.perf_counter_ns()
        run()
        times[i] = time.perf_counter_ns() - start
    median, p99, most = np.percentile(times, [50, 99, 100]) / 1000
    print(f"| {name} | {median:.2f} | {p99:.2f} | {most:.0f} | {p99 / median:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--cpu", type=int, default=0, help="the processor to stay on")
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {arguments.cpu})
    print(f"| chain, us | {' | '.join(map(str, LENGTHS))} | a node more |")
    print(f"|---|{'---|' * len(LENGTHS)}---|")
    for layer in (table, convolution):
        node_cost(layer)
    print(f"\n| {arguments.runs} runs, us | median | p99 | most | p99 / median |")
    print("|---|---|---|---|---|")
    if arguments.model is None:
        steadiness("10 convolutions", Session(chain(convolution, 10)), arguments.runs)
    else:
        steadiness(arguments.model.stem, edgeinfer.load(arguments.model), arguments.runs)


if __name__ == "__main__":
    main()
