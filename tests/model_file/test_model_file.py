"""A Graph survives its model file exactly, one Graph has one file, and a wrong file is refused."""

import dataclasses
import hashlib
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from edgeinfer.arithmetic.tables import function_table
from edgeinfer.errors import InputError, ModelError, ModelFileError, OutputError
from edgeinfer.files.model_file import from_bytes, read, save, to_bytes
from edgeinfer.graph import Graph, Node, Preparation, Quantization, State, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.meaning import float_executor, reference
from edgeinfer.runtime.session import Session
from edgeinfer.version import __version__
from tests.model_file.digits_models import digits, digits_file, parts, sealed
from tests.refusals import refused

SCHEMES = ["float32", "int8", "int16x8", "int16"]


def small(op: ops.Operator, shape: tuple[int, ...] = (2, 3), **fields) -> Graph:
    types = {"x": TensorType(shape), "y": TensorType(shape)}
    return Graph("small", (Node("n", op, ("x",), ("y",)),), types, ("x",), ("y",), {}, **fields)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_graph_comes_back_as_it_was(scheme):
    graph, back = digits(scheme), from_bytes(digits_file(scheme))
    for field in dataclasses.fields(Graph):
        if field.name != "constants":
            assert getattr(back, field.name) == getattr(graph, field.name)
    assert back.constants.keys() == graph.constants.keys()
    for name, array in graph.constants.items():
        np.testing.assert_array_equal(back.constants[name], array, strict=True)
    assert to_bytes(back) == digits_file(scheme)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_comes_back_computes_the_same(scheme):
    graph, back = digits(scheme), from_bytes(digits_file(scheme))
    execute = (float_executor if scheme == "float32" else reference).execute
    x = np.random.default_rng(3).integers(0, 17, (1, 1, 8, 8))
    feed = {"image": x.astype(graph.types["image"].dtype)}
    np.testing.assert_array_equal(execute(back, feed)["scores"], execute(graph, feed)["scores"])


def test_three_fresh_processes_write_the_same_bytes():
    program = (
        "import hashlib; from tests.model_file.digits_models import digits_file; "
        "print([hashlib.sha256(digits_file(s)).hexdigest() for s in ('float32', 'int8')])"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "77")
    }
    here = [hashlib.sha256(digits_file(s)).hexdigest() for s in ("float32", "int8")]
    assert printed == {f"{here}\n"}


def test_the_order_of_dictionaries_does_not_show():
    graph = digits("int8")
    backwards = replace(
        graph,
        types=dict(reversed(graph.types.items())),
        constants=dict(reversed(graph.constants.items())),
    )
    assert to_bytes(backwards) == digits_file("int8")


def test_the_only_metadata_is_one_text_in_canonical_form():
    data = digits_file("int8")
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    assert list(metadata) == ["edgeinfer"]
    document = json.loads(metadata["edgeinfer"])
    assert metadata["edgeinfer"] == json.dumps(document, sort_keys=True, separators=(",", ":"))
    assert document["contract"] == "EI-1"
    assert sealed(*parts(data)) == data


@pytest.mark.parametrize(
    "op",
    [
        ops.Pointwise(("clip", "x", -math.inf, 0.1)),
        ops.Pointwise(("mul", "x", ("sigmoid", ("mul", "x", 1.702)))),
        ops.Pad((0, 0), (0, 0), "constant", -0.0),
        ops.Pad((0, 0), (0, 0), "constant", 5e-324),
        ops.Transpose((0, 1)),
        ops.Reshape((2, 3)),
    ],
    ids=str,
)
def test_every_kind_of_attribute_comes_back(op):
    (node,) = from_bytes(to_bytes(small(op))).nodes
    assert repr(node.op) == repr(op)


def test_labels_and_provenance_come_back():
    graph = small(ops.Reshape((2, 3)), labels=("ä", "猫", ""), provenance={"source": "x\ny"})
    back = from_bytes(to_bytes(graph))
    assert (back.labels, back.provenance) == (graph.labels, graph.provenance)


