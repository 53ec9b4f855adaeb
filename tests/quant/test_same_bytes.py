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


def written(**environment: str) -> list[str]:
    """Digests of the files that a process with ``environment`` writes."""
    command = [sys.executable, "-m", "tests.quant.written_bytes"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def here() -> list[str]:
    return written()


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [
        {"NPY_DISABLE_CPU_FEATURES": " ".join(FOUND)},
        {"OPENBLAS_CORETYPE": "Prescott", "OPENBLAS_NUM_THREADS": "1"},
        {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "2"},
        {"OPENBLAS_CORETYPE": "Prescott", "NPY_DISABLE_CPU_FEATURES": " ".join(FOUND)},
    ],
    ids=["baseline-numpy", "prescott-1", "haswell-2", "prescott-baseline"],
)
def test_another_processor_writes_the_same_file(environment, here):
    assert written(**environment) == here
    assert len(here) == 9
