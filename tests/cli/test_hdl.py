"""What the ``hdl`` commands print and write."""

import json
from xml.etree import ElementTree

import pytest

from edgeinfer.cli import screen
from edgeinfer.hdl.config import preset
from edgeinfer.hdl.mismatch import Mismatch
from edgeinfer.hdl.simulation.simulation import Simulation
from tests.hdl.boards.simulated_board import SimulatedBoard, terminal

SIMULATE = "hdl simulate digits.eqm --config 8x16 --data digits_test.npz"


@pytest.mark.slow
def test_simulate_accounts_for_every_layer(cli, workspace):
    pictures = "--timeline units.svg --events units.json"
    found = cli.json(f"{SIMULATE} --samples 3 --trace layers.json {pictures}")
    assert found["mismatches"] == []
    assert found["samples"] == 3
    macs = cli.json("inspect digits.eqm")["macs"]
    assert found["macs"] == macs == sum(layer["macs"] for layer in found["layers"])
    assert found["utilization"] == pytest.approx(macs / (128 * found["cycles"]))
    assert found["predicted"] == pytest.approx(found["cycles"], rel=0.05)
    written = json.loads((workspace / "layers.json").read_text())
    assert [layer["value"] for layer in written["layers"]] == [
        layer["value"] for layer in found["layers"]
    ]
    picture = ElementTree.parse(workspace / "units.svg").getroot()
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
    events = json.loads((workspace / "units.json").read_text())["traceEvents"]
    assert events[0]["args"]["name"] == "digits.eqm on 8x16"


@pytest.mark.slow
def test_simulate_ends_with_1_at_a_mismatch(cli, monkeypatch):
    mismatch = Mismatch("relu_1", (0, 2, 3, 4), expected=4, got=5, count=7)
    monkeypatch.setattr(Simulation, "mismatches", lambda self: [mismatch])
    done = cli(SIMULATE)
    assert done.exit_code == 1
    assert done.stderr == (
        "error: 'relu_1'[0, 2, 3, 4] is 5 on the NPU and 4 on the CPU; 7 elements differ\n"
    )


@pytest.mark.slow
def test_simulate_writes_waveforms(cli, workspace):
    done = cli("hdl simulate digits.eqm --config 4x4 --data digits_test.npz --vcd waves.vcd")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.endswith("\nwrote waves.vcd\n")
    with (workspace / "waves.vcd").open() as file:
        assert any("$timescale" in line for line in file)


def test_info_counts_what_a_configuration_has(cli):
    found = cli.json("hdl info --config 8x16")
    assert found["macs_per_cycle"] == 128
    assert sum(memory["bits"] for memory in found["memories"]) <= 400 * 1024 * 8
    assert found["multipliers_18x18"] == 128 + 8 * 3


def test_info_lists_which_operators_run_on_the_npu_and_why_others_do_not(cli):
    found = {each["name"]: each for each in cli.json("hdl info --operators")["operators"]}
    assert found["QConv"] == {"name": "QConv", "on_npu": True, "why": ""}
    assert found["ReduceMin"] == {
        "name": "ReduceMin",
        "on_npu": False,
        "why": "takes the least of elements; the array has a greatest alone",
    }
    assert "Conv" not in found
    shown = cli("hdl info --operators").stdout
    assert "\n  ReduceMin: takes the least of elements; the array has a greatest alone\n" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_info_lists_which_nodes_of_a_model_run_on_the_npu(cli):
    found = cli.json("hdl info --operators digits.eqm --config 4x4")
    on_host = [each for each in found["nodes"] if not each["on_npu"]]
    assert {each["operator"] for each in on_host} <= {"QSoftmax", "Transpose", "Reshape"}
    assert all(each["at_edge"] and each["why"] for each in on_host)
    shown = cli("hdl info --operators digits.eqm --config 4x4").stdout
    nodes = len(found["nodes"])
    assert shown.startswith(f"{nodes - len(on_host)} of {nodes} nodes run on 4x4\n\non the NPU\n")
    wide = cli("hdl info --operators digits.eqm --config 8x8-16").stdout
    assert "between the NPU's segments" not in wide


