"""A model that hands its state on through its edges keeps it, in every command."""

import numpy as np
import pytest

import edgeinfer
from edgeinfer.errors import InputError
from edgeinfer.files.model_file import read
from tests.converters.test_fixing import detector
from tests.converters.test_states import cell
from tests.recurrent_models import recurrent
from tests.refusals import refused


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
    assert done.stdout.endswith(
        "each run takes up what the one before left, so no samples can be held back;\n"
        "evaluate --against judges the sequence of others\n"
    )


def test_peers_are_timed_in_the_first_state(cli, network):
    cli("quantize cell.onnx --data sequence.npy -o cell.eqm --state h0=hn")
    found = cli.json("bench cell.eqm --runs 1 --rounds 1 --against cell.onnx --data sequence.npy")
    assert "onnxruntime float32" in {each["name"] for each in found["against"]["timings"]}
    calibration = "40 samples of sequence.npy, all in the first state"
    assert found["against"]["calibration"] == calibration


KEEP = "to keep what a run leaves for the next, --state h0=hn"


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (
            "sequence.npy",
            f"sequence.npy: the data is for 'sequence.npy', but the model's inputs are 'x', 'h0'; "
            f"{KEEP}",
        ),
        (
            "x.npz",
            f"x.npz: the data is for 'x', but the model's inputs are 'x', 'h0'; {KEEP}",
        ),
        ("x.csv", f"such data feeds one input, but the model has 2; give an .npz; {KEEP}"),
        ("z.npz", "z.npz: the data is for 'z', 'x', but the model's inputs are 'x', 'h0'"),
    ],
)
def test_data_that_lacks_only_a_likely_state_says_how_to_keep_it(
    cli, workspace, network, file, message
):
    x = np.load("sequence.npy")
    np.savez("x.npz", x=x)
    np.savez("z.npz", z=x, x=x)
    np.savetxt("x.csv", x, delimiter=",")
    assert cli.refusal(f"quantize cell.onnx --data {file} -o cell.eqm") == f"error: {message}"


def test_data_that_has_states_says_who_keeps_them(cli, workspace, network):
    cli("quantize cell.onnx --data sequence.npy -o cell.eqm --state h0=hn")
    np.savez("both.npz", x=np.load("sequence.npy"), h0=np.zeros((40, 6), "f4"))
    assert cli.refusal("run cell.eqm --data both.npz") == (
        "error: both.npz: the data is for 'x', 'h0', but the model's inputs are 'x'; "
        "the model keeps its states itself"
    )


def test_a_constant_input_that_is_a_likely_state_is_told(cli, workspace, network):
    np.savez("both.npz", x=np.load("sequence.npy"), h0=np.zeros((40, 6), "f4"))
    assert (
        "warning: input 'h0' is 0 everywhere in all calibration samples, so its range is a guess; "
        "calibrate with samples as the model will see them, or keep it from run to run with "
        "--state h0=hn\n"
    ) in cli("quantize cell.onnx --data both.npz -o cell.eqm").stderr


def test_advice_on_states_is_python_in_python():
    with refused(
        "the model has inputs 'x', 'h0': give arrays by name, not one array; "
        "to keep what a run leaves for the next, states={'h0': 'hn'}",
        InputError,
    ):
        edgeinfer.quantize(cell(), np.zeros((8, 5), "f4"))


def test_a_state_that_is_none_wrong(cli, network):
    assert cli.refusal("convert cell.onnx -o cell.eqm --state h=hn") == (
        "error: a state is an input and an output, and there is no input 'h'; the inputs are: x, h0"
    )
    misspelt = cli("convert cell.onnx -o cell.eqm --state h0")
    assert misspelt.exit_code == 2
    assert "'h0' is not of the form IN=OUT, or auto alone" in misspelt.stderr


