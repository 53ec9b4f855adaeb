"""The compiled runtime shows its entry alone, and no library can put its own functions in."""

import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgeinfer.cython_kernels import runtime

ROOT = Path(__file__).parents[2]
LIBRARY = Path(runtime.__file__)
NAMED = ("add", "copy", "lookup", "conv_s8", "lookup_s8_avx2", "conv_s8_scalar", "copy_scalar")
LINKERS = ("register_tm_clones", "deregister_tm_clones", "frame_dummy", "call_weak_fn")

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs ELF")


def read(tool: str, *arguments: object) -> str:
    if shutil.which(tool) is None:
        pytest.skip(f"needs {tool}")
    command = [tool, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_only_python_s_entry_is_seen_from_outside():
    shown = read("nm", "-D", "--defined-only", LIBRARY)
    assert [line.split()[-1] for line in shown.splitlines()] == ["PyInit_runtime"]


def test_what_is_bound_is_bound_as_it_is_loaded_and_read_only_then():
    assert " GNU_RELRO " in read("readelf", "--wide", "--segments", LIBRARY)
    dynamic = read("readelf", "--wide", "--dynamic", LIBRARY)
    flags = {line.split(")", 1)[0].split("(")[-1]: line for line in dynamic.splitlines()}
    assert "NOW" in flags["FLAGS_1"].split()


def test_overruns_of_the_stack_and_of_copies_are_noticed():
    wanted = {line.split()[-1].split("@")[0] for line in read("nm", "-D", LIBRARY).splitlines()}
    assert {"__stack_chk_fail", "__memcpy_chk"} <= wanted


PROGRAM = """
import ctypes, sys, zlib
import numpy as np

planted = None
if len(sys.argv) > 2:
    planted = ctypes.CDLL(sys.argv[2], mode=ctypes.RTLD_GLOBAL)
import edgeinfer
from edgeinfer.cython_kernels.runtime import SUPPORTED
from edgeinfer.demo import TEST

x = np.load(TEST)["image"].astype(np.float32)
for isa in SUPPORTED:
    for scheme in ("int8", "int16x8"):
        path = f"{sys.argv[1]}/digits.{scheme}.eqm"
        scores = edgeinfer.load(path, 2, isa).run(x)
        print(isa, scheme, zlib.crc32(scores.tobytes()))
print("put in:", 0 if planted is None else ctypes.c_int.in_dll(planted, "put_in").value)
"""


def functions() -> list[str]:
    """What the runtime's C defines, by the names that its own table of symbols keeps."""
    lines = (line.split() for line in read("nm", "--defined-only", LIBRARY).splitlines())
    found = {name for _, kind, name in lines if kind in "tT" and name.isidentifier()}
    return sorted(n for n in found if not n.startswith(("_", "PyInit")) and n not in LINKERS)


def test_a_library_with_functions_of_the_same_names_changes_nothing(tmp_path):
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    names = sorted({*functions(), *NAMED})
    assert len(names) > 100, "the runtime's table of symbols is gone"
    source = tmp_path / "planted.c"
    bodies = (f"int {name}(void) {{ ++put_in; return 0; }}" for name in names)
    source.write_text("\n".join(["int put_in;", *bodies]))
    library = source.with_suffix(".so")
    build = ["gcc", "-shared", "-fPIC", "-fno-builtin", "-w", str(source), "-o", str(library)]
    subprocess.run(build, check=True)
    models = ROOT / "tests/model_file/released/0.1.0"
    told = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM, models, *planted],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        for planted in ([], [library])
    ]
    assert [ran.returncode for ran in told] == [0, 0], told[1].stderr
    assert told[0].stdout == told[1].stdout
    assert told[1].stdout.endswith("put in: 0\n")


@pytest.mark.parametrize(
    ("compiler", "platform", "linking"),
    [
        ("unix", "linux", ["-Wl,-z,relro,-z,now"]),
        ("unix", "darwin", []),
        ("mingw32", "win32", []),
        ("msvc", "win32", []),
    ],
)
def test_a_compiler_gets_only_what_it_knows(compiler, platform, linking, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("setuptools.setup", lambda **arguments: None)
    monkeypatch.setattr("Cython.Build.cythonize", lambda modules, **arguments: modules)
    options = runpy.run_path(str(ROOT / "setup.py"))["options"]
    compiling, linked = options(compiler, platform)
    assert linked == linking
    hardened = {"-fvisibility=hidden", "-fstack-protector-strong", "-D_FORTIFY_SOURCE=3"}
    assert hardened & set(compiling) == (hardened if compiler == "unix" else set())
    assert {option[0] for option in compiling} == {"/" if compiler == "msvc" else "-"}
