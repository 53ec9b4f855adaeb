"""The gateware with one of its lines made wrong: all mutants in one design, behind a selector.

A mutant is an expression of the gateware and a wrong one. Both are built, and an input of the top
module chooses between them, so that one simulator serves all mutants, and the right NPU as well.
"""

from __future__ import annotations

import importlib
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from amaranth.lib import wiring
from amaranth.lib.wiring import In

from edgeinfer.hdl import gateware
from edgeinfer.hdl.config import NpuConfig

__all__ = ["MUTANTS", "Mutant", "mutants_verilog"]

_PACKAGE = "gateware_of_mutants"
_SELECTOR = '''\
"""Which of the mutants the design is."""

from amaranth.hdl import Mux, Signal

SELECTED = Signal(8, name="selected_mutant")


def either(number, right, wrong):
    """``right``, but ``wrong`` where mutant ``number`` is selected."""
    return Mux(SELECTED == number, wrong, right)
'''


@dataclass(frozen=True)
class Mutant:
    """``right``, which stands once behind ``behind`` in ``module``, is ``wrong``.

    ``survives``: what does not find it, the simulated ``models`` or the exported ``test bench``.
    """

    name: str
    module: str
    right: str
    wrong: str
    behind: str = ""
    survives: tuple[str, ...] = ()


