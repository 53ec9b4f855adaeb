"""A file is written whole or not at all, and a refusal says why in one line."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgeinfer.errors import OutputError
from edgeinfer.files.atomic_write import atomic_write, check_distinct, check_writable
from edgeinfer.files.new_folder import write_new_folder
from tests.refusals import needs_full_device

unless_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere"
)


def refusal(path) -> str:
    with pytest.raises(OutputError) as refused:
        atomic_write(path, b"new")
    return str(refused.value)


def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path):
    before = os.umask(0o027)
    try:
        atomic_write(tmp_path / "a", b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
    assert (tmp_path / "a").read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_an_old_file_is_replaced_and_a_link_is_followed(tmp_path):
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    atomic_write(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_name_as_long_as_a_name_can_be(tmp_path):
    atomic_write(tmp_path / ("a" * 255), b"new")
    path = tmp_path / ("a" * 256)
    assert refusal(path) == f"cannot write {path}: File name too long"


def test_a_missing_folder_is_named(tmp_path):
    path = tmp_path / "none" / "a"
    assert refusal(path) == f"cannot write {path}: there is no folder {tmp_path / 'none'}"
    with pytest.raises(OutputError):
        check_writable(path)


def test_a_folder_is_not_replaced(tmp_path):
    assert refusal(tmp_path) == f"cannot write {tmp_path}: it is a folder"


def test_a_file_that_may_not_be_written_to_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"kept")
    monkeypatch.setattr(os, "access", lambda asked, mode: asked != path)
    assert refusal(path) == f"cannot write {path}: permission denied"
    assert path.read_bytes() == b"kept"


def test_results_in_a_folder_that_is_gone_are_refused(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(OutputError) as caught:
        check_distinct(Path("a"), Path("b"))
    assert str(caught.value) == "cannot write a: No such file or directory"


@unless_root
def test_a_folder_that_may_not_be_written_to_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    path = tmp_path / "a"
    assert refusal(path) == f"cannot write {path}: permission denied"


@needs_full_device
def test_a_full_device_is_refused_and_stays_a_device():
    assert refusal("/dev/full") == "cannot write /dev/full: No space left on device"
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


def test_an_interruption_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        atomic_write(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_the_result_is_made_from_is_kept(tmp_path):
    source, link = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"old")
    link.symlink_to(source)
    for path in (source, link, tmp_path / "." / "a"):
        with pytest.raises(OutputError) as caught:
            check_writable(path, tmp_path / "missing", source)
        assert str(caught.value) == f"cannot write {path}: the result is made from it"


KILLED = """
import os, signal, sys
from edgeinfer.files.atomic_write import atomic_write
from edgeinfer.files.new_folder import write_new_folder
from pathlib import Path

def killed(*given):
    os.kill(os.getpid(), signal.SIGKILL)

os.fsync = Path.chmod = killed
if sys.argv[1] == "file":
    atomic_write("a", b"new")
else:
    write_new_folder(Path("a"), {"b/c": b"new"})
"""


def left_by_a_kill(kind: str, folder: Path) -> Path:
    """The draft of a process that was killed while it wrote."""
    command = [sys.executable, "-c", KILLED, kind]
    assert subprocess.run(command, cwd=folder, check=False).returncode == -signal.SIGKILL
    (draft,) = folder.iterdir()
    return draft


def aged(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then), follow_symlinks=False)


DAY = 24 * 60 * 60


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("again", ["file", "folder"])
def test_what_a_killed_process_left_is_removed_a_day_later(tmp_path, kind, again):
    draft = left_by_a_kill(kind, tmp_path)

    def write(name: str) -> None:
        if again == "file":
            atomic_write(tmp_path / name, b"new")
        else:
            write_new_folder(tmp_path / name, {"b": b"new"})

    aged(draft, DAY - 60)
    write("x")
    assert sorted(p.name for p in tmp_path.iterdir()) == [draft.name, "x"]
    aged(draft, DAY + 60)
    write("y")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x", "y"]


def test_files_of_others_and_what_links_lead_to_are_not_swept(tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "a").write_bytes(b"kept")
    where = tmp_path / "where"
    where.mkdir()
    (where / f".edgeinfer-{'0' * 16}.tmp").symlink_to(theirs)
    (where / ".edgeinfer-notes.tmp").write_bytes(b"kept")
    for path in (*where.iterdir(), theirs):
        aged(path, 9 * DAY)
    atomic_write(where / "x", b"new")
    assert sorted(p.name for p in where.iterdir()) == [".edgeinfer-notes.tmp", "x"]
    assert (theirs / "a").read_bytes() == b"kept"
