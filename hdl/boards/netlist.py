"""Who reads which net of a flat netlist, as Yosys writes it in JSON."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

__all__ = ["exported", "readers"]


def readers(module: Mapping[str, Any]) -> Mapping[int, list[tuple[str, str]]]:
    """For each net the cells that read it, by name and port; none of a net that no cell reads.

    Constants, which are strings, are no nets.
    """
    found: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for name, cell in module["cells"].items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] != "output":
                for bit in bits:
                    if isinstance(bit, int):
                        found[bit].append((name, port))
    return found


def exported(module: Mapping[str, Any]) -> set[int]:
    """The nets of the module's own ports."""
    return {bit for port in module["ports"].values() for bit in port["bits"]}
