"""Whatever a caller names a file by, public functions take it or say what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgeinfer
from edgeinfer.converters import from_onnx, from_tflite, to_c, to_tflite
from edgeinfer.converters.qdq import to_qdq
from edgeinfer.data import load_data
from edgeinfer.errors import InputError
from edgeinfer.files.file_name import as_path
from tests.refusals import refused

MODEL = Path(__file__).parents[1] / "model_file/released/0.1.0/digits.int8.eqm"
GRAPH = edgeinfer.read(MODEL)

CALLS = {
    "load": edgeinfer.load,
    "read": edgeinfer.read,
    "save": lambda name: edgeinfer.save(GRAPH, name),
    "from_onnx": from_onnx,
    "from_tflite": from_tflite,
    "load_data": lambda name: load_data(name, GRAPH),
    "quantize": lambda name: edgeinfer.quantize(name, np.zeros((4, 1))),
}


class OfBytes:
    def __fspath__(self) -> bytes:
        return b"model.eqm"


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("name", "kind"), [(None, "None"), (3, "int"), (["a"], "list"), (OfBytes(), "OfBytes")]
)
def test_what_names_no_file_wrong(call, name, kind):
    message = f"a file is named by a string or a pathlib.Path, not by {kind}"
    with refused(message, InputError):
        CALLS[call](name)


@pytest.mark.parametrize("call", ["load", "read", "save", "load_data"])
def test_bytes_name_no_file(call):
    message = "a file is named by a string or a pathlib.Path, not by bytes"
    with refused(message, InputError):
        CALLS[call](b"model.eqm")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", ["\ud800.eqm", "a\0b.eqm"])
def test_a_name_that_no_file_can_have_wrong(call, name):
    with refused(f"{name!r} is no name that a file can have", InputError):
        CALLS[call](name)


@pytest.mark.parametrize(
    "takes", [lambda given: edgeinfer.save(given, "a"), edgeinfer.verify, to_c, to_qdq, to_tflite]
)
def test_a_model_s_name_is_no_graph(takes):
    message = "a Graph is wanted, not str: edgeinfer.read gives that of an .eqm file"
    with refused(message, InputError):
        takes("model.eqm")


def test_a_name_that_is_not_utf_8_is_one(tmp_path):
    path = tmp_path / "\udcff.eqm"
    edgeinfer.save(GRAPH, path)
    assert edgeinfer.load(str(path)).inputs
    assert as_path(str(path)) == path
