"""Fixtures that skip, by name, the tests whose oracle is not installed."""

from __future__ import annotations

import os

import pytest

from tests.oracles.oracle_environment import VARIABLE
from tests.oracles.tflm_models import Batch
from tests.oracles.tosa_graph import Graph


@pytest.fixture(scope="session")
def oracles():
    if VARIABLE not in os.environ:
        pytest.skip(f"{VARIABLE} is not set: it names the folder of the oracles' environments")


@pytest.fixture
def tosa(oracles, tmp_path):
    return Graph(tmp_path)


@pytest.fixture
def tflm(oracles, tmp_path):
    return Batch(tmp_path)