MUTANTS = (
    # ---- feed and array
    Mutant(
        "an operand is a cycle early",
        "operand",
        'later(m, element, f"element_{r}", cycles=r + 1)',
        'later(m, element, f"early_{r}", cycles=r + (r < 3))',
    ),
    Mutant(
        "taps are flipped",
        "weights",
        "self.write.data.word_select(b, len(bank.write_data))",
        "self.write.data.word_select(port - 1 - b, len(bank.write_data))",
    ),
    Mutant(
        "a partial sum is dropped",
        "array",
        "above[c] + product",
        "(above[c] if r != 2 else Const(0, 1)) + product",
    ),
    Mutant(
        "weights are swapped a cycle late",
        "operand",
        "token.swap",
        "later(m, token.swap)",
        behind="self.swap.eq(",
    ),
    Mutant(
        "halves do not alternate",
        "convolve",
        "half ^ takes",
        "half & takes",
    ),
    Mutant(
        "padding of windows is not injected",
        "operand",
        "Mux(token.valid[r], inside, token.pad)",
        "inside",
    ),
    Mutant(
        "padding of words is not injected",
        "operand",
        "Mux(token.inside[s], words[STREAM_REQUESTS[s]], padding)",
        "words[STREAM_REQUESTS[s]]",
    ),
    Mutant(
        "kernel rows are delayed a cycle less",
        "operand",
        "place + (token.taps + 1) * s",
        "place + (token.taps + 1) * s - 1",
    ),
    Mutant(
        "a window's second word is the first",
        "convolve",
        "lines[1] + words[1] + 1",
        "lines[1] + words[1]",
    ),
    Mutant(
        "an address loses its carry",
        "convolve",
        "at.line + at.source.row_step",
        "Cat((at.line + at.source.row_step)[:5], at.line[5:])",
    ),
    Mutant(
        "a second window begins a run late",
        "convolve",
        "at.element - derived.run",
        "at.element",
    ),
    Mutant(
        "the last pass of a kernel reads on",
        "convolve",
        "streams_left",
        "at.kernel.streams",
        behind="made.kernel.streams.eq(",
        survives=("models", "test bench"),
    ),
    Mutant(
        "the array leaves no cycle to others",
        "convolve",
        "self.hold & one_tap",
        "0",
        survives=("test bench",),
    ),
    Mutant(
        "every fetch is a pixel",
        "convolve",
        "pause == 0",
        "1",
        behind="self.o.valid & more & (",
    ),
    Mutant(
        "dilated rows are one apart",
        "convolve",
        "_times(source.dilation, s)",
        "s",
    ),
    Mutant(
        "a pass overtakes delayed words",
        "convolve",
        "i.kernel.taps < depthwise_taps",
        "0",
        behind="narrower.eq(",
        survives=("test bench",),
    ),
    Mutant(
        "a tile of weights is read over another",
        "weights",
        "~end.more",
        "1",
    ),
    Mutant(
        "repeated weights go on",
        "weights",
        "Mux(before.repeat, before.tile, before.tile + 1)",
        "before.tile + 1",
    ),
    # ---- accumulators
    Mutant(
        "the accumulators forward nothing",
        "accumulators",
        "Mux(control.written, total, Mux(control.half, held[1], held[0]))",
        "Mux(control.half, held[1], held[0])",
    ),
    Mutant(
        "the lesser one is kept",
        "accumulators",
        "Mux(exceeds, self.sum, before)",
        "Mux(exceeds, before, self.sum)",
    ),
    Mutant(
        "a maximum begins at 0",
        "accumulators",
        "Const(-1 << (bits - 1), signed(bits))",
        "0",
    ),
    Mutant(
        "a half is written before it is free",
        "convolve",
        "~at.first | has_half",
        "1",
    ),
    # ---- lanes
    Mutant(
        "nothing rounds",
        "rescaler",
        "half + Mux(rounds_away, away, 0)",
        "Mux(rounds_away, away, Const(0, 64))",
    ),
    Mutant(
        "ties are rounded down",
        "rescaler",
        "(Const(1, 1) << step.shift) >> 1",
        "((Const(1, 1) << step.shift) - 1) >> 1",
    ),
    Mutant(
        "R2 rounds toward zero",
        "rescaler",
        "Mux(step.operand < 0, Const(-(1 << 30)), Const(1 << 30))",
        "Mux(step.operand < 0, Const(1 << 30), Const(-(1 << 30)))",
    ),
    Mutant(
        "R2 rounds twice at shift 31",
        "rescaler",
        "step.shift > 31",
        "step.shift > 30",
    ),
    Mutant(
        "the upper bound is one less",
        "rescaler",
        "Mux(is_above, hi, inside)",
        "Mux(is_above, hi - 1, inside)",
    ),
    Mutant(
        "the clamp forgets negative numbers that are far below",
        "rescaler",
        "Mux(near, low_bits < below, negative)",
        "near & (low_bits < below)",
    ),
    Mutant(
        "a difference is short of one",
        "activate",
        "Mux(subtracts, ~value, value) + (subtracts | subtracts_from)",
        "Mux(subtracts, ~value, value)",
    ),
    Mutant(
        "a second operand has no zero point",
        "activate",
        "self.second - operands.b_zero_point[:width].as_signed()",
        "self.second",
    ),
    Mutant(
        "a second operand lies as the result does",
        "activate",
        "self.output.residual_row_step",
        "self.output.row_step",
    ),
    Mutant(
        "second operands overflow their queue",
        "activate",
        "left != 0",
        "1",
    ),
    Mutant(
        "the table's halves are exchanged",
        "table",
        "self.i[lane] ^ 0x80",
        "self.i[lane]",
    ),
    Mutant(
        "groups share parameters",
        "activate",
        "walk.o.payload.group_end & ~shared",
        "walk.o.payload.group_end & shared",
    ),
    # ---- reductions
    Mutant(
        "the lanes begin before a REDUCE has ended",
        "reduce",
        "~engine.busy",
        "1",
        behind="own.command.valid & ~ours & ",
    ),
    Mutant(
        "a pixel's last word is not read",
        "reduce_engine",
        "(job.channels >> shift) + 1",
        "job.channels >> shift",
    ),
    Mutant(
        "pixels lie side by side",
        "reduce_engine",
        "self.pixel + job.column_step",
        "self.pixel + 1",
    ),
    Mutant(
        "the greatest is the last",
        "reduce_engine",
        "Mux(element > greatest, element, greatest)",
        "element",
    ),
    Mutant(
        "a quotient's rest is never less",
        "reduce_engine",
        "left - Mux(fits, total, 0)",
        "left",
    ),
    Mutant(
        "squares go on from pixel to pixel",
        "reduce_engine",
        "0",
        "self.measure",
        behind="m.d.sync += self.measure.eq(",
    ),
    Mutant(
        "magnitudes have signs",
        "reduce_engine",
        "Mux(d < 0, -1, 1)",
        "Const(1, signed(2))",
    ),
    Mutant(
        "a mean is its whole part",
        "reduce_engine",
        "half - self.normalizer.rest",
        "half",
    ),
    Mutant(
        "an offset has 32 bits",
        "reduce_engine",
        "Cat(lower, behind)",
        "Cat(lower, lower[-1].replicate(32))",
    ),
    Mutant(
        "normalized elements have no upper bound",
        "reduce_engine",
        "Mux(value > hi, setting.hi[: config.width], inside)",
        "inside",
    ),
    Mutant(
        "a mean keeps the sign that was taken off",
        "normalizer",
        "quotient ^ (1 << (width - 1))",
        "quotient",
    ),
    Mutant(
        "the lesser exponent is taken for the greater",
        "normalizer",
        "beyond > 0",
        "beyond < 0",
        behind="with m.Elif(",
    ),
    Mutant(
        "a least epsilon is added",
        "normalizer",
        "~setting.is_least",
        "1",
    ),
    Mutant(
        "roots begin in the wrong entry",
        "normalizer",
        "measure[57:62]",
        "measure[56:61]",
    ),
    # ---- host memory
    Mutant(
        "bursts cross 4 KiB",
        "bursts",
        "BURST - address[low : low + bits]",
        "BURST",
        behind="room.eq(",
    ),
    Mutant(
        "beats of a read are lost",
        "host_reader",
        "beats.w_rdy & order.r_rdy",
        "order.r_rdy",
    ),
    Mutant(
        "WLAST is a beat early",
        "store",
        "left == 0",
        "left == 1",
        behind="bus.wlast.eq(",
    ),
    Mutant(
        "a read's address leaves before it is taken",
        "host_reader",
        "bus.arready",
        "1",
        behind="with m.If(",
    ),
    Mutant(
        "a write's address changes before it is taken",
        "store",
        "~bus.awvalid | bus.awready",
        "1",
    ),
    Mutant(
        "the base has 32 bits",
        "registers",
        "base",
        "base[:32]",
        behind="self.base.eq(",
    ),
    Mutant(
        "lines of host memory lie side by side",
        "load",
        "address + step",
        "address + (beats << 2)",
    ),
    Mutant(
        "a load is complete with its first line",
        "load",
        "walk.o.payload.end",
        "places.w_en & (walk.o.payload.end | ~places.level.any())",
        behind="walked.end.eq(",
    ),
    Mutant(
        "beats of a word are in reverse",
        "load",
        "Cat(held, self.beats.payload)",
        "Cat(self.beats.payload, held)",
    ),
    Mutant(
        "a store does not wait for its answer",
        "store",
        "unanswered == 0",
        "1",
        behind="beats_out & (",
    ),
    # ---- sequencer and registers
    Mutant(
        "a sync passes one count early",
        "sequencer",
        "Array(self.counters)[sync.on] - sync.count",
        "Array(self.counters)[sync.on] - sync.count + 1",
    ),
    Mutant(
        "nobody waits for loads",
        "sequencer",
        "~behind[-1]",
        "~behind[-1] | (sync.on == isa.Unit.LOAD)",
    ),
    Mutant(
        "nobody waits for the lanes",
        "sequencer",
        "~behind[-1]",
        "~behind[-1] | (sync.on == isa.Unit.ACTIVATE)",
    ),
    Mutant(
        "nobody waits for the array",
        "sequencer",
        "~behind[-1]",
        "~behind[-1] | (sync.on == isa.Unit.CONVOLVE)",
        survives=("models", "test bench"),
    ),
    Mutant(
        "HALT does not wait for the units",
        "sequencer",
        "halting & at_rest & self.quiet",
        "halting & self.quiet",
        behind="running & ",
    ),
    Mutant(
        "an illegal field passes",
        "sequencer",
        "wrong",
        "0",
        behind="illegal.eq(",
        survives=("models",),
    ),
    Mutant("the watchdog sleeps", "sequencer", "still >= self.watchdog", "0", survives=("models",)),
    Mutant(
        "an address beyond a memory passes",
        "npu",
        "compute.out_of_range | parameters.out_of_range | table_out_of_range",
        "0",
        survives=("models",),
    ),
    Mutant(
        "a register's answer does not wait",
        "registers",
        "bus.rready",
        "1",
        behind="with m.If(",
    ),
)
"""Mutant 1 is the first."""


