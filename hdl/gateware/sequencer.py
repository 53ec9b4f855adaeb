"""The sequencer: instructions from host memory to the units, and the end of a run."""

from __future__ import annotations

from enum import IntEnum

from amaranth.hdl import Array, Cat, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from edgeinfer.hdl import isa
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.gateware.axi import HOST_ADDRESS_BITS
from edgeinfer.hdl.gateware.bursts import stretch_layout
from edgeinfer.hdl.gateware.interface import INSTRUCTION_BITS, fields_of
from edgeinfer.hdl.gateware.pipeline import later

__all__ = ["COUNTER_BITS", "Fault", "Sequencer", "UnitQueue", "decode"]

COUNTER_BITS = 16
_QUEUE = 4
_FETCHED = 16
"""Instructions that are fetched ahead."""

_BURST = 8
"""Instructions that are asked for at once."""

UNITS = len(isa.Unit)

_decoded_layout = data.StructLayout(
    {"instruction": INSTRUCTION_BITS, "illegal": 1, "is_halt": 1, "unit": range(UNITS)}
)
"""An instruction and what it is."""


class Fault(IntEnum):
    """Why a run has ended before its HALT."""

    NONE = 0
    ILLEGAL_INSTRUCTION = 1
    BUS = 2
    WATCHDOG = 3
    NO_HALT = 4
    OUT_OF_RANGE = 5
    STOPPED = 6

    @classmethod
    def described(cls, code: int) -> str:
        """``code`` for people; one that is none of these by its number."""
        return cls(code).name.lower().replace("_", " ") if code in list(cls) else f"fault {code}"


