"""The NPU's ports and buses as IP-XACT names them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from amaranth.hdl import Shape
from amaranth.lib.wiring import In, Member

__all__ = ["BusInterface", "Port", "buses", "ports"]


@dataclass(frozen=True)
class Port:
    """A port of the top module; ``direction`` is ``in`` or ``out``."""

    name: str
    direction: str
    width: int


@dataclass(frozen=True)
class BusInterface:
    """Ports that are one bus; ``ports`` gives each its logical name, ``role`` is a XML element."""

    name: str
    vendor: str
    library: str
    type: str
    version: str
    role: str
    ports: dict[str, str]
    parameters: dict[str, str] = field(default_factory=dict)


def ports(members: Mapping[str, Member]) -> list[Port]:
    """The ports of a component with ``members``, its clock and reset first."""
    found = [Port("clk", "in", 1), Port("rst", "in", 1)]
    for name, member in members.items():
        direction = "in" if member.flow is In else "out"
        found.append(Port(name, direction, Shape.cast(member.shape).width))
    return found


def buses(every: list[Port]) -> list[BusInterface]:
    """The bus interfaces that ``every`` port belongs to."""

    def of(prefix: str) -> dict[str, str]:
        return {
            port.name: re.sub(f"^{prefix}_", "", port.name).upper()
            for port in every
            if port.name.startswith(f"{prefix}_")
        }

    amba = {"vendor": "xilinx.com", "library": "interface", "type": "aximm", "version": "1.0"}
    signal = {"vendor": "xilinx.com", "library": "signal", "version": "1.0"}
    registers = '<ipxact:memoryMapRef memoryMapRef="registers"/>'
    memory = '<ipxact:addressSpaceRef addressSpaceRef="host_memory"/>'
    return [
        BusInterface(
            "s_axil",
            **amba,
            role=f"<ipxact:slave>{registers}</ipxact:slave>",
            ports=of("s_axil"),
            parameters={"PROTOCOL": "AXI4LITE"},
        ),
        BusInterface(
            "m_axi",
            **amba,
            role=f"<ipxact:master>{memory}</ipxact:master>",
            ports=of("m_axi"),
            parameters={"PROTOCOL": "AXI4"},
        ),
        BusInterface(
            "clk",
            **signal,
            type="clock",
            role="<ipxact:slave/>",
            ports={"clk": "CLK"},
            parameters={"ASSOCIATED_BUSIF": "s_axil:m_axi", "ASSOCIATED_RESET": "rst"},
        ),
        BusInterface(
            "rst",
            **signal,
            type="reset",
            role="<ipxact:slave/>",
            ports={"rst": "RST"},
            parameters={"POLARITY": "ACTIVE_HIGH"},
        ),
        BusInterface(
            "interrupt",
            **signal,
            type="interrupt",
            role="<ipxact:master/>",
            ports={"interrupt": "INTERRUPT"},
            parameters={"SENSITIVITY": "LEVEL_HIGH"},
        ),
    ]
