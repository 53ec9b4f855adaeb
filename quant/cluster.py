"""Calibration by the workers of a dask.distributed cluster; what comes of it is the same as alone.

The samples come by here, where it is decided which of them wait; workers execute them, some at a
time, and add up what they counted. What a worker that dies has counted, another counts again: the
scheduler holds the samples until all is done.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeinfer.errors import InputError
from edgeinfer.quant.shard import Due, Executed, Shard

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["spread"]

# so many runs are one task, and so many shards add up in another
_RUNS, _SHARDS = 8, 4


def spread(
    shard: Shard, feeds: Iterable[Mapping[str, np.ndarray]], client: Client, executed: Executed
) -> None:
    """Let ``shard`` see ``feeds``, which the workers of ``client`` execute.

    ``executed`` is called here after each run.

    Raises
    ------
    QuantizationError
        A value is not finite on some sample.
    InputError
        The cluster has gone.
    """
    from distributed import as_completed
    from distributed.client import ClosedClientError

    try:
        with warnings.catch_warnings():
            # the weights are as large as they are
            warnings.filterwarnings("ignore", "Sending large graph", UserWarning)
            # the result of a task is made again where it was lost, and data is not
            empty = client.submit(_same, shard.another(), pure=False)
            counts: dict[Any, int] = {}
            waiting: list[Due] = []

            def submit(due: Sequence[Due]) -> None:
                counts[client.submit(_executed, empty, due, pure=False)] = sum(
                    one.run.times for one in due
                )

            for index, feed in enumerate(feeds):
                waiting += shard.take(index, feed)
                while len(waiting) >= _RUNS:
                    submit(waiting[:_RUNS])
                    del waiting[:_RUNS]
            waiting += shard.rest()
            for start in range(0, len(waiting), _RUNS):
                submit(waiting[start : start + _RUNS])
            shards = list(counts)
            while len(shards) > 1:
                groups = (shards[i : i + _SHARDS] for i in range(0, len(shards), _SHARDS))
                shards = [client.submit(_merged, *group, pure=False) for group in groups]
        for future in as_completed(counts):
            for _ in range(counts[future]):
                executed()
        for whole in shards:
            shard.merge(whole.result())
    except (CancelledError, ClosedClientError, OSError, TimeoutError) as error:
        raise InputError(
            "the cluster has gone, and calibration with it: give a client of one that runs"
        ) from error


def _same(shard: Shard) -> Shard:
    return shard


def _executed(empty: Shard, due: Sequence[Due]) -> Shard:
    shard = empty.another()
    shard.execute(due)
    return shard


def _merged(*shards: Shard) -> Shard:
    """What all of them saw; a task must not change what others may take."""
    whole = shards[0].another()
    for shard in shards:
        whole.merge(shard)
    return whole
