"""What the README says to type works as it stands, one line after the other.

But for what takes a board, in a block of another language: tests/hdl/boards has that.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_every_command_and_every_program_runs(tmp_path):
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    commands = [shlex.split(line) for line in lines if line.startswith("edgeinfer ")]
    programs = blocks("python")
    assert len(commands) == 12 and len(programs) == 3
    for _, *arguments in commands:
        run([sys.executable, "-m", "edgeinfer", *arguments], tmp_path)
    for program in programs:
        run([sys.executable, "-c", program], tmp_path)
