"""The workers of a cluster calibrate what one machine does, to the byte, though some be lost."""

import os
import signal
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from distributed import Client, LocalCluster

from edgeinfer.errors import InputError, QuantizationError
from edgeinfer.graph import GraphBuilder, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.quant import quantize
from tests.quant.test_calibration import GRAPH, samples
from tests.quant.written_bytes import digest
from tests.refusals import refused

pytestmark = pytest.mark.slow

DATA = samples(190)


@pytest.fixture
def client() -> Iterator[Client]:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


def test_a_cluster_writes_the_same_file(client):
    told: list[tuple[str, int, int | None]] = []
    found = quantize(GRAPH, DATA, client=client, progress=lambda *done: told.append(done))
    assert digest(found) == digest(quantize(GRAPH, DATA))
    # but for the outlier
    calibrating = [done for done in told if done[0] == "calibrating"]
    assert calibrating == [("calibrating", i, 190) for i in range(1, 190)]


def test_a_worker_that_is_killed_loses_nothing(client):
    pids = list(client.run(os.getpid).values())
    killed = threading.Event()

    def kill_one(stage: str, done: int, total: int | None) -> None:
        if stage == "calibrating" and not killed.is_set():
            killed.set()
            os.kill(pids[0], signal.SIGKILL)

    found = quantize(GRAPH, DATA, client=client, progress=kill_one)
    assert killed.is_set()
    assert pids[0] not in client.run(os.getpid).values()
    assert digest(found) == digest(quantize(GRAPH, DATA))


def test_a_sample_that_overflows_is_named_by_a_worker(client):
    b = GraphBuilder("exp")
    x = b.input("x", TensorType((1, 4)))
    graph = b.graph(b.add(ops.Pointwise(("exp", "x")), x, output="y"))
    data = np.random.default_rng(0).normal(size=(30, 4)).astype("f4")
    data[17] = 100.0
    data[18:20] = 90.0
    with refused(
        "value 'y' is not finite on calibration sample 17; "
        "the float model overflows or divides by zero there",
        QuantizationError,
    ):
        quantize(graph, data[:18], client=client)


def test_a_cluster_that_has_gone_is_said(client):
    def leaving() -> Iterator[dict[str, np.ndarray]]:
        for i in range(190):
            if i == 180:
                client.cluster.close()
            yield {name: array[i] for name, array in DATA.items()}

    with refused(
        "the cluster has gone, and calibration with it: give a client of one that runs", InputError
    ):
        quantize(GRAPH, leaving(), client=client)


def test_a_sequence_runs_where_it_was_called(client):
    b = GraphBuilder("sums")
    x = b.input("x", TensorType((1, 2)))
    total = b.state("total", np.zeros((1, 2), "f4"))
    b.keep(total, b.add(ops.Add(), x, total, output="y"))
    graph = b.graph("y")
    data = np.random.default_rng(1).normal(size=(40, 1, 2)).astype("f4")
    assert digest(quantize(graph, data, client=client)) == digest(quantize(graph, data))
