"""The same model and samples give the same file, whatever the processor and its libraries."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from numpy._core import _multiarray_umath

ROOT = Path(__file__).resolve().parents[2]

# what NumPy was compiled for beside its least, and finds here
FOUND = [f for f in _multiarray_umath.__cpu_dispatch__ if _multiarray_umath.__cpu_features__[f]]


BASELINE = {"NPY_DISABLE_CPU_FEATURES": " ".join(FOUND)}


def written(*models: str, **environment: str) -> list[str]:
    """Digests of the files that a process with ``environment`` writes."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.quant.written_bytes", *models],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_another_processor_writes_the_same_digits():
    here = written("digits")
    assert len(here) == 1
    assert written("digits", OPENBLAS_CORETYPE="Prescott", **BASELINE) == here


@pytest.fixture(scope="module")
def here() -> list[str]:
    return written()


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [
        {"OPENBLAS_NUM_THREADS": "1", **BASELINE},
        {"OPENBLAS_CORETYPE": "Prescott", "OPENBLAS_NUM_THREADS": "2"},
        {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "1"},
    ],
    ids=["baseline", "prescott", "haswell"],
)
def test_another_processor_writes_the_same_files(environment, here):
    assert len(here) == 9
    assert written(**environment) == here
