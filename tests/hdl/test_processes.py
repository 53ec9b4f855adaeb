"""Programs end with the call that runs them, and so does whatever they have started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgeinfer.errors import InputError
from edgeinfer.hdl.processes import Ended, run, run_all
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
    ended = run(shell("echo one; echo two >&2; exit 3"))
    assert ended == Ended(3, ("one\n", "two\n"))
    assert run(shell("kill -9 $$")) == Ended(-9, ())


def test_a_program_runs_in_its_folder_and_environment_without_input(tmp_path):
    ended = run(shell("pwd; echo $WORD; cat"), folder=tmp_path, environment={"WORD": "x"})
    assert ended == Ended(0, (f"{tmp_path}\n", "x\n"))


def test_a_program_that_is_not_there_wrong():
    message = "cannot run /nowhere/yosys: No such file or directory"
    with refused(message, InputError):
        run(["/nowhere/yosys"])
    with refused("cannot run a?b: embedded null byte", InputError):
        run(["a\0b"])


def test_what_a_watch_raises_ends_a_script_and_what_it_has_started():
    started = []

    def interrupted(line: str) -> None:
        started.append(int(line))
        if len(started) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        # without exec, as wrappers are often written
        run(shell(f"echo $$; ({HOUR} & echo $!; wait)"), watch=interrupted)
    assert all(map(ends, started))


def test_what_a_script_leaves_running_ends_with_it():
    ended = run(shell(f"{HOUR} & echo $!"))
    assert ended.code == 0
    assert ends(int(ended.lines[0]))


def test_a_program_is_killed_after_its_seconds():
    ended = run(shell(f"echo $$; {HOUR}"), seconds=0.2)
    assert ended.code == -9
    assert ends(int(ended.lines[0]))


def test_a_line_without_end_is_told_in_pieces():
    def first(line: str) -> None:
        assert set(line) == {"x"}
        raise InputError("it is long")

    endless = [sys.executable, "-c", "while True: print('x' * 10000, end='')"]
    with refused("it is long", InputError):
        run(endless, watch=first)


def test_lines_and_characters_that_come_in_parts_are_whole():
    parts = ["one\n\xc3", "\xa4\n", "\xff", "last"]
    script = "; sleep 0.05; ".join(
        "printf '" + "".join(f"\\{byte:03o}" for byte in part.encode("latin1")) + "'"
        for part in parts
    )
    assert run(shell(script)).lines == ("one\n", "\xe4\n", "\ufffdlast")


def test_what_leaves_the_group_and_keeps_the_output_is_not_waited_for():
    # as daemons do
    script = f"setsid {HOUR} & echo $!; sleep 0.2"
    ended = run(shell(script))
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
        with pytest.raises(KeyboardInterrupt):
            run(shell(f"exec {HOUR}"))
    finally:
        signal.signal(signal.SIGINT, before)
    assert all(map(ends, begun))
    assert len(begun) == 1


def test_of_several_programs_so_many_run_at_once(tmp_path):
    # each says how many there are while it runs
    script = f"mkdir {tmp_path}/$1; sleep 0.5; ls {tmp_path} | wc -l; rmdir {tmp_path}/$1"
    ended: list[Ended] = []
    commands = [[*shell(script), "sh", str(number)] for number in range(6)]
    run_all(commands, at_once=2, watch=ended.append)
    assert [each.code for each in ended] == [0] * 6
    counts = [int(each.lines[0]) for each in ended]
    assert max(counts) == 2


def test_what_a_watch_of_several_raises_ends_the_others_and_begins_no_more(tmp_path):
    def failed(ended: Ended) -> None:
        assert ended.code == 3
        raise InputError("one has failed")

    (tmp_path / "numbers").touch()
    alone = f"echo $$ >> {tmp_path}/numbers; "
    # the third waits for a place, as the first does not end
    commands = [
        shell(f"{alone} exec {HOUR}"),
        shell(f"until [ -s {tmp_path}/numbers ]; do sleep 0.05; done; exit 3"),
        shell(f"{alone} exec {HOUR}"),
    ]
    with refused("one has failed", InputError):
        run_all(commands, at_once=2, watch=failed)
    (number,) = (tmp_path / "numbers").read_text().split()
    assert not is_running(int(number))


def test_one_of_several_that_is_not_there_wrong():
    ended: list[Ended] = []
    with refused("cannot run /nowhere/cc: No such file or directory", InputError):
        run_all([shell(f"exec {HOUR}"), ["/nowhere/cc"]], at_once=2, watch=ended.append)
    assert ended == []