def test_info_shows_the_nodes_of_a_model_only_where_operators_are_asked_for(cli):
    done = cli("hdl info digits.eqm")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == "Error: MODEL.eqm is for --operators alone"


def test_disasm_shows_the_programs_of_a_model_and_of_its_export(cli):
    assert cli("hdl export digits.eqm --config 4x4 -o folder").exit_code == 0
    for options in ("", " --section setup"):
        of_export = cli.json(f"hdl disasm folder{options}")["programs"]
        of_model = cli.json(f"hdl disasm digits.eqm --config 4x4{options or ' --section run'}")
        assert of_export == of_model["programs"]
        assert of_export[0][-1] == "HALT"
    assert cli.refusal("hdl disasm folder --section load") == (
        "error: folder holds no section 'load'; choose from setup, run"
    )


@pytest.mark.slow
def test_explore_names_the_best_that_fits(cli, workspace):
    line = "hdl explore digits.eqm --dsp 64 --bram 64 --largest 16 --clock 50"
    found = cli.json(f"{line} --pareto front.svg --roofline roof.svg")
    best = found["best"]
    assert best == found["front"][0]
    assert best["multipliers"] <= 64
    assert best["memory_bytes"] <= 64 * 1024
    assert best["inferences_per_second"] == pytest.approx(50e6 / best["cycles"])
    for name in ("front.svg", "roof.svg"):
        ElementTree.parse(workspace / name)
    shown = cli(line)
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert f"{best['array']} *" in shown.stdout
    assert f"best: --config {best['config']}" in shown.stdout.replace("\n", "")
    info = cli.json(f"hdl info --config {best['config']}")
    assert (info["memory_bytes"], info["lanes"]) == (best["memory_bytes"], best["lanes"])
    assert cli.refusal("hdl explore digits.eqm --dsp 1 --largest 4").startswith(
        "error: no NPU for this model fits: the smallest, 4x4, takes 22 multipliers and "
    )


@pytest.mark.slow
def test_run_runs_samples_on_a_board_behind_a_serial_port(cli):
    with terminal(SimulatedBoard(preset("4x4"), 8192)) as port:
        found = cli.json(f"hdl run digits.eqm --port {port} --data digits_test.npz --samples 3")
    assert found["mismatches"] == []
    assert found["samples"] == 3
    assert found["config"] == preset("4x4").text
    assert found["inferences_per_second"] == pytest.approx(50e6 / found["cycles"])
    assert 0 < found["samples_per_second"] < found["inferences_per_second"]


def test_a_log_has_a_line_for_each_stage_of_a_build(capsys):
    with screen.stages() as done:
        for stage, count in (("generating", 0), ("generating", 1), ("routing", 5), ("routing", 9)):
            done(stage, count, 10)
    assert capsys.readouterr().err == "generating\nrouting\n"


def test_build_refuses_an_unknown_board(cli):
    assert cli.refusal("hdl build digits_npu --board de10") == (
        "error: there is no board 'de10'; choose from ulx3s-85f, ecpix5-85f, orangecrab-25f, "
        "tangnano20k"
    )


def test_build_refuses_a_folder_that_is_not_there_and_a_memory_of_odd_size(cli):
    assert cli.refusal("hdl build nowhere --board ulx3s-85f") == (
        "error: there is no folder nowhere; make one with: edgeinfer hdl export"
    )
    assert cli.refusal("hdl build . --board ulx3s-85f --memory 24") == (
        "error: the board's memory must be a power of two, not 24,576 bytes"
    )


def test_build_refuses_a_nextpnr_that_is_not_there(cli):
    assert cli.refusal("hdl build . --board ulx3s-85f --nextpnr ./none") == (
        "error: cannot run ./none: there is no such program"
    )


@pytest.mark.slow(third=3)
def test_resources_counts_what_a_family_needs(cli):
    pytest.importorskip("pyosys")
    sizes = "lanes=1,accumulator_depth=8,buffer_bytes=4096,weight_bytes=4096,bus_bytes=4,tables=0"
    found = cli.json(f"hdl resources --config 2x4,weight_port=1,{sizes} --family xc7")
    assert found["multipliers"] == found["cells"]["DSP48E1"] == 2 * 4 + 3
    assert 5_000 < found["lookup_tables"] < 20_000
