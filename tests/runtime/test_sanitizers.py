"""The runtime, built with the address and undefined-behaviour sanitizers, gives no complaint."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.example_counts import SHARE

ROOT = Path(__file__).parents[2]
SOURCES = ("converters", "cython_kernels", "edgeinfer", "hdl", "quant", "tests")
FILES = ("LICENSE", "NOTICE", "README.md", "pyproject.toml", "setup.py")
SANITIZE = "-fsanitize=address,undefined -fno-sanitize-recover=all"
TESTS = (
    "tests/conformance/test_session_equals_reference.py",
    "tests/model_file/test_mutations.py",
    "tests/runtime/test_pointwise.py",
    "tests/runtime/test_rounding.py",
    "tests/runtime/test_session.py",
    "tests/runtime/test_threads.py",
)


def library(name):
    """The path of a sanitizer's library, which must load before everything else."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    asked = ["gcc", f"-print-file-name={name}"]
    path = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    if not Path(path).is_absolute():
        pytest.skip(f"gcc has no {name}")
    return path


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="preloads gcc's libraries")
def test_the_conformance_tests_pass_with_sanitizers(tmp_path):
    preloaded = f"{library('libasan.so')} {library('libubsan.so')}"
    skipped = shutil.ignore_patterns("*.so", "__pycache__", ".hypothesis")
    for name in SOURCES:
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=skipped)
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path)
    environment = {
        **os.environ,
        "CC": "gcc",
        # Python's own options let integers wrap, which is then no fault; checked copies would not
        # be the sanitizers'; the rest is what compiles soonest and still names lines
        "EDGEINFER_CFLAGS": f"{SANITIZE} -fno-wrapv -U_FORTIFY_SOURCE -Og -g1",
        "EDGEINFER_LDFLAGS": SANITIZE,
        "PYTHONPATH": str(tmp_path),
    }
    build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    built = subprocess.run(
        build, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
    )
    assert built.returncode == 0, built.stderr
    (module,) = (tmp_path / "cython_kernels").glob("runtime*.so")
    assert b"__asan_report" in module.read_bytes() and b"__ubsan_handle" in module.read_bytes()
    # CPython keeps memory to its end, which is no leak of ours
    environment |= {"LD_PRELOAD": preloaded, "ASAN_OPTIONS": "detect_leaks=0"}
    # what kernels read and write is watched in test_bounds.py, with examples of its own
    environment |= {SHARE: "0.3"}
    run = [sys.executable, "-m", "pytest", "-q", "-n0", "-x", "-p", "no:cacheprovider", *TESTS]
    ran = subprocess.run(
        run, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1200
    )
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-4000:]
