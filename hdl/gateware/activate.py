"""The ACTIVATE unit: accumulators into words of the buffer, requantized, combined and looked up."""

from __future__ import annotations

from itertools import pairwise

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed, unsigned
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
from edgeinfer.hdl.gateware.rescaler import RESCALER_LATENCY, Rescaler
from edgeinfer.hdl.gateware.table import Table, table_latency
from edgeinfer.hdl.isa import Operation

__all__ = ["ActivateUnit"]

_INTERVAL = 4
"""Cycles from a part with a second operand to the next: it takes each lane four times."""

_PREFETCHED = 4
"""Second operands that are read ahead, in words."""

_ASKED = 2
"""Addresses of theirs that wait for the buffer: one in two cycles, where a word takes four."""

# Stages of a part, 0 the one in which it is issued; those of the steps differ modulo the interval.
_SUMS = 2
_STEP_0 = _SUMS + 1
_STEP_1 = _STEP_0 + RESCALER_LATENCY
_STEP_2 = _STEP_1 + 1
_STEP_3 = _STEP_2 + RESCALER_LATENCY
_END = _STEP_3 + RESCALER_LATENCY

_CLAMP = data.StructLayout(
    {"zero_point": signed(16), "lo": signed(16), "hi": signed(16), "double": unsigned(1)}
)


def _part_layout(config: NpuConfig) -> data.StructLayout:
    """A part on its way: the ``index``-th ``lanes`` elements of a word.

    ``pair``: with a second operand. ``last``: it completes the word. ``group_end``: and the group.
    ``address``: where the word goes.
    """
    return data.StructLayout(
        {
            "valid": 1,
            "pair": 1,
            "table": 1,
            "index": range(config.steps),
            "last": 1,
            "group_end": 1,
            "address": ADDRESS_BITS,
        }
    )


class _Walk(wiring.Component):
    """The addresses of an ACTIVATE's words: for group, for row, for column; one a cycle at most.

    Members
    -------
    start : In(1)
        ``address`` is ``base`` in the next cycle.
    started : In(fields_of(isa.Activate))
        With ``start``: what ``activate`` is from the next cycle on.
    base : In(20)
    advance : In(1)
        ``address`` is the next word's in the next cycle; in one cycle, ``start`` counts.
    row_step, column_step : In(16)
    activate : In(fields_of(isa.Activate))
        Its rows, columns and groups.
    address : Out(20)
    group_end, end : Out(1)
        It is the last of a group, of all.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "start": In(1),
                "started": In(fields_of(isa.Activate)),
                "base": In(ADDRESS_BITS),
                "advance": In(1),
                "row_step": In(16),
                "column_step": In(16),
                "activate": In(fields_of(isa.Activate)),
                "address": Out(ADDRESS_BITS),
                "group_end": Out(1),
                "end": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Three nested loops, and the addresses at which the outer two began.

        That a loop is in its last turn is a register: much follows from it in the same cycle.
        """
        m = Module()
        limits = self.activate
        groups, rows, columns = (
            _Turns(m, name, Signal.like(limits[name], name=f"{name}_left"))
            for name in ("groups", "rows", "columns")
        )
        of_group, of_row = Signal(ADDRESS_BITS), Signal(ADDRESS_BITS)
        m.d.comb += [
            self.group_end.eq(columns.last & rows.last),
            self.end.eq(self.group_end & groups.last),
        ]
        with m.If(self.start):
            for loop in (groups, rows, columns):
                loop.begin(self.started)
            m.d.sync += [place.eq(self.base) for place in (of_group, of_row, self.address)]
        with m.Elif(self.advance & self.group_end):
            groups.next()
            rows.begin(limits)
            columns.begin(limits)
            m.d.sync += [place.eq(of_group + 1) for place in (of_group, of_row, self.address)]
        with m.Elif(self.advance & columns.last):
            rows.next()
            columns.begin(limits)
            m.d.sync += [place.eq(of_row + self.row_step) for place in (of_row, self.address)]
        with m.Elif(self.advance):
            columns.next()
            m.d.sync += self.address.eq(self.address + self.column_step)
        return m


