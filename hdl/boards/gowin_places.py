"""Places for lookup tables that a netlist of a GW2A takes for flip-flops and ends of carry chains.

A slice of a GW2A holds a lookup table or an adder's bit, and behind it a flip-flop that can have
its input from nowhere else. A flip-flop with another input takes the whole slice: nextpnr routes
through its lookup table. Places decide what fits, long before lookup tables or flip-flops do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeinfer.hdl.boards.netlist import exported, readers

__all__ = ["places_beside_lookup_tables"]

_CHAIN_ENDS = 2
"""Slices with which nextpnr opens and closes a carry chain."""


def places_beside_lookup_tables(module: Mapping[str, Any]) -> int:
    """Those of flip-flops that no lookup table feeds alone, and of the ends of carry chains.

    Parameters
    ----------
    module : dict
        Flat, of Yosys's JSON.
    """
    cells = module["cells"].values()
    read, outside = readers(module), exported(module)
    tables = {bit for c in cells if c["type"].startswith("LUT") for bit in c["connections"]["F"]}
    carries = {bit for c in cells if c["type"] == "ALU" for bit in c["connections"]["COUT"]}
    taken = 0
    for cell in cells:
        if cell["type"].startswith("DFF"):
            (d,) = cell["connections"]["D"]
            taken += d not in tables or d in outside or len(read[d]) > 1
        elif cell["type"] == "ALU":
            (carry,) = cell["connections"]["CIN"]
            taken += 0 if carry in carries else _CHAIN_ENDS
    return taken
