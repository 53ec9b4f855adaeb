"""Registers behind the multipliers of an ECP5 into them, which have their own: Yosys infers none.

A product then takes no wire to a register elsewhere, which may be as long as the FPGA is high.
"""

from __future__ import annotations

import re
from typing import Any

from edgeinfer.hdl.boards.netlist import exported, readers

__all__ = ["absorb_product_registers"]

_PLAIN = {"CEMUX": "1", "CLKMUX": "CLK", "LSRMUX": "LSR", "REGSET": "RESET"}
"""Of a register that takes its input in every cycle, and is 0 at first."""


def absorb_product_registers(module: dict[str, Any]) -> int:
    """Let each MULT18X18D whose every product bit goes to a plain register alone be that register.

    Parameters
    ----------
    module : dict
        Of Yosys's JSON; changed in place.

    Returns
    -------
    int
        How many multipliers have taken their registers.
    """
    cells = module["cells"]
    read, outside = readers(module), exported(module)
    absorbed = 0
    for multiplier in [cell for cell in cells.values() if cell["type"] == "MULT18X18D"]:
        connections = multiplier["connections"]
        products = {
            port: bit
            for port, bits in connections.items()
            if re.fullmatch(r"P\d+", port)
            for bit in bits
        }
        behind = {port: read[bit] for port, bit in products.items() if read[bit]}
        registers = {port: found[0][0] for port, found in behind.items()}
        clocks = {_clock(cells[name]) for name in registers.values()}
        if (
            "CLK0" in connections  # it has registers already
            or outside & set(products.values())
            or any(len(found) != 1 or found[0][1] != "DI" for found in behind.values())
            or len(clocks) != 1
            or None in clocks
        ):
            continue
        multiplier["parameters"]["REG_OUTPUT_CLK"] = "CLK0"
        for port, bit in (("CLK0", clocks.pop()), ("CE0", "1"), ("RST0", "0")):
            connections[port] = [bit]
            multiplier["port_directions"][port] = "input"
        for port, name in registers.items():
            connections[port] = cells.pop(name)["connections"]["Q"]
        absorbed += 1
    return absorbed


def _clock(cell: dict[str, Any]) -> int | None:
    """The clock of a plain register; None of anything else."""
    parameters = {key: value.strip() for key, value in cell["parameters"].items()}
    if cell["type"] != "TRELLIS_FF" or any(parameters[k] != v for k, v in _PLAIN.items()):
        return None
    connections = cell["connections"]
    if connections["LSR"] != ["0"]:
        return None
    (clock,) = connections["CLK"]
    return clock if isinstance(clock, int) else None
