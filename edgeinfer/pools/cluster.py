"""The workers of a dask.distributed cluster.

A job goes there once, tasks follow it one by one, a few more than there are threads to work at
them. What a worker that dies was working at, another does again: the scheduler keeps the job and
all tasks until their results are here. Nothing but bytes of ours is sent, so that arrays come out
of them as they went in, and as ours alone.
"""

from __future__ import annotations

import pickle
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from edgeinfer.errors import InputError, MissingExtraError
from edgeinfer.pools.copies import Packed, packed
from edgeinfer.pools.pool import HERE, Pool
from edgeinfer.version import __version__

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["Cluster", "connected", "pool_of"]

Task = TypeVar("Task")
Result = TypeVar("Result")

# seconds: for a scheduler to answer; between looks at whether there are workers; without any
_ANSWER, _LOOK, _ALONE = 10.0, 5.0, 60.0

# for each thread one task that it works at and one that waits for it; results that wait for others
# before them are so many times as many at most
_AHEAD, _RESULTS = 2, 4

_END = object()


def pool_of(client: Client | None) -> Pool:
    """The workers of ``client``; this process where there is none."""
    return HERE if client is None else Cluster(client)


@contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """The cluster whose scheduler is at ``address``, tcp://192.168.0.2:8786 say.

    Raises
    ------
    InputError
        None answers there within seconds.
    MissingExtraError
        distributed is not installed.
    """
    try:
        from distributed import Client
    except ModuleNotFoundError:
        raise MissingExtraError("distributed", "cluster") from None
    import asyncio

    refusal = InputError(
        f"no Dask scheduler answers at {address}; give the address that it says when it begins, "
        "such as tcp://192.168.0.2:8786"
    )
    try:
        # a client that finds nothing takes long to give up, and to end; and a notebook has a loop
        # of its own in this thread
        with ThreadPoolExecutor(1) as thread:
            kind = thread.submit(asyncio.run, _kind(address)).result()
    except Exception as error:  # whatever is no scheduler may answer anything
        raise refusal from error
    if kind != "Scheduler":
        raise refusal
    with Client(address, set_as_default=False) as client:
        yield Cluster(client)


async def _kind(address: str) -> str:
    """What the part of a cluster at ``address`` says that it is."""
    import asyncio

    from distributed.core import rpc

    async with asyncio.timeout(_ANSWER), rpc(address) as remote:
        told = await remote.identity()
        return str(told["type"])


class Cluster(Pool):
    """All that the scheduler of ``client`` has, and will have.

    Parameters
    ----------
    client : distributed.Client
        Connected.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._address: str = client.scheduler.address
        # the job that was sent last
        self._held: tuple[object, Future[Any]] | None = None
        self._threads, self._looked = 0, -_LOOK

    def __str__(self) -> str:
        counts = list(self._nthreads().values())
        if not counts:
            return f"{self._address}, which has no workers yet"
        workers, threads = (
            f"{count} {what}{'' if count == 1 else 's'}"
            for count, what in ((len(counts), "worker"), (sum(counts), "thread"))
        )
        return f"{self._address}: {workers}, {threads}"

    @property
    def dashboard(self) -> str | None:
        """The link to its dashboard, where it has one."""
        return self._client.dashboard_link or None

    def map(
        self, job: Callable[[Task], Result], tasks: Iterable[Task], stage: str
    ) -> Generator[Result, None, None]:
        """Side by side, and again where a worker was lost."""
        held, pending = self._hold(job, stage), deque[Any]()
        rest, more = iter(tasks), True
        while True:
            while more and self._has_room(pending, stage):
                task = next(rest, _END)
                more = task is not _END
                if more:
                    pending.append(self._submit(stage, "", _WORKED, held, pickle.dumps(task)))
            if not pending:
                return
            if pending[0].done():
                yield self._result(pending.popleft(), stage)
            else:
                self._wait([future for future in pending if not future.done()], stage)

    def _hold(self, job: object, stage: str) -> Future[Any]:
        """``job`` on the cluster, which keeps it until another comes."""
        if self._held is None or self._held[0] is not job:
            self._held = None
            with warnings.catch_warnings():
                # models, and samples to judge by, are as large as they are
                warnings.filterwarnings("ignore", "Sending large graph", UserWarning)
                # of a task, as what was only put there is lost with a worker
                self._held = job, self._submit(stage, "job of ", _SAME, packed(job))
        return self._held[1]

    def _submit(
        self, stage: str, what: str, function: Callable[..., Any], *given: object
    ) -> Future[Any]:
        with self._reached(stage):
            # the dashboard shows it without what follows the hyphen
            key = f"{what}{stage}-{uuid4().hex}"
            made: Future[Any] = self._client.submit(function, *given, key=key, pure=False)
            return made

    def _has_room(self, pending: Sequence[Future[Any]], stage: str) -> bool:
        if time.monotonic() - self._looked >= _LOOK:
            with self._reached(stage):
                self._threads = sum(self._nthreads().values())
            self._looked = time.monotonic()
        room = _AHEAD * max(1, self._threads)
        working = sum(not future.done() for future in pending)
        return working < room and len(pending) < _RESULTS * room

    def _wait(self, futures: Sequence[Future[Any]], stage: str) -> None:
        """Until one of them is done."""
        from distributed import wait

        seen = time.monotonic()
        while True:
            with self._reached(stage):
                try:
                    with self._client.as_current():
                        wait(futures, timeout=_LOOK, return_when="FIRST_COMPLETED")
                    return
                except TimeoutError:
                    if self._nthreads():
                        seen = time.monotonic()
            if time.monotonic() - seen > _ALONE:
                raise InputError(
                    f"the cluster at {self._address} has had no worker for {_ALONE:.0f} seconds, "
                    f"so {stage} was given up; begin again with one that has"
                )

    def _result(self, future: Future[Any], stage: str) -> Any:
        from distributed import KilledWorker

        if future.status != "error":
            with self._reached(stage):
                return pickle.loads(future.result())
        try:
            return future.result()
        except KilledWorker as error:
            raise InputError(
                f"{stage} ended one worker of the cluster at {self._address} after another: give "
                "them more memory"
            ) from error
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] != "edgeinfer":
                raise
            raise InputError(
                f"a worker of the cluster at {self._address} has no edgeinfer; install "
                f"{__version__} there"
            ) from error

    def _nthreads(self) -> dict[str, int]:
        return dict(self._client.nthreads())

    @contextmanager
    def _reached(self, stage: str) -> Iterator[None]:
        from distributed.client import ClosedClientError

        try:
            # it may look for the scheduler for long, and forget what was asked of it
            if self._client.status != "running":
                raise OSError(f"the client is {self._client.status}")
            yield
        except (CancelledError, ClosedClientError, OSError, TimeoutError) as error:
            raise InputError(
                f"the cluster at {self._address} has gone, and {stage} with it; begin again with "
                "one that runs"
            ) from error


def _there() -> tuple[Callable[[Packed], Packed], Callable[[Packed, bytes], bytes]]:
    """What gives back a job, and what works at it.

    They are sent whole, as neither of a module are, so that a scheduler needs no edgeinfer, and a
    worker without can say so.
    """

    def same(job: Packed) -> Packed:
        return job

    def worked(job: Packed, task: bytes) -> bytes:
        from edgeinfer.pools.copies import result

        return result(job, task)

    return same, worked


_SAME, _WORKED = _there()
