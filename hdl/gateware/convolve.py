"""The CONVOLVE unit: instructions into passes, passes into fetches, fetches into requests."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from edgeinfer.hdl import isa
from edgeinfer.hdl.config import BANKS, NpuConfig
from edgeinfer.hdl.gateware.accumulators import HALVES, tag_layout
from edgeinfer.hdl.gateware.buffer import FETCH_LATENCY, FETCH_REQUEST
from edgeinfer.hdl.gateware.interface import (
    ADDRESS_BITS,
    INSTRUCTION_BITS,
    UnitControl,
    fields_of,
)
from edgeinfer.hdl.gateware.operand import STREAM_REQUESTS, token_layout
from edgeinfer.hdl.gateware.pipeline import later

__all__ = ["FETCH_STAGES", "ConvolveUnit"]

FETCH_STAGES = 3
"""Cycles from the decision to fetch, which swaps the weights in, to the buffer's requests."""

_ELEMENT_BITS = 22
"""Of an element's signed place in its line: 2^20 elements, and as many of padding on both sides."""

_Y_BITS = 16
"""Of a line's signed number: padding above, every output row and kernel row, two lines more."""


def _pass_layout(config: NpuConfig) -> data.StructLayout:
    """One tile of weights: what is set, and the pass's first fetch.

    ``element``: under the first row of the first window. ``spill``: of the second window. ``line``:
    the word where the line of the first kernel row begins. ``split``: rows that take the first
    window. ``first``, ``last``: of a group. ``kernel.streams``: those that the pass has.
    """
    return data.StructLayout(
        {
            "source": fields_of(isa.SetSource),
            "kernel": fields_of(isa.SetKernel),
            "tile": fields_of(isa.Convolve),
            "element": signed(_ELEMENT_BITS),
            "spill": signed(_ELEMENT_BITS),
            "line": unsigned(ADDRESS_BITS),
            "y": signed(_Y_BITS),
            "split": range(config.rows + 1),
            "first": 1,
            "last": 1,
        }
    )


def _fetch_layout(config: NpuConfig) -> data.StructLayout:
    """One fetch: ``at`` has its elements and line; ``swap`` at the first of a pass."""
    return data.StructLayout(
        {"valid": 1, "at": _pass_layout(config), "swap": 1, "tag": tag_layout(config)}
    )


def _loops_layout() -> data.StructLayout:
    """What is left of each loop of a CONVOLVE, less one, and where its runs and groups began.

    ``remaining``: elements of the run from the pass's first on.
    """
    kernel, tile = fields_of(isa.SetKernel), fields_of(isa.Convolve)
    return data.StructLayout(
        {
            "groups_left": tile["groups"].shape,
            "lines_left": kernel["lines"].shape,
            "runs_left": kernel["runs"].shape,
            "remaining": kernel["run"].width + 1,
            "group_element": signed(_ELEMENT_BITS),
            "run_element": signed(_ELEMENT_BITS),
        }
    )


def _derived_layout() -> data.StructLayout:
    """What follows from the settings.

    ``run``: its elements. ``spans``: passes take two kernel rows. ``lines``, ``words``,
    ``dilation``: from a pass's kernel row to that of the next line's, in kernel rows, words and
    lines of the tensor. ``wrap``: with ``spans``, from a run's last pass to the next line's first.
    """
    return data.StructLayout(
        {
            "run": fields_of(isa.SetKernel)["run"].width + 1,
            "spans": 1,
            "lines": range(BANKS + 1),
            "words": ADDRESS_BITS,
            "dilation": _Y_BITS,
            "wrap": signed(_ELEMENT_BITS),
        }
    )


