"""The parameter memory: a row address into the bias, multiplier and shift of ``lanes`` channels."""

from __future__ import annotations

from amaranth.hdl import Module, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.gateware.interface import WordWrite, record_layout
from edgeinfer.hdl.gateware.pipeline import later

__all__ = ["ParameterPort", "Parameters", "row_layout"]


def row_layout(config: NpuConfig) -> data.ArrayLayout:
    """One row: a record a lane."""
    return data.ArrayLayout(record_layout(config), config.lanes)


class ParameterPort(wiring.Signature):
    """The activate unit's view of the parameters.

    Members
    -------
    enable : Out(1)
        A row is read in this cycle.
    address : Out(16)
    row : In(row_layout)
        What was read two cycles before.
    """

    def __init__(self, config: NpuConfig) -> None:
        super().__init__(
            {"enable": Out(1), "address": Out(unsigned(16)), "row": In(row_layout(config))}
        )


class Parameters(wiring.Component):
    """``parameter_rows`` rows of ``lanes`` records.

    A row is there two cycles after its address, and stays until the next is read. A row that is
    written in the cycle in which it is read reads as it was. Reads beyond the memory give anything,
    writes beyond it are dropped.

    Parameters
    ----------
    config : NpuConfig

    Members
    -------
    write : In(WordWrite)
        From the load unit: a row, the record of lane 0 lowest.
    read : In(ParameterPort)
    out_of_range : Out(1)
        In the cycle before, a read or a write had an address beyond the memory.
    """

    def __init__(self, config: NpuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "write": In(WordWrite(8 * config.lanes * config.parameter_bytes)),
                "read": In(ParameterPort(config)),
                "out_of_range": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """One memory; addresses are compared with its size."""
        m = Module()
        rows = self.config.parameter_rows
        m.submodules.memory = memory = Memory(
            shape=row_layout(self.config).size, depth=rows, init=[]
        )
        read, write = memory.read_port(), memory.write_port()
        fits = self.write.address < rows
        m.d.comb += [
            read.en.eq(self.read.enable),
            read.addr.eq(self.read.address),
            self.read.row.eq(later(m, read.data, "row")),
            write.en.eq(self.write.enable & fits),
            write.addr.eq(self.write.address),
            write.data.eq(self.write.data),
        ]
        m.d.sync += self.out_of_range.eq(
            (self.read.enable & (self.read.address >= rows)) | (self.write.enable & ~fits)
        )
        return m
