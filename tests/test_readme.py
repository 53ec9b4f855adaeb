"""What the README says to type works as it stands, one line after the other.

But for what takes a board, in a block of another language: tests/hdl/boards has that.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


COMMANDS = [
    shlex.split(line)
    for block in blocks("sh")
    for line in block.splitlines()
    if line.startswith("edgeinfer ")
]
PROGRAMS = blocks("python")
HDL = [command for command in COMMANDS if command[1] == "hdl"]


def edgeinfer(command: list[str], folder: Path) -> None:
    run([sys.executable, "-m", *command], folder)


def test_every_command_and_every_program_of_the_cpu_runs(tmp_path):
    commands = [command for command in COMMANDS if command not in HDL]
    programs = [program for program in PROGRAMS if "edgeinfer.hdl" not in program]
    assert len(commands) == 14 and len(programs) == 2
    for command in commands:
        edgeinfer(command, tmp_path)
    for program in programs:
        run([sys.executable, "-c", program], tmp_path)


@pytest.mark.slow
def test_every_command_and_every_program_of_the_npu_runs(tmp_path):
    programs = [program for program in PROGRAMS if "edgeinfer.hdl" in program]
    assert len(HDL) == 4 and len(programs) == 1
    edgeinfer(COMMANDS[0], tmp_path)  # which leaves a model and data
    for command in HDL:
        edgeinfer(command, tmp_path)
    for program in programs:
        run([sys.executable, "-c", program], tmp_path)
