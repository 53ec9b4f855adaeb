"""A model that hands its state on through its edges keeps it, in every command."""

import numpy as np
import pytest

from edgeinfer.files.model_file import read
from tests.converters.test_states import cell


@pytest.fixture
def network(workspace):
    """A recurrent cell, and a sequence for it."""
    (workspace / "cell.onnx").write_bytes(cell().SerializeToString())
    np.save(workspace / "sequence.npy", np.random.default_rng(1).normal(size=(40, 5)).astype("f4"))


@pytest.mark.parametrize("option", ["--state h0=hn", "--state auto"])
def test_a_model_is_quantized_with_its_state(cli, workspace, network, option):
    done = cli(f"quantize cell.onnx --data sequence.npy -o cell.eqm --scheme int16 {option}")
    assert done.exit_code == 0, done.stderr
    graph = read(workspace / "cell.eqm")
    assert (graph.inputs, graph.outputs) == (("x",), ("y",))
    assert [(s.input, s.output) for s in graph.states] == [("h0", "hn")]
    assert "\nstate       h0, before hn: int16[1x6]" in cli("inspect cell.eqm").stdout
    said = cli("inspect cell.onnx").stdout
    assert "\nlikely state  --state h0=hn\n" in said
    layers = cli.json("compare cell.onnx cell.eqm --data sequence.npy")["layers"]
    assert min(layer["sqnr_db"] for layer in layers) > 60


def test_a_state_that_is_none_wrong(cli, network):
    assert cli.refusal("convert cell.onnx -o cell.eqm --state h=hn") == (
        "error: a state is an input and an output, and there is no input 'h'; the inputs are: x, h0"
    )
    misspelt = cli("convert cell.onnx -o cell.eqm --state h0")
    assert misspelt.exit_code == 2
    assert "'h0' is not of the form IN=OUT, or auto alone" in misspelt.stderr
