"""The ACTIVATE unit: accumulators into words of the buffer, requantized, combined and looked up."""

from __future__ import annotations

from itertools import pairwise

from amaranth.hdl import Cat, Module, Mux, Signal, Value, ValueLike, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO, SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from edgeinfer.hdl import isa
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.gateware.buffer import READ_LATENCY
from edgeinfer.hdl.gateware.interface import (
    ADDRESS_BITS,
    INSTRUCTION_BITS,
    AccumulatorPort,
    ReadRequest,
    UnitControl,
    WordWrite,
    fields_of,
    record_layout,
)
from edgeinfer.hdl.gateware.parameters import ParameterPort
from edgeinfer.hdl.gateware.pipeline import later, replica
from edgeinfer.hdl.gateware.rescaler import RESCALER_LATENCY, VALUE_LATENCY, Rescaler
from edgeinfer.hdl.gateware.table import Table, table_latency
from edgeinfer.hdl.gateware.walks import GROUPS, GroupWalk
from edgeinfer.hdl.isa import Operation

__all__ = ["ActivateUnit"]

_INTERVAL = 4
"""Cycles from a part with a second operand to the next: it takes each lane four times."""

_PREFETCHED = 4
"""Second operands that are read ahead, in words."""

_ASKED = 2
"""Addresses of theirs that wait for the buffer: one in two cycles, where a word takes four."""

_WORDS = 4
"""Words whose addresses are known before their turn."""

_ON_WAY = 16
"""Words whose last part is on its way: a plain one a cycle for 10 + T cycles at most."""

# Stages of a part, 0 the one in which it is issued; those of the steps differ modulo the interval.
# Step 0 requantizes the accumulators, step 1 rescales the second operand, step 2 the first one,
# which it has from step 0, or multiplies the two, and step 3 requantizes their sum.
_SUMS = 2
_STEP_0 = _SUMS + 1
_FIRST = _STEP_0 + RESCALER_LATENCY
_STEP_2 = _FIRST + 2
_STEP_1 = _STEP_2 - 3
_STEP_3 = _STEP_2 + VALUE_LATENCY + 1
_END = _STEP_3 + RESCALER_LATENCY

_CLAMP = data.StructLayout(
    {"zero_point": signed(16), "lo": signed(16), "hi": signed(16), "double": unsigned(1)}
)


def _part_layout(config: NpuConfig) -> data.StructLayout:
    """A part on its way: the ``index``-th ``lanes`` elements of a word.

    ``pair``: with a second operand. ``last``: it completes the word. ``group_end``: and the group.
    """
    return data.StructLayout(
        {
            "valid": 1,
            "pair": 1,
            "table": 1,
            "index": range(config.steps),
            "last": 1,
            "group_end": 1,
        }
    )