def test_states_and_preparation_come_back():
    picture = TensorType((1, 4, 5, 3))
    how = Preparation("nhwc", "bgr", size=6, mean=(0.5, 1.0, 2.0), std=(0.25,))
    node = Node("n", ops.Add(), ("x", "before"), ("y",))
    graph = Graph(
        "g",
        (node,),
        dict.fromkeys(("x", "before", "y", "zero"), picture),
        ("x",),
        ("y",),
        {"zero": np.zeros(picture.shape, "f4")},
        states=(State("before", "y", "zero"),),
        preparation={"x": how},
    )
    back = from_bytes(to_bytes(graph))
    assert (back.states, back.preparation) == (graph.states, graph.preparation)


def test_a_table_keeps_its_function_and_says_no_more_where_it_has_none():
    expression = ("clip", ("mul", "x", -0.5), -math.inf, 3.0)
    integers = (0.5, 0, "int16")
    entries = function_table(expression, (-1.0, 2.5), integers, integers, 513)
    kind = TensorType((3,), "int16", Quantization.per_tensor(0.5))
    types = {"x": kind, "t": TensorType((513,), "int16"), "y": kind}
    for op in (ops.Lookup(expression, (-1.0, 2.5)), ops.Lookup()):
        nodes = (Node("n", op, ("x", "t"), ("y",)),)
        graph = Graph("g", nodes, types, ("x",), ("y",), {"t": entries})
        data = to_bytes(graph)
        (node,) = parts(data)[0]["graph"]["nodes"]
        assert ("attributes" in node) == (op.expression is not None)
        assert from_bytes(data).nodes == graph.nodes


# ---- files of other versions --------------------------------------------------------------------

RELEASED = Path(__file__).parent / "released"


@pytest.mark.parametrize("path", sorted(RELEASED.glob("*/*.eqm")), ids=lambda p: str(p.name))
def test_a_file_of_every_released_version_gives_its_outputs(path):
    session, known = Session(read(path)), np.load(path.with_suffix(".npz"))
    (name,) = (info.name for info in session.outputs)
    given = {info.name: known[info.name] for info in session.inputs}
    np.testing.assert_array_equal(session.run(given), known[name], strict=True)


def test_what_is_by_default_is_left_out_and_so_survives_attributes_to_come():
    document, constants = parts(digits_file("int8"))
    assert all("lo" not in node.get("attributes", {}) for node in document["graph"]["nodes"][1:])
    document["graph"]["nodes"][1].setdefault("attributes", {})["dilations"] = [1, 1]
    with pytest.raises(ModelFileError, match=r"^the graph's JSON is not in its canonical form$"):
        from_bytes(sealed(document, constants))


def test_a_file_needs_the_version_of_the_newest_that_it_uses(monkeypatch):
    graph = small(ops.Reshape((2, 3)))
    assert parts(to_bytes(graph))[0]["needs"] == "0.2.0"
    monkeypatch.setattr(ops.Reshape, "since", "0.9.1")
    newer = to_bytes(graph)
    with pytest.raises(ModelFileError) as refusal:
        from_bytes(newer)
    assert str(refusal.value) == (
        f"the file needs edgeinfer 0.9.1 or newer, and this is {__version__}"
    )


def test_a_constant_without_axes_and_one_that_is_not_contiguous_come_back():
    types = {"x": TensorType((2, 3)), "c": TensorType(()), "d": TensorType((2, 3))}
    types |= {"y": TensorType((2, 3)), "z": TensorType((2, 3))}
    nodes = (Node("n", ops.Mul(), ("x", "c"), ("y",)), Node("m", ops.Add(), ("y", "d"), ("z",)))
    constants = {
        "c": np.float32(0.1) * np.ones((), "f4"),
        "d": np.arange(6, dtype="f4").reshape(3, 2).T,
    }
    back = from_bytes(to_bytes(Graph("g", nodes, types, ("x",), ("z",), constants)))
    for name, array in constants.items():
        np.testing.assert_array_equal(back.constants[name], array, strict=True)


