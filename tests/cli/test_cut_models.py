"""A model that can be taken in part only: each command says where to cut it, and cuts it there."""

import json

import numpy as np
import pytest

from edgeinfer.files.model_file import read
from edgeinfer.graph import operators as ops
from edgeinfer.quant import refusals
from tests.converters.onnx_agreement import model, node


@pytest.fixture
def unsupported(workspace, monkeypatch):
    """A model of which LRN, had it no rule, left the first half to quantize, and data for it."""
    monkeypatch.setattr(refusals, "is_supported", lambda op: not isinstance(op, ops.LRN))
    nodes = [
        node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        node("Relu", ["c"], ["r"], name="relu"),
        node("LRN", ["r"], ["l"], name="odd", size=3),
        node("GlobalAveragePool", ["l"], ["y"], name="pool"),
    ]
    rng = np.random.default_rng(1)
    weights = {"w": rng.normal(size=(4, 3, 3, 3)).astype("f4")}
    proto = model(nodes, ["N", 3, 6, 6], weights)
    (workspace / "half.onnx").write_bytes(proto.SerializeToString())
    np.save(workspace / "half.npy", rng.normal(size=(20, 3, 6, 6)).astype("f4"))


def test_inspect_says_what_quantize_would_refuse(cli, unsupported):
    said = cli("inspect half.onnx")
    assert said.stderr == (
        "warning: quantize will refuse this model: 1 of 5 operators cannot be made integer yet: "
        "LRN 'odd'; replace them in the model, or cut it before them with --output r\n"
    )
    assert "about" not in said.stdout
    assert json.loads(cli("inspect half.onnx --json").stdout)["flash_bytes"] is None
    cut = cli("inspect half.onnx --output r")
    assert cut.stderr == ""
    assert "about 0.1 KiB in int8" in cut.stdout


def test_a_model_is_quantized_and_compared_where_it_is_cut(cli, workspace, unsupported):
    cli("quantize half.onnx --data half.npy -o half.eqm --output r")
    assert read(workspace / "half.eqm").outputs == ("r",)
    layers = cli.json("compare half.onnx half.eqm --data half.npy")["layers"]
    assert min(layer["sqnr_db"] for layer in layers) > 30


def test_a_model_that_begins_at_a_cut_is_compared_there(cli, workspace, unsupported):
    np.save(workspace / "inner.npy", np.random.default_rng(2).normal(size=(20, 4, 6, 6)))
    cli("quantize half.onnx --data inner.npy -o inner.eqm --input c --output r")
    assert read(workspace / "inner.eqm").inputs == ("c",)
    layers = cli.json("compare half.onnx inner.eqm --data inner.npy")["layers"]
    assert [layer["value"] for layer in layers] == ["r"]


def test_an_axis_that_is_no_batch_is_asked_for_as_an_option(cli, workspace):
    proto = model([node("Softmax", ["x"], ["y"], axis=0)], ["time", 8])
    (workspace / "time.onnx").write_bytes(proto.SerializeToString())
    assert cli.refusal("inspect time.onnx") == (
        "error: input 'x' leaves its first axis open, which is no batch of samples: "
        "Softmax 'y' mixes what lies along it; give its whole shape, as in --shape x=50x8"
    )
    assert cli.json("inspect time.onnx --shape x=50x8")["inputs"][0]["shape"] == [50, 8]


def test_a_size_counts_external_data(cli, workspace):
    proto = model([node("MatMul", ["x", "w"], ["y"])], (1, 64), {"w": np.ones((64, 64), "f4")})
    (weights,) = proto.graph.initializer
    (workspace / "weights.bin").write_bytes(weights.raw_data)
    weights.ClearField("raw_data")
    weights.data_location = weights.EXTERNAL
    weights.external_data.add(key="location", value="weights.bin")
    (workspace / "big.onnx").write_bytes(proto.SerializeToString())
    sizes = cli.json("convert big.onnx -o big.eqm")["bytes"]
    assert sizes["model"] == 64 * 64 * 4 + (workspace / "big.onnx").stat().st_size