class UnitQueue(wiring.Component):
    """A unit's instructions; SYNCs are waited for here and never reach the unit.

    A SYNC takes two cycles at least, one to look at the counters and one to go.

    Parameters
    ----------
    depth : int

    Members
    -------
    i, o : stream of 128 bits
    counters : In
        How much each unit has completed.
    empty : Out(1)
    """

    def __init__(self, depth: int = _QUEUE) -> None:
        self.depth = depth
        super().__init__(
            {
                "i": In(stream.Signature(INSTRUCTION_BITS)),
                "o": Out(stream.Signature(INSTRUCTION_BITS)),
                "counters": In(data.ArrayLayout(COUNTER_BITS, UNITS)),
                "empty": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """A queue, and a gate behind it."""
        m = Module()
        m.submodules.queue = queue = SyncFIFOBuffered(width=INSTRUCTION_BITS, depth=self.depth)
        sync = data.View(fields_of(isa.Sync), queue.r_data[: fields_of(isa.Sync).size])
        is_sync, reached = Signal(), Signal()
        behind = Signal(COUNTER_BITS)
        m.d.comb += [
            is_sync.eq(sync.opcode == isa.Sync.opcode),
            behind.eq(Array(self.counters)[sync.on] - sync.count),
            queue.w_en.eq(self.i.valid),
            queue.w_data.eq(self.i.payload),
            self.i.ready.eq(queue.w_rdy),
            self.o.valid.eq(queue.r_rdy & ~is_sync),
            self.o.payload.eq(queue.r_data),
            queue.r_en.eq(Mux(is_sync, reached, self.o.ready)),
            self.empty.eq(queue.level == 0),
        ]
        m.d.sync += reached.eq(queue.r_rdy & is_sync & ~behind[-1] & ~reached)
        return m


class Sequencer(wiring.Component):
    """Fetches, checks and distributes instructions; ends a run at HALT or at a fault.

    An instruction a cycle, in order; one whose unit's queue is full holds up those behind it. At
    HALT the run ends when all queues are empty and all units idle. At a fault ``abort`` is held
    until the bus is idle as well. ``reset`` keeps what a run has left in the units from the next
    one.

    Parameters
    ----------
    config : NpuConfig

    Members
    -------
    start : In(1)
        A run begins; ignored while ``busy``.
    clear : In(1)
        Forget that a run is done, and its fault.
    stop : In(1)
        Give the run up: the host wants no more of it.
    program : In
        The address of the first instruction.
    length : In(32)
        Instructions at most; this and ``program`` are those at the start.
    watchdog : In(32)
        Cycles without ``progress`` that end the run; 0 for none.
    request : Out(stream of stretch_layout)
    beats : In(stream of a beat)
    commands : Out(stream of 128 bits), one for each unit
    counters : Out
        What each unit has completed in this run.
    completed, idle : In(1), one for each unit
    quiet : In(1)
        The bus has nothing on its way.
    progress : In(1)
        Something has moved in this cycle or in the one before.
    bus_failed, out_of_range : In(1)
    busy, done : Out(1)
    fault : Out(4)
    fault_at : Out(32)
        The instruction that was to be distributed when the fault came.
    abort : Out(1)
        The run has been given up; what the bus has not accepted is to be forgotten.
    reset : Out(1)
        In the cycle before, a run began or was being given up: units return to where they were at
        first.
    """

    def __init__(self, config: NpuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "clear": In(1),
                "stop": In(1),
                "program": In(HOST_ADDRESS_BITS),
                "length": In(32),
                "watchdog": In(32),
                "request": Out(stream.Signature(stretch_layout)),
                "beats": In(stream.Signature(8 * config.bus_bytes)),
                "commands": Out(stream.Signature(INSTRUCTION_BITS)).array(UNITS),
                "counters": Out(data.ArrayLayout(COUNTER_BITS, UNITS)),
                "completed": In(UNITS),
                "idle": In(UNITS),
                "quiet": In(1),
                "progress": In(1),
                "bus_failed": In(1),
                "out_of_range": In(1),
                "busy": Out(1),
                "done": Out(1),
                "fault": Out(4),
                "fault_at": Out(32),
                "abort": Out(1),
                "reset": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Fetch, distribute, end."""
        m = Module()
        begin, ends = Signal(), Signal()
        # what a run has fetched and not distributed is not the next one's
        fetched = SyncFIFOBuffered(width=_decoded_layout.size, depth=_FETCHED)
        m.submodules.fetched = ResetInserter(begin)(fetched)
        m.d.comb += begin.eq(self.start & ~self.busy)
        # a register, as it goes everywhere; no instruction comes as early
        m.d.sync += self.reset.eq(begin | self.abort)
        self._fetch(m, fetched, begin, ends)
        decoded = data.View(_decoded_layout, fetched.r_data)
        unit, is_halt = decoded.unit, decoded.is_halt

        queues = []
        for index, command in enumerate(self.commands):
            queue = UnitQueue()
            name = f"queue_{isa.Unit(index).name.lower()}"
            m.submodules[name] = ResetInserter(self.reset)(queue)
            wiring.connect(m, queue.o, wiring.flipped(command))
            m.d.comb += [
                queue.counters.eq(self.counters),
                queue.i.payload.eq(decoded.instruction),
            ]
            queues.append(queue)

        running, halting = Signal(), Signal()
        index = Signal(32)
        present = Signal()
        taken = Signal()
        m.d.comb += [
            present.eq(running & ~halting & fetched.r_rdy),
            taken.eq(
                present
                & ~decoded.illegal
                & (is_halt | Cat(queue.i.ready for queue in queues).bit_select(unit, 1))
            ),
        ]
        for number, queue in enumerate(queues):
            m.d.comb += queue.i.valid.eq(present & ~decoded.illegal & ~is_halt & (unit == number))
        m.d.comb += [fetched.r_en.eq(taken), ends.eq((taken & is_halt) | self.abort)]
        with m.If(taken):
            m.d.sync += index.eq(index + 1)

        for number in range(UNITS):
            with m.If(begin):
                m.d.sync += self.counters[number].eq(0)
            with m.Elif(self.completed[number]):
                m.d.sync += self.counters[number].eq(self.counters[number] + 1)

        # the end
        still, length, moved = Signal(32), Signal(32), Signal()
        fault = Signal(4)
        over, quiet_for_long = Signal(), Signal()
        m.d.sync += [
            # a cycle late: comparisons of 32 bits would be in the way of every fault
            over.eq(running & ~halting & (index == length)),
            quiet_for_long.eq(running & (self.watchdog != 0) & (still >= self.watchdog)),
        ]
        causes = (
            (self.bus_failed, Fault.BUS),
            (self.out_of_range, Fault.OUT_OF_RANGE),
            (present & decoded.illegal, Fault.ILLEGAL_INSTRUCTION),
            (over, Fault.NO_HALT),
            (quiet_for_long, Fault.WATCHDOG),
            (self.stop, Fault.STOPPED),
        )
        for condition, cause in reversed(causes):
            with m.If(condition):
                m.d.comb += fault.eq(cause)
        at_rest = Cat(queue.empty for queue in queues).all() & self.idle.all()
        m.d.comb += self.busy.eq(running | self.abort)
        m.d.sync += moved.eq(later(m, self.progress, "progress") | taken | ~running)
        with m.If(moved):
            m.d.sync += still.eq(0)
        with m.Else():
            m.d.sync += still.eq(still + 1)
        with m.If(self.clear):
            m.d.sync += [self.done.eq(0), self.fault.eq(Fault.NONE)]
        with m.If(begin):
            m.d.sync += [
                running.eq(1),
                halting.eq(0),
                index.eq(0),
                length.eq(self.length),
                self.done.eq(0),
                self.fault.eq(Fault.NONE),
            ]
        with m.Elif(running & (fault != Fault.NONE)):
            # the host hears of it at once, even if the bus never comes to rest
            m.d.sync += [
                running.eq(0),
                self.done.eq(1),
                self.abort.eq(1),
                self.fault.eq(fault),
                self.fault_at.eq(index),
            ]
        with m.Elif(running & halting & at_rest & self.quiet):
            m.d.sync += [running.eq(0), self.done.eq(1)]
        with m.Elif(taken & is_halt):
            m.d.sync += halting.eq(1)
        # the units return to where they were a cycle after abort has begun
        with m.If(self.abort & self.quiet & at_rest):
            m.d.sync += self.abort.eq(0)
        return m

    def _fetch(self, m: Module, fetched: SyncFIFOBuffered, begin: Value, ends: Value) -> None:
        """Ask for instructions while there is room, until ``ends``; make them of their beats.

        They are decoded on their way into the queue, where nobody waits for it.
        """
        bus = self.config.bus_bytes
        beats = max(1, isa.INSTRUCTION_BYTES // bus)
        address, left = Signal(HOST_ADDRESS_BITS), Signal(32)
        promised = Signal(range(_FETCHED + 1))  # asked for, and not yet distributed
        # what follows from ``left`` is right from the third cycle on
        count = later(m, Mux(left < _BURST, left, _BURST)[: _BURST.bit_length()], "count")
        more, settled = later(m, left != 0, "more"), Signal()
        asking, asked, distributed = Signal(), Signal(), Signal()
        m.d.sync += [asked.eq(asking & ~ends), settled.eq(~(begin | asking | asked | ends))]
        m.d.comb += [
            self.request.valid.eq(settled & more & (promised <= _FETCHED - _BURST) & ~self.abort),
            self.request.payload.address.eq(address),
            self.request.payload.beats.eq(count * beats),
            asking.eq(self.request.valid & self.request.ready),
            distributed.eq(fetched.r_en & fetched.r_rdy),
        ]
        m.d.sync += promised.eq(promised + Mux(asked, count, 0) - distributed)
        with m.If(begin):
            m.d.sync += [address.eq(self.program), left.eq(self.length), promised.eq(0)]
        with m.Elif(asked):
            m.d.sync += [
                address.eq(address + count * isa.INSTRUCTION_BYTES),
                left.eq(left - count),
            ]
        with m.If(ends):
            m.d.sync += left.eq(0)

        # a run that was given up may have left a part of an instruction
        held = Signal(INSTRUCTION_BITS)
        beat = Signal(range(beats))
        taken = self.beats.valid & self.beats.ready
        whole = Signal()
        decoded = Signal(_decoded_layout)
        illegal, unit, is_halt = decode(m, held, self.config)
        m.d.comb += [
            self.beats.ready.eq(1),
            decoded.instruction.eq(held),
            decoded.illegal.eq(illegal),
            decoded.is_halt.eq(is_halt),
            decoded.unit.eq(unit),
            fetched.w_en.eq(whole),
            fetched.w_data.eq(decoded),
        ]
        m.d.sync += whole.eq(taken & (beat == beats - 1) & ~begin)
        with m.If(taken):
            m.d.sync += [
                held.eq(Cat(held, self.beats.payload)[-INSTRUCTION_BITS:]),
                beat.eq(Mux(beat == beats - 1, 0, beat + 1)),
            ]
        with m.If(begin):
            m.d.sync += beat.eq(0)


def decode(m: Module, word: Value, config: NpuConfig) -> tuple[Signal, Signal, Signal]:
    """Whether ``word`` is no instruction, which unit's it is, and whether it is HALT."""
    illegal, is_halt = Signal(), Signal()
    unit = Signal(range(UNITS))
    m.d.comb += illegal.eq(1)
    with m.Switch(word[: isa.OPCODE_BITS]):
        for cls in isa.instructions(config):
            layout = fields_of(cls)
            view = data.View(layout, word[: layout.size])
            wrong = word[layout.size :].any()
            for name, field in isa.fields(cls).items():
                if field.choices is not None:
                    wrong |= view[name] > max(field.choices)
            with m.Case(cls.opcode):
                m.d.comb += illegal.eq(wrong)
                if cls is isa.Sync:
                    m.d.comb += unit.eq(view.waiter)
                elif cls.unit is None:
                    m.d.comb += is_halt.eq(1)
                else:
                    m.d.comb += unit.eq(cls.unit)
    return illegal, unit, is_halt
