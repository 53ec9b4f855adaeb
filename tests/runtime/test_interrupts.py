"""Ctrl-C is heard while a run computes, between its slices and the steps of large models."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HEAD = """
import signal

import numpy as np
from edgeinfer.runtime.session import Session
from tests.runtime.runtime_graphs import small_cnn

# a shell's job in the background ignores it, and so do its children
signal.signal(signal.SIGINT, signal.default_int_handler)
session = Session(small_cnn(), num_threads=1)
rows = 400_000
x = np.zeros((rows, 8, 8, 3), np.int8)
y = np.full((rows, 10), 99, np.int8)
"""
CALLS = {
    "run": "session.run(x, out=y)",
    "bound": "session.bind(x, y).run()",
}
TAIL = """
try:
    print("begins", flush=True)
    {call}
except KeyboardInterrupt:
    done = int(np.argmax((y == 99).all(1)))
    print("heard", 0 < done < rows)
    small = session.run(x[:1])
    print("and runs", np.array_equal(small, y[:1]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a signal is not sent so there")
@pytest.mark.parametrize("call", CALLS)
def test_a_long_run_is_interrupted_and_the_session_goes_on(call):
    program = HEAD + TAIL.format(call=CALLS[call])
    command = [sys.executable, "-c", program]
    folder = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "begins\n"
        time.sleep(0.3)  # of the seconds that the run takes
        child.send_signal(signal.SIGINT)
        said, _ = child.communicate(timeout=120)
    assert said == "heard True\nand runs True\n"
