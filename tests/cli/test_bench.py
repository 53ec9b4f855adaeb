"""Runtimes are timed beside edgeinfer on the user's own model; who cannot take part is named."""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from edgeinfer.cli import onnx_int8, peers
from edgeinfer.cli.bench import _rates_table
from edgeinfer.cli.profiling import LayerRate, LayerTime
from edgeinfer.cli.race import Contender, race
from edgeinfer.data.samples import runs
from edgeinfer.errors import InputError
from edgeinfer.files.model_file import read

OF_ONNX = ("onnxruntime", "OpenVINO")


def test_bench_times_who_is_installed_and_names_who_is_not(cli):
    found = cli.json("bench digits.eqm --runs 3 --rounds 2 --against digits.onnx")["against"]
    took_part = {each["name"] for each in found["timings"]}
    gaps = {gap["name"]: gap["reason"] for gap in found["gaps"]}
    names = {"onnxruntime float32", "OpenVINO float32", "OpenVINO f32 forced"}
    names |= {f"{runtime} int8 ({form})" for runtime in OF_ONNX for form in ("u8", "s8")}
    assert took_part | set(gaps) == names | {"edgeinfer"}
    assert took_part >= {"edgeinfer", "onnxruntime float32", "onnxruntime int8 (u8)"}
    absent = [runtime for runtime in OF_ONNX if peers.missing(runtime) is not None]
    for runtime in absent:
        reason = f"not installed (pip install {peers.PACKAGES[runtime]})"
        assert {gaps[name] for name in names if name.startswith(runtime)} == {reason}
    for each in found["timings"]:
        assert len(each["rounds_us"]) == found["rounds"] == 2
        low, high = each["quartiles_us"]
        assert 0 < low <= each["median_us"] <= high
    assert found["calibration"] == "16 samples of noise"


