"""Processes end with the block that runs them, and so does whatever they have started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgeinfer.errors import InputError
from edgeinfer.hdl.processes import Ended, Processes
from tests.refusals import refused

HOUR = "sleep 3600"


def shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    # one that nobody has waited for yet runs no more
    state = Path(f"/proc/{process}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def ends(process: int) -> bool:
    """Whether ``process``, which was killed, is gone soon."""
    for _ in range(1000):
        if not is_running(process):
            return True
        time.sleep(0.01)
    return False


def test_a_program_tells_how_it_ended_and_what_it_said():
    with Processes() as processes:
        ended = processes.run(shell("echo one; echo two >&2; exit 3"))
        assert ended == Ended(3, ("one\n", "two\n"))
        assert processes.run(shell("kill -9 $$")) == Ended(-9, ())


def test_a_program_runs_in_its_folder_and_environment_without_input(tmp_path):
    with Processes() as processes:
        ended = processes.run(
            shell("pwd; echo $WORD; cat"), folder=tmp_path, environment={"WORD": "x"}
        )
    assert ended == Ended(0, (f"{tmp_path}\n", "x\n"))


def test_a_program_that_is_not_there_wrong():
    message = "cannot run /nowhere/yosys: No such file or directory"
    with Processes() as processes, refused(message, InputError):
        processes.run(["/nowhere/yosys"])


def test_what_a_watch_raises_ends_a_script_and_what_it_has_started():
    started = []

    def interrupted(line: str) -> None:
        started.append(int(line))
        if len(started) == 2:
            raise KeyboardInterrupt

    with Processes() as processes, pytest.raises(KeyboardInterrupt):
        # without exec, as wrappers are often written
        processes.run(shell(f"echo $$; ({HOUR} & echo $!; wait)"), watch=interrupted)
    assert all(map(ends, started))


def test_what_a_script_leaves_running_ends_with_it():
    with Processes() as processes:
        ended = processes.run(shell(f"{HOUR} & echo $!"))
    assert ended.code == 0
    assert ends(int(ended.lines[0]))


def test_a_program_is_killed_after_its_seconds():
    with Processes() as processes:
        ended = processes.run(shell(f"echo $$; {HOUR}"), seconds=0.2)
    assert ended.code == -9
    assert ends(int(ended.lines[0]))


def test_a_line_without_end_is_told_in_pieces():
    def first(line: str) -> None:
        assert set(line) == {"x"}
        raise InputError("it is long")

    endless = [sys.executable, "-c", "while True: print('x' * 10000, end='')"]
    with Processes() as processes, refused("it is long", InputError):
        processes.run(endless, watch=first)


def test_lines_and_characters_that_come_in_parts_are_whole():
    parts = ["one\n\xc3", "\xa4\n", "\xff", "last"]
    script = "; sleep 0.05; ".join(
        "printf '" + "".join(f"\\{byte:03o}" for byte in part.encode("latin1")) + "'"
        for part in parts
    )
    with Processes() as processes:
        assert processes.run(shell(script)).lines == ("one\n", "\xe4\n", "\ufffdlast")


def test_what_leaves_the_group_and_keeps_the_output_is_not_waited_for():
    # as daemons do
    script = f"setsid {HOUR} & echo $!; sleep 0.2"
    with Processes() as processes:
        ended = processes.run(shell(script))
    os.kill(int(ended.lines[0]), signal.SIGKILL)
    assert ended.code == 0


def test_an_interrupt_while_a_program_starts_leaves_it_not_running(monkeypatch):
    """The signal comes while the child has been forked and nobody knows its number yet."""
    begun: list[int] = []
    start = subprocess.Popen._execute_child

    def interrupted(self, *arguments):
        start(self, *arguments)
        begun.append(self.pid)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)

    monkeypatch.setattr(subprocess.Popen, "_execute_child", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), Processes() as processes:
            processes.run(shell(f"exec {HOUR}"))
    finally:
        signal.signal(signal.SIGINT, before)
    assert all(map(ends, begun))
    assert len(begun) == 1


def test_leaving_the_block_ends_the_programs_of_all_threads():
    with ThreadPoolExecutor(2) as pool:
        with Processes() as processes:
            running = [pool.submit(processes.run, shell(f"exec {HOUR}")) for _ in range(2)]
        # and those that a thread begins too late
        running.append(pool.submit(processes.run, shell(f"exec {HOUR}")))
        assert [each.result(30).code for each in running] == [-9, -9, -9]
