"""``--dask``: a command on a cluster says what it does alone, and in one line that it is gone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machines import ROOT, Machines, in_namespaces, namespaces_refused, on_this_machine

pytestmark = pytest.mark.slow


@pytest.fixture
def machines() -> Iterator[Machines]:
    """A scheduler and two workers as processes, in networks of their own where that is allowed."""
    pytest.importorskip("distributed")
    with on_this_machine(2) if namespaces_refused() else in_namespaces(2) as made:
        yield made


def killed_when_searching(
    machines: Machines, place: int, line: str, workspace: Path
) -> tuple[int, str, list[str]]:
    """Run ``line`` and kill a process once ranges are searched; exit code, stdout, stderr."""
    with subprocess.Popen(
        machines.command(f"{line} -v --dask {machines.address}"),
        cwd=workspace,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        said = []
        for each in process.stderr:
            said.append(each.rstrip())
            if each.split()[-1] == "searching":
                machines.processes[place].kill()
        shown = process.stdout.read()
    assert machines.processes[place].wait(10) == -signal.SIGKILL
    return process.returncode, shown, said


def test_a_worker_that_is_killed_loses_nothing(machines, cli, workspace):
    line = "quantize digits.onnx --data digits_calib.npz -o {}.eqm --json"
    expected = cli.json(line.format("alone"))
    code, shown, said = killed_when_searching(machines, 1, line.format("spread"), workspace)
    assert code == 0, said
    assert said[0] == f"cluster {machines.address}: 2 workers, 2 threads"
    assert said[1].startswith(f"dashboard http://{machines.host}:")
    assert (workspace / "spread.eqm").read_bytes() == (workspace / "alone.eqm").read_bytes()
    found = json.loads(shown)
    for each in (found, expected):
        del each["seconds"], each["output"]
    assert found == expected


def test_a_cluster_that_goes_in_the_middle_leaves_nothing_half_written(workspace):
    pytest.importorskip("distributed")
    before = sorted(workspace.iterdir())
    with on_this_machine(1) as machines:
        line = "quantize digits.onnx --data digits_calib.npz -o gone.eqm"
        code, shown, said = killed_when_searching(machines, 0, line, workspace)
        assert (code, shown) == (1, "")
        assert said[-1] == (
            f"error: the cluster at {machines.address} has gone, and searching with it; begin "
            "again with one that runs"
        )
    # what distributed has to say of it is not shown
    names = [each.split()[0] for each in said[:-1]]
    assert names[:2] == ["cluster", "dashboard"]
    assert all(name.startswith("edgeinfer.") for name in names[2:])
    assert sorted(workspace.iterdir()) == before


def test_models_are_evaluated_as_alone(client, cli):
    line = "evaluate digits.eqm --data digits_test.npz --against digits.onnx --json"
    expected = cli.json(line)
    done = cli(f"{line} --dask {client.scheduler.address}")
    found = json.loads(done.stdout)
    assert found.pop("latency_us") > 0 < expected.pop("latency_us")
    assert found == expected
    shown = cli(f"{line.removesuffix(' --json')} --dask {client.scheduler.address}").stdout
    assert "latency on the workers, median" in shown


def test_npus_are_tried_as_alone(client, cli):
    line = "hdl explore digits.eqm --dsp 64 --largest 8"
    done = cli(f"{line} --dask {client.scheduler.address}")
    assert (done.exit_code, done.stdout) == (0, cli(line).stdout)
    address, dashboard = done.stderr.splitlines()
    assert address == f"cluster {client.scheduler.address}: 2 workers, 2 threads"
    assert dashboard.startswith("dashboard http://127.0.0.1:")


@pytest.mark.parametrize(
    ("line", "address"),
    [
        ("quantize digits.onnx --data digits_calib.npz -o gone.eqm", "tcp://127.0.0.1:1"),
        ("evaluate digits.eqm --data digits_test.npz", "nowhere"),
        ("hdl explore digits.eqm", "http://127.0.0.1:8787"),
    ],
)
def test_where_no_scheduler_is_one_line_says_so(line, address, cli, workspace, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("edgeinfer.pools.cluster._ANSWER", 2.0)
    before, begun = sorted(workspace.iterdir()), time.monotonic()
    assert cli.refusal(f"{line} --dask {address}") == (
        f"error: no Dask scheduler answers at {address}; give the address that it says when it "
        "begins, such as tcp://192.168.0.2:8786"
    )
    assert time.monotonic() - begun < 20
    assert sorted(workspace.iterdir()) == before
