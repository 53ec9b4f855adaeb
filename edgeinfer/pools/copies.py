"""A job as bytes and arrays, and the copies of it that the threads of a worker make of these.

A worker keeps what it was sent as long as Dask does, and the copies as long.
"""

from __future__ import annotations

import pickle
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias
from uuid import uuid4

import numpy as np

from edgeinfer.errors import InputError
from edgeinfer.version import __version__

__all__ = ["Packed", "packed", "result"]

Packed: TypeAlias = tuple[str, str, bytes, np.ndarray, list[int]]
"""A name of its own, the version of edgeinfer, the job, its arrays' bytes and how many each has:
nothing that takes edgeinfer to receive, as whoever has none could not say so."""

# where arrays begin among the bytes
_ALIGNED = 64


def packed(job: object) -> Packed:
    """``job`` with its arrays one after another."""
    from cloudpickle import dumps

    found: list[pickle.PickleBuffer] = []
    head = dumps(job, protocol=5, buffer_callback=found.append)
    parts = [np.frombuffer(each.raw(), np.uint8) for each in found]
    starts = np.cumsum([0, *(_extent(len(part)) for part in parts)])
    arrays = np.zeros(starts[-1], np.uint8)
    for part, start in zip(parts, starts, strict=False):
        arrays[start : start + len(part)] = part
    return uuid4().hex, __version__, head, arrays, [len(part) for part in parts]


def result(given: Packed, task: bytes) -> bytes:
    """What the job makes of a pickled task, pickled.

    Raises
    ------
    Exception
        What the job raises.
    InputError
        The job is another version's.
    """
    name, version, _, arrays, _ = given
    if version != __version__:
        raise InputError(
            f"a worker of the cluster has edgeinfer {__version__}, and what calls it {version}: "
            "install the same on both"
        )
    with _lock:
        if name not in _known:
            _known[name] = _Copies(given)
            weakref.finalize(arrays, _known.pop, name, None)
        copies = _known[name]
    return pickle.dumps(copies.of_thread()(pickle.loads(task)))


def _extent(length: int) -> int:
    return -(-length // _ALIGNED) * _ALIGNED


class _Copies:
    """One of a job for each thread. They share its arrays, which none may write to."""

    def __init__(self, given: Packed) -> None:
        _, _, self._head, arrays, self._lengths = given
        # as they came they may begin anywhere in what the network gave
        self._arrays = arrays.copy()
        self._arrays.flags.writeable = False
        self._threads = threading.local()

    def of_thread(self) -> Callable[[Any], Any]:
        """This thread's."""
        if not hasattr(self._threads, "job"):
            self._threads.job = pickle.loads(self._head, buffers=self._buffers())
        job: Callable[[Any], Any] = self._threads.job
        return job

    def _buffers(self) -> Iterator[np.ndarray]:
        start = 0
        for length in self._lengths:
            yield self._arrays[start : start + length]
            start += _extent(length)


_lock = threading.Lock()
_known: dict[str, _Copies] = {}
