"""An ONNX file runs beside its import, by onnxruntime or onnx's own evaluator, with one result."""

import sys

import numpy as np

from edgeinfer.cli.onnx_peer import onnx_peer
from edgeinfer.demo import MODEL, TEST
from edgeinfer.errors import InputError
from tests.converters.onnx_agreement import model, node
from tests.refusals import refused

FEED = {"image": np.load(TEST)["image"][:1].astype(np.float32)}


def test_both_peers_agree(monkeypatch):
    first = onnx_peer(MODEL, {})(FEED)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    second = onnx_peer(MODEL, {})(FEED)
    assert first.keys() == second.keys() == {"scores"}
    np.testing.assert_allclose(first["scores"], second["scores"], rtol=1e-4, atol=1e-4)


def test_both_peers_give_an_input_the_number_that_it_always_has(tmp_path, monkeypatch):
    proto = model([node("Mul", ["x", "gain"], ["y"])], inputs={"x": (1, 3), "gain": (1, 3)})
    (tmp_path / "loud.onnx").write_bytes(proto.SerializeToString())
    peer, x = onnx_peer(tmp_path / "loud.onnx", {"gain": 2}), np.ones((1, 3), "f4")
    assert peer({"x": x})["y"].tolist() == [[2, 2, 2]]
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert peer({"x": x})["y"].tolist() == [[2, 2, 2]]


def test_a_model_that_the_peer_cannot_run_is_said_in_one_line(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model")
    with refused(
        "broken.onnx cannot be run to compare with: [ONNXRuntimeError] : 7 : INVALID_PROTOBUF : "
        f"Load model from {path} failed:Protobuf parsing failed.",
        InputError,
    ):
        onnx_peer(path, {})(FEED)
