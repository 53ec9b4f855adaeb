"""Xilinx's 7 series and UltraScale+: what an NPU takes of them, as Yosys packs it."""

from __future__ import annotations

from edgeinfer.hdl.boards.family import Family, Fpga

__all__ = ["XC7", "XCUP"]

# devices by the data sheets DS180 and DS891
XC7 = Family(
    fpgas=(
        Fpga("XC7A35T", "xc7", 20_800, 41_600, 90, 50),
        Fpga("XC7Z020", "xc7", 53_200, 106_400, 220, 140),
    ),
    commands=("synth_xilinx -family xc7 -flatten -top {top}",),
    lookup_tables={
        "LUT[1-6]": 1,
        "RAM32M": 4,
        "RAM64M": 4,
        "RAM32X1D": 2,
        "RAM64X1D": 2,
        "SRL.*": 1,
    },
    flip_flops={"FD.*": 1},
    multipliers={"DSP48E1": 1},
    memories={"RAMB36E1": 1, "RAMB18E1": 0.5},
    cell={8: "DSP48E1", 16: "DSP48E1"},
    lane={8: {"DSP48E1": 3}, 16: {"DSP48E1": 3}},
    reduction={"DSP48E1": 4},
)

XCUP = Family(
    fpgas=(Fpga("XCZU3EG", "xcup", 70_560, 141_120, 360, 216),),
    commands=("synth_xilinx -family xcup -flatten -top {top}",),
    lookup_tables={
        "LUT[1-6]": 1,
        "RAM32M": 4,
        "RAM64M": 4,
        "RAM32M16": 8,
        "RAM64M8": 8,
        "SRL.*": 1,
    },
    flip_flops={"FD.*": 1},
    multipliers={"DSP48E2": 1},
    memories={"RAMB36E2": 1, "RAMB18E2": 0.5},
    cell={8: "DSP48E2", 16: "DSP48E2"},
    lane={8: {"DSP48E2": 3}, 16: {"DSP48E2": 3}},
    reduction={"DSP48E2": 4},
)
