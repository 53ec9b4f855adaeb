"""The NPU's Verilog as text."""

from __future__ import annotations

import functools
import re

from edgeinfer.hdl.config import preset
from edgeinfer.hdl.gateware import names, npu


def test_memories_are_cleared_by_loops():
    lines = "".join(f"    a_0[{i}] = 8'h00;\n" for i in range(3))
    kept = "  initial begin\n    b[0] = 8'h00;\n    b[1] = 8'h01;\n  end\n"
    looped = (
        "  initial begin : initialize_0\n    integer i;\n"
        "    for (i = 0; i < 3; i = i + 1) a_0[i] = 8'h00;\n  end\n"
    )
    assert npu._looped(f"  initial begin\n{lines}  end\n{kept}") == looped + kept


@functools.cache
def text() -> str:
    return npu.to_verilog(preset("4x4"))


def test_it_is_the_same_text_each_time():
    assert npu.to_verilog(preset("4x4")) == text()


def test_it_asks_for_no_primitives():
    modules = set(re.findall(r"^module ([^\s(]+)", text(), re.MULTILINE))
    instances = set(re.findall(r"^  (\S+)\s+\S+ \($", text(), re.MULTILINE))
    assert instances
    assert instances <= modules


def test_it_has_no_escaped_names_and_its_rtlil_no_brackets():
    assert "\\" not in text()
    assert not re.search(r"\\\S*\[", npu.to_rtlil(preset("4x4")))


def test_names_stay_distinct():
    verilog = "wire \\a[0] ;\nwire \\a.0 ;\nwire a_0;\nwire \\reg ;\nwire \\$7 ;\n"
    assert names.plain_verilog(verilog) == (
        "wire a_0_3;\nwire a_0_2;\nwire a_0;\nwire reg_2;\nwire n_7;\n"
    )
    rtlil = "wire width 8 \\a[0]\nwire \\a_0_\nconnect \\a[0] [3] \\b.c\n"
    assert names.plain_rtlil(rtlil) == (
        "wire width 8 \\a_0__2\nwire \\a_0_\nconnect \\a_0__2 [3] \\b.c\n"
    )
