"""The weight memory and the WEIGHTS unit: READ_WEIGHTS into the array's shadow weights."""

from __future__ import annotations

import itertools

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from edgeinfer.hdl import isa
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.gateware.array import weights_layout
from edgeinfer.hdl.gateware.buffer import FETCH_LATENCY
from edgeinfer.hdl.gateware.constant_factor import times
from edgeinfer.hdl.gateware.convolve import FETCH_STAGES
from edgeinfer.hdl.gateware.deep_memory import DeepMemory
from edgeinfer.hdl.gateware.interface import UnitControl, WordWrite, fields_of
from edgeinfer.hdl.gateware.pipeline import later

__all__ = ["WeightsUnit"]

_READ = FETCH_STAGES + FETCH_LATENCY - 1
"""The stage in which the first bank is read: a pass's operands take two cycles more to the array,
as a word does from its bank."""


class WeightsUnit(wiring.Component):
    """Issues a tile's load when the tile before it is swapped in, and reads it row by row.

    ``weight_port`` = P banks; row ``r`` of tile ``t`` is word ``t rows / P + r // P`` of bank
    ``r % P``. A load that is issued in cycle e captures row r's weights in
    ``e + FETCH_STAGES + FETCH_LATENCY + 2 + r``, two cycles after its bank was read. Its pass may
    decide its first fetch (``start``) in e + 1, and the next load issue in the cycle of ``start``.
    Rows r and r + P share a bank: loads never issue P, 2P ... cycles after another that is still
    being read, so that the mean is ``rows / P`` cycles a tile.

    An instruction is taken while there is none, or in the cycle after the last load of the one
    before; its own first load may issue in the same cycle.

    Parameters
    ----------
    config : NpuConfig

    Members
    -------
    control : Out(UnitControl)
        ``completed`` when the last tile has been read from the memory.
    write : In(WordWrite)
        One word of all banks, that of bank 0 in the lowest bits; dropped beyond the memory.
    start : In(1)
        A pass begins and takes the tile that is loaded.
    loaded : Out(1)
        A load that no pass has taken was issued before this cycle.
    rows : Out(weights_layout), one for each row of the array
    out_of_range : Out(1)
        In the cycle before, a tile or a write was beyond the memory.
    """

    def __init__(self, config: NpuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "control": Out(UnitControl()),
                "write": In(WordWrite(config.weight_port * config.columns * config.width)),
                "start": In(1),
                "loaded": Out(1),
                "rows": Out(weights_layout(config)).array(config.rows),
                "out_of_range": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """The loads travel down a chain of addresses, one stage a cycle.

        Bank b is read at stage ``_READ + b``, so that a load's rows follow each other. From
        stage P - 1 a load comes back to stage 0 for its next P rows, and bars it to others.
        """
        m = Module()
        config = self.config
        control, port, turns = self.control, config.weight_port, config.weight_reads
        words = config.weight_tiles * turns
        load = data.StructLayout(
            # ``more``: of its turns, this is not the last
            {"valid": 1, "last": 1, "turn": range(turns), "more": 1, "address": range(words)}
        )
        chain = [Signal(load, name=f"load_{stage}") for stage in range(_READ + port + 2)]

        command = data.View(
            fields_of(isa.ReadWeights),
            control.command.payload[: fields_of(isa.ReadWeights).size],
        )
        state = data.StructLayout(
            {
                "active": 1,
                "tile": command.address.shape(),
                "left": command.count.shape(),
                "last": 1,
                "repeat": 1,
            }
        )
        # that a load issues follows from ``start``, late in a cycle: it tells on the next one
        before, now = Signal(state), Signal(state)
        issue, issued = Signal(), Signal()
        m.d.sync += [before.eq(now), issued.eq(issue)]
        m.d.comb += [
            control.command.ready.eq(~before.active | (issued & before.last)),
            now.eq(before),
        ]
        with m.If(control.command.ready):
            m.d.comb += [
                now.active.eq(control.command.valid),
                now.tile.eq(command.address),
                now.left.eq(command.count),
                now.last.eq(command.count == 0),
                now.repeat.eq(command.repeat),
            ]
        with m.Elif(issued):
            m.d.comb += [
                now.tile.eq(Mux(before.repeat, before.tile, before.tile + 1)),
                now.left.eq(before.left - 1),
                now.last.eq(before.left == 1),
            ]
        end = chain[port - 1]
        m.d.comb += issue.eq(now.active & ~end.more & (~self.loaded | self.start))
        with m.If(issue):
            m.d.sync += self.loaded.eq(1)
        with m.Elif(self.start):
            m.d.sync += self.loaded.eq(0)

        m.d.sync += [following.eq(stage) for stage, following in itertools.pairwise(chain)]
        with m.If(end.more):
            m.d.sync += [
                chain[0].eq(end),
                chain[0].turn.eq(end.turn + 1),
                chain[0].more.eq(end.turn + 1 != turns - 1),
                chain[0].address.eq(end.address + 1),
            ]
        with m.Else():
            m.d.sync += [
                chain[0].valid.eq(issue),
                chain[0].last.eq(now.last),
                chain[0].turn.eq(0),
                chain[0].more.eq(issue & (turns > 1)),
                chain[0].address.eq(times(now.tile, turns)),
            ]

        in_memory = self.write.address < words
        for b in range(port):
            m.submodules[f"bank_{b}"] = bank = DeepMemory(config.columns * config.width, words)
            m.d.comb += [
                bank.read_enable.eq(chain[_READ + b].valid),
                bank.read_address.eq(chain[_READ + b].address),
                bank.write_enable.eq(self.write.enable & in_memory),
                bank.write_address.eq(self.write.address),
                bank.write_data.eq(self.write.data.word_select(b, len(bank.write_data))),
            ]
            was_read, word = chain[_READ + b + 2], later(m, bank.read_data, f"word_{b}")
            for turn, row in enumerate(self.rows[b::port]):
                m.d.comb += row.word.eq(word)
                m.d.comb += row.capture.eq(was_read.valid & (was_read.turn == turn))

        m.d.sync += self.out_of_range.eq(
            (issue & (now.tile >= config.weight_tiles)) | (self.write.enable & ~in_memory)
        )
        m.d.comb += [
            control.completed.eq(self.rows[-1].capture & chain[-1].last),
            control.busy.eq(now.active | Cat(stage.valid for stage in chain).any()),
            control.waiting.eq(now.active & ~issue),
        ]
        return m