def _with_mutants(text: str, module: str) -> str:
    """``text`` of ``module``, in which expressions choose."""
    places: dict[tuple[str, str], str] = {}
    for number, mutant in enumerate(MUTANTS, 1):
        if mutant.module == module:
            place = (mutant.behind, mutant.right)
            so_far = places.get(place, mutant.right)
            places[place] = f"either({number}, {so_far}, {mutant.wrong})"
    for (behind, right), chosen in places.items():
        assert text.count(behind + right) == 1, f"{behind + right!r} must stand once in {module}"
        text = text.replace(behind + right, behind + chosen)
    first = "from __future__ import annotations\n"
    return text.replace(first, f"{first}\nfrom {_PACKAGE}.selector import SELECTED, either\n", 1)


def mutants_verilog(config: NpuConfig, folder: Path, *, probes: bool = False) -> str:
    """The Verilog of all mutants: the NPU's, whose top module has one more input, ``mutant``.

    The gateware is imported once more, from a copy in ``folder``.
    """
    package = folder / _PACKAGE
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(gateware.__file__).parent, package, ignore=ignored)
    (package / "selector.py").write_text(_SELECTOR)
    for file in package.glob("*.py"):
        text = _with_mutants(file.read_text(), file.stem)
        file.write_text(text.replace("edgeinfer.hdl.gateware", _PACKAGE))
    sys.path.insert(0, str(folder))
    try:
        top = importlib.import_module(f"{_PACKAGE}.npu")
        selected = importlib.import_module(f"{_PACKAGE}.selector").SELECTED

        class Mutants(top.Npu):
            def __init__(self, config, *, probes=False):
                self.config, self.probes = config, probes
                members = top.npu_members(config, probes=probes)
                wiring.Component.__init__(self, {**members, "mutant": In(len(selected))})

            def elaborate(self, platform):
                m = super().elaborate(platform)
                m.d.comb += selected.eq(self.mutant)
                return m

        top.Npu = Mutants
        return top.to_verilog(config, probes=probes)
    finally:
        sys.path.remove(str(folder))
        for name in [each for each in sys.modules if each.partition(".")[0] == _PACKAGE]:
            del sys.modules[name]
