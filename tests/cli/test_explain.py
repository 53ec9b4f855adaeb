"""``edgeinfer explain``: findings, a mended file, refusals."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgeinfer.files.model_file import read

WRONG = "quantize digits.onnx --data wrong.npz --observer minmax --rounding-weights nearest"
EXPLAIN = "explain digits.onnx wrong.eqm --data digits_test.npz --samples 60"


@pytest.fixture
def wrong(cli, workspace) -> None:
    """The demo calibrated on pictures that were normalized once more."""
    pictures = np.load("digits_calib.npz")["image"].astype(np.float32)
    np.savez("wrong.npz", image=(pictures - 0.5) / 4)
    assert cli(f"{WRONG} -o wrong.eqm").exit_code == 0


def test_a_fault_is_named_and_mended(cli, wrong):
    found = cli.json(f"{EXPLAIN} --fix better.eqm")
    finding = found["findings"][0]
    assert finding["cause"] == "data unlike calibration's"
    assert finding["where"] == "image"
    assert finding["text"].endswith(", as if calibration's were normalized once more")
    assert finding["remedy"]["action"] == "calibrate again"
    fixed = found["fixed"]
    assert fixed["before"] == found["before"]
    gain = fixed["after"]["sqnr_db"] - fixed["before"]["sqnr_db"]
    assert gain >= finding["remedy"]["gain_db"] - 1e-6 > 10
    assert fixed["output"] == "better.eqm"
    assert "calibrated_on" in cli.json("inspect better.eqm")["provenance"]
    before, after = (read(Path(name)) for name in ("wrong.eqm", "better.eqm"))
    assert (after.labels, after.free_batch) == (before.labels, before.free_batch)
    evaluated = cli.json("evaluate better.eqm --data digits_test.npz --against digits.onnx")
    assert evaluated["agreement"] >= 0.99


def test_what_is_shown_fits_80_columns(cli, wrong):
    done = cli(f"{EXPLAIN} --worst 2 --fix better.eqm")
    assert done.exit_code == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "5 layers that add less are not shown" in done.stdout
    assert "1. data unlike calibration's: input 'image': calibration's data have" in done.stdout
    assert "   this alone undone: +" in done.stdout
    assert "   remedy: calibrate again with these data: +" in done.stdout
    assert "   remedy: that of finding 1" in done.stdout
    assert "--fix" not in done.stdout
    assert "did: calibrate again with these data" in done.stdout
    assert done.stdout.splitlines()[-1] == "wrote better.eqm"


def test_the_option_that_mends_is_named_where_something_would(cli, wrong):
    advice = "--fix OUT.eqm makes a file with the remedies that pay together"
    assert cli(EXPLAIN).stdout.splitlines()[-1] == advice
    fine = "quantize digits.onnx --data digits_calib.npz --scheme int16 -o fine.eqm"
    assert cli(fine).exit_code == 0
    assert advice not in cli(EXPLAIN.replace("wrong.eqm", "fine.eqm")).stdout


def test_what_calibration_saw_may_be_given(cli, wrong):
    given = cli.json(f"{EXPLAIN} --calibration digits_calib.npz")
    assert given["findings"][0]["cause"] != "data unlike calibration's"


def test_samples_are_as_many_as_were_asked_for(cli, wrong):
    done = cli("explain digits.onnx wrong.eqm --data digits_test.npz --samples 12 --json")
    few = json.loads(done.stdout)
    assert (few["samples"], few["judged_on"]) == (12, 12)
    assert done.stderr == "warning: of fewer than 16 samples this says little: give a hundred\n"
    # of more, a fifth is held back, and judges
    more = cli.json("explain digits.onnx wrong.eqm --data digits_test.npz --samples 60")
    assert (more["samples"], more["judged_on"], more["notes"]) == (60, 12, [])


def other_model(name: str, input_name: str, shape: list[int | str | None], output: str) -> None:
    """An ONNX model that only rectifies."""
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", [input_name], [output])],
        "other",
        [value(input_name, onnx.TensorProto.FLOAT, shape)],
        [value(output, onnx.TensorProto.FLOAT, shape)],
    )
    onnx.save(onnx.helper.make_model(graph), name)


@pytest.mark.parametrize(
    ("input_name", "shape", "output", "differs"),
    [
        (
            "x",
            ["n", 4],
            "y",
            "it takes 'image' of shape 1x1x8x8, and other.onnx takes 'x' of shape ?x4",
        ),
        (
            "image",
            [1, 3, 8, 8],
            "scores",
            "it takes 'image' of shape 1x1x8x8, and other.onnx takes 'image' of shape 1x3x8x8",
        ),
        ("image", ["n", 1, 8, 8], "y", "it gives 'scores', and other.onnx gives 'y'"),
    ],
)
def test_another_model_than_the_file_was_made_from_is_refused(
    cli, workspace, input_name, shape, output, differs
):
    other_model("other.onnx", input_name, shape, output)
    line = "explain other.onnx digits.eqm --data digits_test.npz"
    assert cli.refusal(line) == f"error: digits.eqm was not made from other.onnx: {differs}"


def test_the_same_model_with_other_weights_is_refused(cli, workspace):
    model = onnx.load("digits.onnx")
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.ndim == 4:
            tensor.CopyFrom(onnx.numpy_helper.from_array(-array, tensor.name))
    onnx.save(model, "retrained.onnx")
    refused = cli.refusal("explain retrained.onnx digits.eqm --data digits_test.npz")
    assert refused == (
        "error: the quantized model was not made from the float one: the weights of "
        "'node_Conv_68' are others"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "explain digits.eqm digits.onnx --data digits_test.npz",
            "error: give the float model first, and then the .eqm that was made of it: not "
            "digits.eqm and digits.onnx",
        ),
        (
            "explain digits.onnx digits.eqm --data digits_test.npz --fix digits.onnx",
            "error: cannot write digits.onnx: what is written is an .eqm file, not .onnx; name it "
            "digits.eqm, and export that: edgeinfer export digits.eqm --to qdq -o digits.onnx",
        ),
        (
            "explain digits.onnx digits.eqm --data none.npz",
            "error: there is no file none.npz",
        ),
        (
            "explain digits.onnx digits.eqm --data digits_test.npz --fix digits.eqm",
            "error: cannot write digits.eqm: the result is made from it",
        ),
    ],
)
def test_refusals(cli, workspace, line, message):
    before = (workspace / "digits.eqm").read_bytes()
    assert cli.refusal(line) == message
    assert (workspace / "digits.eqm").read_bytes() == before