def test_a_model_of_sequences_is_quantized_to_take_them_in_steps(cli, workspace):
    proto = recurrent("GRU", "b", sizes=(1, 6, 8, 5), layout=1, outputs=("y",))
    (workspace / "gru.onnx").write_bytes(proto.SerializeToString())
    sequences = np.random.default_rng(1).normal(size=(20, 6, 5)).astype("f4")
    np.save(workspace / "sequences.npy", sequences)
    for options in ("-o whole.eqm", "--stream 2 -o steps.eqm"):
        done = cli(f"quantize gru.onnx --data sequences.npy {options}")
        assert done.exit_code == 0, done.stderr
    assert "\nstate       y/initial, before y#memory/initial/next: int16[1x8]" in (
        cli("inspect steps.eqm").stdout
    )
    np.save(workspace / "one.npy", sequences[:1])
    np.save(workspace / "pairs.npy", sequences[0].reshape(3, 2, 5))
    found = {}
    for model, data in (("whole", "one"), ("steps", "pairs")):
        assert cli(f"run {model}.eqm --data {data}.npy -o {data}_y.npz").exit_code == 0
        found[model] = np.load(workspace / f"{data}_y.npz")["y"]
    np.testing.assert_array_equal(found["steps"].ravel(), found["whole"].ravel())
    for command in (
        "evaluate steps.eqm --data pairs.npy --against gru.onnx",
        "compare gru.onnx steps.eqm --data pairs.npy",
        "bench steps.eqm --runs 1 --rounds 1 --against gru.onnx",
    ):
        assert cli.refusal(command) == (
            "error: steps.eqm takes 2 steps a run, and gru.onnx whole sequences: give what "
            "quantize makes without --stream, which computes the same bits"
        )
    assert cli.refusal("run steps.eqm --data sequences.npy") == (
        "error: sequences.npy: input 'x' has shape [1, 2, 5], but the data has shape [20, 6, 5]; "
        "the model takes 2 steps of a sequence a run: give those of one sequence as [runs, 2, 5]"
    )


def test_sequences_that_have_no_steps_of_their_own_are_refused(cli, workspace):
    proto = recurrent("GRU", direction="reverse", sizes=(1, 6, 8, 5), layout=1, outputs=("y",))
    (workspace / "gru.onnx").write_bytes(proto.SerializeToString())
    np.save(workspace / "sequences.npy", np.zeros((20, 6, 5), "f4"))
    assert cli.refusal("quantize gru.onnx --data sequences.npy --stream 1 -o steps.eqm") == (
        "error: GRU 'y': goes backwards, so sequences cannot be taken in steps"
    )


def test_an_input_that_is_always_the_same_is_given_once(cli, workspace):
    (workspace / "rate.onnx").write_bytes(detector().SerializeToString())
    np.save(workspace / "x.npy", np.random.default_rng(2).normal(size=(40, 6)).astype("f4"))
    assert "what is always the same can be given with --constant sr=...;" in cli.refusal(
        "inspect rate.onnx"
    )
    how = "--constant sr=16000 --constant gain=2"
    done = cli(f"quantize rate.onnx --data x.npy -o rate.eqm --scheme int16 {how}")
    assert (done.exit_code, done.stderr) == (0, "")
    assert read(workspace / "rate.eqm").inputs == ("x",)
    # the .eqm knows what its .onnx was given
    layers = cli.json("compare rate.onnx rate.eqm --data x.npy")["layers"]
    assert min(layer["sqnr_db"] for layer in layers) > 60
    line = "bench rate.eqm --runs 1 --rounds 1 --against rate.onnx --data x.npy"
    peers = {each["name"] for each in cli.json(line)["against"]["timings"]}
    assert peers >= {"onnxruntime float32", "onnxruntime int8 (u8)"}
    misspelt = cli("inspect rate.onnx --constant sr=fast")
    assert misspelt.exit_code == 2
    assert "'sr=fast' is not of the form NAME=NUMBER" in misspelt.stderr


def test_an_eqm_is_given_no_other_states_wrong(cli, network):
    cli("quantize cell.onnx --data sequence.npy -o cell.eqm --state auto")
    for option in ("--state auto", "--constant h0=1"):
        assert cli.refusal(f"inspect cell.eqm {option}") == (
            "error: cell.eqm has the states and constants that it was made with: give the model "
            "that it was made from to choose others"
        )
