"""Where memory runs out, at whichever allocation, a public function says so."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

import edgeinfer
from edgeinfer.errors import EdgeInferError, OutOfMemoryError
from edgeinfer.shortage import tells_shortage
from tests.refusals import refused

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "tests/model_file/released/0.1.0/digits.int8.eqm"

CALLS = f"""
import collections, os, sys
import numpy as np
import safetensors.numpy
import edgeinfer
from edgeinfer.demo import TEST
from edgeinfer.errors import OutOfMemoryError

graph = edgeinfer.read({str(MODEL)!r})
# where Rust gets no memory it may end the process: what it does is done before
with open({str(MODEL)!r}, "rb") as file:
    loaded = safetensors.numpy.load(file.read())
saved = edgeinfer.files.model_file.to_bytes(graph)
safetensors.numpy.load = lambda data: dict(loaded)
safetensors.numpy.save = lambda tensors, metadata: saved
session = edgeinfer.load({str(MODEL)!r})
x = np.load(TEST)["image"][:2].astype(np.float32)
expected = session.run(x)
calls = {{
    "load": lambda: edgeinfer.load({str(MODEL)!r}),
    "load for threads": lambda: edgeinfer.load({str(MODEL)!r}, 2),
    "keep values": lambda: edgeinfer.Session(graph, keep_values=True),
    "run": lambda: session.run(x),
    "run with others": lambda: edgeinfer.load({str(MODEL)!r}).run({{"image": x}}),
    "save": lambda: edgeinfer.save(graph, sys.argv[2]),
}}
call, step = calls[sys.argv[1]], int(sys.argv[3])
call()
ends, number, done = collections.Counter(), 0, 0
while done < 3:
    number += step
    try:
        fail(number)
        call()
    except OutOfMemoryError as error:
        spare()
        ends["told"] += 1
    except MemoryError as error:
        spare()
        # that of this program itself, before the call began
        if error.__traceback__.tb_next is not None:
            raise
    else:
        spare()
        done += number > 10 * step or not ends
    assert sys.argv[1] != "save" or os.listdir(os.path.dirname(sys.argv[2])) == ["a.eqm"]
edgeinfer.load(sys.argv[2] if sys.argv[1] == "save" else {str(MODEL)!r})
assert (session.run(x) == expected).all()
print(ends["told"])
"""

ARMED = """
import ctypes

shim = ctypes.PyDLL(None)
fail, spare = shim.fail_PLACE, lambda: shim.fail_PLACE(0)
"""

SHIM = """
#define _GNU_SOURCE
#include <Python.h>
#include <dlfcn.h>
#include <string.h>

/* ---- of the compiled runtime alone: NumPy and the interpreter are not as careful ---- */

static long left_of_runtime;

void fail_runtime(long number) { left_of_runtime = number; }

static int fails(void *caller)
{
    Dl_info from;
    int ours =
        left_of_runtime > 0 && dladdr(caller, &from) && strstr(from.dli_fname, "/runtime.abi3.so");
    return ours && --left_of_runtime == 0;
}

#define FAILS fails(__builtin_return_address(0))

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);

void *malloc(size_t bytes) { return FAILS ? NULL : __libc_malloc(bytes); }
void *calloc(size_t count, size_t bytes) { return FAILS ? NULL : __libc_calloc(count, bytes); }
void *realloc(void *old, size_t bytes) { return FAILS ? NULL : __libc_realloc(old, bytes); }

/* ---- of objects of Python; what NumPy takes without the interpreter's lock stays ---- */

static long left_of_objects;
static PyMemAllocatorEx usual;

static int runs_out(void) { return left_of_objects > 0 && --left_of_objects == 0; }

static void *object_malloc(void *ctx, size_t bytes)
{
    return runs_out() ? NULL : usual.malloc(ctx, bytes);
}

static void *object_calloc(void *ctx, size_t count, size_t bytes)
{
    return runs_out() ? NULL : usual.calloc(ctx, count, bytes);
}

