"""A Dask scheduler and workers as processes of their own, in network namespaces of their own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Machines", "in_namespaces", "namespaces_refused", "on_this_machine"]

ROOT = Path(__file__).parents[1]


@dataclass
class Machines:
    """What runs, and how.

    Parameters
    ----------
    places : sequence of command prefixes
        That run a command where the caller is, the scheduler, and each worker.
    host : str
        Where the scheduler listens.
    """

    places: Sequence[Sequence[str]]
    host: str
    processes: list[subprocess.Popen[str]] = field(default_factory=list)
    address: str = ""

    def start(self) -> None:
        """Start the scheduler, then the workers."""
        arguments = ["--host", self.host, "--port", "0", "--no-dashboard"]
        self.address = self._started(1, "scheduler", arguments, r"Scheduler at: +(tcp:\S+)")
        for place in range(2, len(self.places)):
            arguments = [self.address, "--nthreads", "1", "--no-dashboard", "--no-nanny"]
            self._started(place, "worker", arguments, r"Registered to: +(tcp:\S+)")

    def _started(self, place: int, what: str, arguments: Sequence[str], told: str) -> str:
        module = f"distributed.cli.dask_{what}"
        command = [*self.places[place], sys.executable, "-m", module, *arguments]
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self.processes.append(process)
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            found = re.search(told, line)
            if found:
                return found[1]
        raise AssertionError("".join(lines))

    def command(self, line: str) -> list[str]:
        """``edgeinfer`` with the words of ``line``, where the caller is."""
        program = "from edgeinfer.cli import main; main()"
        return [*self.places[0], sys.executable, "-c", program, *line.split()]

    def stop(self) -> None:
        """End all."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.communicate()


@contextmanager
def _running(machines: Machines) -> Iterator[Machines]:
    try:
        machines.start()
        yield machines
    finally:
        machines.stop()


@contextmanager
def on_this_machine(workers: int) -> Iterator[Machines]:
    """Processes that share this machine's network."""
    with _running(Machines([[]] * (2 + workers), "127.0.0.1")) as machines:
        yield machines


def _do(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


def namespaces_refused() -> str | None:
    """Why this machine lets us make no network namespaces, or None."""
    if shutil.which("ip") is None:
        return "there is no command ip to make network namespaces with"
    try:
        with _network([f"edgeinfer{os.getpid()}"]):
            return None
    except subprocess.CalledProcessError as error:
        return f"no network namespaces: {error.stderr.decode().strip()}"


@contextmanager
def _network(names: Sequence[str]) -> Iterator[None]:
    """Namespaces of these names on one Ethernet, at 10.0.0.1 and on; the first has the bridge."""
    with ExitStack() as made:
        for name in names:
            _do("ip", "netns", "add", name)
            made.callback(_do, "ip", "netns", "del", name)
        hub = names[0]
        _do("ip", "-n", hub, "link", "add", "bridge0", "type", "bridge")
        _do("ip", "-n", hub, "addr", "add", "10.0.0.1/24", "dev", "bridge0")
        for number, name in enumerate(names[1:], start=2):
            port = f"port{number}"
            pair = ["ip", "-n", hub, "link", "add", port, "type", "veth"]
            _do(*pair, "peer", "name", "eth0", "netns", name)
            _do("ip", "-n", hub, "link", "set", port, "master", "bridge0", "up")
            _do("ip", "-n", name, "addr", "add", f"10.0.0.{number}/24", "dev", "eth0")
            _do("ip", "-n", name, "link", "set", "eth0", "up")
        for name, device in [(hub, "bridge0"), *((name, "lo") for name in names)]:
            _do("ip", "-n", name, "link", "set", device, "up")
        yield


@contextmanager
def in_namespaces(workers: int) -> Iterator[Machines]:
    """Each in a network namespace of its own: caller, scheduler and workers meet on a bridge."""
    names = [f"edgeinfer{os.getpid()}-{number}" for number in range(2 + workers)]
    with _network(names):
        places = [["ip", "netns", "exec", name] for name in names]
        with _running(Machines(places, "10.0.0.2")) as machines:
            yield machines
