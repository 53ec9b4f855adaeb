"""Whoever works, results are the same and in the order of the tasks, and so is the first error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from edgeinfer.errors import InputError, MissingExtraError
from edgeinfer.pools import HERE, Cluster, Pool, Processes, connected
from edgeinfer.pools.cluster import _SAME, _WORKED
from edgeinfer.pools.copies import packed
from edgeinfer.version import __version__
from tests.refusals import refused

CLUSTER = "edgeinfer.pools.cluster"


@dataclass(frozen=True)
class Scale:
    """A job: a multiple of an array that it holds; the first tasks take longest."""

    array: np.ndarray

    def __call__(self, task: int) -> np.ndarray:
        time.sleep(0.05 / (1 + task))
        return self.array * task


@dataclass
class Total:
    """A sum of numbers, and in how many parts it was made."""

    sum: int = 0
    parts: int = 0

    def another(self) -> Total:
        return Total()

    def take_in(self, item: int) -> None:
        self.sum += item

    def merge(self, other: Total) -> None:
        self.sum += other.sum
        self.parts += 1


@dataclass(frozen=True)
class Refuse:
    """A job that refuses some tasks, the later the sooner."""

    refused: tuple[int, ...]

    def __call__(self, task: int) -> int:
        time.sleep(0.2 / (1 + task))
        if task in self.refused:
            raise InputError(f"no {task}")
        return task


@dataclass(frozen=True)
class Counting:
    """A job that counts how often this copy of it was called."""

    calls: Iterator[int] = field(default_factory=lambda: count(1))

    def __call__(self, task: int) -> tuple[int, int, int]:
        time.sleep(0.02)
        return os.getpid(), threading.get_ident(), next(self.calls)


@pytest.fixture(params=["here", "processes", "cluster"])
def pool(request) -> Pool:
    if request.param == "cluster":
        return Cluster(request.getfixturevalue("client"))
    return HERE if request.param == "here" else Processes(2)


@pytest.mark.slow
def test_results_come_in_the_order_of_the_tasks(pool):
    array = np.arange(5000.0)
    found = list(pool.map(Scale(array), iter(range(30)), "scaling"))
    assert len(found) == 30
    for task, each in enumerate(found):
        assert np.array_equal(each, array * task)
        each += 1  # it is the caller's own
    assert list(pool.map(Scale(array), [], "scaling")) == []


@pytest.mark.slow
def test_the_first_error_is_that_of_the_first_task(pool):
    found = []
    with refused("no 3", InputError):
        found += pool.map(Refuse((3, 5)), range(8), "refusing")
    assert found == [] or found == [0, 1, 2]


@pytest.mark.slow
def test_parts_add_up(pool):
    whole = Total()
    assert list(pool.gather(whole, iter(range(100)), "adding")) == list(range(100))
    assert whole.sum == sum(range(100))
    assert whole.parts == (0 if pool is HERE else 13)


@pytest.mark.slow
def test_tasks_are_taken_as_workers_are_free(client):
    taken = []

    def tasks() -> Iterator[int]:
        for task in range(1000):
            taken.append(task)
            yield task

    with closing(Cluster(client).map(Scale(np.ones(1)), tasks(), "scaling")) as results:
        assert next(results) == 0
    # two threads, each with one that waits, and some of which results wait for those before
    assert len(taken) <= 20


@pytest.mark.slow
def test_a_worker_keeps_its_copy_of_a_job_for_the_next_task(client):
    job, pool = Counting(), Cluster(client)
    found = [*pool.map(job, range(20), "counting"), *pool.map(job, range(20), "counting")]
    assert len({(process, thread) for process, thread, _ in found}) == 2
    # Dask may take a job from a worker that is idle, which gets it again
    assert 2 <= sum(calls == 1 for _, _, calls in found) <= 4
    assert next(job.calls) == 1


@dataclass(frozen=True)
class Writable:
    """A job: which of the arrays that it holds may be written to, and what they hold."""

    arrays: tuple[np.ndarray, ...]

    def __call__(self, task: int) -> list[tuple[bool, float]]:
        return [(array.flags.writeable, float(array.sum())) for array in self.arrays]


@pytest.mark.slow
def test_the_arrays_of_a_job_come_as_they_are_to_be_read(client):
    columns = np.asfortranarray(np.arange(12.0).reshape(3, 4))
    arrays = (np.arange(7, dtype=np.int8), columns, np.zeros(0), np.arange(10.0)[::3])
    (found,) = Cluster(client).map(Writable(arrays), [0], "summing")
    assert [total for _, total in found] == [21, 66, 0, 18]
    # every thread of a worker reads the same
    assert [writable for writable, _ in found[:2]] == [False, False]


@dataclass(frozen=True)
class Dying:
    """A job that ends the worker at task 5, once where a file says that it has."""

    told: Path | None = None

    def __call__(self, task: int) -> int:
        time.sleep(0.05)
        if task == 5 and not (self.told is not None and self.told.exists()):
            if self.told is not None:
                self.told.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return task


@pytest.mark.slow
def test_what_a_killed_worker_was_at_another_does(client, tmp_path):
    told = tmp_path / "told"
    assert list(Cluster(client).map(Dying(told), range(30), "dying")) == list(range(30))
    assert told.exists()


@pytest.mark.slow
def test_work_that_kills_every_worker_is_given_up():
    distributed = pytest.importorskip("distributed")
    dask = pytest.importorskip("dask")
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(n_workers=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
        refused(
            f"dying ended one worker of the cluster at {cluster.scheduler_address} after another: "
            "give them more memory",
            InputError,
        ),
    ):
        list(Cluster(client).map(Dying(), range(6), "dying"))


@pytest.mark.slow
def test_another_version_is_refused(client, monkeypatch):
    monkeypatch.setattr("edgeinfer.pools.copies.__version__", "9.8.7")
    with refused(
        f"a worker of the cluster has edgeinfer {__version__}, and what calls it 9.8.7: install "
        "the same on both",
        InputError,
    ):
        list(Cluster(client).map(abs, [1], "trying"))


def _lacking(task: str) -> None:
    raise ModuleNotFoundError(f"No module named {task!r}", name=task)


@pytest.mark.slow
def test_a_worker_without_edgeinfer_is_said(client):
    with refused(
        f"a worker of the cluster at {client.scheduler.address} has no edgeinfer; install "
        f"{__version__} there",
        InputError,
    ):
        list(Cluster(client).map(_lacking, ["edgeinfer.pools"], "trying"))
    with refused("No module named 'other'", ModuleNotFoundError):
        list(Cluster(client).map(_lacking, ["other"], "trying"))


def test_what_is_sent_is_received_without_edgeinfer(tmp_path):
    cloudpickle = pytest.importorskip("cloudpickle")
    sent = tmp_path / "sent"
    sent.write_bytes(cloudpickle.dumps((_SAME, _WORKED, packed(Scale(np.ones(3))))))
    program = (
        "import pickle, sys; sys.modules['edgeinfer'] = None\n"
        "same, worked, job = pickle.load(open(sys.argv[1], 'rb'))\n"
        "assert same(job) is job\n"
        "try:\n    worked(job, b'')\n"
        "except ModuleNotFoundError as error:\n    print(error.name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(sent)], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.stdout.strip(), done.stderr) == ("edgeinfer.pools", "")


@pytest.mark.slow
def test_a_cluster_without_workers_is_given_up(monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(f"{CLUSTER}._LOOK", 0.1)
    monkeypatch.setattr(f"{CLUSTER}._ALONE", 1.0)
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=":0") as cluster,
        connected(cluster.scheduler_address) as pool,
    ):
        assert str(pool) == f"{cluster.scheduler_address}, which has no workers yet"
        with refused(
            f"the cluster at {cluster.scheduler_address} has had no worker for 1 seconds, so "
            "trying was given up; begin again with one that has",
            InputError,
        ):
            list(pool.map(abs, [1], "trying"))


@pytest.mark.slow
def test_a_cluster_that_has_gone_is_said():
    distributed = pytest.importorskip("distributed")

    def leaving() -> Iterator[int]:
        for task in range(100):
            if task == 20:
                cluster.close()
            yield task

    with (
        distributed.LocalCluster(n_workers=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        pool = Cluster(client)
        with refused(
            f"the cluster at {cluster.scheduler_address} has gone, and trying with it; begin "
            "again with one that runs",
            InputError,
        ):
            list(pool.map(abs, leaving(), "trying"))


@pytest.mark.parametrize("address", ["nonsense", "http://127.0.0.1:1", "tls://127.0.0.1:1", ""])
def test_what_is_no_address_is_refused(address):
    pytest.importorskip("distributed")
    with (
        refused(
            f"no Dask scheduler answers at {address}; give the address that it says when it "
            "begins, such as tcp://192.168.0.2:8786",
            InputError,
        ),
        connected(address),
    ):
        pass


@pytest.mark.slow
def test_a_worker_is_no_scheduler(client):
    address = next(iter(client.nthreads()))
    with (
        refused(
            f"no Dask scheduler answers at {address}; give the address that it says when it "
            "begins, such as tcp://192.168.0.2:8786",
            InputError,
        ),
        connected(address),
    ):
        pass


def test_without_distributed_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        refused(
            "distributed is not installed; install it with: pip install 'edgeinfer[cluster]'",
            MissingExtraError,
        ),
        connected("tcp://127.0.0.1:1"),
    ):
        pass
