"""What Arm's compiler makes of an exported model: all of it runs on the Ethos-U."""

from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner

from edgeinfer.cli.commands import edgeinfer
from edgeinfer.converters import from_onnx
from edgeinfer.converters.ethos_u import CONFIGURATIONS, compile_for_ethos_u
from edgeinfer.files.model_file import save
from edgeinfer.quant import quantize
from tests.converters.test_quantized_models import SAMPLES
from tests.converters.test_tflite import network

pytest.importorskip("ethosu.vela")
pytestmark = pytest.mark.filterwarnings("ignore::edgeinfer.errors.EdgeInferWarning")


@pytest.mark.parametrize("scheme", ["int8", "int16x8"])
def test_all_operators_run_on_it(scheme):
    made = compile_for_ethos_u(quantize(network(), SAMPLES, scheme=scheme), "ethos-u55-128")
    assert made.content[4:8] == b"TFL3"
    assert (made.on_cpu, made.on_npu > 8) == (0, True)
    assert min(made.cycles, made.seconds, made.sram_bytes, made.outside_bytes) > 0


def test_more_multipliers_take_fewer_cycles():
    graph = quantize(network(), SAMPLES)
    cycles = [compile_for_ethos_u(graph, f"ethos-u55-{macs}").cycles for macs in (32, 256)]
    assert cycles[0] > cycles[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ad_autoencoder", "ic_resnet8", "kws_dscnn", "vww_mobilenet"])
def test_mlperf_tiny_runs_on_it_wholly(zoo, name):
    entry = zoo.load(name)
    graph = quantize(from_onnx(entry.model), entry.calib[:40])
    for configuration in ("ethos-u55-128", "ethos-u65-256", "ethos-u85-256"):
        assert compile_for_ethos_u(graph, configuration).on_cpu == 0


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(quantize(network(), SAMPLES), "m.eqm")

    def invoke(line: str):
        return CliRunner().invoke(edgeinfer, line.split())

    return invoke


def test_the_command_says_what_runs_where(run):
    done = run("export m.eqm --to ethos-u --config ethos-u65-256 -o m.tflite --json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    assert (told["config"], told["operators"]["cpu"]) == ("ethos-u65-256", 0)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "export m.eqm --to ethos-u --config ethos-u9 -o m.tflite",
            f"error: 'ethos-u9' is none of Vela's: {', '.join(CONFIGURATIONS)}\n",
        ),
        (
            "export m.eqm --to tflite --config ethos-u55-32 -o m.tflite",
            "error: --config chooses an Ethos-U or an NPU, and --to tflite has none\n",
        ),
    ],
)
def test_what_is_no_configuration_is_refused(run, tmp_path, line, message):
    assert run(line).output == message
    assert not (tmp_path / "m.tflite").exists()


def test_without_the_compiler_its_extra_is_named(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "ethosu.vela", None)
    assert run("export m.eqm --to ethos-u -o m.tflite").output == (
        "error: ethosu is not installed; install it with: pip install 'edgeinfer[ethos-u]'\n"
    )