class _Issue(wiring.Component):
    """Instructions into parts: when the lanes begin each, and with which addresses.

    Members
    -------
    command : In(stream of 128 bits)
    output, operands, total : Out
        The latest SET_OUTPUT, SET_OPERANDS and SET_SUM.
    activate : Out(stream of fields_of(isa.Activate))
        As it is taken, for the second operand's reader.
    active : Out(1)
        An ACTIVATE has parts that are not issued yet.
    full : In(1)
        Of the accumulators.
    has_second : In(1)
        A word with a second operand may begin.
    part : Out
        Issued in this cycle, if it is valid.
    address : Out
        Where its word goes.
    pixel, row : Out
        What it reads of the accumulators and of the parameters.
    group_end : Out(1)
        It is the last of its group.
    waiting : Out(1)
        The lanes could begin a part, but not all is there that it needs.
    """

    def __init__(self, config: NpuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "command": In(stream.Signature(INSTRUCTION_BITS)),
                "output": Out(fields_of(isa.SetOutput)),
                "operands": Out(fields_of(isa.SetOperands)),
                "total": Out(fields_of(isa.SetSum)),
                "activate": Out(stream.Signature(fields_of(isa.Activate))),
                "active": Out(1),
                "full": In(1),
                "has_second": In(1),
                "part": Out(_part_layout(config)),
                "address": Out(ADDRESS_BITS),
                "pixel": Out(range(config.accumulator_depth)),
                "row": Out(16),
                "group_end": Out(1),
                "waiting": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Words with their addresses wait in a queue until their parts can be issued."""
        m = Module()
        part, steps = self.part, self.config.steps
        place = data.StructLayout(
            {"address": ADDRESS_BITS, "group_end": 1, "row": 16, "pixel": self.pixel.shape()}
        )
        m.submodules.walk = walk = GroupWalk()
        m.submodules.words = words = SyncFIFOBuffered(width=place.size, depth=_WORDS)
        walked, word = Signal(place), data.View(place, words.r_data)

        # instructions: a setting stays until the last part that it concerns has been issued, those
        # of later steps until these are over
        payload = self.command.payload
        opcode = payload[: isa.OPCODE_BITS]
        is_activate = opcode == isa.Activate.opcode
        activate, activates = self.activate.payload, self.activate.valid & self.activate.ready
        settled, settling = Signal(init=1), Signal(range(_STEP_3))
        m.d.sync += settled.eq(~activates & ~walk.o.valid & (words.level == 0) & (settling <= 1))
        m.d.comb += [
            self.active.eq(walk.o.valid | (words.level != 0)),
            activate.eq(payload[: activate.shape().size]),
            self.activate.valid.eq(self.command.valid & is_activate & walk.i.ready),
            self.command.ready.eq(Mux(is_activate, walk.i.ready & self.activate.ready, settled)),
        ]
        for instruction, setting in (
            (isa.SetOutput, self.output),
            (isa.SetOperands, self.operands),
            (isa.SetSum, self.total),
        ):
            with m.If(self.command.valid & settled & (opcode == instruction.opcode)):
                m.d.sync += setting.eq(payload[: setting.shape().size])

        # words: where each goes, and what it reads
        row, pixel, shared = Signal(16), Signal.like(self.pixel), Signal()
        with m.If(words.w_en & words.w_rdy):
            m.d.sync += pixel.eq(Mux(walk.o.payload.group_end, 0, pixel + 1))
        with m.If(activates):
            m.d.sync += [row.eq(activate.parameters), shared.eq(activate.shared)]
        with m.Elif(words.w_en & words.w_rdy & walk.o.payload.group_end & ~shared):
            m.d.sync += row.eq(row + steps)
        m.d.comb += [
            walk.i.valid.eq(activates),
            *(walk.i.payload[name].eq(activate[name]) for name in GROUPS.members),
            walk.row_step.eq(self.output.row_step),
            walk.column_step.eq(self.output.column_step),
            walk.o.ready.eq(words.w_rdy),
            walked.address.eq(walk.o.payload.address),
            walked.group_end.eq(walk.o.payload.group_end),
            walked.row.eq(row),
            walked.pixel.eq(pixel),
            words.w_en.eq(walk.o.valid),
            words.w_data.eq(walked),
        ]

        # parts
        index, phase = Signal.like(part.index), Signal(range(_INTERVAL))
        # a register, as much follows from it in the same cycle
        turn = Signal(init=1)
        # SET_OUTPUT comes two cycles before a part of its ACTIVATE or earlier
        pair = later(m, self.output.operation != Operation.NONE, "pair")
        m.d.comb += [
            part.valid.eq(
                words.r_rdy & self.full & turn & (~pair | (index != 0) | self.has_second)
            ),
            self.waiting.eq(words.r_rdy & turn & ~part.valid),
            part.pair.eq(pair),
            part.table.eq(self.output.table),
            part.index.eq(index),
            part.last.eq(index == steps - 1),
            part.group_end.eq(word.group_end),
            self.address.eq(word.address),
            words.r_en.eq(part.valid & part.last),
            self.pixel.eq(word.pixel),
            self.row.eq(word.row + index),
            self.group_end.eq(part.valid & part.last & word.group_end),
        ]
        with m.If(part.valid & pair):
            m.d.sync += [phase.eq(1), settling.eq(_STEP_3 - 1), turn.eq(0)]
        with m.Else():
            m.d.sync += [phase.eq(phase + 1), settling.eq(settling - (settling != 0))]
            # the steps of parts with a second operand meet unless whole intervals lie between them
            m.d.sync += turn.eq((settling <= 1) | (phase == _INTERVAL - 1))
        with m.If(part.valid):
            m.d.sync += index.eq(Mux(part.last, 0, index + 1))
        return m


class _SecondOperand(wiring.Component):
    """Reads an ACTIVATE's second operands ahead, as far as a FIFO has room.

    Members
    -------
    activate : In(stream of fields_of(isa.Activate))
    output : In
        As of ``_Issue``.
    read : Out(ReadRequest)
    ready : Out(1)
        A word that has not begun has been read, or is just being read.
    begin : In(1)
        A word with a second operand begins.
    word : Out
        The oldest one's, from ``READ_LATENCY`` cycles after its first ``ready`` until ``pop``.
    pop : In(1)
    """

    def __init__(self, config: NpuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "activate": In(stream.Signature(fields_of(isa.Activate))),
                "output": In(fields_of(isa.SetOutput)),
                "read": Out(ReadRequest(config)),
                "ready": Out(1),
                "begin": In(1),
                "word": Out(config.columns * config.width),
                "pop": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """``room`` counts words neither requested nor held, ``waiting`` those that may begin."""
        m = Module()
        m.submodules.walk = walk = GroupWalk()
        m.submodules.fifo = fifo = SyncFIFO(width=len(self.word), depth=_PREFETCHED)
        # whether the buffer takes a read is known late in a cycle: the walk goes on ahead of it
        m.submodules.asked = asked = SyncFIFOBuffered(width=ADDRESS_BITS, depth=_ASKED)
        arrives = Signal(READ_LATENCY)
        accepted = self.read.valid & self.read.ready
        room, has_room = Signal(range(_PREFETCHED + 1), init=_PREFETCHED), Signal(init=1)
        left = (room + self.pop - accepted)[: len(room)]
        waiting = Signal(range(_PREFETCHED + 1))
        may_begin = (waiting + accepted - self.begin)[: len(waiting)]
        m.d.comb += [
            self.activate.ready.eq(walk.i.ready),
            walk.i.valid.eq(self.activate.valid & (self.output.operation != Operation.NONE)),
            *(walk.i.payload[name].eq(self.activate.payload[name]) for name in GROUPS.members),
            walk.i.payload.base.eq(self.activate.payload.residual),
            walk.row_step.eq(self.output.residual_row_step),
            walk.column_step.eq(self.output.residual_column_step),
            walk.o.ready.eq(asked.w_rdy),
            asked.w_en.eq(walk.o.valid),
            asked.w_data.eq(walk.o.payload.address),
            asked.r_en.eq(accepted),
            self.read.valid.eq(asked.r_rdy & has_room),
            self.read.address.eq(asked.r_data),
            fifo.w_en.eq(arrives[-1]),
            fifo.w_data.eq(self.read.data),
            fifo.r_en.eq(self.pop),
            self.word.eq(fifo.r_data),
        ]
        m.d.sync += [
            arrives.eq(Cat(accepted, arrives)),
            room.eq(left),
            has_room.eq(left != 0),
            waiting.eq(may_begin),
            self.ready.eq(may_begin != 0),
        ]
        return m


class _Lane(wiring.Component):
    """A rescaler, and what it takes in each of the steps.

    Members
    -------
    sum, record : In
        In stage ``_SUMS`` of a part.
    clamp : In
        In stage ``_STEP_0``: what SET_OUTPUT said when the part was issued.
    output, operands, total : In
        As of ``_Issue``.
    second : In
        The element of the second operand, in the cycle before step 1.
    steps : In(3)
        The cycles before steps 1, 2 and 3; step 0 takes any other.
    holds : In(1)
        The cycle before step 1's value.
    element : Out
        The result of the step that was ``RESCALER_LATENCY`` cycles before.
    """

    def __init__(self, config: NpuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "sum": In(signed(config.accumulator_bits)),
                "record": In(record_layout(config)),
                "clamp": In(_CLAMP),
                "output": In(fields_of(isa.SetOutput)),
                "operands": In(fields_of(isa.SetOperands)),
                "total": In(fields_of(isa.SetSum)),
                "second": In(signed(config.width)),
                "steps": In(3),
                "holds": In(1),
                "element": Out(signed(config.width)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Sums are made ready a cycle before their step."""
        m = Module()
        m.submodules.rescaler = rescaler = Rescaler(self.config)
        m.d.comb += self.element.eq(rescaler.o.element)
        operands, total = self.operands, self.total
        # each lane has what chooses among its operands in registers of its own
        step_1, step_2, step_3 = replica(m, self.steps, "steps")
        multiplies, subtracts, subtracts_from = (
            replica(m, self.output.operation == which, which.name.lower())
            for which in (Operation.MULTIPLY, Operation.SUBTRACT, Operation.SUBTRACT_FROM)
        )
        shifts_by_20 = replica(m, total.left_shift == 20, "shifts_by_20")
        bits = self.config.accumulator_bits

        biased = later(m, (self.sum + self.record.bias)[:bits].as_signed(), "biased")
        multiplier = later(m, self.record.multiplier, "multiplier")
        shift = later(m, self.record.shift, "shift")

        # elements and their zero points; b stays until the next part takes its place
        width = self.config.width
        centered = self.element - operands.a_zero_point[:width].as_signed()
        a = later(m, centered[: width + 1].as_signed(), "a", cycles=_STEP_2 - _FIRST)
        b = Signal(signed(width + 1), reset_less=True)
        with m.If(self.steps[0]):
            m.d.sync += b.eq(self.second - operands.b_zero_point[:width].as_signed())
        operand = Mux(step_1, b, a)
        fine = Mux(shifts_by_20, operand << 20, operand << 15)

        # step 1's value waits for step 2's: b + a, or ~b + 1 + a, or b + 1 + ~a
        value = rescaler.o.value
        held = Signal(signed(bits), reset_less=True)
        with m.If(replica(m, self.holds, "holds")):
            m.d.sync += held.eq(Mux(subtracts, ~value, value) + (subtracts | subtracts_from))
        both = (held + Mux(subtracts_from, ~value, value))[:bits].as_signed()
        both = later(m, both, "both")

        step = rescaler.i
        m.d.comb += step.double.eq(self.clamp.double)
        with m.If(step_1):
            m.d.comb += [
                # the sum of step 3 is then the product of step 2
                step.operand.eq(Mux(multiplies, 0, fine)),
                step.multiplier.eq(operands.b_multiplier),
                step.shift.eq(operands.b_shift),
            ]
        with m.Elif(step_2 & multiplies):
            m.d.comb += [step.operand.eq(a), step.multiplier.eq(b)]
        with m.Elif(step_2):
            m.d.comb += [
                step.operand.eq(fine),
                step.multiplier.eq(operands.a_multiplier),
                step.shift.eq(operands.a_shift),
            ]
        with m.Elif(step_3):
            m.d.comb += [
                step.operand.eq(both),
                step.multiplier.eq(total.multiplier),
                step.shift.eq(total.shift),
                step.zero_point.eq(total.zero_point),
                step.lo.eq(total.lo),
                step.hi.eq(total.hi),
            ]
        with m.Else():
            m.d.comb += [
                step.operand.eq(biased),
                step.multiplier.eq(multiplier),
                step.shift.eq(shift),
                step.zero_point.eq(self.clamp.zero_point),
                step.lo.eq(self.clamp.lo),
                step.hi.eq(self.clamp.hi),
            ]
        return m


class ActivateUnit(wiring.Component):
    """Executes SET_OUTPUT, SET_OPERANDS, SET_SUM and ACTIVATE: "Activate" in docs/npu-design.md.

    A *part* is what the lanes take of a word at once; a word has ``columns / lanes`` parts. Plain
    parts are issued one a cycle, those with a second operand one in four cycles, without gaps
    between words, groups and ACTIVATEs. A word begins when its accumulators are full and, if it
    needs one, its second operand has been read; nothing stalls a part once it is issued.

    The word is written ``10 + T + 1`` cycles after its last part was issued, with a second operand
    ``25 + T + 1``, where T is the table's latency, 0 without tables. ``completed`` comes with the
    write.

    An ACTIVATE is taken when the addresses of the one before are made, which are some words ahead.
    A SET waits until the last part before it has been issued; SET_OUTPUT's settings travel with
    plain parts. After parts with a second operand it waits until the last one is in its last step.

    Second operands are read ahead, up to four words. Whoever writes them must have done so before
    their ACTIVATE comes; if that is an earlier ACTIVATE, a SYNC must be between the two.

    Parameters
    ----------
    config : NpuConfig

    Members
    -------
    control : Out(UnitControl)
        ``completed`` counts groups.
    accumulators : Out(AccumulatorPort)
        Released in the cycle of a group's last read.
    parameters : Out(ParameterPort)
    residual : Out(ReadRequest)
        Second operands.
    result : Out(WordWrite)
        Into the buffer.
    intermediate : Out(WordWrite)
        For simulations: what step 0 gave, of words with a second operand, under the address of the
        result.
    table : In(WordWrite)
        ``Table.write``; only with ``config.tables``.
    table_out_of_range : Out(1)
        ``Table.out_of_range``; likewise.
    """

    def __init__(self, config: NpuConfig) -> None:
        self.config = config
        word = WordWrite(config.columns * config.width)
        members: dict[str, wiring.Member] = {
            "control": Out(UnitControl()),
            "accumulators": Out(AccumulatorPort(config)),
            "parameters": Out(ParameterPort(config)),
            "residual": Out(ReadRequest(config)),
            "result": Out(word),
            "intermediate": Out(word),
        }
        if config.tables:
            members["table"] = In(WordWrite(8 * config.bus_bytes))
            members["table_out_of_range"] = Out(1)
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        """Parts travel beside the lanes' stages and say what is in them."""
        m = Module()
        config = self.config
        m.submodules.issue = issue = _Issue(config)
        m.submodules.second = second = _SecondOperand(config)
        wiring.connect(m, wiring.flipped(self.control.command), issue.command)
        wiring.connect(m, issue.activate, second.activate)
        wiring.connect(m, wiring.flipped(self.residual), second.read)

        parts = [Signal(_part_layout(config), name=f"part_{stage}") for stage in range(_END + 1)]
        m.d.comb += parts[0].eq(issue.part)
        for stage, following in pairwise(parts):
            m.d.sync += following.eq(stage)
        clamp: data.View = Signal(_CLAMP)
        m.d.comb += [clamp[name].eq(issue.output[name]) for name in _CLAMP.members]
        clamp = later(m, clamp, "clamp", cycles=_STEP_0)

        # 0: what the part needs is read
        m.d.comb += [
            issue.full.eq(self.accumulators.full),
            issue.has_second.eq(second.ready),
            self.accumulators.address.eq(issue.pixel),
            self.accumulators.release.eq(issue.group_end),
            self.parameters.enable.eq(issue.part.valid),
            self.parameters.address.eq(issue.row),
            second.output.eq(issue.output),
            second.begin.eq(issue.part.valid & issue.part.pair & (issue.part.index == 0)),
        ]

        # the lanes; a plain part leaves them after step 0
        plain, paired = Signal(_part_layout(config)), Signal(_part_layout(config))
        takes = parts[_STEP_1 - 1]
        m.d.comb += [
            plain.eq(parts[_FIRST]),
            plain.valid.eq(parts[_FIRST].valid & ~parts[_FIRST].pair),
            paired.eq(parts[_FIRST]),
            paired.valid.eq(parts[_FIRST].valid & parts[_FIRST].pair),
            second.pop.eq(takes.valid & takes.pair & takes.last),
        ]
        m.d.sync += parts[_FIRST + 1].eq(paired)
        sums = self._by_part(self.accumulators.data, config.accumulator_bits)
        seconds = self._by_part(second.word, config.width)
        elements = Signal(data.ArrayLayout(signed(config.width), config.lanes))
        for index in range(config.lanes):
            m.submodules[f"lane_{index}"] = lane = _Lane(config)
            m.d.comb += [
                lane.sum.eq(sums[parts[_SUMS].index][index]),
                lane.record.eq(self.parameters.row[index]),
                lane.clamp.eq(clamp),
                lane.output.eq(issue.output),
                lane.operands.eq(issue.operands),
                lane.total.eq(issue.total),
                lane.second.eq(seconds[takes.index][index]),
                lane.steps.eq(
                    Cat(
                        takes.valid & takes.pair,
                        parts[_STEP_2 - 1].valid,
                        parts[_STEP_3 - 1].valid,
                    )
                ),
                lane.holds.eq(parts[_STEP_1 + VALUE_LATENCY - 1].valid),
                elements[index].eq(lane.element),
            ]
        self._collect(m, self.intermediate, issue, issue.part.pair, paired, elements)

        # the table, and the words
        ended = Signal(_part_layout(config))
        with m.If(plain.valid):
            m.d.comb += ended.eq(plain)
        with m.Else():
            m.d.comb += ended.eq(parts[_END])
        on_way = [*parts, ended]
        if config.tables:
            ended, elements = self._look_up(m, ended, elements, on_way)
        self._collect(m, self.result, issue, 1, ended, elements)
        m.d.sync += self.control.completed.eq(ended.valid & ended.group_end & ended.last)
        m.d.comb += [
            self.control.busy.eq(
                issue.active | Cat(part.valid for part in on_way).any() | self.result.enable
            ),
            self.control.waiting.eq(issue.waiting),
        ]
        return m

    def _by_part(self, word: data.View | Value, bits: int) -> data.View:
        """``word``'s numbers of ``bits``, by part and lane."""
        lanes = data.ArrayLayout(signed(bits), self.config.lanes)
        return data.View(data.ArrayLayout(lanes, self.config.steps), Value.cast(word))

    def _look_up(
        self, m: Module, part: data.View, elements: data.View, on_way: list[data.View]
    ) -> tuple[data.View, data.View]:
        """The part and its values after the table, which delays also those that pass it by."""
        m.submodules.table = table = Table(self.config)
        wiring.connect(m, wiring.flipped(self.table), table.write)
        m.d.comb += [table.i.eq(elements), self.table_out_of_range.eq(table.out_of_range)]
        for stage in range(1, table_latency(self.config) + 1):
            ended = Signal.like(part, name=f"ended_{stage}")
            m.d.sync += ended.eq(part)
            on_way.append(ended)
            part, elements = ended, later(m, elements, f"passed_{stage}")
        values = Signal.like(elements)
        with m.If(part.table):
            m.d.comb += values.eq(table.o)
        with m.Else():
            m.d.comb += values.eq(elements)
        return part, values

    def _collect(
        self,
        m: Module,
        word: wiring.PureInterface,
        issue: _Issue,
        counts: ValueLike,
        part: data.View,
        elements: data.View,
    ) -> None:
        """Put ``part`` into ``word``'s register, and write that when it is complete.

        The addresses of the words that ``counts`` as they are issued wait for them in a queue.
        """
        collected = Signal(word.data.shape(), reset_less=True)
        addresses = SyncFIFO(width=ADDRESS_BITS, depth=_ON_WAY)
        m.submodules += addresses
        ends = part.valid & part.last
        m.d.comb += [
            addresses.w_en.eq(issue.part.valid & issue.part.last & counts),
            addresses.w_data.eq(issue.address),
            addresses.r_en.eq(ends),
            word.data.eq(collected),
        ]
        m.d.sync += [word.enable.eq(ends), word.address.eq(addresses.r_data)]
        with m.If(part.valid):
            m.d.sync += self._by_part(collected, self.config.width)[part.index].eq(elements)