def test_a_graph_that_is_not_legal_is_not_written(tmp_path):
    graph = replace(small(ops.Reshape((2, 3))), outputs=("nowhere",))
    with pytest.raises(ModelError, match=r"^value 'nowhere' has no type$"):
        save(graph, tmp_path / "a.eqm")
    assert list(tmp_path.iterdir()) == []


def test_a_constant_with_safetensors_own_key_is_refused():
    types = {"x": TensorType((2,)), "__metadata__": TensorType((2,)), "y": TensorType((2,))}
    nodes = (Node("n", ops.Add(), ("x", "__metadata__"), ("y",)),)
    graph = Graph("g", nodes, types, ("x",), ("y",), {"__metadata__": np.zeros(2, "f4")})
    with pytest.raises(
        ModelError, match=r"^a constant cannot be called '__metadata__' in a model file$"
    ):
        to_bytes(graph)


# ---- files that are something else --------------------------------------------------------------


def edited(edit, scheme="int8") -> bytes:
    document, constants = parts(digits_file(scheme))
    edit(document, constants)
    return sealed(document, constants)


def rename_key(document, constants):
    document["graph"]["nodes"][1].setdefault("attributes", {})["lo2"] = 3


def drop_constant(document, constants):
    del document["graph"]["types"][sorted(constants)[0]]


WRONG = {
    "a newer format": (
        lambda d, c: d.update(format=3, needs="0.7.0", more=1),
        f"the file needs edgeinfer 0.7.0 or newer, and this is {__version__}",
    ),
    "a version that is none": (
        lambda d, c: d.update(needs="soon"),
        "the field 'needs' cannot be 'soon'",
    ),
    "another contract": (
        lambda d, c: d.update(contract="EI-2"),
        "the file is for arithmetic 'EI-2', but this edgeinfer computes EI-1; quantize the model "
        "again",
    ),
    "a format that is a bool": (
        lambda d, c: d.update(format=True),
        "the field 'format' cannot be True",
    ),
    "a missing field": (lambda d, c: d.pop("graph"), "the file lacks 'graph'"),
    "an unknown field": (lambda d, c: d.update(code="x"), "the file has an unknown field 'code'"),
    "a graph that is a list": (lambda d, c: d.update(graph=[]), "the field 'graph' cannot be []"),
    "a label that is a number": (
        lambda d, c: d.update(labels=[3]),
        "the field 'labels' cannot hold 3",
    ),
    "an unknown operator": (
        lambda d, c: d["graph"]["nodes"][0].update(operator="System"),
        "node '{first}' has an unknown operator 'System'",
    ),
    "an unknown attribute": (
        rename_key,
        "node '{second}' has an unknown field 'lo2'",
    ),
    "an attribute of the wrong type": (
        lambda d, c: d["graph"]["nodes"][1]["attributes"].update(lo=0.5),
        "QConv {second!r}: QConv.lo cannot be 0.5",
    ),
    "an attribute out of range": (
        lambda d, c: d["graph"]["nodes"][1]["attributes"].update(strides=[1, 0]),
        "QConv {second!r}: QConv.strides cannot be (1, 0)",
    ),
    "a constant without a type": (drop_constant, "the constant {constant!r} has no type"),
    "a type that is a list": (
        lambda d, c: d["graph"]["types"].update(image=[]),
        "the type of 'image' is not an object",
    ),
    "an extent of 0": (
        lambda d, c: d["graph"]["types"]["image"].update(shape=[1, 0]),
        "an extent must be between 1 and 2147483647, not 0",
    ),
    "a state that is no text": (
        lambda d, c: d["graph"].update(states=[{"input": {}, "output": "a", "first": "b"}]),
        "a state: input cannot be {{}}",
    ),
    "a preparation of a picture with no pixels": (
        lambda d, c: d.update(
            preparation={"image": {"layout": "nchw", "channels": "grey", "size": 0}}
        ),
        "the preparation of 'image': an image's size must be between 1 and 65536, not 0",
    ),
    "a scale that overflows float32": (
        lambda d, c: d["graph"]["types"]["image"]["quantization"].update(scale=[1e300]),
        "a scale must be a positive finite float32, not inf",
    ),
}


