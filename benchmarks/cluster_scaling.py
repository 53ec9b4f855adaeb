"""What workers of a Dask cluster save: zoo models quantized and explored alone, by one and by two.

    EDGEINFER_ZOO=DIR python benchmarks/cluster_scaling.py [ENTRY ...] [--samples N] [--repeat N]

Prints Markdown. The workers are processes of this machine, of one thread each, so that two of them
and the caller want three free cores. Beside the seconds by the clock, of which the least of the
repeats counts, stand processor seconds, which other load on the machine changes little: the
caller's, and those of the worker that had most. Together they are what a cluster of idle machines
takes at least.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

# before NumPy reads it, and for the workers
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

import numpy as np
from distributed import Client, LocalCluster
from zoo_folder import load

from edgeinfer.converters import from_onnx
from edgeinfer.files.model_file import to_bytes
from edgeinfer.graph import Graph
from edgeinfer.hdl.explore import explore
from edgeinfer.pools import HERE, Cluster, Pool
from edgeinfer.quant import Goal, Options, quantize, quantize_and_judge

ENTRIES = ("vww_mobilenet", "cifar10_resnet20")
WORK = ("int8", "auto", "explore")


@dataclass(frozen=True)
class Measured:
    """Seconds by the clock; processor seconds of the caller, and of the busiest worker."""

    clock: float
    caller: float
    worker: float
    digest: str


def work(what: str, graph: Graph, samples: np.ndarray) -> Callable[[Pool], str]:
    """What does it, and gives a digest of what came of it."""
    if what == "explore":
        integer = quantize(graph, samples, observer="minmax", rounding_weights="nearest")
        return lambda pool: digest(repr(explore(integer, largest=64, pool=pool)).encode())
    options = Options("auto", "minmax", goal=Goal(min_sqnr=40)) if what == "auto" else Options()

    def quantized(pool: Pool) -> str:
        return digest(
            to_bytes(quantize_and_judge(graph, samples, replace(options, pool=pool)).graph)
        )

    return quantized


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def measured(what: Callable[[Pool], str], workers: int) -> Measured:
    """``what`` by so many workers; by none, alone."""
    if not workers:
        begun, used = time.perf_counter(), time.process_time()
        made = what(HERE)
        return Measured(time.perf_counter() - begun, time.process_time() - used, 0.0, made)
    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        # what a worker imports once is not what is measured
        client.run(__import__, "edgeinfer.quant")
        client.run(__import__, "edgeinfer.hdl.explore")
        before = client.run(time.process_time)
        begun, used = time.perf_counter(), time.process_time()
        made = what(Cluster(client))
        clock, caller = time.perf_counter() - begun, time.process_time() - used
        after = client.run(time.process_time)
        busiest = max(after[name] - before[name] for name in after)
        return Measured(clock, caller, busiest, made)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("entries", nargs="*", default=ENTRIES)
    parser.add_argument("--work", nargs="+", choices=WORK, default=WORK)
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| model | work | workers | seconds | caller's | busiest worker's |")
    print("|---|---|---|---|---|---|")
    for name in given.entries:
        entry = load(name)
        graph, samples = from_onnx(entry.model), entry.calib[: given.samples]
        for what in given.work:
            job, digests = work(what, graph, samples), set()
            for workers in (0, 1, 2):
                found = [measured(job, workers) for _ in range(given.repeat)]
                digests |= {each.digest for each in found}
                best = min(found, key=lambda each: each.clock)
                print(
                    f"| {name} | {what} | {workers or 'alone'} | {best.clock:.1f} | "
                    f"{best.caller:.1f} | {f'{best.worker:.1f}' if workers else ''} |",
                    flush=True,
                )
            assert len(digests) == 1, f"{name} {what}: a cluster gives other bytes"


if __name__ == "__main__":
    main()