def test_what_is_printed_beside_others_fits_80_columns(cli):
    line = "bench digits.eqm --runs 1 --rounds 1 --against digits.onnx --data digits_calib.npz"
    done = cli(line)
    assert (done.exit_code, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "calibrated with 100 samples of digits_calib.npz\n" in done.stdout


def test_a_variable_that_holds_edgeinfer_alone_is_named(cli, monkeypatch):
    line = "bench digits.eqm --runs 1 --rounds 1 --against digits.onnx"
    note = "\nEDGEINFER_ISA holds edgeinfer to scalar, and no other runtime\n"
    monkeypatch.setenv("EDGEINFER_ISA", "scalar")
    assert note in cli(line).stdout
    monkeypatch.delenv("EDGEINFER_ISA")
    assert "EDGEINFER_ISA" not in cli(line).stdout


def test_layers_have_their_share_of_the_peak_of_their_instructions(cli, monkeypatch):
    monkeypatch.setenv("EDGEINFER_ISA", "scalar")
    layers = cli.json("bench digits.eqm --runs 1 --layers")["layers"]
    assert {layer["isa"] for layer in layers} == {"scalar"}
    # of which no peak is measured
    assert {layer["share_of_peak"] for layer in layers} == {None}
    monkeypatch.delenv("EDGEINFER_ISA")
    for layer in cli.json("bench digits.eqm --runs 1 --layers")["layers"]:
        assert layer["gmacs_per_second"] == pytest.approx(layer["macs"] / layer["us"] / 1e3)
        if layer["share_of_peak"] is not None:
            peak = layer["peak_gmacs_per_second"]
            assert layer["share_of_peak"] == pytest.approx(layer["gmacs_per_second"] / peak)


def test_a_layer_beyond_the_peak_is_explained():
    def notes(microseconds: float) -> list[object]:
        time = LayerTime("conv", "QConv", microseconds * 1e-6, 1.0)
        return _rates_table([LayerRate(time, "avx2", 147_456, 74e9)], 1)[1:]

    peak = "peak of avx2: 74 GMAC/s, int8, measured on registers"
    assert notes(2.1) == [peak]
    assert notes(1.4) == [
        peak,
        "beyond 100 %: layers of 3x3, of which 16 products do the work of 36",
    ]


@pytest.fixture
def renamed(workspace) -> Path:
    model = onnx.load("digits.onnx")
    old = model.graph.input[0].name
    model.graph.input[0].name = "other"
    for node in model.graph.node:
        node.input[:] = ["other" if name == old else name for name in node.input]
    onnx.save(model, "renamed.onnx")
    return Path("renamed.onnx")


@pytest.mark.parametrize(
    ("rival", "message"),
    [
        ("none.onnx", "there is no file none.onnx"),
        ("digits.eqm", "digits.eqm is neither an .onnx nor a .tflite file, which --against takes"),
        ("renamed.onnx", "renamed.onnx takes the inputs other; the .eqm takes image"),
        (
            "wide.onnx",
            "input 'image' of wide.onnx has shape 1x1x9x9; the .eqm's is 1x1x8x8",
        ),
        ("torn.onnx", "torn.onnx is no ONNX file, or a damaged one"),
    ],
)
def test_what_is_no_peer_of_the_model_is_refused(cli, renamed, rival, message):
    wide = onnx.load("digits.onnx")
    for dim, extent in zip(
        wide.graph.input[0].type.tensor_type.shape.dim, (1, 1, 9, 9), strict=True
    ):
        dim.dim_value = extent
    onnx.save(wide, "wide.onnx")
    Path("torn.onnx").write_bytes(Path("digits.onnx").read_bytes()[:900])
    refused = cli.refusal(f"bench digits.eqm --runs 1 --against {rival}")
    assert refused == f"error: {message}"


def test_a_file_that_no_runtime_loads_is_a_gap_with_its_reason(cli):
    Path("broken.onnx").write_bytes(b"no model")
    contenders = [
        Contender("ours", "edgeinfer", Path("digits.eqm")),
        Contender("theirs", "onnxruntime", Path("broken.onnx")),
        Contender("unknown", "LiteRT", Path("broken.onnx")),
    ]
    feed = {"image": np.zeros((1, 1, 8, 8), np.float32)}
    timings, gaps = race(contenders, feed, rounds=1, seconds=0.01, done=lambda *stage: None)
    assert [each.contender.name for each in timings] == ["ours"]
    assert [gap.name for gap in gaps] == ["theirs", "unknown"]
    assert "broken.onnx" in gaps[0].reason


def test_who_cannot_be_held_to_an_instruction_set_does_not_race(cli):
    contenders = [
        Contender("ours", "edgeinfer", Path("digits.eqm")),
        Contender("theirs", "onnxruntime", Path("digits.onnx")),
    ]
    feed = {"image": np.zeros((1, 1, 8, 8), np.float32)}
    timings, gaps = race(
        contenders, feed, rounds=1, seconds=0.01, isa="scalar", done=lambda *stage: None
    )
    assert [each.contender.name for each in timings] == ["ours"]
    assert [(gap.name, gap.reason) for gap in gaps] == [
        ("theirs", "no switch is known that holds onnxruntime to scalar")
    ]


def test_without_float_edges_a_quantized_model_computes_the_same(workspace):
    graph = read("digits.eqm")
    with np.load("digits_calib.npz") as data:
        samples = list(runs(graph, {"image": data["image"].astype("float32")}, limit=20))
    onnx_int8.fix_shapes(Path("digits.onnx"), samples[0], Path("fixed.onnx"))
    onnx_int8.quantize_static(Path("fixed.onnx"), samples, Path("int8.onnx"), unsigned=True)
    onnx_int8.strip_float_edges(Path("int8.onnx"), Path("integers.onnx"))
    whole, inner = (onnxruntime.InferenceSession(f"{name}.onnx") for name in ("int8", "integers"))
    model = onnx.load("int8.onnx")
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    (first,) = (node for node in model.graph.node if "image" in node.input)
    (last,) = (node for node in model.graph.node if model.graph.output[0].name in node.output)
    (scale, zero), (step, origin) = (
        [constants[name] for name in node.input[1:]] for node in (first, last)
    )
    for sample in samples:
        (expected,) = whole.run(None, sample)
        raw = np.clip(np.rint(sample["image"] / scale) + zero, 0, 255).astype(np.uint8)
        (given,) = inner.run(None, {"image": raw})
        assert given.dtype == np.uint8
        assert np.array_equal((given.astype(np.float32) - origin) * step, expected)


def test_an_input_that_floats_read_keeps_its_float_edges(workspace):
    with pytest.raises(InputError) as caught:
        onnx_int8.strip_float_edges(Path("digits.onnx"), Path("integers.onnx"))
    assert str(caught.value) == "digits.onnx: input 'image' is read as floats, too"
    assert not Path("integers.onnx").exists()


def test_the_demo_shows_onnxruntime_beside_int8(cli, monkeypatch):
    assert "latency (float32 in onnxruntime)" in cli("demo").stdout
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(peers, "find_spec", lambda name: None)
    shown = cli("demo").stdout
    assert "onnxruntime" not in shown
    assert json.loads(cli("demo --json").stdout)["float32"]["latency_us"] is None