class _Passes(wiring.Component):
    """SET_SOURCE, SET_KERNEL and CONVOLVE into passes: the loops over groups, lines, runs, windows.

    A pass follows two cycles after the one before was taken. The loops are a pass ahead: in one
    cycle is seen what ends with the pass, in the next it is put into ``o`` if that is free, and the
    loops go on. An instruction takes a cycle; it is taken while the loops are over.

    Members
    -------
    command : In(stream of 128 bits)
    o : Out(stream of _pass_layout)
    active : Out(1)
        There are passes that ``o`` does not have yet.
    """

    def __init__(self, config: NpuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "command": In(stream.Signature(INSTRUCTION_BITS)),
                "o": Out(stream.Signature(_pass_layout(config))),
                "active": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Settings, what follows from them, the loops' state, what ends with it, and its next."""
        m = Module()
        at = Signal(_pass_layout(self.config))
        loops = Signal(_loops_layout())
        derived = Signal(_derived_layout())
        self._derive(m, at, derived)

        rows = self.config.rows
        dense = at.kernel.mode == isa.Mode.DENSE
        active, seen = self.active, Signal()
        lines_left, streams = loops.lines_left, at.kernel.streams
        divides = derived.spans & (loops.remaining < rows) & (lines_left != 0)
        # the pass has all of the next kernel row
        skips_next = derived.spans & (loops.remaining <= derived.wrap)
        # both cases are worked out beside the comparison that chooses between them
        ends_lines = Mux(skips_next, lines_left < 2, lines_left < derived.lines)
        left_then = Mux(skips_next, lines_left - 2, lines_left - derived.lines)
        window_ends = ~dense | (loops.remaining <= rows)
        run_ends = window_ends & (derived.spans | (loops.runs_left == 0))
        line_ends = run_ends & ends_lines
        window_end, run_end = later(m, window_ends, "window_end"), later(m, run_ends, "run_end")
        line_end = later(m, line_ends, "line_end")
        done = later(m, line_ends & (loops.groups_left == 0), "done")
        skips = later(m, skips_next, "skips")
        next_left = later(m, left_then[: len(lines_left)], "next_left")
        after_one = later(m, (at.line + derived.words)[:ADDRESS_BITS], "after_one")
        two = at.line + _times(at.source.kernel_step, 2)
        after_two = later(m, two[:ADDRESS_BITS], "after_two")
        dilation = Mux(skips_next, _times(at.source.dilation, 2), derived.dilation)
        dilation = later(m, dilation[:_Y_BITS], "dilation")
        spill = Mux(dense, at.element - derived.run, at.element)[:_ELEMENT_BITS].as_signed()
        # what follows the last kernel row is not read: it need not be in the buffer
        split = Mux(divides, loops.remaining, rows)[: len(at.split)]
        streams_left = Mux(lines_left < streams, lines_left, streams)[: len(streams)]
        spill, split = later(m, spill, "spill"), later(m, split, "split")
        streams_left = later(m, streams_left, "streams_left")

        taken = active & seen & ~self.o.valid
        made = Signal(_pass_layout(self.config), reset_less=True)
        m.d.comb += self.o.payload.eq(made)
        m.d.sync += seen.eq(active & ~taken)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(taken):
            m.d.sync += [
                self.o.valid.eq(1),
                made.eq(at),
                made.spill.eq(spill),
                made.split.eq(split),
                made.kernel.streams.eq(streams_left),
                made.last.eq(line_end),
                at.first.eq(0),
            ]
            with m.If(~window_end):
                m.d.sync += at.element.eq(at.element + rows)
                m.d.sync += loops.remaining.eq(loops.remaining - rows)
            with m.Elif(~run_end):
                m.d.sync += _begin_run(at, loops, loops.run_element + at.kernel.run_step)
                m.d.sync += loops.runs_left.eq(loops.runs_left - 1)
            with m.Elif(~line_end):
                m.d.sync += [
                    loops.lines_left.eq(next_left),
                    at.line.eq(Mux(skips, after_two, after_one)),
                    at.y.eq(at.y + dilation),
                ]
                with m.If(derived.spans & ~skips):
                    m.d.sync += at.element.eq(at.element + derived.wrap)
                    m.d.sync += loops.remaining.eq(loops.remaining - derived.wrap)
                with m.Else():
                    m.d.sync += _begin_line(at, loops, loops.group_element)
            with m.Else():
                element = loops.group_element + at.tile.group_step
                m.d.sync += _begin_group(at, loops, at.tile, element)
                m.d.sync += loops.groups_left.eq(loops.groups_left - 1)
                with m.If(done):
                    m.d.sync += active.eq(0)
        m.d.comb += self.command.ready.eq(~active | (taken & done))
        self._accept(m, at, loops)
        return m

    def _derive(self, m: Module, at: data.View, derived: data.View) -> None:
        """Registers behind the settings: they are right when the first pass is there."""
        rows, kernel = self.config.rows, at.kernel
        dense = kernel.mode == isa.Mode.DENSE
        run = kernel.run + 1
        lines = Mux(dense, 1, kernel.streams + 1)
        m.d.sync += [
            derived.run.eq(run),
            derived.spans.eq(dense & kernel.span),
            derived.lines.eq(lines),
            derived.words.eq(_times(at.source.kernel_step, lines)),
            derived.dilation.eq(_times(at.source.dilation, lines)),
            derived.wrap.eq(rows - run),
        ]

    def _accept(self, m: Module, at: data.View, loops: data.View) -> None:
        """Take an instruction; a CONVOLVE begins its first group."""
        payload = self.command.payload
        command = data.View(fields_of(isa.Convolve), payload[: fields_of(isa.Convolve).size])
        with m.If(self.command.valid & self.command.ready), m.Switch(command.opcode):
            with m.Case(isa.SetSource.opcode):
                m.d.sync += at.source.eq(payload)
            with m.Case(isa.SetKernel.opcode):
                m.d.sync += at.kernel.eq(payload)
            with m.Case(isa.Convolve.opcode):
                m.d.sync += [at.tile.eq(payload), self.active.eq(1)]
                m.d.sync += _begin_group(at, loops, command, command.x)
                m.d.sync += loops.groups_left.eq(command.groups)


class _Fetches(wiring.Component):
    """Passes into fetches, one a cycle: the loops over output rows and fetches of a row.

    The first fetch of a pass waits for its weights; of a group, for a free half of the
    accumulators; with fewer taps than the depthwise passes before, for ``drained``. The next pass
    follows without a gap.

    Members
    -------
    i : In(stream of _pass_layout)
    o : Out(_fetch_layout)
    loaded : In(1)
        The weights of the next pass can be swapped in.
    released : In(1)
        A half of the accumulators is free again.
    drained : In(1)
        No fetch is on its way.
    hold : In(1)
        No fetch is to be made, unless it must follow the one before.
    active : Out(1)
        There is a pass.
    last : Out(1)
        The fetch is a group's last.
    """

    def __init__(self, config: NpuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(_pass_layout(config))),
                "o": Out(_fetch_layout(config)),
                "loaded": In(1),
                "released": In(1),
                "drained": In(1),
                "hold": In(1),
                "active": Out(1),
                "last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """``at`` moves over the pass."""
        m = Module()
        o = self.o
        at = Signal(_pass_layout(self.config))
        row_element, row_spill = Signal.like(at.element), Signal.like(at.spill)
        fetches_left, rows_left = Signal.like(at.tile.period), Signal.like(at.tile.rows)
        fresh, in_tail = Signal(), Signal()

        # when a fetch may be made
        halves, has_half = Signal(range(HALVES + 1), init=HALVES), Signal(init=1)
        depthwise_taps, narrower, one_tap = Signal.like(at.kernel.taps), Signal(), Signal()
        may_begin = self.loaded & (~at.first | has_half) & (~narrower | self.drained)
        # that a loop is in its last turn is a register: much follows from it in the same cycle
        row_end, last_row, no_tail = Signal(), Signal(), Signal()
        pass_end, held = Signal(), Signal()
        m.d.comb += [
            # only the taps of a depthwise pass must follow each other
            held.eq(self.hold & one_tap),
            o.valid.eq(self.active & (~fresh | may_begin) & ~held),
            o.swap.eq(o.valid & fresh),
            o.at.eq(at),
            self.last.eq(o.valid & pass_end & at.last),
            self.i.ready.eq(~self.active | (o.valid & pass_end)),
        ]
        self._emit(m, at, row_end, in_tail, last_row)

        with m.If(o.valid):
            m.d.sync += fresh.eq(0)
            with m.If(pass_end):
                m.d.sync += self.active.eq(0)
            with m.Elif(row_end):
                m.d.sync += [
                    at.element.eq(row_element),
                    at.spill.eq(row_spill),
                    at.line.eq(at.line + at.source.row_step),
                    at.y.eq(at.y + at.source.stride),
                    rows_left.eq(rows_left - 1),
                    last_row.eq(rows_left == 1),
                    in_tail.eq(last_row),
                    fetches_left.eq(Mux(last_row, at.tile.tail - 1, at.tile.period)),
                    row_end.eq(Mux(last_row, at.tile.tail == 1, at.tile.period == 0)),
                    pass_end.eq(
                        Mux(
                            last_row,
                            at.tile.tail == 1,
                            (at.tile.period == 0) & (rows_left == 1) & no_tail,
                        )
                    ),
                ]
            with m.Else():
                m.d.sync += [
                    at.element.eq(at.element + at.source.pixel_step),
                    at.spill.eq(at.spill + at.source.pixel_step),
                    fetches_left.eq(fetches_left - 1),
                    row_end.eq(fetches_left == 1),
                    pass_end.eq((fetches_left == 1) & (in_tail | (last_row & no_tail))),
                ]
        i = self.i.payload
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                at.eq(i),
                row_element.eq(i.element),
                row_spill.eq(i.spill),
                fetches_left.eq(i.tile.period),
                row_end.eq(i.tile.period == 0),
                rows_left.eq(i.tile.rows),
                last_row.eq(i.tile.rows == 0),
                no_tail.eq(i.tile.tail == 0),
                pass_end.eq((i.tile.period == 0) & (i.tile.rows == 0) & (i.tile.tail == 0)),
                self.active.eq(1),
                fresh.eq(1),
                in_tail.eq(0),
                one_tap.eq(i.kernel.taps == 0),
            ]
            with m.If(i.kernel.mode != isa.Mode.DENSE):
                m.d.sync += depthwise_taps.eq(i.kernel.taps)
                m.d.sync += narrower.eq(i.kernel.taps < depthwise_taps)
            with m.Else():
                m.d.sync += narrower.eq(0)

        # a half is taken with the last fetch of its tile; the other one is next
        takes = self.last & at.tile.last
        free = (halves + self.released - takes)[: len(halves)]
        m.d.sync += [halves.eq(free), has_half.eq(free != 0)]
        half = Signal()
        m.d.sync += half.eq(half ^ takes)
        m.d.comb += o.tag.half.eq(half)
        return m

    def _emit(
        self, m: Module, at: data.View, row_end: Value, in_tail: Value, last_row: Value
    ) -> None:
        """Which fetches of a row emit: every ``emit``-th, ``columns`` of them."""
        tag = self.o.tag
        pause, pixels_left = Signal.like(at.kernel.emit), Signal.like(at.tile.columns)
        more = Signal()
        address = Signal.like(tag.address)
        m.d.comb += [
            tag.emit.eq(self.o.valid & more & (pause == 0) & ~in_tail),
            tag.first.eq(at.first & at.tile.first),
            tag.last.eq(at.last & at.tile.last & last_row & (pixels_left == 0)),
            tag.maximum.eq(at.kernel.mode == isa.Mode.MAXIMUM),
            tag.address.eq(address),
        ]
        with m.If(self.o.valid):
            m.d.sync += pause.eq(Mux(pause == 0, at.kernel.emit, pause - 1))
        with m.If(tag.emit):
            m.d.sync += [address.eq(address + 1), pixels_left.eq(pixels_left - 1)]
            m.d.sync += more.eq(pixels_left != 0)
        with m.If(self.o.valid & row_end):
            m.d.sync += [pause.eq(0), pixels_left.eq(at.tile.columns), more.eq(1)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                address.eq(0),
                pause.eq(0),
                pixels_left.eq(self.i.payload.tile.columns),
                more.eq(1),
            ]


class _Addresses(wiring.Component):
    """A fetch's elements and lines into the buffer's requests and the operand path's token.

    Both come ``FETCH_STAGES`` cycles after the fetch was decided; nothing waits. A window's or
    kernel row's words are requested only where a valid element lies in them.

    Members
    -------
    i : In(_fetch_layout)
    fetch : Out(FETCH_REQUEST), four of them
    token : Out(token_layout)
    """

    def __init__(self, config: NpuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "i": In(_fetch_layout(config)),
                "fetch": Out(FETCH_REQUEST).array(BANKS),
                "token": Out(token_layout(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Stage 1: lines and distances; stage 2: addresses and ranges; stage 3: validity."""
        m = Module()
        config = self.config
        rows, word_bits = config.rows, config.columns.bit_length() - 1
        at, source, kernel = self.i.at, self.i.at.source, self.i.at.kernel
        token_1, token_2 = (Signal(token_layout(config), name=f"token_{i}") for i in (1, 2))

        # stage 1: the lines of three kernel rows, how far both windows are from their line's end
        elements = [Signal(signed(_ELEMENT_BITS), name=f"element_{i}") for i in range(2)]
        reaches = [Signal(signed(_ELEMENT_BITS + 1), name=f"reach_{i}") for i in range(2)]
        lines = [Signal(ADDRESS_BITS, name=f"line_{s}") for s in range(len(STREAM_REQUESTS))]
        ys = [Signal(signed(_Y_BITS), name=f"y_{s}") for s in range(len(STREAM_REQUESTS))]
        height, streams = Signal.like(source.height), Signal.like(kernel.streams)
        split = Signal.like(at.split)
        for element, reach, start in zip(elements, reaches, (at.element, at.spill), strict=True):
            m.d.sync += [element.eq(start), reach.eq(source.line_end - start)]
        for s, (line, y) in enumerate(zip(lines, ys, strict=True)):
            m.d.sync += line.eq(at.line + _times(source.kernel_step, s))
            m.d.sync += y.eq(at.y + _times(source.dilation, s))
        m.d.sync += [
            height.eq(source.height),
            streams.eq(kernel.streams),
            split.eq(at.split),
            token_1.fetched.eq(self.i.valid),
            token_1.dense.eq(kernel.mode == isa.Mode.DENSE),
            token_1.taps.eq(kernel.taps),
            token_1.pad.eq(source.pad),
            token_1.swap.eq(self.i.swap),
            token_1.tag.eq(self.i.tag),
        ]

        # stage 2: the words, and which elements of the windows and which lines are in the tensor
        addresses = [Signal(ADDRESS_BITS, name=f"address_{i}") for i in range(BANKS)]
        inside = [Signal(rows, name=f"inside_{i}") for i in range(2)]
        in_height = Signal(len(lines))
        own = Signal(rows)
        used = Signal(len(lines))
        words = [element >> word_bits for element in elements]
        m.d.sync += [
            addresses[0].eq(lines[0] + words[0]),
            addresses[1].eq(Mux(token_1.dense, lines[0], lines[2]) + words[0] + token_1.dense),
            addresses[2].eq(lines[1] + words[1]),
            addresses[3].eq(lines[1] + words[1] + 1),
            in_height.eq(Cat((y >= 0) & (y <= height) for y in ys)),
            own.eq(Cat(split > r for r in range(rows))),
            used.eq(Cat(streams >= s for s in range(len(lines)))),
            token_2.eq(token_1),
        ]
        for i, (element, reach) in enumerate(zip(elements, reaches, strict=True)):
            # -1 - element >= r is left of the line
            left = _not_below(~element, rows)
            m.d.sync += inside[i].eq(~left & _not_below(reach, rows))
            m.d.sync += token_2.offsets[i].eq(element[:word_bits])

        # stage 3: which rows, and so which words, are no padding
        valid = Signal(rows)
        streaming = Signal(config.streams)
        first = inside[0] & in_height[0].replicate(rows)
        second = inside[1] & in_height[1].replicate(rows)
        requested = [Signal(name=f"requested_{i}") for i in range(BANKS)]
        m.d.comb += [
            valid.eq((own & first) | (~own & second)),
            streaming.eq(in_height & used & inside[0][0].replicate(len(lines))),
        ]
        for i, taken in enumerate((valid & own, valid & ~own)):
            beyond = Cat(token_2.offsets[i] + r >= config.columns for r in range(rows))
            for request, there in ((2 * i, ~beyond), (2 * i + 1, beyond)):
                needed = (taken & there).any() & token_2.dense
                for s, of_stream in enumerate(STREAM_REQUESTS[: config.streams]):
                    if of_stream == request:
                        needed |= streaming[s] & ~token_2.dense
                m.d.comb += requested[request].eq(needed & token_2.fetched)
        for request, needed, address in zip(self.fetch, requested, addresses, strict=True):
            m.d.sync += [request.enable.eq(needed), request.address.eq(address)]
        m.d.sync += [
            self.token.eq(token_2),
            self.token.own.eq(own),
            self.token.valid.eq(valid),
            self.token.inside.eq(streaming),
        ]
        return m


class ConvolveUnit(wiring.Component):
    """Executes SET_SOURCE, SET_KERNEL and CONVOLVE: "Feed" in docs/npu-design.md.

    An instruction takes a cycle; a CONVOLVE's first fetch is decided four cycles after it was
    taken and reaches the buffer ``FETCH_STAGES`` later. Instructions are taken ahead, while the
    last two passes of the CONVOLVE before are on their way, so that fetches follow each other
    without a gap. Nothing stalls a fetch but the first of a pass, see ``loaded`` and ``released``;
    the first of a CONVOLVE with fewer taps than depthwise passes before also waits until their sums
    are written.

    Parameters
    ----------
    config : NpuConfig

    Members
    -------
    control : Out(UnitControl)
        ``completed`` counts groups whose last fetch has reached the buffer.
    loaded : In(1)
        The weights of the next pass have been issued in an earlier cycle.
    start : Out(1)
        The first fetch of a pass is decided: the next pass's weights may follow.
    released : In(1)
        A half of the accumulators is free again; both are at first.
    hold : In(1)
        Another reader of the buffer waits: a fetch less is made, unless it must follow the one
        before, as in passes of several taps.
    fetch : Out(FETCH_REQUEST), four of them
    token : Out(token_layout)
        What the operand path must know about the fetch of this cycle.
    """

    def __init__(self, config: NpuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "control": Out(UnitControl()),
                "loaded": In(1),
                "start": Out(1),
                "released": In(1),
                "hold": In(1),
                "fetch": Out(FETCH_REQUEST).array(BANKS),
                "token": Out(token_layout(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Passes, fetches, addresses, and what is still on its way."""
        m = Module()
        m.submodules.passes = passes = _Passes(self.config)
        m.submodules.fetches = fetches = _Fetches(self.config)
        m.submodules.addresses = addresses = _Addresses(self.config)
        wiring.connect(m, wiring.flipped(self.control.command), passes.command)
        wiring.connect(m, passes.o, fetches.i)
        m.d.comb += [
            addresses.i.eq(fetches.o),
            self.token.eq(addresses.token),
            fetches.loaded.eq(self.loaded),
            fetches.released.eq(self.released),
            fetches.hold.eq(self.hold),
        ]
        for request, made in zip(self.fetch, addresses.fetch, strict=True):
            m.d.comb += request.eq(made)

        # from the decision to the accumulators' write
        way = FETCH_STAGES + FETCH_LATENCY + self.config.rows + 5
        left, drained = Signal(range(way + 1)), Signal(init=1)
        with m.If(fetches.o.valid):
            m.d.sync += [left.eq(way), drained.eq(0)]
        with m.Elif(~drained):
            m.d.sync += [left.eq(left - 1), drained.eq(left == 1)]
        ended = Signal(FETCH_STAGES)
        m.d.sync += ended.eq(Cat(fetches.last, ended[:-1]))
        m.d.comb += [
            fetches.drained.eq(drained),
            self.start.eq(fetches.o.swap),
            self.control.completed.eq(ended[-1]),
            self.control.busy.eq(passes.active | passes.o.valid | fetches.active | ~drained),
            self.control.waiting.eq(fetches.active & ~fetches.o.valid),
        ]
        return m


def _begin_run(at: data.View, loops: data.View, element: Value) -> list[object]:
    return [
        at.element.eq(element),
        loops.run_element.eq(element),
        loops.remaining.eq(at.kernel.run + 1),
    ]


def _begin_line(at: data.View, loops: data.View, element: Value) -> list[object]:
    return [*_begin_run(at, loops, element), loops.runs_left.eq(at.kernel.runs)]


def _begin_group(at: data.View, loops: data.View, tile: data.View, element: Value) -> list[object]:
    return [
        *_begin_line(at, loops, element),
        loops.group_element.eq(element),
        loops.lines_left.eq(at.kernel.lines),
        at.line.eq(tile.base),
        at.y.eq(tile.y),
        at.first.eq(1),
    ]


def _times(value: Value, factor: Value | int) -> Value:
    """``value`` times 0 to 3."""
    if isinstance(factor, int):
        return value * factor
    return Mux(factor[0], value, 0) + Mux(factor[1], value << 1, 0)


def _not_below(value: Value, count: int) -> Value:
    """For each of 0 .. ``count`` - 1 whether signed ``value`` is not below it."""
    bits = (count - 1).bit_length()
    far = value[bits:-1].any()
    return Cat(~value[-1] & (far | (value[:bits] >= limit)) for limit in range(count))