@pytest.mark.parametrize("edit, message", WRONG.values(), ids=WRONG.keys())
def test_a_field_that_cannot_be_is_refused(edit, message):
    document, constants = parts(digits_file("int8"))
    names = [node["name"] for node in document["graph"]["nodes"]]
    message = message.format(first=names[0], second=names[1], constant=sorted(constants)[0])
    with pytest.raises(ModelError) as refusal:
        from_bytes(edited(edit))
    assert str(refusal.value) == message


def test_bytes_that_are_changed_are_noticed():
    damaged = bytearray(digits_file("int8"))
    damaged[-1] ^= 1
    with pytest.raises(ModelFileError) as refusal:
        from_bytes(bytes(damaged))
    assert str(refusal.value) == "the file is damaged: its checksum does not match"


@pytest.mark.parametrize(
    "text, message",
    [
        ("[" * 100_000, "the graph is not valid JSON: "),
        ("{", "the graph is not valid JSON: "),
        ('{"a":1e999}', "the graph is not valid JSON: "),
        ('{"a": 1}', "the graph's JSON is not in its canonical form"),
        ('{"b":1,"a":1}', "the graph's JSON is not in its canonical form"),
        ('{"a":1,"a":1}', "the graph's JSON is not in its canonical form"),
        ("[]", "the graph's JSON is not an object"),
        ("9" * 5000, "the graph is not valid JSON: "),
    ],
    ids=range(8),
)
def test_text_that_is_not_canonical_json_is_refused(text, message):
    with pytest.raises(ModelFileError) as refusal:
        from_bytes(sealed({}, {}, text=text))
    assert str(refusal.value).startswith(message)


@pytest.mark.parametrize("metadata", [None, {"a": "b"}, {"edgeinfer": "{}", "a": "b"}])
def test_a_safetensors_file_of_others_is_refused(metadata):
    data = bytes(safetensors.numpy.save({"w": np.zeros(2, "f4")}, metadata=metadata))
    with pytest.raises(
        ModelFileError, match=r"^not an \.eqm file: its metadata is not the one key 'edgeinfer'$"
    ):
        from_bytes(data)


def test_a_pickle_is_not_run():
    with pytest.raises(ModelFileError, match=r"^not an \.eqm file, or a damaged one: "):
        from_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")


# ---- on the disk --------------------------------------------------------------------------------


def test_a_saved_file_reads_back_and_has_the_permissions_of_any_new_file(tmp_path):
    save(digits("int8"), tmp_path / "a.eqm")
    (tmp_path / "plain").touch()
    assert (tmp_path / "a.eqm").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert to_bytes(read(tmp_path / "a.eqm")) == digits_file("int8")


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "a.eqm"
    path.write_bytes(digits_file("int8")[:-1])
    with pytest.raises(ModelFileError) as refusal:
        read(path)
    assert str(refusal.value).startswith(f"{path}: not an .eqm file, or a damaged one: ")


def test_a_file_above_the_limit_is_not_read(tmp_path):
    path = tmp_path / "a.eqm"
    save(digits("int8"), path)
    size = path.stat().st_size
    with pytest.raises(InputError) as refusal:
        read(path, max_bytes=1000)
    assert str(refusal.value) == f"{path} has {size:,} bytes, and the limit is 1,000"


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(InputError) as refusal:
        read(tmp_path / "none.eqm")
    assert str(refusal.value) == f"there is no file {tmp_path / 'none.eqm'}"
    with pytest.raises(InputError) as refusal:
        read(tmp_path)
    assert str(refusal.value) == f"cannot read {tmp_path}: it is not a file"


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.eqm"
    path.write_bytes(b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError) as refusal:
        save(digits("int8"), path)
    assert str(refusal.value) == f"cannot write {path}: No space left on device"
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_onnx_file_is_told_from_a_damaged_one(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"\x08\x08")
    with refused(
        f"{path} is an ONNX model, not an .eqm file: make one of it with "
        "edgeinfer.quantize, or on the command line with: edgeinfer quantize",
        InputError,
    ):
        read(path)
