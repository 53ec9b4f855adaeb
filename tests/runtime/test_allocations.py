"""After its first run with ``out=``, a Session allocates nothing, in C or in Python buffers."""

import os
import shutil
import subprocess
import sys
import textwrap
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from edgeinfer.runtime.session import Session
from tests.runtime.runtime_graphs import small_cnn
from tests.strategies import random_inputs

# Counts every way into glibc's heap, for a program that asks `allocations()`.
COUNTER = """
    #define _GNU_SOURCE
    #include <stdatomic.h>
    #include <stddef.h>

    extern void *__libc_malloc(size_t);
    extern void *__libc_calloc(size_t, size_t);
    extern void *__libc_realloc(void *, size_t);
    extern void *__libc_memalign(size_t, size_t);
    static atomic_long count;

    long allocations(void) { return count; }
    void *malloc(size_t n) { ++count; return __libc_malloc(n); }
    void *calloc(size_t n, size_t m) { ++count; return __libc_calloc(n, m); }
    void *realloc(void *p, size_t n) { ++count; return __libc_realloc(p, n); }
    void *memalign(size_t a, size_t n) { ++count; return __libc_memalign(a, n); }
    void *aligned_alloc(size_t a, size_t n) { ++count; return __libc_memalign(a, n); }
    int posix_memalign(void **p, size_t a, size_t n)
    {
        ++count;
        *p = __libc_memalign(a, n);
        return *p == NULL ? 12 : 0;
    }
"""

PROGRAM = """
    import ctypes, gc
    import numpy as np
    from edgeinfer.runtime import planner, session as sessions
    from edgeinfer.runtime.session import Session
    from tests.runtime.runtime_graphs import small_cnn
    from tests.strategies import random_inputs

    allocations = ctypes.CDLL(None).allocations
    allocations.restype = ctypes.c_long
    planner.GRAIN, sessions.MAX_THREADS = 1, 16
    session = Session(small_cnn(), num_threads={num_threads})
    x = random_inputs(small_cnn(), 0, slices=5)["x"]
    if {floats}:
        x = x.astype(np.float32)
    out = np.empty((5, 10), x.dtype)

    def run_often():
        before = allocations()
        for _ in range(200):
            session.run(x, out=out)
        return allocations() - before

    gc.disable()
    run_often()
    print(allocations(), run_often())
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("cc") is None,
    reason="counts in glibc with a compiled shim",
)
@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("floats", [True, False])
def test_a_run_calls_malloc_never(tmp_path, num_threads, floats):
    source, shim = tmp_path / "counter.c", tmp_path / "counter.so"
    source.write_text(textwrap.dedent(COUNTER))
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", shim, source], check=True)
    folders = [Path(__file__).parent, Path(__file__).parents[1], Path(__file__).parents[2]]
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent(PROGRAM).format(num_threads=num_threads, floats=floats),
        ],
        env={
            **os.environ,
            "LD_PRELOAD": str(shim),
            "PYTHONPATH": os.pathsep.join(map(str, folders)),
        },
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    ever, while_running = map(int, ran.stdout.split())
    assert ever > 1000
    assert while_running == 0


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_run_makes_no_buffer(dtype):
    session = Session(small_cnn())
    x = random_inputs(small_cnn(), 0, slices=50)["x"].astype(dtype)
    out = np.empty((50, 10), dtype)
    session.run(x, out=out)
    tracemalloc.start()
    try:
        session.run(x, out=out)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        session.run(x, out=out)
        # names, tuples and lists; the smallest of the arrays at hand has 500 bytes a copy
        assert tracemalloc.get_traced_memory()[1] - before < 4096
    finally:
        tracemalloc.stop()
