"""Each command does what its help says, prints it within 80 columns, and the same as JSON."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from edgeinfer import __version__, quant
from edgeinfer.cli import quantize as quantize_command
from edgeinfer.cli.commands import edgeinfer
from edgeinfer.files.model_file import read, save
from edgeinfer.graph import Graph, GraphBuilder, Node, TensorType
from edgeinfer.graph import operators as ops
from edgeinfer.graph.cost import cost
from edgeinfer.quant.schemes import Width
from edgeinfer.runtime.session import Session
from tests.runtime.test_streams import leaky_sum

HDL = edgeinfer.commands["hdl"].commands
COMMANDS = [*sorted(set(edgeinfer.commands) - {"hdl"}), *(f"hdl {name}" for name in sorted(HDL))]

# these take a board, or minutes: test_hdl.py and tests/hdl/boards run them on less
ELSEWHERE = {"hdl build", "hdl resources", "hdl run"}
LONG = {"hdl explore", "hdl export", "hdl simulate"}


HERE = [
    pytest.param(command, marks=pytest.mark.slow if command in LONG else ())
    for command in COMMANDS
    if command not in ELSEWHERE
]


def example(command: str) -> str:
    group, _, name = command.rpartition(" ")
    epilog = (HDL if group else edgeinfer.commands)[name].epilog
    assert epilog is not None
    return epilog.split("\n")[-1].strip().removeprefix("edgeinfer ")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_has_its_example(cli, command):
    assert example(command) in cli(f"{command} --help").stdout


def check_printed(printed: str) -> None:
    assert "\x1b" not in printed
    # an instruction is a line, however long, and so is an option that readers copy
    whole = re.compile(r"best: --config |[ \d]\d  [A-Z_]+ ")
    assert max(len(line) for line in printed.splitlines() if not whole.match(line)) <= 80


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_fits_80_columns_and_has_no_control_codes(cli, command):
    check_printed(cli(f"{command} --help").stdout)


@pytest.mark.parametrize("command", HERE)
def test_the_example_in_the_help_runs_and_what_it_prints_fits_80_columns(cli, command):
    done = cli(example(command))
    assert (done.exit_code, done.stderr) == (0, "")
    check_printed(done.stdout)


@pytest.mark.parametrize("command", HERE)
def test_the_example_gives_json(cli, command):
    done = cli(f"{example(command)} --json")
    assert (done.exit_code, done.stderr) == (0, "")
    assert isinstance(json.loads(done.stdout), dict)


def test_long_names_are_cut_at_their_beginning_and_numbers_are_not(cli, workspace):
    save(with_long_names(read(workspace / "digits.eqm")), workspace / "long.eqm")
    for line in ("inspect long.eqm", "bench long.eqm --runs 1"):
        printed = cli(line).stdout
        table = printed.split("\n\n")[0]
        assert max(map(len, table.splitlines())) <= 80
        assert "147,456" in table or line.startswith("bench")
        assert table.count("…") >= 6
    line = "compare long.eqm long.eqm --data digits_test.npz --samples 1"
    assert max(map(len, cli(line).stdout.splitlines())) <= 80


def with_long_names(graph: Graph) -> Graph:
    kept = {*graph.inputs, *graph.outputs, *graph.constants}

    def long(name: str) -> str:
        return name if name in kept else f"/{'module/' * 12}{name}"

    nodes = tuple(
        Node(long(n.name), n.op, tuple(map(long, n.inputs)), tuple(map(long, n.outputs)))
        for n in graph.nodes
    )
    return replace(graph, nodes=nodes, types={long(n): t for n, t in graph.types.items()})


def test_the_help_lists_every_command_and_the_version_is_the_package_s(cli):
    listed = cli("--help").stdout
    assert all(f"\n  {command} " in listed for command in edgeinfer.commands)
    assert all(f"\n  {command} " in cli("hdl --help").stdout for command in HDL)
    assert cli("--version").stdout == f"edgeinfer {__version__}\n"


def test_the_choices_are_those_of_the_quantizer():
    assert sorted(quantize_command.SCHEMES) == sorted(quant.SCHEMES)
    assert set(quantize_command.OBSERVERS) == {quant.DEFAULT_OBSERVER, *quant.OBSERVERS}
    assert quantize_command.OBSERVERS[0] == quant.DEFAULT_OBSERVER
    assert (quant.DEFAULT_ROUNDING, *quant.WAYS) == quantize_command.ROUNDINGS
    assert get_args(Width) == quantize_command.WIDTHS


def test_quantize_gives_overridden_values_their_width_and_the_layer_more_accuracy(cli):
    line = "quantize digits.onnx --data digits_calib.npz --samples 50 --observer minmax"
    plain = cli.json(f"{line} -o a.eqm")
    mixed = cli.json(f"{line} -o a.eqm --override *=int16 --override image=int8")
    assert mixed["overrides"] == {"*": "int16", "image": "int8"}
    assert "\nwidths other than the scheme's: image=int16\n" in (
        cli(f"{line} -o a.eqm --override image=int16").stdout
    )
    assert mixed["outputs"][0]["sqnr_db"] > plain["outputs"][0]["sqnr_db"] + 2


def test_quantize_says_how_weights_were_rounded(cli):
    line = "quantize digits.onnx --data digits_calib.npz --samples 50 --observer minmax -o a.eqm"
    made = cli.json(f"{line} --scheme int16x8")["rounding_weights"]
    assert (made["asked"], made["chosen"]) == ("auto", "in-turn")
    assert made["sqnr_db"]["in-turn"] > made["sqnr_db"]["nearest"] + 3
    said = cli(f"{line} --scheme int16x8").stdout
    turned, nearest = (f"{made['sqnr_db'][way]:.1f}" for way in ("in-turn", "nearest"))
    assert (
        "\nweights rounded in turn, biases offset\n"
        f"they leave {turned} dB at the last layers on samples held back, nearest {nearest}\n"
    ) in said
    quick = cli(f"{line} --rounding-weights nearest").stdout
    assert "\nweights rounded to nearest\n" in quick
    asked = cli(f"{line} --rounding-weights bias").stdout
    assert "\nbiases offset by what rounded weights are off by in the mean\n" in asked


AUTO = "quantize digits.onnx --data digits_calib.npz --samples 50 --observer minmax --scheme auto"


def test_quantize_shows_the_front_and_the_options_that_make_the_same_file(cli, workspace):
    done = cli(f"{AUTO} --min-sqnr 40 -o a.eqm --front front.svg")
    assert done.exit_code == 0
    check_printed(done.stdout)
    (row,) = (line for line in done.stdout.splitlines() if " * " in line)
    assert re.fullmatch(
        r"\d of 7(, weights too)? \* +\d\.\d\dx +[\d.]+ KiB +4\d\.\d dB +0 of 50 *", row
    )
    lines = done.stdout[done.stdout.index("\nchosen: ") :].splitlines()[1:]
    assert lines[1] == "the fastest with at least 40 dB; the same by"
    options = " ".join(lines[2 : lines.index("")])
    plain = AUTO.removesuffix("--scheme auto")
    assert cli(f"{plain} {options} -o b.eqm").exit_code == 0
    assert Path("a.eqm").read_bytes() == Path("b.eqm").read_bytes()
    drawn = Path("front.svg").read_bytes()
    assert b"chosen" in drawn and row.split(" *")[0].encode() in drawn
    again = cli.json(f"{AUTO} --min-sqnr 40 -o a.eqm --front front.svg")
    assert Path("front.svg").read_bytes() == drawn
    chosen = again["mixture"]["chosen"]
    assert (again["scheme"], again["overrides"]) == (chosen["scheme"], chosen["overrides"])
    assert chosen in again["mixture"]["front"]
    assert chosen["sqnr_db"] >= 40


def test_without_its_picture_no_mixture_is_written(cli, workspace, monkeypatch):
    def too_large(*_: object) -> str:
        raise MemoryError

    monkeypatch.setattr("edgeinfer.quant.mixtures.pictures.front_svg", too_large)
    before = sorted(workspace.iterdir())
    line = f"{AUTO} --rounding-weights nearest --max-bytes 50000 -o a.eqm --front front.svg"
    assert cli(line).exit_code == 1
    assert sorted(workspace.iterdir()) == before


def test_quantize_says_what_a_goal_could_have(cli):
    done = cli(f"{AUTO} --max-bytes 1000 -o a.eqm")
    assert done.exit_code == 1
    assert re.fullmatch(
        r"error: no mixture of 8 and 16 bits has at most 1,000 bytes; the best, int8, has "
        r"[\d,]+ bytes\n",
        done.stderr,
    )
    assert not Path("a.eqm").exists()


def test_quantize_times_the_mixtures_where_a_time_is_the_goal(cli):
    done = cli(f"{AUTO} --max-latency 1e9 -o a.eqm")
    assert "\nthe most accurate with at most 1e+09 microseconds a run; the same by\n" in done.stdout
    check_printed(done.stdout)
    (row,) = (line for line in done.stdout.splitlines() if " * " in line)
    assert " µs " in row


def test_quantize_counts_the_cycles_of_an_npu(cli):
    done = cli(f"{AUTO} --max-latency 100000 --npu 8x16 -o a.eqm")
    check_printed(done.stdout)
    assert "\nthe most accurate with at most 100,000 cycles a run; the same by\n" in done.stdout
    found = cli.json(f"{AUTO} --max-latency 100000 --npu 8x16 -o a.eqm")["mixture"]
    assert (found["npu"], found["chosen"]["scheme"]) == ("the NPU 8x16", "int8")
    assert (found["chosen"]["microseconds"], len(found["measured"])) == (None, 1)
    assert f"\n{len(found['left_out'])} more do not run on the NPU 8x16\n" in done.stdout
    (row,) = (line for line in done.stdout.splitlines() if " * " in line)
    assert f" {found['chosen']['cycles']:,} " in row


@pytest.mark.parametrize("scheme, least", [("int8", 30), ("int16x8", 35), ("int16", 70)])
def test_quantize_writes_a_model_of_the_scheme(cli, workspace, scheme, least):
    made = cli.json(
        f"quantize digits.onnx --data digits_calib.npz -o a.eqm --scheme {scheme} --samples 100"
    )
    assert (made["scheme"], made["samples"]) == (scheme, 100)
    assert made["bytes"]["output"] == (workspace / "a.eqm").stat().st_size
    (output,) = made["outputs"]
    assert output["name"] == "scores"
    assert output["sqnr_db"] > least
    assert read(workspace / "a.eqm").is_integer


def test_quantize_gives_the_same_file_again_and_another_for_another_seed(cli, workspace):
    line = "quantize digits.onnx --data digits_calib.npz --samples 20 -o"
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert cli(f"{line} {name}.eqm --seed {seed}").exit_code == 0
    a, b, c = ((workspace / f"{name}.eqm").read_bytes() for name in "abc")
    assert a == b != c


def test_quantize_says_on_what_its_quality_was_measured(cli):
    line = "quantize digits.onnx --data digits_calib.npz --observer minmax -o a.eqm --samples"
    assert " dB on 20 samples held back\n" in cli(f"{line} 100").stdout
    few = cli(f"{line} 4")
    assert " dB on 4 of the calibration samples\n" in few.stdout
    assert few.stderr == (
        "warning: 4 calibration samples say little about others; give a hundred or so\n"
    )
    one = cli(f"{line} 1")
    assert one.stdout.startswith("wrote a.eqm: int8, 1 calibration sample, ")


def test_quantize_warns_of_samples_of_zeros(cli, workspace):
    np.savez(workspace / "zeros.npz", image=np.zeros((16, 1, 8, 8), np.float32))
    done = cli("quantize digits.onnx --data zeros.npz -o a.eqm")
    assert done.exit_code == 0
    assert done.stderr.splitlines()[0] == (
        "warning: input 'image' is 0 everywhere in all calibration samples, so its range is a "
        "guess; calibrate with samples as the model will see them"
    )


def test_quantize_takes_what_convert_made(cli, workspace):
    assert cli.json("convert digits.onnx -o floats.eqm")["layers"] == len(
        read(workspace / "floats.eqm").nodes
    )
    done = cli("quantize floats.eqm --data digits_calib.npz -o again.eqm")
    assert done.exit_code == 0
    assert (workspace / "again.eqm").read_bytes() == (workspace / "digits.eqm").read_bytes()


def test_quantize_warns_of_a_poor_output_and_names_the_worst_layers(cli, monkeypatch):
    monkeypatch.setattr(quantize_command, "_POOR_DB", 100.0)
    done = cli("quantize digits.onnx --data digits_calib.npz -o a.eqm")
    assert done.exit_code == 0
    (warning,) = done.stderr.splitlines()
    assert warning.startswith("warning: output 'scores' has an SQNR of 3")
    assert " dB, below 100; the worst layers are QConv 'node_" in warning
    assert warning.endswith(
        "; try --override NAME=int16 for these, --scheme int16x8, another --observer or more "
        "varied samples"
    )


def test_quantize_keeps_labels_which_run_prints(cli, workspace):
    names = [f"digit-{i}" for i in range(10)]
    (workspace / "labels.txt").write_text("\n".join(names) + "\n")
    cli("quantize digits.onnx --data digits_calib.npz -o a.eqm --labels labels.txt")
    assert read(workspace / "a.eqm").labels == tuple(names)
    best = cli.json("run a.eqm --data digits_test.npz --top 1")["predictions"][0][0]
    assert best["label"] == f"digit-{best['class']}"
    assert f"digit-{best['class']}" in cli("run a.eqm --data digits_test.npz").stdout


def test_quantize_can_prune_and_round_twice(cli, workspace):
    line = "quantize digits.onnx --data digits_calib.npz -o a.eqm --prune-constant"
    ran = cli(f"{line} --rounding double")
    assert ran.exit_code == 0
    graph = read(workspace / "a.eqm")
    macs = cost(graph).macs
    assert f"no channel could be removed: {macs:,} multiply-accumulates as before" in ran.output
    assert cli.json(line)["macs"] == {"unpruned": macs, "written": macs}
    assert graph.provenance["rounding"] == "double"


def test_quantize_binds_a_batch(cli, workspace):
    cli("quantize digits.onnx --data digits_calib.npz -o a.eqm --batch 4")
    assert read(workspace / "a.eqm").types["image"].shape == (4, 1, 8, 8)
    one, four = (
        cli.json(f"evaluate {name}.eqm --data digits_test.npz --against digits.onnx")
        for name in ("digits", "a")
    )
    assert four["samples"] == one["samples"] == 400
    assert four["top1"] == pytest.approx(one["top1"], abs=0.01)


def test_run_writes_what_the_session_gives(cli, workspace):
    cli("run digits.eqm --data digits_test.npz -o scores.npz")
    import edgeinfer

    with np.load("digits_test.npz") as data, np.load("scores.npz") as scores:
        expected = edgeinfer.load(workspace / "digits.eqm").run(data["image"].astype("f4"))
        assert list(scores) == ["scores"]
        np.testing.assert_array_equal(scores["scores"], expected)


def test_run_ranks_the_classes(cli):
    ran = cli.json("run digits.eqm --data digits_test.npz --top 3 --samples 7 -o scores.npz")
    with np.load("scores.npz") as data:
        scores = data["scores"]
    assert len(ran["predictions"]) == len(scores) == 7
    for row, ranking in zip(scores, ran["predictions"], strict=True):
        assert [p["score"] for p in ranking] == sorted(row.tolist(), reverse=True)[:3]
        assert ranking[0]["class"] == row.argmax()


def test_evaluate_measures_accuracy_agreement_and_noise(cli):
    found = cli.json("evaluate digits.eqm --data digits_test.npz --against digits.onnx")
    assert found["samples"] == 400
    assert found["top1"] > 0.97
    assert found["top1_against"] > 0.97
    assert found["agreement"] > 0.99
    assert found["outputs"][0]["sqnr_db"] > 30
    assert found["latency_us"] > 0


def test_evaluate_does_without_labels_or_without_a_reference(cli):
    with np.load("digits_test.npz") as data:
        np.save("images.npy", data["image"])
    found = cli.json("evaluate digits.eqm --data images.npy --against digits.onnx --samples 9")
    assert (found["samples"], "top1" in found) == (9, False)
    found = cli.json("evaluate digits.eqm --data digits_test.npz --samples 9")
    assert (found["top1"] > 0.8, "agreement" in found) == (True, False)


def test_evaluate_does_without_labels_that_do_not_fit(cli):
    with np.load("digits_test.npz") as data:
        np.savez("few.npz", image=data["image"][:9], y=data["y"][:3])
    done = cli("evaluate digits.eqm --data few.npz --against digits.onnx")
    assert (done.exit_code, "top-1" in done.stdout) == (0, False)
    assert done.stderr == "warning: few.npz holds 3 labels for 9 samples, so they are not used\n"


def test_evaluate_measures_what_is_asked_for_beside_the_reference(cli):
    line = "evaluate digits.eqm --data digits_test.npz --against digits.onnx --metric"
    found = cli.json(f"{line} confusion --metric top3 --metric roc_auc")
    assert np.trace(found["confusion"]) / 400 == cli.json(f"{line} top1")["top1"]
    assert (np.sum(found["confusion"]), np.sum(found["confusion_against"])) == (400, 400)
    assert 1 >= found["top3"] >= 0.99 < found["roc_auc"] < 1
    printed = cli(f"{line} confusion --metric top3").stdout
    assert "class   taken for   times\n" in printed
    assert f"top-3 accuracy              {found['top3']:.4f}\n  of digits.onnx" in printed
    line = "evaluate digits.eqm --data digits_test.npz --samples 1 --metric confusion"
    printed = cli(line).stdout
    assert printed.startswith("no class was taken for another\n\n")


def test_evaluate_and_run_take_a_regression_as_numbers(cli, workspace):
    save(multiplying(np.ones((1, 3))), "line.eqm")
    x = np.random.default_rng(0).normal(size=(50, 3)).astype("f4")
    np.savez("line.npz", x=x, y=x.sum(1))
    found = cli.json("evaluate line.eqm --data line.npz")
    assert found["mae"] < found["rmse"] < 0.05 < 0.99 < found["r2"] < 1
    assert "agreement" not in found
    done = cli("evaluate line.eqm --data line.npz --samples 1 --json")
    assert done.stderr == "warning: r2 needs at least two samples\n"
    one = json.loads(done.stdout)
    assert (one["r2"], one["mae"] >= 0) == (None, True)
    shown = cli("evaluate line.eqm --data line.npz").stdout
    assert [line.split("  ")[0] for line in shown.splitlines()] == [
        "samples",
        "mean absolute error",
        "root mean squared error",
        "R²",
        "latency, median",
    ]
    assert cli.json("run line.eqm --data line.npz")["predictions"] == []


def test_evaluate_measures_the_output_that_it_is_told(cli, workspace):
    builder = GraphBuilder("two")
    x = builder.input("x", TensorType((1, 3)))
    sums = builder.constant("sums", np.ones((1, 3), "f4"))
    scores = builder.add(ops.Dense(), x, builder.constant("eye", np.eye(3, dtype="f4")))
    graph = builder.graph(scores, builder.add(ops.Dense(), x, sums, output="sum"), free_batch=True)
    samples = np.random.default_rng(1).normal(size=(200, 3)).astype("f4")
    save(quant.quantize(graph, samples, observer="minmax"), "two.eqm")
    np.savez("sums.npz", x=samples, y=samples.sum(1))
    assert cli.json("evaluate two.eqm --data sums.npz --output sum")["r2"] > 0.99
    assert cli("evaluate two.eqm --data sums.npz --output total").stderr == (
        "error: 'two' has no output 'total'; its outputs are: dense, sum\n"
    )


def test_a_model_that_gives_back_its_input_is_measured_by_that_and_never_ranked(cli, workspace):
    save(multiplying(np.eye(3)), "copy.eqm")
    np.save("copy.npy", np.random.default_rng(0).normal(size=(50, 3)).astype("f4"))
    found = cli.json("evaluate copy.eqm --data copy.npy")
    assert 0 < found["reconstruction"] < 0.001
    assert cli.json("run copy.eqm --data copy.npy")["predictions"] == []


def test_a_model_with_states_runs_its_samples_as_one_sequence(cli, workspace):
    graph = leaky_sum()
    save(graph, "leaky.eqm")
    x = np.random.default_rng(0).normal(size=(9, 1, 6)).astype("f4")
    np.save("x.npy", x)
    stream = Session(graph).stream()
    expected = [stream.run(sample) for sample in x]
    cli("run leaky.eqm --data x.npy -o out.npz")
    with np.load("out.npz") as outputs:
        for name in graph.outputs:
            given = outputs[name].reshape(9, -1)
            np.testing.assert_array_equal(given, [each[name].ravel() for each in expected])
    found = cli.json("compare leaky.eqm leaky.eqm --data x.npy")
    assert {layer["sqnr_db"] for layer in found["layers"]} == {None}
    assert cli.json("bench leaky.eqm --runs 3")["runs"] == 3


def multiplying(weights: np.ndarray) -> Graph:
    """A quantized Graph that multiplies normal numbers by ``weights`` [outputs, inputs]."""
    outputs, inputs = weights.shape
    types = {
        "x": TensorType((1, inputs)),
        "w": TensorType((outputs, inputs)),
        "out": TensorType((1, outputs)),
    }
    node = Node("dense", ops.Dense(), ("x", "w"), ("out",))
    constants = {"w": weights.astype("f4")}
    graph = Graph("g", (node,), types, ("x",), ("out",), constants, free_batch=True)
    samples = np.random.default_rng(1).normal(size=(200, inputs)).astype("f4")
    return quant.quantize(graph, samples, observer="minmax")


@pytest.mark.parametrize("a, b", [("onnx", "eqm"), ("eqm", "eqm"), ("eqm", "onnx")])
def test_compare_lists_the_worst_layer_first(cli, a, b):
    found = cli.json(f"compare digits.{a} digits.{b} --data digits_test.npz --samples 5")
    ratios = [layer["sqnr_db"] for layer in found["layers"]]
    if a == b:
        assert set(ratios) == {None}  # no difference at all
    else:
        assert ratios == sorted(ratios)
    assert [layer["value"] for layer in found["layers"] if layer["is_output"]] == ["scores"]


def test_compare_shows_as_many_layers_as_asked_for(cli):
    done = cli("compare digits.onnx digits.eqm --data digits_test.npz --samples 5 --worst 2")
    layers = len(read_layers(cli))
    assert done.stdout.endswith(f"\n5 samples; {layers - 2} better layers are not shown\n")


def read_layers(cli) -> list[dict]:
    return cli.json("compare digits.onnx digits.eqm --data digits_test.npz --samples 1")["layers"]


def test_inspect_counts_the_same_work_before_and_after_quantization(cli):
    before, after = cli.json("inspect digits.onnx"), cli.json("inspect digits.eqm")
    assert before["macs"] == after["macs"] == sum(layer["macs"] for layer in after["layers"])
    assert before["parameters"] == after["parameters"] == 10442
    assert (before["estimated"], after["estimated"]) == (True, False)
    assert before["flash_bytes"] == after["flash_bytes"]
    assert after["inputs"][0]["dtype"] == "int8"
    assert after["inputs"][0]["shape"] == before["inputs"][0]["shape"] == [1, 1, 8, 8]


def test_bench_measures_as_often_as_asked_for(cli):
    found = cli.json("bench digits.eqm --runs 20 --threads 2")
    assert (found["runs"], found["threads"]) == (20, 2)
    assert 0 < found["median_us"] <= found["p90_us"] <= found["p99_us"]
    assert sum(layer["share"] for layer in found["layers"]) == pytest.approx(1)


def test_demo_keeps_the_accuracy(cli):
    found = cli.json("demo")
    assert found["samples"] == 400
    assert found["int8"]["top1"] >= found["float32"]["top1"] - 0.01 > 0.96
    assert found["agreement"] > 0.99
    assert found["int8"]["file_bytes"] < found["float32"]["file_bytes"]


def test_a_folder_of_images_serves_every_command(cli, workspace):
    with np.load("digits_test.npz") as data:
        for i, (image, label) in enumerate(zip(data["image"][:60], data["y"], strict=False)):
            folder = workspace / "images" / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            pixels = (image[0].astype(int) * 255 // 16).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
    cli("quantize digits.onnx --data images --std 15.9375 --samples 30 -o a.eqm")
    # the model carries how its input is prepared
    carried = {"layout": "nchw", "channels": "grey", "size": None, "mean": [0], "std": [15.9375]}
    assert cli.json("inspect a.eqm")["preparation"] == {"image": carried}
    shown = "images for image  grey, nchw, stretched, (pixel - 0) / 15.9375\n"
    assert shown in cli("inspect a.eqm").stdout
    found = cli.json("evaluate a.eqm --data images --against digits.onnx")
    assert (found["samples"], found["agreement"]) == (60, 1.0)
    assert found["top1"] > 0.9
    one = next((workspace / "images" / "3").iterdir())
    ran = cli.json(f"run a.eqm --data {one.relative_to(workspace)} --top 1")
    assert (len(ran["predictions"]), ran["files"]) == (1, [one.name])
    ran = cli.json("run a.eqm --data images --samples 3 -o scores.npz")
    assert [Path(name).parent.name for name in ran["files"]] == ["0", "0", "0"]
    with np.load("scores.npz") as scores:
        assert scores["files"].tolist() == ran["files"]
    printed = cli("run a.eqm --data images --samples 3").stdout
    assert ran["files"][0] in printed
    for line in ("compare digits.onnx a.eqm --samples 3", "bench a.eqm --runs 3"):
        assert cli(f"{line} --data images").exit_code == 0


def test_a_folder_of_some_classes_is_warned_of_unless_the_model_names_its_own(cli, workspace):
    with np.load("digits_test.npz") as data:
        images, labels = data["image"], data["y"]
    names = [f"digit-{i}" for i in range(10)]
    for number in (7, 3):
        (workspace / "some" / names[number]).mkdir(parents=True)
        for i in np.flatnonzero(labels == number)[:10]:
            np.save(workspace / "some" / names[number] / f"{i}.npy", images[i].astype("f4"))
    done = cli("evaluate digits.eqm --data some")
    assert done.stderr == (
        "warning: some names 2 of 10 classes, which are taken for the first ones, sorted; give the "
        "model its classes by edgeinfer quantize --labels\n"
    )
    (workspace / "labels.txt").write_text("\n".join(names))
    cli("quantize digits.onnx --data digits_calib.npz -o named.eqm --labels labels.txt")
    assert cli.json("evaluate named.eqm --data some")["top1"] == 1


def test_classes_called_by_numbers_of_unequal_length_are_warned_of(cli, workspace):
    with np.load("digits_test.npz") as data:
        for i, name in enumerate((8, 9, 10)):
            (workspace / "numbers" / str(name)).mkdir(parents=True)
            np.save(workspace / "numbers" / str(name) / "a.npy", data["image"][i].astype("f4"))
    warnings = cli("evaluate digits.eqm --data numbers").stderr.splitlines()
    assert warnings[1] == (
        "warning: numbers calls its classes by numbers, which are sorted as text, 10 before 8; "
        "give the model its classes by edgeinfer quantize --labels"
    )


def test_values_beyond_the_input_s_range_are_warned_of(cli):
    with np.load("digits_test.npz") as data:
        np.savez("bright.npz", image=data["image"][:20] * 4.0, y=data["y"][:20])
    for line in ("evaluate digits.eqm", "run digits.eqm"):
        done = cli(f"{line} --data bright.npz")
        assert done.exit_code == 0
        share, rest = done.stderr.split("% of the values", 1)
        assert 30 < float(share.removeprefix("warning: ")) < 60
        assert rest == (
            " given to input 'image' lie beyond 0 to 16, where it saturates; prepare them as the "
            "calibration data was, or calibrate on data like them\n"
        )
        assert cli(f"{line} --data digits_test.npz").stderr == ""


def test_what_0_1_0_called_calib_is_taken_with_a_word_about_it(cli):
    done = cli("quantize digits.onnx --calib digits_calib.npz -o old.eqm --observer minmax")
    assert done.exit_code == 0
    assert done.stderr == "warning: --calib is --data now\n"
    cli("quantize digits.onnx --data digits_calib.npz -o new.eqm --observer minmax")
    assert Path("old.eqm").read_bytes() == Path("new.eqm").read_bytes()


def test_quantize_wants_samples(cli):
    done = cli("quantize digits.onnx -o a.eqm")
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1] == "Error: Missing option '--data'."


def test_operators_says_what_an_onnx_operator_becomes_and_who_takes_it(cli):
    found = {each["name"]: each for each in cli.json("operators resize")["operators"]}
    assert found["Resize"] == {
        "name": "Resize",
        "first_opset": 10,
        "last_opset": None,
        "becomes": ["ResizeNearest", "Resize"],
        "targets": {"float": "yes", "int8": "yes", "int16": "yes", "NPU": "yes"},
    }
    shown = cli("operators gemm").stdout.splitlines()[-1]
    assert shown.split("  ")[0] == "Gemm"
    assert "7+" in shown and "Dense, MatMul, Add +1" in shown


def test_operators_refuses_a_name_that_no_operator_has(cli):
    assert cli("operators zzz").stderr.endswith(
        "Error: Invalid value for 'NAME': no ONNX operator that can be imported has 'zzz' in its "
        "name\n"
    )