class _Turns:
    """What is left of a loop, less one, and whether it is in its last turn.

    Parameters
    ----------
    m : Module
    name : str
        The field that says how many turns it has.
    left : Signal
    """

    def __init__(self, m: Module, name: str, left: Signal) -> None:
        self._m, self._name, self._left = m, name, left
        self.last = Signal(name=f"{name}_last")

    def begin(self, limits: data.View) -> None:
        """All turns of ``limits`` are left."""
        count = limits[self._name]
        self._m.d.sync += [self._left.eq(count), self.last.eq(count == 0)]

    def next(self) -> None:
        """A turn is over."""
        self._m.d.sync += [self._left.eq(self._left - 1), self.last.eq(self._left == 1)]


class _Issue(wiring.Component):
    """Instructions into parts: when the lanes begin each, and with which addresses.

    Members
    -------
    command : In(stream of 128 bits)
    output, operands, total : Out
        The latest SET_OUTPUT, SET_OPERANDS and SET_SUM.
    start : Out(1)
        An ACTIVATE is taken: ``activate`` has it from the next cycle on.
    started : Out
        It, with ``start``.
    activate : Out
    active : Out(1)
        It has parts that are not issued yet.
    full : In(1)
        Of the accumulators.
    has_second : In(1)
        A word with a second operand may begin.
    part : Out
        Issued in this cycle, if it is valid.
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
                "start": Out(1),
                "started": Out(fields_of(isa.Activate)),
                "activate": Out(fields_of(isa.Activate)),
                "active": Out(1),
                "full": In(1),
                "has_second": In(1),
                "part": Out(_part_layout(config)),
                "pixel": Out(range(config.accumulator_depth)),
                "row": Out(16),
                "group_end": Out(1),
                "waiting": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """A part is issued as soon as there is what it needs and the lanes are free for it."""
        m = Module()
        part = self.part
        m.submodules.walk = walk = _Walk()
        index = Signal.like(part.index)
        phase = Signal(range(_INTERVAL))
        settling = Signal(range(_STEP_3))
        # a register, as much follows from it in the same cycle
        turn = Signal(init=1)
        end = Signal()
        # SET_OUTPUT comes two cycles before a part of its ACTIVATE or earlier
        pair = later(m, self.output.operation != Operation.NONE, "pair")
        m.d.comb += [
            part.valid.eq(
                self.active & self.full & turn & (~pair | (index != 0) | self.has_second)
            ),
            self.waiting.eq(self.active & turn & ~part.valid),
            part.pair.eq(pair),
            part.table.eq(self.output.table),
            part.index.eq(index),
            part.last.eq(index == self.config.steps - 1),
            part.group_end.eq(walk.group_end),
            part.address.eq(walk.address),
            self.group_end.eq(part.valid & part.last & walk.group_end),
            end.eq(part.valid & part.last & walk.end),
            walk.advance.eq(part.valid & part.last),
            walk.start.eq(self.start),
            walk.row_step.eq(self.output.row_step),
            walk.column_step.eq(self.output.column_step),
            walk.activate.eq(self.activate),
            walk.started.eq(self.started),
        ]
        with m.If(end):
            m.d.sync += self.active.eq(0)
        with m.If(part.valid & pair):
            m.d.sync += [phase.eq(1), settling.eq(_STEP_3 - 1), turn.eq(0)]
        with m.Else():
            m.d.sync += [phase.eq(phase + 1), settling.eq(settling - (settling != 0))]
            # the steps of parts with a second operand meet unless whole intervals lie between them
            m.d.sync += turn.eq((settling <= 1) | (phase == _INTERVAL - 1))
        with m.If(part.valid):
            m.d.sync += index.eq(Mux(part.last, 0, index + 1))
        with m.If(walk.advance):
            m.d.sync += self.pixel.eq(Mux(walk.group_end, 0, self.pixel + 1))

        row_of_group = Signal(16)
        with m.If(part.valid):
            m.d.sync += self.row.eq(self.row + 1)
            with m.If(self.group_end & ~self.activate.shared):
                m.d.sync += row_of_group.eq(self.row + 1)
            with m.Elif(part.last):
                m.d.sync += self.row.eq(row_of_group)

        # the settings of later steps must stay until the last part with a second operand is over
        payload, takes = self.command.payload, self.command.valid & self.command.ready
        opcode = payload[: isa.OPCODE_BITS]
        settled = (settling == 0) & ~(part.valid & pair)
        is_activate = opcode == isa.Activate.opcode
        activate = data.View(self.activate.shape(), payload[: self.activate.shape().size])
        m.d.comb += [
            self.command.ready.eq((~self.active | end) & (settled | is_activate)),
            self.start.eq(takes & is_activate),
            self.started.eq(activate),
            walk.base.eq(activate.base),
        ]
        with m.If(self.start):
            m.d.sync += [
                self.active.eq(1),
                self.activate.eq(activate),
                self.row.eq(activate.parameters),
                row_of_group.eq(activate.parameters),
            ]
        for instruction, setting in (
            (isa.SetOutput, self.output),
            (isa.SetOperands, self.operands),
            (isa.SetSum, self.total),
        ):
            with m.If(takes & (opcode == instruction.opcode)):
                m.d.sync += setting.eq(payload[: setting.shape().size])
        return m


class _SecondOperand(wiring.Component):
    """Reads an ACTIVATE's second operands ahead, as far as a FIFO has room.

    Members
    -------
    start, started, activate, output
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
                "start": In(1),
                "started": In(fields_of(isa.Activate)),
                "activate": In(fields_of(isa.Activate)),
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
        m.submodules.walk = walk = _Walk()
        m.submodules.fifo = fifo = SyncFIFO(width=len(self.word), depth=_PREFETCHED)
        # whether the buffer takes a read is known late in a cycle: the walk goes on ahead of it
        m.submodules.asked = asked = SyncFIFOBuffered(width=ADDRESS_BITS, depth=_ASKED)
        wanted, arrives = Signal(), Signal(READ_LATENCY)
        accepted = self.read.valid & self.read.ready
        room, has_room = Signal(range(_PREFETCHED + 1), init=_PREFETCHED), Signal(init=1)
        left = (room + self.pop - accepted)[: len(room)]
        waiting = Signal(range(_PREFETCHED + 1))
        may_begin = (waiting + accepted - self.begin)[: len(waiting)]
        m.d.comb += [
            walk.start.eq(self.start),
            walk.base.eq(self.started.residual),
            walk.advance.eq(wanted & asked.w_rdy),
            asked.w_en.eq(wanted),
            asked.w_data.eq(walk.address),
            asked.r_en.eq(accepted),
            walk.row_step.eq(self.output.residual_row_step),
            walk.column_step.eq(self.output.residual_column_step),
            walk.activate.eq(self.activate),
            walk.started.eq(self.started),
            self.read.valid.eq(asked.r_rdy & has_room),
            self.read.address.eq(asked.r_data),
            fifo.w_en.eq(arrives[-1]),
            fifo.w_data.eq(self.read.data),
            fifo.r_en.eq(self.pop),
            self.word.eq(fifo.r_data),
        ]
        with m.If(self.start):
            m.d.sync += wanted.eq(self.output.operation != Operation.NONE)
        with m.Elif(walk.advance & walk.end):
            m.d.sync += wanted.eq(0)
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
                "element": Out(signed(config.width)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Sums are made ready a cycle before their step wherever they can be."""
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

        # elements and their zero points
        width = self.config.width
        a, b = Signal(signed(width + 1)), Signal(signed(width + 1), reset_less=True)
        m.d.comb += a.eq(self.element - operands.a_zero_point[:width].as_signed())
        with m.If(self.steps[0]):
            m.d.sync += b.eq(self.second - operands.b_zero_point[:width].as_signed())
        centered = Mux(step_2, b, a)
        fine = Mux(shifts_by_20, centered << 20, centered << 15)

        # step 1's value comes a cycle before step 2's: a + b, or a + 1 + ~b, or ~a + 1 + b
        value = rescaler.o.value
        first = Mux(subtracts_from, ~value, value) + (subtracts | subtracts_from)
        held = later(m, first[:bits].as_signed(), "held")
        both = held + Mux(subtracts, ~value, value)

        step = rescaler.i
        m.d.comb += step.double.eq(self.clamp.double)
        with m.If(step_1 & multiplies):
            m.d.comb += [step.operand.eq(a), step.multiplier.eq(b)]
        with m.Elif(step_1):
            m.d.comb += [
                step.operand.eq(fine),
                step.multiplier.eq(operands.a_multiplier),
                step.shift.eq(operands.a_shift),
            ]
        with m.Elif(step_2):
            m.d.comb += [
                # the sum of step 3 is then the product of step 1
                step.operand.eq(Mux(multiplies, 0, fine)),
                step.multiplier.eq(operands.b_multiplier),
                step.shift.eq(operands.b_shift),
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
    """Executes SET_OUTPUT, SET_OPERANDS, SET_SUM and ACTIVATE: "Activate" in ``docs/npu.md``.

    A *part* is what the lanes take of a word at once; a word has ``columns / lanes`` parts. Plain
    parts are issued one a cycle, those with a second operand one in four cycles, without gaps
    between words, groups and ACTIVATEs. A word begins when its accumulators are full and, if it
    needs one, its second operand has been read; nothing stalls a part once it is issued.

    The word is written ``9 + T + 1`` cycles after its last part was issued, with a second operand
    ``22 + T + 1``, where T is the table's latency, 0 without tables. ``completed`` comes with the
    write.

    An instruction takes a cycle, the earliest that in which the last part of the ACTIVATE before is
    issued. SET_OUTPUT's settings travel with plain parts, so that no SET waits for these. After
    parts with a second operand it waits until the last one is in its last step, 16 cycles.

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
            second.start.eq(issue.start),
            second.activate.eq(issue.activate),
            second.started.eq(issue.started),
            second.output.eq(issue.output),
            second.begin.eq(issue.part.valid & issue.part.pair & (issue.part.index == 0)),
        ]

        # the lanes; a plain part leaves them after step 0
        paired = Signal(_part_layout(config))
        takes = parts[_STEP_1 - 1]
        m.d.comb += [
            paired.eq(parts[_STEP_1]),
            paired.valid.eq(parts[_STEP_1].valid & parts[_STEP_1].pair),
            second.pop.eq(takes.valid & takes.pair & takes.last),
        ]
        m.d.sync += parts[_STEP_2].eq(paired)
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
                    Cat(takes.valid & takes.pair, paired.valid, parts[_STEP_3 - 1].valid)
                ),
                elements[index].eq(lane.element),
            ]
        self._collect(m, self.intermediate, paired, elements)

        # the table, and the words
        ended = Signal(_part_layout(config))
        with m.If(parts[_STEP_1].valid & ~parts[_STEP_1].pair):
            m.d.comb += ended.eq(parts[_STEP_1])
        with m.Else():
            m.d.comb += ended.eq(parts[_END])
        on_way = [*parts, ended]
        if config.tables:
            ended, elements = self._look_up(m, ended, elements, on_way)
        self._collect(m, self.result, ended, elements)
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
        self, m: Module, word: wiring.PureInterface, part: data.View, elements: data.View
    ) -> None:
        """Put ``part`` into ``word``'s register, and write that when it is complete."""
        collected = Signal(word.data.shape(), reset_less=True)
        m.d.comb += word.data.eq(collected)
        m.d.sync += [word.enable.eq(part.valid & part.last), word.address.eq(part.address)]
        with m.If(part.valid):
            m.d.sync += self._by_part(collected, self.config.width)[part.index].eq(elements)
