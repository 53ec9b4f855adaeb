"""An operator is added in the steps of docs/architecture.md, and then every stage knows it."""

import subprocess
import sys


def test_a_moving_operator_is_five_edits_and_a_function_two():
    done = subprocess.run(
        [sys.executable, "-m", "tests.core.added_operator"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "the NPU cannot run Reverse 'y': moves elements in a way that the NPU has no layer for. "
        "edgeinfer hdl simulate --host-ops leaves these to the CPU\n"
    )
