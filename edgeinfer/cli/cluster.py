"""``--dask``: a command's work on the workers of a cluster, whose dashboard it names."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import click

from edgeinfer.cli.output import tell
from edgeinfer.pools import HERE, Pool, connected

__all__ = ["dask_option", "pool_at"]

F = TypeVar("F", bound=Callable[..., Any])


def dask_option(what: str) -> Callable[[F], F]:
    """``--dask``, by which a cluster does ``what`` the command does."""
    return click.option(
        "--dask",
        metavar="ADDRESS",
        help=f"{what} on the workers of the Dask scheduler at ADDRESS, such as "
        "tcp://192.168.0.2:8786; what comes of it is the same.",
    )


@contextmanager
def pool_at(address: str | None, alone: Pool = HERE) -> Iterator[Pool]:
    """The cluster at ``address``, of which stderr is told; ``alone`` where none is given.

    Raises
    ------
    InputError
        No scheduler answers there.
    """
    if address is None:
        yield alone
        return
    with _silent(), connected(address) as cluster:
        tell(f"cluster {cluster}")
        if cluster.dashboard is not None:
            tell(f"dashboard {cluster.dashboard}")
        yield cluster


@contextmanager
def _silent() -> Iterator[None]:
    """Without what distributed logs of a cluster that has gone: our error says it."""
    with suppress(ModuleNotFoundError):  # which is said when it is needed
        # importing it gives these loggers levels of their own
        importlib.import_module("distributed")
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
