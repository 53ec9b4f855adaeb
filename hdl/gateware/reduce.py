"""The REDUCE unit: each pixel's channels by what they have in common, in place in the buffer."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from edgeinfer.arithmetic import fixedpoint
from edgeinfer.hdl import isa
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.gateware.buffer import READ_LATENCY
from edgeinfer.hdl.gateware.interface import (
    ADDRESS_BITS,
    INSTRUCTION_BITS,
    ReadRequest,
    UnitControl,
    WordWrite,
    fields_of,
)
from edgeinfer.hdl.gateware.parameters import ParameterPort
from edgeinfer.hdl.gateware.pipeline import later
from edgeinfer.hdl.gateware.wide_multiplier import MULTIPLIER_BITS, WideMultiplier
from edgeinfer.hdl.isa import Reduction
from edgeinfer.hdl.reduce_stages import (
    CHANNEL_BITS,
    DIFFERENCE,
    ELEMENT,
    FACTORS,
    MULTIPLIER_LATENCY,
    NORMALIZING,
    PRODUCT,
    RESTED,
    RESULT,
    ROOT_STEPS,
    SHARE,
    Exponentials,
    drains,
)

__all__ = ["ReduceUnit"]

_PREFETCHED = 4
"""Words that are read ahead."""

_WIDE = 64
"""Of proven products and what is added to them."""


class ReduceUnit(wiring.Component):
    """Executes SET_NORMALIZATION and REDUCE: "Reduce" in docs/npu-design.md.

    It stands between the ACTIVATE unit and what that reads and writes, and passes on all that is
    not its own. A REDUCE is taken when the lanes have written all that they were told to, and the
    lanes are told nothing before it has ended.

    A pixel's channels pass three times, an element a cycle or in two, never held back once it has
    left its word: the first pass finds the greatest and the sum, the second the sum of
    exponentials or of squares, the third each element's result.

    Parameters
    ----------
    config : NpuConfig

    Members
    -------
    control : Out(UnitControl)
        ``completed`` counts the lanes' groups, and a REDUCE as one.
    parameters : Out(ParameterPort)
    residual : Out(ReadRequest)
    result : Out(WordWrite)
    lanes_control : In(UnitControl)
    lanes_parameters : In(ParameterPort)
    lanes_residual : In(ReadRequest)
    lanes_result : In(WordWrite)
        The ACTIVATE unit's.
    """

    def __init__(self, config: NpuConfig) -> None:
        self.config = config
        ports: dict[str, wiring.Signature] = {
            "control": UnitControl(),
            "parameters": ParameterPort(config),
            "residual": ReadRequest(config),
            "result": WordWrite(config.columns * config.width),
        }
        outer = {name: Out(port) for name, port in ports.items()}
        super().__init__({**outer, **{f"lanes_{name}": In(port) for name, port in ports.items()}})

    def elaborate(self, platform: object) -> Module:
        """Who has the ports; the loop over pixels; the passes; what is computed between them."""
        m = Module()
        config = self.config
        m.submodules.engine = engine = _Engine(config)
        lanes, own = self.lanes_control, self.control

        # the lanes' last word is in the buffer some cycles after they have come to rest
        rested = Signal(range(RESTED + 1))
        opcode = own.command.payload[: isa.OPCODE_BITS]
        ours = (opcode == isa.Reduce.opcode) | (opcode == isa.SetNormalization.opcode)
        m.d.comb += [
            lanes.command.payload.eq(own.command.payload),
            lanes.command.valid.eq(own.command.valid & ~ours & ~engine.busy),
            engine.command.payload.eq(own.command.payload),
            engine.command.valid.eq(own.command.valid & ours & (rested == RESTED)),
            own.command.ready.eq(
                Mux(
                    ours,
                    engine.command.ready & (rested == RESTED),
                    lanes.command.ready & ~engine.busy,
                )
            ),
            own.busy.eq(lanes.busy | engine.busy),
            own.waiting.eq(lanes.waiting & ~engine.busy),
            own.completed.eq(lanes.completed | engine.completed),
        ]
        with m.If(lanes.busy | (lanes.command.valid & lanes.command.ready)):
            m.d.sync += rested.eq(0)
        with m.Elif(rested != RESTED):
            m.d.sync += rested.eq(rested + 1)

        m.d.comb += [
            self.residual.valid.eq(self.lanes_residual.valid | engine.read.valid),
            self.residual.address.eq(
                Mux(engine.busy, engine.read.address, self.lanes_residual.address)
            ),
            self.lanes_residual.ready.eq(self.residual.ready),
            engine.read.ready.eq(self.residual.ready),
            self.lanes_residual.data.eq(self.residual.data),
            engine.read.data.eq(self.residual.data),
            self.parameters.enable.eq(self.lanes_parameters.enable | engine.parameters.enable),
            self.parameters.address.eq(
                Mux(engine.busy, engine.parameters.address, self.lanes_parameters.address)
            ),
            self.lanes_parameters.row.eq(self.parameters.row),
            engine.parameters.row.eq(self.parameters.row),
            self.result.enable.eq(self.lanes_result.enable | engine.result.enable),
            self.result.address.eq(
                Mux(engine.result.enable, engine.result.address, self.lanes_result.address)
            ),
            self.result.data.eq(
                Mux(engine.result.enable, engine.result.data, self.lanes_result.data)
            ),
        ]
        return m


class _Engine(wiring.Component):
    """What executes REDUCE where nothing else uses the ports.

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
        """Commands; then what loops, what passes, and what is computed between the passes."""
        m = Module()
        config = self.config
        self.widths = Exponentials.of(config)
        m.submodules.multiplier = self.multiplier = WideMultiplier()
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
        self._between(m)
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
        self.total = total = Signal(signed(width + CHANNEL_BITS + 1))
        self.mean = Signal(signed(16))
        with m.If(self.begin_pixel):
            m.d.sync += [greatest.eq(-(1 << (width - 1))), total.eq(0)]
        with m.If(tag.valid & (tag.number == 0)):
            m.d.sync += [greatest.eq(Mux(element > greatest, element, greatest))]
            m.d.sync += total.eq(total + element)
        self.difference = later(
            m,
            Mux(self.is_softmax, greatest - element, element - self.mean)[:18].as_signed(),
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
        self.factor, self.rest = Signal(33), Signal(32)
        self.share_shift = Signal(6)
        by_magnitude = job.kind == Reduction.MAGNITUDES

        # the second pass: squares, or magnitudes
        by = Mux(by_magnitude, Mux(d < 0, -1, 1), d)
        self.measure = Signal(2 * 17 + CHANNEL_BITS + 1)
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
            m.d.comb += [multiplier.a.eq(d), multiplier.b.eq(self.factor)]
        half = later(m, (Const(1, 1) << self.share_shift) >> 1, "half")
        offset = later(m, (half - self.rest)[:_WIDE].as_signed(), "offset")
        summed = later(m, (multiplier.product + offset)[:_WIDE].as_signed(), "summed")
        share = self._shifted(m, summed, self.share_shift, "share")

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

    # ---- between the passes --------------------------------------------------------------------

    def _between(self, m: Module) -> None:
        """The mean after the first pass, factor and rest after the second."""
        config, setting, job, multiplier = self.config, self.setting, self.job, self.multiplier
        width, number = config.width, self.number
        count = Signal(CHANNEL_BITS + 1)
        m.d.comb += count.eq(job.channels + 1)
        weight = Signal(CHANNEL_BITS + 1)
        m.d.comb += weight.eq(Mux(self.is_variance, count, 1))
        bits = Signal(range(CHANNEL_BITS + 2))
        for place in range(CHANNEL_BITS + 1):
            with m.If(weight[place]):
                m.d.comb += bits.eq(place + 1)

        left, divisor = Signal(width + CHANNEL_BITS + 1), Signal(width + CHANNEL_BITS + 1)
        quotient, digit = Signal(width), Signal(range(width + 1))
        measure = Signal(_WIDE)
        exponent = Signal(signed(10))  # e, and what epsilon's is
        added = Signal(_WIDE)
        root, square = Signal(MULTIPLIER_BITS - 1), Signal(MULTIPLIER_BITS - 1)
        is_zero = Signal()
        x = Signal(32)
        turn, wait = Signal(range(ROOT_STEPS)), Signal(range(MULTIPLIER_LATENCY + 1))
        product = multiplier.product

        roots = Array(Const(int(fixedpoint.ROOTS[max(i - 8, 0)]), 17) for i in range(32))

        # measure and epsilon to the lesser of their exponents
        own = Signal(signed(10))
        beyond = Signal(signed(11))
        by = Signal(6)
        distance = Signal(11)
        m.d.comb += [
            own.eq(62 - (setting.exponent << 1)),
            beyond.eq(exponent - own),
            distance.eq(Mux(beyond < 0, -beyond, beyond)),
            by.eq(Mux(distance > 62, 62, distance)),
        ]
        epsilon = Signal(_WIDE)
        m.d.comb += epsilon.eq(setting.epsilon << 31)
        amount, remainder = Signal(signed(12)), Signal.like(left)
        m.d.comb += [
            amount.eq(61 - (exponent >> 1) - bits - setting.fraction),
            remainder.eq(Mux(self.is_variance, left, 0)),
        ]
        nearest = (Const(1, 1) << bits) >> 1

        with m.FSM(name="between"):
            with m.State("REST"), m.If(self.begin_pixel):
                passes = self.is_softmax | self.is_variance
                m.d.sync += [number.eq(Mux(passes, 0, 1)), self.mean.eq(setting.input_zero_point)]
                m.next = "BEGIN"
            with m.State("BEGIN"):
                m.d.comb += self.begin_pass.eq(1)
                m.next = "PASS"
            with m.State("PASS"), m.If(self.passed):
                m.d.sync += number.eq(number + 1)
                m.next = "BEGIN"
                with m.If((number == 0) & self.is_variance):
                    m.d.sync += [
                        left.eq(self.total + (count << (width - 1))),
                        divisor.eq(count << (width - 1)),
                        digit.eq(width),
                    ]
                    m.next = "DIVIDE"
                with m.Elif((number == 1) & ~self.is_softmax):
                    m.d.sync += [wait.eq(0), measure.eq(self.measure)]
                    m.next = "MEASURED"
                    with m.If(self.is_variance):
                        m.next = "VARIANCE_LOW"
                    with m.Elif(job.kind == Reduction.MAGNITUDES):
                        m.next = "MAGNITUDES"
                with m.Elif(number == 2):
                    m.d.comb += self.next_pixel.eq(1)
                    m.next = "REST"
            # floor(total / count): both of the sum and of the digits 2^(width - 1) counts too much
            with m.State("DIVIDE"):
                fits = left >= divisor
                with m.If(digit != 0):
                    m.d.sync += [
                        left.eq(left - Mux(fits, divisor, 0)),
                        divisor.eq(divisor >> 1),
                        quotient.eq(Cat(fits, quotient)),
                        digit.eq(digit - 1),
                    ]
                with m.Else():
                    m.d.sync += self.mean.eq((quotient ^ (1 << (width - 1))).as_signed())
                    m.next = "BEGIN"

            def product_state(name: str, a: Value, b: Value, following: str) -> Value:
                """Whether the product that the state ``name`` is for is just there."""
                done = Signal(name=f"{name.lower()}_done")
                with m.State(name):
                    m.d.comb += [multiplier.a.eq(a), multiplier.b.eq(b)]
                    m.d.sync += wait.eq(wait + 1)
                    with m.If(wait == MULTIPLIER_LATENCY):
                        m.d.comb += done.eq(1)
                        m.d.sync += wait.eq(0)
                        m.next = following
                return done

            low = product_state("VARIANCE_LOW", self.measure[:32], count, "VARIANCE_HIGH")
            high = product_state("VARIANCE_HIGH", self.measure[32:], count, "VARIANCE_REST")
            rest = product_state("VARIANCE_REST", left, left, "MEASURED")
            total = product_state("MAGNITUDES", self.measure, self.measure, "MEASURED")
            with m.State("MEASURED"):
                m.d.sync += [is_zero.eq(measure == 0), exponent.eq(0)]
                m.d.sync += measure.eq(Mux(measure == 0, 1, measure))
                m.next = f"NORMALIZE_{NORMALIZING[0]}"
            for step, following in zip(
                NORMALIZING,
                [*(f"NORMALIZE_{each}" for each in NORMALIZING[1:]), "COMMON"],
                strict=True,
            ):
                with m.State(f"NORMALIZE_{step}"):
                    with m.If(measure >> (62 - step) == 0):
                        m.d.sync += [measure.eq(measure << step), exponent.eq(exponent + step)]
                    m.next = following
            with m.State("COMMON"):
                with m.If(setting.epsilon == 0):
                    m.d.sync += added.eq(0)
                with m.Elif(beyond > 0):
                    m.d.sync += [measure.eq(measure >> by), added.eq(epsilon), exponent.eq(own)]
                with m.Else():
                    m.d.sync += added.eq(epsilon >> by)
                m.next = "ADD"
            with m.State("ADD"):
                with m.If(~setting.is_least):
                    m.d.sync += measure.eq(measure + added)
                with m.Elif(added > measure):
                    m.d.sync += measure.eq(added)
                m.next = "CARRY"
            with m.State("CARRY"):
                with m.If(measure[62:].any()):
                    m.d.sync += [measure.eq(measure >> 2), exponent.eq(exponent - 2)]
                m.next = "ROOT"
            with m.State("ROOT"):
                m.d.sync += [
                    x.eq(measure[30:62]),
                    root.eq(roots[measure[57:62]] << 15),
                    turn.eq(0),
                ]
                m.next = "ROOT_SQUARE"
            squared = product_state("ROOT_SQUARE", root, root, "ROOT_TIMES")
            times = product_state("ROOT_TIMES", square, x, "ROOT_STEP")
            nearer = (Const(3 << 30, MULTIPLIER_BITS) - square)[:MULTIPLIER_BITS].as_signed()
            stepped = product_state("ROOT_STEP", root, nearer, "ROOT_NEXT")
            with m.State("ROOT_NEXT"):
                m.d.sync += turn.eq(turn + 1)
                m.next = "ROOT_SQUARE"
                with m.If(turn == ROOT_STEPS - 1):
                    m.d.sync += root.eq(Mux(is_zero, 0, root))
                    m.next = "FACTOR"
            factor = product_state("FACTOR", weight, root, "REST_FACTOR")
            rest_factor = product_state("REST_FACTOR", remainder, root, "SHIFT")
            with m.State("SHIFT"):
                m.d.sync += self.share_shift.eq(Mux(is_zero, 1, Mux(amount > 62, 62, amount)))
                m.next = "BEGIN"

        with m.If(low):
            m.d.sync += measure.eq(product)
        with m.If(high):
            m.d.sync += measure.eq(measure + (product << 32))
        with m.If(rest):
            m.d.sync += measure.eq(measure - product)
        with m.If(total):
            m.d.sync += measure.eq(product)
        with m.If(squared):
            m.d.sync += square.eq(product >> 30)
        with m.If(times):
            m.d.sync += square.eq(product >> 32)
        with m.If(stepped):
            m.d.sync += root.eq(product >> 31)
        with m.If(factor):
            m.d.sync += self.factor.eq((product + nearest) >> bits)
        with m.If(rest_factor):
            m.d.sync += self.rest.eq((product + nearest) >> bits)
