"""What all tests share; modules beside this file, such as ``tests.strategies``, are imported."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from distributed import Client

# a slow machine is no failure
settings.register_profile("edgeinfer", deadline=None)
settings.load_profile("edgeinfer")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--slow-cases",
        choices=["1", "2", "3", "all"],
        default="1",
        help="of slow tests with several cases, the third of them that runs, or all",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of each slow test's cases keep every third, unless all are asked for, or one by its name.

    Of one case that takes minutes the marker says which third it is in, ``slow(third=2)``.
    """
    asked = config.getoption("--slow-cases")
    if asked == "all" or any("::" in argument for argument in config.args):
        return
    counts: Counter[str] = Counter()
    kept, others = [], []
    for item in items:
        chosen, slow = True, item.get_closest_marker("slow")
        if slow is not None and isinstance(item, pytest.Function):
            test = item.nodeid.split("[")[0]
            counts[test] += 1
            third = slow.kwargs.get("third", counts[test])
            chosen = third % 3 == int(asked) % 3
        (kept if chosen else others).append(item)
    config.hook.pytest_deselected(items=others)
    items[:] = kept


@pytest.fixture(autouse=True, scope="session")
def many_processors() -> Iterator[None]:
    """Threads may be more than this machine has processors, however few these are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgeinfer.runtime.session.MAX_THREADS", 16)
        yield


@pytest.fixture(autouse=True, scope="session")
def small_chunks() -> Iterator[None]:
    """Layers as small as a test's are taken by chunks (AMX), which do not pay there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgeinfer.runtime.catalogue.packing._CHUNK_CYCLES", 0)
        yield


@pytest.fixture(autouse=True, scope="session")
def quickly_built_simulators() -> Iterator[None]:
    """Simulators, of which most tests run thousands of cycles and not millions, build sooner."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgeinfer.hdl.simulation.build._LEVEL", "-O1")
        yield


@pytest.fixture(scope="session")
def client() -> Iterator[Client]:
    """Of two workers on this machine, of one thread each; those that are killed come back."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def zoo() -> ModuleType:
    """The module ``zoo``, whose ``load`` gives real models with their data."""
    folder = os.environ.get("EDGEINFER_ZOO")
    if not folder:
        pytest.skip("EDGEINFER_ZOO names no folder with real models")
    spec = importlib.util.spec_from_file_location("zoo", Path(folder) / "zoo.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # its dataclasses look their module up by name
    sys.modules["zoo"] = module
    spec.loader.exec_module(module)
    return module
