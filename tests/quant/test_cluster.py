"""A cluster quantizes to the bytes that one machine does, though a worker be lost on the way."""

from __future__ import annotations

import os
import signal
from functools import cache

import numpy as np
import pytest

from edgeinfer.errors import QuantizationError
from edgeinfer.graph import Graph, GraphBuilder, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.pools import Cluster
from edgeinfer.quant import Goal, Options, Quantized, quantize, quantize_and_judge
from tests.quant.test_calibration import GRAPH, samples
from tests.quant.written_bytes import digest, digits
from tests.refusals import refused

dask, distributed = pytest.importorskip("dask"), pytest.importorskip("distributed")

pytestmark = pytest.mark.slow

DATA = samples(190)
STAGES = ("calibrating", "searching", "rounding")


@cache
def alone() -> Quantized:
    return quantize_and_judge(GRAPH, DATA)


def same(a: Quantized, b: Quantized) -> bool:
    return digest(a.graph) == digest(b.graph) and a.judgement == b.judgement


def test_a_cluster_writes_the_same_file_and_says_the_same(client):
    told: list[tuple[str, int, int | None]] = []
    options = Options(pool=Cluster(client), progress=lambda *done: told.append(done))
    found = quantize_and_judge(GRAPH, DATA, options)
    assert same(found, alone())
    assert found.rounded.sqnr_db == alone().rounded.sqnr_db
    # one sample is an outlier
    assert any("sample 7 was left out" in finding for finding in found.judgement.findings)
    counted = [done for done in told if done[0] == "calibrating"]
    assert counted == [("calibrating", i, 190) for i in range(1, 190)]
    assert {stage for stage, _, _ in told} == set(STAGES)
    assert digest(quantize(GRAPH, DATA, client=client)) == digest(alone().graph)


@pytest.mark.parametrize("stage", STAGES)
def test_a_worker_that_is_killed_loses_nothing(client, stage):
    killed: list[int] = []

    def kill_one(now: str, done: int, total: int | None) -> None:
        if now == stage and not killed:
            killed.append(client.run(os.getpid).popitem()[1])
            os.kill(killed[0], signal.SIGKILL)

    found = quantize_and_judge(GRAPH, DATA, Options(pool=Cluster(client), progress=kill_one))
    assert len(killed) == 1
    # one that was asked as it died has no answer
    assert killed[0] not in client.run(os.getpid, on_error="ignore").values()
    assert same(found, alone())


def test_a_worker_that_falls_silent_is_given_up_in_the_end():
    # its connections stay open, as the network's do when a machine is cut off: it does not answer
    with (
        dask.config.set({"distributed.scheduler.worker-ttl": "10s"}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        stopped: list[int] = []

        def stop_one(now: str, done: int, total: int | None) -> None:
            if not stopped:
                stopped.append(client.run(os.getpid).popitem()[1])
                os.kill(stopped[0], signal.SIGSTOP)

        found = quantize_and_judge(GRAPH, DATA, Options(pool=Cluster(client), progress=stop_one))
        assert stopped[0] not in client.run(os.getpid).values()
    assert same(found, alone())


def test_mixtures_are_measured_as_alone(client):
    graph, images = digits()
    options = Options("auto", "minmax", samples=40, goal=Goal(min_sqnr=40))
    expected = quantize_and_judge(graph, images, options)
    found = quantize_and_judge(
        graph,
        images,
        Options("auto", "minmax", samples=40, goal=Goal(min_sqnr=40), pool=Cluster(client)),
    )
    assert found.mixture == expected.mixture
    assert same(found, expected)


def sums() -> tuple[Graph, np.ndarray]:
    """A model that keeps a state, and a sequence."""
    b = GraphBuilder("sums")
    x = b.input("x", TensorType((1, 2)))
    total = b.state("total", np.zeros((1, 2), "f4"))
    b.keep(total, b.add(ops.Add(), x, total, output="y"))
    return b.graph("y"), np.random.default_rng(1).normal(size=(40, 1, 2)).astype("f4")


def test_a_sequence_runs_where_it_was_called(client):
    graph, data = sums()
    assert digest(quantize(graph, data, client=client)) == digest(quantize(graph, data))


def test_the_first_sample_that_overflows_is_named_by_a_worker(client):
    b = GraphBuilder("exp")
    x = b.input("x", TensorType((1, 4)))
    graph = b.graph(b.add(ops.Pointwise(("exp", "x")), x, output="y"))
    data = np.random.default_rng(0).normal(size=(30, 4)).astype("f4")
    data[17], data[19] = 100.0, 90.0
    messages = []
    for whose in (None, client):
        with pytest.raises(QuantizationError) as caught:
            quantize(graph, data, client=whose)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    with refused(
        "value 'y' is not finite on calibration sample 17; "
        "the float model overflows or divides by zero there",
        QuantizationError,
    ):
        quantize(graph, data[:18], client=client)
