"""What executes REDUCE: three passes over each pixel's channels, with what each pass finds."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from edgeinfer.hdl import isa
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.gateware.buffer import READ_LATENCY
from edgeinfer.hdl.gateware.interface import (
    ADDRESS_BITS,
    INSTRUCTION_BITS,
    ReadRequest,
    WordWrite,
    fields_of,
)
from edgeinfer.hdl.gateware.normalizer import MEASURE_BITS, Normalizer, total_bits
from edgeinfer.hdl.gateware.parameters import ParameterPort
from edgeinfer.hdl.gateware.pipeline import later
from edgeinfer.hdl.gateware.wide_multiplier import WideMultiplier
from edgeinfer.hdl.isa import Reduction
from edgeinfer.hdl.reduce_stages import (
    CHANNEL_BITS,
    DIFFERENCE,
    ELEMENT,
    FACTORS,
    MULTIPLIER_LATENCY,
    PRODUCT,
    RESULT,
    SHARE,
    Exponentials,
    drains,
)

__all__ = ["ReduceEngine"]

_PREFETCHED = 4
"""Words that are read ahead."""

_WIDE = 64
"""Of proven products and what is added to them."""


class ReduceEngine(wiring.Component):
    """What executes REDUCE where nothing else uses the ports.

    A pixel's channels pass three times, an element a cycle or in two, never held back once it has
    left its word: the first pass finds the greatest and the sum, the second the sum of
    exponentials or of squares, the third each element's result. Between them the normalizer finds
    the mean and the factor.

    Parameters
    ----------
    config : NpuConfig

    Members
    -------
    command : In(stream of 128 bits)
        SET_NORMALIZATION and REDUCE alone.
    busy, completed : Out(1)
    parameters, read, result : Out
        As of ``ReduceUnit``.
    """

    def __init__(self, config: NpuConfig) -> None:
        self.config = config
        super().__init__(
            {
                "command": In(stream.Signature(INSTRUCTION_BITS)),
                "busy": Out(1),
                "completed": Out(1),
                "parameters": Out(ParameterPort(config)),
                "read": Out(ReadRequest(config)),
                "result": Out(WordWrite(config.columns * config.width)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Commands; pixels, passes and what they compute; the order of all."""
        m = Module()
        config = self.config
        self.widths = Exponentials.of(config)
        m.submodules.multiplier = self.multiplier = WideMultiplier()
        m.submodules.normalizer = self.normalizer = Normalizer(config.width)
        m.d.comb += [
            self.multiplier.a.eq(self.normalizer.a),
            self.multiplier.b.eq(self.normalizer.b),
        ]
        payload = self.command.payload
        job = Signal(fields_of(isa.Reduce))
        self.job = job
        self.setting = setting = Signal(fields_of(isa.SetNormalization))
        self.is_softmax = is_softmax = Signal()
        self.is_variance = is_variance = Signal()
        m.d.comb += [
            is_softmax.eq(job.kind == Reduction.SOFTMAX),
            is_variance.eq(job.kind == Reduction.VARIANCE),
        ]

        # commands
        is_reduce = payload[: isa.OPCODE_BITS] == isa.Reduce.opcode
        taken = self.command.valid & self.command.ready
        m.d.comb += self.command.ready.eq(~self.busy)
        with m.If(taken & ~is_reduce):
            m.d.sync += setting.eq(payload[: setting.shape().size])
        with m.If(taken & is_reduce):
            m.d.sync += [job.eq(payload[: job.shape().size]), self.busy.eq(1)]

        self._pixels(m, taken & is_reduce)
        self._passes(m)
        self._elements(m)
        self._exponentials(m)
        self._normalized(m)
        self._results(m)
        self._order(m)
        return m

    # ---- pixels and passes ---------------------------------------------------------------------

    def _pixels(self, m: Module, begins: Value) -> None:
        """The word of each pixel in turn; ``next_pixel`` comes when one is done."""
        job = self.job
        self.pixel, row = Signal(ADDRESS_BITS), Signal(ADDRESS_BITS)
        at_row, at_column = Signal(8), Signal(8)
        self.next_pixel, self.begin_pixel = Signal(), Signal()
        last_column, last_row = at_column == job.columns, at_row == job.rows
        payload = data.View(job.shape(), self.command.payload[: job.shape().size])
        m.d.sync += self.begin_pixel.eq(begins | (self.next_pixel & ~(last_column & last_row)))
        m.d.sync += self.completed.eq(self.next_pixel & last_column & last_row)
        with m.If(begins):
            m.d.sync += [self.pixel.eq(payload.base), row.eq(payload.base)]
            m.d.sync += [at_row.eq(0), at_column.eq(0)]
        with m.Elif(self.next_pixel & ~last_column):
            m.d.sync += [self.pixel.eq(self.pixel + job.column_step), at_column.eq(at_column + 1)]
        with m.Elif(self.next_pixel):
            m.d.sync += [self.pixel.eq(row + job.row_step), row.eq(row + job.row_step)]
            m.d.sync += [at_row.eq(at_row + 1), at_column.eq(0)]
        with m.If(self.next_pixel & last_column & last_row):
            m.d.sync += self.busy.eq(0)

    def _passes(self, m: Module) -> None:
        """Words of the pixel read ahead, and an element of them in each turn.

        ``begin_pass`` starts the pass ``number``; ``passed`` comes when what it leaves is known.
        """
        config, job = self.config, self.job
        self.number = number = Signal(range(3))
        self.begin_pass, self.passed = Signal(), Signal()
        columns = config.columns
        m.submodules.words = words = SyncFIFO(width=columns * config.width, depth=_PREFETCHED)
        arrives = Signal(READ_LATENCY)
        accepted = self.read.valid & self.read.ready
        room = Signal(range(_PREFETCHED + 1), init=_PREFETCHED)
        address, left = Signal(ADDRESS_BITS), Signal(CHANNEL_BITS + 1)
        shift = columns.bit_length() - 1
        m.d.comb += [
            self.read.valid.eq((left != 0) & (room != 0)),
            self.read.address.eq(address),
            words.w_en.eq(arrives[-1]),
            words.w_data.eq(self.read.data),
        ]
        m.d.sync += [
            arrives.eq(Cat(accepted, arrives)),
            room.eq(room + (words.r_en & words.r_rdy) - accepted),
        ]
        with m.If(self.begin_pass):
            m.d.sync += [address.eq(self.pixel), left.eq((job.channels >> shift) + 1)]
        with m.Elif(accepted):
            m.d.sync += [address.eq(address + 1), left.eq(left - 1)]

        column, channel = Signal(range(columns)), Signal(CHANNEL_BITS)
        running, turn = Signal(), Signal()
        slow = Signal()
        both = self.is_softmax & (number != 0) if config.width == 16 else Const(0)
        m.d.comb += slow.eq(both | (~self.is_softmax & (number == 2)))
        emit, last = Signal(), channel == job.channels
        word_end = last | (column == columns - 1)
        m.d.comb += [
            emit.eq(running & words.r_rdy & turn),
            words.r_en.eq(emit & word_end),
        ]
        m.d.sync += turn.eq(~(slow & emit))
        drain = Signal(range(max(drains(config)) + 2))
        with m.If(self.begin_pass):
            m.d.sync += [running.eq(1), column.eq(0), channel.eq(0)]
        with m.Elif(emit):
            m.d.sync += [column.eq(Mux(word_end, 0, column + 1)), channel.eq(channel + 1)]
            with m.If(last):
                m.d.sync += running.eq(0)
        with m.If(emit & last):
            until = Array(Const(each, drain.shape()) for each in (*drains(config), 0))
            m.d.sync += drain.eq(until[number])
        with m.Elif(drain != 0):
            m.d.sync += drain.eq(drain - 1)
        m.d.comb += self.passed.eq(drain == 1)

        element = words.r_data.word_select(column, config.width).as_signed()
        self.element = later(m, element, "element")
        tag = data.StructLayout(
            {
                "valid": 1,
                "number": 2,
                "column": range(columns),
                "word_end": 1,
                "channel": CHANNEL_BITS,
            }
        )
        end = max(self.widths.result, RESULT)
        self.tags = [Signal(tag, name=f"tag_{stage}") for stage in range(end + 1)]
        first = self.tags[0]
        m.d.comb += [
            first.valid.eq(emit),
            first.number.eq(number),
            first.column.eq(column),
            first.word_end.eq(word_end),
            first.channel.eq(channel),
        ]
        for stage in range(end):
            m.d.sync += self.tags[stage + 1].eq(self.tags[stage])

    def _elements(self, m: Module) -> None:
        """The first pass's greatest and sum; then each element's distance."""
        width = self.config.width
        tag, element = self.tags[ELEMENT], self.element
        self.greatest = greatest = Signal(signed(width))
        self.total = total = Signal(signed(total_bits(width)))
        with m.If(self.begin_pixel):
            m.d.sync += [greatest.eq(-(1 << (width - 1))), total.eq(0)]
        with m.If(tag.valid & (tag.number == 0)):
            m.d.sync += [greatest.eq(Mux(element > greatest, element, greatest))]
            m.d.sync += total.eq(total + element)
        middle = Mux(self.is_variance, self.normalizer.mean, self.setting.input_zero_point)
        self.difference = later(
            m,
            Mux(self.is_softmax, greatest - element, element - middle)[:18].as_signed(),
            "difference",
        )

    # ---- softmax -------------------------------------------------------------------------------

    def _record(self, lane: Value) -> Value:
        """The record of ``lane`` in the row that has been read."""
        return Value.cast(self.parameters.row).word_select(lane, 8 * self.config.parameter_bytes)

    def _exponentials(self, m: Module) -> None:
        """Each element's exponential, their sum, and its share of it: the digits of a quotient."""
        config, widths = self.config, self.widths
        lane_bits = config.lanes.bit_length() - 1
        tag, d = self.tags[DIFFERENCE], self.difference[: config.width].as_unsigned()
        use = tag.valid & self.is_softmax & (tag.number != 0)
        rows = -(-256 // config.lanes)
        parameters = self.job.parameters
        if config.width == 8:
            with m.If(use):
                m.d.comb += [
                    self.parameters.enable.eq(1),
                    self.parameters.address.eq(parameters + (d >> lane_bits)),
                ]
            lane = later(m, d[:lane_bits], "lane", cycles=2) if lane_bits else Const(0)
            t = later(m, self._record(lane)[: widths.entry], "t")
        else:
            high, low = d[8:], later(m, d[:8], "low")
            low_turn = later(m, use, "low_turn")
            with m.If(use):
                m.d.comb += [
                    self.parameters.enable.eq(1),
                    self.parameters.address.eq(parameters + (high >> lane_bits)),
                ]
            with m.Elif(low_turn):
                m.d.comb += [
                    self.parameters.enable.eq(1),
                    self.parameters.address.eq(parameters + rows + (low >> lane_bits)),
                ]
            if lane_bits:
                high_lane = later(m, high[:lane_bits], "high_lane", cycles=2)
                low_lane = later(m, low[:lane_bits], "low_lane", cycles=2)
            else:
                high_lane = low_lane = Const(0)
            a = later(m, self._record(high_lane)[: widths.entry], "high_entry", cycles=2)
            b = later(m, self._record(low_lane)[: widths.entry], "low_entry")
            with m.If(self.tags[FACTORS].valid & self.is_softmax):
                m.d.comb += [self.multiplier.a.eq(a), self.multiplier.b.eq(b)]
            rounded = (self.multiplier.product + (1 << 29))[30:]
            t = later(m, rounded[: widths.entry], "t")

        known = self.tags[widths.at]
        self.sum = total = Signal(widths.total)
        with m.If(self.begin_pixel):
            m.d.sync += total.eq(0)
        with m.If(known.valid & self.is_softmax & (known.number == 1)):
            m.d.sync += total.eq(total + t)

        # (2^places t + total) / (2 total), a digit a stage, the divisor as large as the first's
        places = widths.places
        rest = (t << places) + total
        high, low = rest[places:], rest[:places]
        quotient: Value = Const(0, 0)
        for digit in range(widths.digits):
            left = later(m, high[: widths.total + 1], f"left_{digit}")
            waits = later(m, low, f"waits_{digit}") if len(low) else low
            before = later(m, quotient, f"digits_{digit}") if digit else quotient
            fits = left >= total
            quotient = Cat(fits, before)
            high = Cat(waits[-1:], (left - Mux(fits, total, 0))[: widths.total])
            low = waits[:-1]
        share = later(m, quotient, "share")
        if config.width == 8:
            # 256 is 128 less one
            value = Mux(share[8], 127, share[:8] ^ 0x80)
        else:
            value = Mux(share[15], 32767, share)
        self.probability = value[: config.width]

    # ---- normalization -------------------------------------------------------------------------

    def _normalized(self, m: Module) -> None:
        """Each element's share by the factor, then the result by its channel's."""
        config, setting, job = self.config, self.setting, self.job
        lane_bits = config.lanes.bit_length() - 1
        tag, multiplier = self.tags[DIFFERENCE], self.multiplier
        d = self.difference
        normalizes = ~self.is_softmax
        share_shift = self.normalizer.share_shift
        by_magnitude = job.kind == Reduction.MAGNITUDES

        # the second pass: squares, or magnitudes
        by = Mux(by_magnitude, Mux(d < 0, -1, 1), d)
        self.measure = Signal(MEASURE_BITS)
        with m.If(self.begin_pixel):
            m.d.sync += self.measure.eq(0)
        with m.If(tag.valid & normalizes & (tag.number == 1)):
            m.d.comb += [
                multiplier.a.eq(d),
                multiplier.b.eq(by),
            ]
        squared = self.tags[PRODUCT]
        with m.If(squared.valid & normalizes & (squared.number == 1)):
            m.d.sync += self.measure.eq(self.measure + multiplier.product[:35])

        # the third pass: shares
        with m.If(tag.valid & normalizes & (tag.number == 2)):
            m.d.comb += [multiplier.a.eq(d), multiplier.b.eq(self.normalizer.factor)]
        half = later(m, (Const(1, 1) << share_shift) >> 1, "half")
        offset = later(m, (half - self.normalizer.rest)[:_WIDE].as_signed(), "offset")
        summed = later(m, (multiplier.product + offset)[:_WIDE].as_signed(), "summed")
        share = self._shifted(m, summed, share_shift, "share")

        # the record of the channel: factor, offset
        early, odd = self.tags[SHARE - 3], self.tags[SHARE - 2]
        for each, second in ((early, 0), (odd, 1)):
            use = each.valid & normalizes & (each.number == 2)
            with m.If(use):
                m.d.comb += [
                    self.parameters.enable.eq(1),
                    self.parameters.address.eq(
                        job.parameters + Cat(Const(second, 1), each.channel >> lane_bits)
                    ),
                ]
        lanes = [
            self.tags[stage].channel[:lane_bits] if lane_bits else Const(0)
            for stage in (SHARE - 1, SHARE)
        ]
        first = later(m, self._record(lanes[0])[:64], "first")
        # the second record is there a cycle later
        behind = later(m, self._record(lanes[1])[:32], "behind")
        lower = later(m, first[32:64], "lower")
        at_share = self.tags[SHARE]
        with m.If(at_share.valid & normalizes & (at_share.number == 2)):
            m.d.comb += [multiplier.a.eq(share), multiplier.b.eq(first[:32].as_signed())]
        bias = Cat(lower, behind).as_signed()  # a stage after the share
        halved = later(m, (Const(1, 1) << setting.shift) >> 1, "halved")
        offset = later(m, (bias + halved)[:_WIDE].as_signed(), "bias")
        offset = later(m, offset, "bias", cycles=MULTIPLIER_LATENCY - 2)
        summed = later(m, (multiplier.product + offset)[:_WIDE].as_signed(), "result")
        value = self._shifted(m, summed, setting.shift, "value")
        lo, hi = setting.lo - setting.zero_point, setting.hi - setting.zero_point
        lo, hi = later(m, lo, "least"), later(m, hi, "most")
        inside = (value + setting.zero_point)[: config.width]
        self.normal = later(
            m,
            Mux(
                value < lo,
                setting.lo[: config.width],
                Mux(value > hi, setting.hi[: config.width], inside),
            ),
            "normal",
        )

    @staticmethod
    def _shifted(m: Module, value: Value, shift: Value, name: str) -> Signal:
        """``value >> shift`` two cycles later: by whole bytes, then by bits."""
        coarse = later(m, value >> Cat(Const(0, 3), shift[3:]), f"{name}_by_bytes")
        return later(m, coarse >> shift[:3], name)

    def _results(self, m: Module) -> None:
        """Elements into words, in place; those behind the last channel are 0."""
        config = self.config
        normal, softmax = self.tags[RESULT], self.tags[self.widths.result]
        tag = Signal.like(normal)
        value = Signal(config.width)
        with m.If(self.is_softmax):
            m.d.comb += [tag.eq(softmax), value.eq(self.probability)]
        with m.Else():
            m.d.comb += [tag.eq(normal), value.eq(self.normal)]
        collected = Signal(config.columns * config.width, reset_less=True)
        arrives = tag.valid & (tag.number == 2)
        with m.If(arrives):
            with m.If(tag.column == 0):
                m.d.sync += collected.eq(value)
            with m.Else():
                m.d.sync += collected.word_select(tag.column, config.width).eq(value)
        address = Signal(ADDRESS_BITS)
        m.d.comb += [self.result.data.eq(collected), self.result.address.eq(address)]
        m.d.sync += self.result.enable.eq(arrives & tag.word_end)
        with m.If(self.begin_pixel):
            m.d.sync += address.eq(self.pixel)
        with m.Elif(self.result.enable):
            m.d.sync += address.eq(address + 1)

    # ---- the order of all --------------------------------------------------------------------

    def _order(self, m: Module) -> None:
        """The passes of a pixel, with the normalizer between them."""
        job, number, normalizer = self.job, self.number, self.normalizer
        normalizes = ~self.is_softmax
        m.d.comb += [
            normalizer.kind.eq(job.kind),
            normalizer.count.eq(job.channels + 1),
            normalizer.setting.eq(self.setting),
            normalizer.total.eq(self.total),
            normalizer.measure.eq(self.measure),
            normalizer.product.eq(self.multiplier.product),
        ]
        with m.FSM(name="order"):
            with m.State("IDLE"), m.If(self.begin_pixel):
                sums = self.is_softmax | self.is_variance
                m.d.sync += number.eq(Mux(sums, 0, 1))
                m.next = "BEGIN"
            with m.State("BEGIN"):
                m.d.comb += self.begin_pass.eq(1)
                m.next = "PASS"
            with m.State("PASS"), m.If(self.passed):
                m.d.sync += number.eq(number + 1)
                m.next = "BEGIN"
                with m.If(number == 2):
                    m.d.comb += self.next_pixel.eq(1)
                    m.next = "IDLE"
                with m.Elif(normalizes):
                    m.d.comb += [
                        normalizer.find_mean.eq(number == 0),
                        normalizer.find_factor.eq(number == 1),
                    ]
                    m.next = "NORMALIZER"
            with m.State("NORMALIZER"), m.If(normalizer.done):
                m.next = "BEGIN"
