"""A folder with the demo's files, and the command line on it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgeinfer.cli.commands import edgeinfer


@pytest.fixture(scope="session")
def demo_files(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("demo")
    done = CliRunner().invoke(edgeinfer, ["demo", "-o", str(folder)])
    assert done.exit_code == 0, done.stderr
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def workspace(demo_files, tmp_path, monkeypatch) -> Path:
    """A new folder with the demo's files, which is also the working directory."""
    for name, content in demo_files.items():
        (tmp_path / name).write_bytes(content)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for variable in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


class CommandLine:
    """``edgeinfer`` as it is typed, without the first word."""

    def __call__(self, line: str) -> Result:
        return CliRunner().invoke(edgeinfer, line.split(), prog_name="edgeinfer")

    def json(self, line: str) -> dict:
        done = self(f"{line} --json")
        assert (done.exit_code, done.stderr) == (0, "")
        return json.loads(done.stdout)

    def refusal(self, line: str) -> str:
        """The one line on stderr of a command that is refused."""
        done = self(line)
        assert (done.exit_code, done.stdout) == (1, "")
        (message,) = done.stderr.splitlines()
        return message


@pytest.fixture
def cli(workspace) -> CommandLine:
    return CommandLine()