static void *object_realloc(void *ctx, void *old, size_t bytes)
{
    return runs_out() ? NULL : usual.realloc(ctx, old, bytes);
}

void fail_objects(long number)
{
    if (usual.malloc == NULL) {
        PyMem_GetAllocator(PYMEM_DOMAIN_OBJ, &usual);
        PyMemAllocatorEx failing = usual;
        failing.malloc = object_malloc;
        failing.calloc = object_calloc;
        failing.realloc = object_realloc;
        PyMem_SetAllocator(PYMEM_DOMAIN_OBJ, &failing);
    }
    left_of_objects = number;
}
"""

STEPS = {
    "load": 61,
    "load for threads": 251,
    "keep values": 61,
    "run": 1,
    "run with others": 97,
    "save": 29,
}


@pytest.fixture(scope="module")
def shim(tmp_path_factory) -> Path:
    """A library that makes allocations fail where it is loaded first."""
    if shutil.which("gcc") is None or not Path(sysconfig.get_path("include"), "Python.h").exists():
        pytest.skip("needs gcc and Python.h")
    source = tmp_path_factory.mktemp("shim") / "shim.c"
    source.write_text(SHIM)
    library = source.with_suffix(".so")
    build = ["gcc", "-shared", "-fPIC", "-fno-builtin", "-O1", "-Wall", "-Werror"]
    build += ["-I", sysconfig.get_path("include"), str(source), "-o", str(library)]
    subprocess.run(build, check=True)
    return library


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs LD_PRELOAD")
@pytest.mark.parametrize("place", ["objects", "runtime"])
@pytest.mark.parametrize("call", STEPS)
def test_an_allocation_that_fails_is_told(shim, tmp_path, call, place):
    """Of the runtime's own each in turn, of Python's objects those at so many steps."""
    folder = tmp_path / "place"
    folder.mkdir()
    step = STEPS[call] if place == "objects" else 1
    program = ARMED.replace("PLACE", place) + CALLS
    done = subprocess.run(
        [sys.executable, "-c", program, call, str(folder / "a.eqm"), str(step)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "LD_PRELOAD": str(shim)},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    # a second run finds its arena there, and nothing of the runtime writes a file
    least = 10 if place == "objects" else int(call not in ("run", "save"))
    assert int(done.stdout) >= least


def test_more_values_to_keep_than_there_is_memory_for(monkeypatch):
    graph = edgeinfer.read(MODEL)

    def exhausted(shape, dtype):
        raise MemoryError(f"Unable to allocate {shape} bytes")

    monkeypatch.setattr(np, "zeros", exhausted)
    with pytest.raises(OutOfMemoryError, match=r"^there is not enough memory: Unable to allocate"):
        edgeinfer.Session(graph, keep_values=True)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "there is not enough memory"),
        (
            MemoryError("an arena takes 5 bytes"),
            "there is not enough memory: an arena takes 5 bytes",
        ),
        (SystemError("error return without exception set"), "there is not enough memory"),
        (
            TypeError(f"stat: path should be string, not {type(Path()).__name__}"),
            "there is not enough memory",
        ),
        (type("PanicException", (BaseException,), {})("null"), "there is not enough memory"),
        (OutOfMemoryError("once"), "there is not enough memory: once"),
    ],
    ids=repr,
)
def test_a_shortage_is_an_error_of_edgeinfer_and_a_memory_error(error, message):
    @tells_shortage
    def fails() -> None:
        raise error

    for kind in (EdgeInferError, MemoryError):
        with refused(message, kind):
            fails()


@pytest.mark.parametrize(
    "error", [SystemError("bad argument"), TypeError("not str"), KeyboardInterrupt(), ValueError()]
)
def test_what_is_no_shortage_passes(error):
    @tells_shortage
    def fails() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        fails()
    assert raised.value is error
