"""The buses of the host, AXI4 for its memory, AXI4-Lite for the NPU's registers, and their pins."""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = [
    "BURST",
    "HOST_ADDRESS_BITS",
    "INCREMENT",
    "AxiLite",
    "AxiRead",
    "AxiWrite",
    "connect_pins",
]

HOST_ADDRESS_BITS = 40

BURST = 16
"""Beats of a burst at most."""

INCREMENT = 1
"""The burst type INCR."""


class AxiRead(wiring.Signature):
    """The read channels of an AXI4 manager without identifiers.

    Parameters
    ----------
    bus_bytes : int
        Bytes of a beat.
    """

    def __init__(self, bus_bytes: int) -> None:
        super().__init__(
            {
                "araddr": Out(HOST_ADDRESS_BITS),
                "arlen": Out(8),
                "arsize": Out(3),
                "arburst": Out(2),
                "arvalid": Out(1),
                "arready": In(1),
                "rdata": In(8 * bus_bytes),
                "rresp": In(2),
                "rlast": In(1),
                "rvalid": In(1),
                "rready": Out(1),
            }
        )


class AxiWrite(wiring.Signature):
    """The write channels of an AXI4 manager without identifiers.

    Parameters
    ----------
    bus_bytes : int
        Bytes of a beat.
    """

    def __init__(self, bus_bytes: int) -> None:
        super().__init__(
            {
                "awaddr": Out(HOST_ADDRESS_BITS),
                "awlen": Out(8),
                "awsize": Out(3),
                "awburst": Out(2),
                "awvalid": Out(1),
                "awready": In(1),
                "wdata": Out(8 * bus_bytes),
                "wstrb": Out(bus_bytes),
                "wlast": Out(1),
                "wvalid": Out(1),
                "wready": In(1),
                "bresp": In(2),
                "bvalid": In(1),
                "bready": Out(1),
            }
        )


class AxiLite(wiring.Signature):
    """An AXI4-Lite manager of 32 bits and 256 bytes of registers."""

    def __init__(self) -> None:
        super().__init__(
            {
                "awaddr": Out(8),
                "awvalid": Out(1),
                "awready": In(1),
                "wdata": Out(32),
                "wstrb": Out(4),
                "wvalid": Out(1),
                "wready": In(1),
                "bresp": In(2),
                "bvalid": In(1),
                "bready": Out(1),
                "araddr": Out(8),
                "arvalid": Out(1),
                "arready": In(1),
                "rdata": In(32),
                "rresp": In(2),
                "rvalid": In(1),
                "rready": Out(1),
            }
        )


def connect_pins(m: Module, npu: object, prefix: str, bus: wiring.PureInterface) -> None:
    """Connect the pins of ``npu`` that begin with ``prefix`` with ``bus``, from either side.

    ``bus`` faces them: the NPU's own, inside of it, or that of what stands around it.
    """
    for name, member in bus.signature.members.items():
        pin, inside = getattr(npu, f"{prefix}_{name}"), getattr(bus, name)
        m.d.comb += pin.eq(inside) if member.flow is Out else inside.eq(pin)
