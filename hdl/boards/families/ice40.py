"""Lattice iCE40 UltraPlus: what an NPU takes of it. None fits, so there is no board of it."""

from __future__ import annotations

from edgeinfer.hdl.boards.family import Family, Fpga

__all__ = ["ICE40"]

# not -dsp: its pass ice40_dsp, which moves registers and sums into the multipliers, loses
# products in Yosys 0.70
ICE40 = Family(
    fpgas=(Fpga("iCE40UP5K", "ice40", 5_280, 5_280, 8, 30),),
    commands=(
        # it has no distributed memory to ask for: flip-flops, as its block memory has clocks
        "setattr -unset ram_style */m:*",
        "synth_ice40 -device u -top {top} -run begin:coarse",
        "opt_expr; opt_clean; opt -nodffe -nosdff; wreduce; peepopt; opt_clean",
        "memory_dff; alumacc -macc-only; maccmap -unmap; opt_clean; wreduce t:$mul",
        "techmap -map +/mul2dsp.v -map +/ice40/dsp_map.v -D DSP_A_MAXWIDTH=16 "
        "-D DSP_B_MAXWIDTH=16 -D DSP_A_MINWIDTH=2 -D DSP_B_MINWIDTH=2 -D DSP_Y_MINWIDTH=11 "
        "-D DSP_NAME=$__MUL16X16",
        "chtype -set $mul t:$__soft_mul",
        "synth_ice40 -device u -top {top} -run coarse:",
    ),
    lookup_tables={"SB_LUT4": 1},
    flip_flops={"SB_DFF.*": 1},
    multipliers={"SB_MAC16": 1},
    memories={"SB_RAM40_4K.*": 1},
    cell={8: "SB_MAC16", 16: "SB_MAC16"},
    # 16 x 16 bits are too few for the product of sums
    lane={8: {"SB_MAC16": 5}, 16: {"SB_MAC16": 7}},
    reduction={"SB_MAC16": 9},
)
