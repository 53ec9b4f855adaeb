"""The oracles' own environments: folders with a Python and a tool that nobody here wrote.

``EDGEINFER_ORACLES`` names a folder with two virtual environments, which ``.ci/run`` makes:

    tosa/    pip install tosa-tools
    tflm/    pip install tflite-micro ai-edge-litert

Beside them, ``wheels/`` holds packages that carry models and data (``wheels.py``).
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

__all__ = ["VARIABLE", "run_program"]

VARIABLE = "EDGEINFER_ORACLES"

_SECONDS = 150


def run_program(environment: str, program: str, *arguments: Path) -> None:
    """Run a program of this folder by the Python of an oracle's environment.

    In a process of its own and within a time limit: an oracle may crash or hang.
    """
    python = Path(os.environ[VARIABLE]) / environment / "bin" / "python"
    command = [python, "-W", "ignore", Path(__file__).with_name(program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    assert done.returncode == 0, f"{program} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
