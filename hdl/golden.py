"""The instruction set's meaning: a program and host memory into the contents of every memory.

One instruction after another in the order of the program, without time: what the gateware must
leave in its memories whenever the program's SYNCs keep its units in step. What a legal program
never does (a bank met twice in a cycle, a tile larger than the accumulators, a wait that nothing
ends) is an error here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from functools import singledispatchmethod
from typing import TypeVar

import numpy as np

from edgeinfer.arithmetic import fixedpoint
from edgeinfer.hdl import isa
from edgeinfer.hdl.config import BANKS, NpuConfig
from edgeinfer.hdl.isa import (
    Memory,
    Mode,
    Operation,
    Pass,
    ProgramError,
    Reduction,
    Unit,
    passes,
)

__all__ = ["GoldenSimulator"]

_ADDRESSES = 1 << 20

_MEASURES: dict[Reduction, fixedpoint.Measure] = {
    Reduction.VARIANCE: "variance",
    Reduction.SQUARES: "squares",
    Reduction.MAGNITUDES: "magnitudes",
}

_T = TypeVar("_T", bound=isa.Instruction)


class GoldenSimulator:
    """An NPU's memories, changed by one instruction after another.

    Parameters
    ----------
    config : NpuConfig
    host : bytearray
        The host's memory from the base address on.

    Attributes
    ----------
    buffer : int64 [words, columns]
    weights : int64 [tiles, rows, columns]
    intermediates : dict of int to int64 [columns]
        By word address: what step 0 of two-operand ACTIVATEs gave.
    completed : dict of Unit to int
    """

    def __init__(self, config: NpuConfig, host: bytearray) -> None:
        self.config = config
        self.host = host
        self._element = np.dtype(f"<i{config.element_bytes}")
        self.buffer = np.zeros((config.buffer_words, config.columns), np.int64)
        self.weights = np.zeros((config.weight_tiles, config.rows, config.columns), np.int64)
        self._records = np.zeros(
            (config.parameter_rows, config.lanes, config.parameter_bytes), np.uint8
        )
        self._table = np.zeros(0, np.int64)
        self._settings: dict[type[isa.Instruction], isa.Instruction] = {}
        self._shadow: deque[np.ndarray] = deque()
        self._accumulators: np.ndarray | None = None
        self._full: deque[np.ndarray] = deque()
        self.intermediates: dict[int, np.ndarray] = {}
        self.completed = dict.fromkeys(Unit, 0)

    def run(self, program: Iterable[isa.Instruction]) -> None:
        """Execute up to the HALT; the counters start at 0.

        Raises
        ------
        ProgramError
            An instruction is illegal, or the HALT is missing.
        """
        self.completed = dict.fromkeys(Unit, 0)
        for index, instruction in enumerate(program):
            try:
                self.execute(instruction)
            except ProgramError as error:
                raise ProgramError(f"instruction {index}, {instruction}: {error}") from None
            if isinstance(instruction, isa.Halt):
                return
        raise ProgramError("the program ends without HALT")

    @singledispatchmethod
    def execute(self, instruction: isa.Instruction) -> None:
        """Do what ``instruction`` says."""
        self._settings[type(instruction)] = instruction

    def _setting(self, cls: type[_T]) -> _T:
        if cls not in self._settings:
            raise ProgramError(f"there was no {cls.mnemonic}")
        setting = self._settings[cls]
        assert isinstance(setting, cls)
        return setting

    @execute.register
    def _sync(self, sync: isa.Sync) -> None:
        behind = (self.completed[sync.on] - sync.count) & 0xFFFF
        if behind >= 0x8000:
            raise ProgramError(f"{sync.on.name} has completed {self.completed[sync.on]} only")

    @execute.register
    def _halt(self, halt: isa.Halt) -> None:
        if self._full or self._accumulators is not None:
            raise ProgramError("a CONVOLVE has no ACTIVATE")
        if self._shadow:
            raise ProgramError(f"{len(self._shadow)} tiles of weights were not used")

    @execute.register
    def _read_host(self, read: isa.ReadHost) -> None:
        unit = isa.host_word_bytes(read.memory, self.config)
        for line in range(read.lines):
            start = read.host + line * read.host_step
            data = self._host_bytes(start, read.words * unit)
            self._put(read.memory, read.address + line * read.step, data.reshape(read.words, unit))
        self.completed[Unit.LOAD] += 1

    def _host_bytes(self, start: int, count: int) -> np.ndarray:
        if start % self.config.bus_bytes or start + count > len(self.host):
            raise ProgramError(f"bytes {start} to {start + count} of host memory are not to be had")
        return np.frombuffer(self.host, np.uint8, count, start)

    def _put(self, memory: Memory, address: int, data: np.ndarray) -> None:
        config = self.config
        end = address + len(data)
        if memory is Memory.BUFFER:
            self._check(end <= config.buffer_words, f"word {end - 1} is beyond the buffer")
            self.buffer[address:end] = data.view(self._element)
        elif memory is Memory.WEIGHTS:
            flat = self.weights.reshape(-1, config.weight_port, config.columns)
            self._check(end <= len(flat), f"word {end - 1} is beyond the weights")
            flat[address:end] = data.view(self._element).reshape(-1, *flat.shape[1:])
        elif memory is Memory.PARAMETERS:
            self._check(end <= config.parameter_rows, f"row {end - 1} is beyond the parameters")
            used = config.lanes * config.parameter_bytes
            self._records[address:end] = data[:, :used].reshape(len(data), config.lanes, -1)
        else:
            self._check(config.tables, "this NPU has no table")
            self._table = data.reshape(-1).view(self._element).astype(np.int64)

    @staticmethod
    def _check(condition: bool, message: str) -> None:
        if not condition:
            raise ProgramError(message)

    @execute.register
    def _write_host(self, write: isa.WriteHost) -> None:
        for line in range(write.lines):
            first = write.address + line * write.step
            end = first + write.words
            self._check(end <= len(self.buffer), f"word {end - 1} is beyond the buffer")
            data = self.buffer[first:end].astype(self._element).tobytes()
            start = write.host + line * write.host_step
            self._host_bytes(start, len(data))
            self.host[start : start + len(data)] = data
        self.completed[Unit.STORE] += 1

    @execute.register
    def _read_weights(self, read: isa.ReadWeights) -> None:
        tiles = np.full(read.count, read.address)
        if not read.repeat:
            tiles += np.arange(read.count)
        self._check(tiles[-1] < len(self.weights), f"tile {tiles[-1]} is beyond the weights")
        self._shadow.extend(self.weights[tiles])
        self.completed[Unit.WEIGHTS] += 1

    @execute.register
    def _convolve_groups(self, convolve: isa.Convolve) -> None:
        config = self.config
        source, kernel = self._setting(isa.SetSource), self._setting(isa.SetKernel)
        pixels = convolve.rows * convolve.columns
        self._check(
            pixels <= config.accumulator_depth,
            f"{pixels} pixels are more than the {config.accumulator_depth} of the accumulators",
        )
        self._check(
            convolve.groups == 1 or bool(convolve.first and convolve.last),
            "several groups cannot share accumulators",
        )
        fetch = self._dense if kernel.mode is Mode.DENSE else self._depthwise
        for group in range(convolve.groups):
            start = convolve.x + group * convolve.group_step
            if convolve.first:
                self._accumulators = None
            for each in passes(kernel, config.rows):
                self._check(bool(self._shadow), "there are no weights for a pass")
                value = fetch(source, kernel, convolve, each, start, self._shadow.popleft())
                self._accumulate(value, kernel.mode)
            if convolve.last:
                assert self._accumulators is not None
                self._full.append(self._accumulators)
                self._accumulators = None
            self.completed[Unit.CONVOLVE] += 1

    def _accumulate(self, value: np.ndarray, mode: Mode) -> None:
        old = self._accumulators
        if old is None:
            self._accumulators = value
        else:
            self._check(len(old) == len(value), "a tile changes its size between CONVOLVEs")
            self._accumulators = np.maximum(old, value) if mode is Mode.MAXIMUM else old + value

    def _dense(
        self,
        source: isa.SetSource,
        kernel: isa.SetKernel,
        convolve: isa.Convolve,
        each: Pass,
        start: int,
        tile: np.ndarray,
    ) -> np.ndarray:
        r = np.arange(self.config.rows)
        own = r < each.split
        rows, columns = (
            np.arange(convolve.rows)[:, None, None],
            np.arange(convolve.columns)[:, None],
        )
        line = each.line + ~own
        element = (
            start
            + each.run * kernel.run_step
            + np.where(own, each.k + r, r - each.split)
            + columns * source.pixel_step
        )
        element = np.broadcast_to(element, (convolve.rows, convolve.columns, len(r)))
        operand = self._elements(source, convolve, rows, line, element)
        # |sums| stay far below 2^53, so that float64 has them exactly and is fast
        return self._wrapped(operand.reshape(-1, len(r)).astype("f8") @ tile.astype("f8"))

    def _elements(
        self,
        source: isa.SetSource,
        convolve: isa.Convolve,
        rows: np.ndarray,
        line: np.ndarray,
        element: np.ndarray,
    ) -> np.ndarray:
        """The elements of the tensor's lines, padding outside; a bank may be met once a fetch."""
        columns = self.config.columns
        y = convolve.y + rows * source.stride + line * source.dilation
        inside = (element >= 0) & (element < source.line_end) & (y >= 0) & (y < source.height)
        first = convolve.base + rows * source.row_step + line * source.kernel_step
        word = (first + element // columns) % _ADDRESSES
        self._check(
            bool((word[inside] < len(self.buffer)).all()), "a fetch reads beyond the buffer"
        )
        self._check_banks(np.where(inside, word, -1))
        word = np.where(inside, word, 0)
        return np.where(inside, self.buffer[word, element % columns], source.pad)

    def _check_banks(self, word: np.ndarray) -> None:
        """Words of one fetch (the last axis; -1 is none) that differ lie in different banks."""
        for bank in range(BANKS):
            here = (word >= 0) & (word % BANKS == bank)
            low = np.where(here, word, _ADDRESSES).min(-1)
            high = np.where(here, word, -1).max(-1)
            self._check(
                bool(((high < 0) | (low == high)).all()), "a fetch meets a bank of the buffer twice"
            )

    def _depthwise(
        self,
        source: isa.SetSource,
        kernel: isa.SetKernel,
        convolve: isa.Convolve,
        each: Pass,
        start: int,
        tile: np.ndarray,
    ) -> np.ndarray:
        config = self.config
        self._check(kernel.streams <= config.streams, f"{kernel.streams} streams are too many")
        self._check(
            kernel.streams * kernel.taps <= config.rows, "the taps need more rows than there are"
        )
        fetches = convolve.rows * convolve.period + convolve.tail
        index = np.arange(fetches)
        rows, at = (index // convolve.period)[:, None], (index % convolve.period)[:, None]
        stream = np.arange(kernel.streams)
        line = each.line + stream
        element = start + each.run * kernel.run_step + at * source.pixel_step
        self._check(bool((element % config.columns == 0).all()), "a fetch is not a whole word")
        element = np.broadcast_to(element, (fetches, kernel.streams))
        y = convolve.y + rows * source.stride + line * source.dilation
        inside = (element >= 0) & (element < source.line_end) & (y >= 0) & (y < source.height)
        inside &= stream < each.streams
        first = convolve.base + rows * source.row_step + line * source.kernel_step
        word = (first + element // config.columns) % _ADDRESSES
        self._check(
            bool((word[inside] < len(self.buffer)).all()), "a fetch reads beyond the buffer"
        )
        self._check_banks(np.where(inside, word, -1))
        words = np.where(
            inside[..., None], self.buffer[np.where(inside, word, 0)], source.pad
        )  # [fetch, stream, channel]
        outputs = np.arange(convolve.columns) * kernel.emit
        self._check(bool((outputs < convolve.period).all()), "a row has fewer fetches than pixels")
        taken = (np.arange(convolve.rows)[:, None] * convolve.period + outputs).ravel()
        self._check(
            bool(taken[-1] + kernel.taps <= fetches), "a row's last pixel has too few fetches"
        )
        total = np.zeros((len(taken), config.columns), np.int64)
        for s in range(kernel.streams):
            for tap in range(kernel.taps):
                total += words[taken + tap, s] * tile[s * kernel.taps + tap]
        return self._wrapped(total)

    def _wrapped(self, sums: np.ndarray) -> np.ndarray:
        """Sums modulo the accumulators' width."""
        half = 1 << (self.config.accumulator_bits - 1)
        return (sums.astype(np.int64) + half) % (2 * half) - half

    def _parameters(self, row: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Bias, multiplier and shift [columns] from parameter row ``row`` on."""
        config = self.config
        self._check(row + config.steps <= config.parameter_rows, "parameters beyond the memory")
        records = self._records[row : row + config.steps].reshape(config.columns, -1)
        values = [int.from_bytes(record.tobytes(), "little") for record in records]
        bits = config.accumulator_bits
        bias = np.array([v & ((1 << bits) - 1) for v in values], np.int64)
        bias -= (bias >> (bits - 1)) << bits
        multiplier = np.array([v >> bits & 0x7FFFFFFF for v in values], np.int64)
        return bias, multiplier, np.array([v >> (bits + 31) & 63 for v in values], np.int64)

    @execute.register
    def _activate_groups(self, activate: isa.Activate) -> None:
        output = self._setting(isa.SetOutput)
        rows, columns = np.arange(activate.rows)[:, None], np.arange(activate.columns)
        place = (activate.base + rows * output.row_step + columns * output.column_step).ravel()
        second = (
            activate.residual
            + rows * output.residual_row_step
            + columns * output.residual_column_step
        ).ravel()
        for group in range(activate.groups):
            self._check(bool(self._full), "there are no accumulators to activate")
            acc = self._full.popleft()
            self._check(len(acc) == len(place), f"the accumulators hold {len(acc)} pixels")
            step = 0 if activate.shared else group * self.config.steps
            where, other = (place + group) % _ADDRESSES, (second + group) % _ADDRESSES
            self._check(bool((where < len(self.buffer)).all()), "a result lies beyond the buffer")
            if output.operation is not Operation.NONE:
                self._check(
                    bool((other < len(self.buffer)).all()),
                    "the second operand lies beyond the buffer",
                )
            self._activate(output, acc, activate.parameters + step, where, other)
            self.completed[Unit.ACTIVATE] += 1

    def _activate(
        self,
        output: isa.SetOutput,
        acc: np.ndarray,
        parameters: int,
        where: np.ndarray,
        other: np.ndarray,
    ) -> None:
        rounding = "double" if output.double else "single"
        bias, multiplier, shift = self._parameters(parameters)
        y = fixedpoint.requantize(
            self._wrapped(acc + bias),
            multiplier,
            shift,
            output.zero_point,
            output.lo,
            output.hi,
            rounding,
        )
        if output.operation is not Operation.NONE:
            self.intermediates.update(zip(where.tolist(), y, strict=True))
            # words that this very ACTIVATE writes are read before they are written
            y = self._combined(output.operation, y, self.buffer[other], rounding)
        if output.table:
            y = self._looked_up(y)
        self.buffer[where] = y

    def _combined(
        self, operation: Operation, y: np.ndarray, q: np.ndarray, rounding: str
    ) -> np.ndarray:
        operands, total = self._setting(isa.SetOperands), self._setting(isa.SetSum)
        a, b = y - operands.a_zero_point, q - operands.b_zero_point
        if operation is Operation.MULTIPLY:
            acc = a * b
        else:
            a = fixedpoint.round_shift(
                a << total.left_shift, operands.a_multiplier, operands.a_shift, rounding
            )
            b = fixedpoint.round_shift(
                b << total.left_shift, operands.b_multiplier, operands.b_shift, rounding
            )
            acc = {
                Operation.ADD: a + b,
                Operation.SUBTRACT: a - b,
                Operation.SUBTRACT_FROM: b - a,
            }[operation]
        return fixedpoint.requantize(
            acc, total.multiplier, total.shift, total.zero_point, total.lo, total.hi, rounding
        )

    def _looked_up(self, y: np.ndarray) -> np.ndarray:
        if self.config.width == 8:
            return self._table[y + 128]
        knots, slopes = self._table[0::2], self._table[1::2]
        i, f = 256 + (y >> 7), y & 127
        return knots[i] + ((slopes[i] * f + 64) >> 7)

    @execute.register
    def _reduce(self, reduce: isa.Reduce) -> None:
        config = self.config
        self._check(config.reductions, "this NPU has no reductions")
        rows, columns = np.arange(reduce.rows)[:, None], np.arange(reduce.columns)
        pixels = (reduce.base + rows * reduce.row_step + columns * reduce.column_step).ravel()
        words = (pixels[:, None] + np.arange(-(-reduce.channels // config.columns))) % _ADDRESSES
        self._check(bool((words < len(self.buffer)).all()), "a pixel lies beyond the buffer")
        # one after another, as they may share words
        for own in words:
            q = self.buffer[own].ravel()[: reduce.channels].astype(self._element)
            result = np.zeros(own.size * config.columns, np.int64)
            result[: reduce.channels] = self._reduced(reduce, q)
            self.buffer[own] = result.reshape(len(own), -1)
        self.completed[Unit.ACTIVATE] += 1

    def _reduced(self, reduce: isa.Reduce, q: np.ndarray) -> np.ndarray:
        config = self.config
        if reduce.kind is Reduction.SOFTMAX:
            rows = -(-256 // config.lanes)
            tables = [
                self._low_words(reduce.parameters + table * rows, 1, 256)[:, 0]
                for table in range(config.element_bytes)
            ]
            if config.width == 8:
                return fixedpoint.softmax_8(q, tables[0], 0)
            return fixedpoint.softmax_16(q, np.stack(tables), 0)
        setting = self._setting(isa.SetNormalization)
        normalizer = fixedpoint.Normalizer(
            _MEASURES[reduce.kind],
            len(q),
            setting.input_zero_point,
            setting.epsilon,
            setting.exponent,
            bool(setting.is_least),
            setting.fraction,
        )
        wide = q.astype(np.int64)[None]
        (shares,) = normalizer.shares(wide).of(wide)
        factor, low, high = self._low_words(reduce.parameters, 2, len(q)).T[:3]
        offset = (low & 0xFFFFFFFF) | high << 32
        return fixedpoint.requantize(
            shares * factor + offset, 1, setting.shift, setting.zero_point, setting.lo, setting.hi
        )

    def _low_words(self, row: int, records: int, count: int) -> np.ndarray:
        """Signed 32-bit words [count, 2 records] of the parameters from ``row`` on.

        They are the two lowest of each record; an entry has ``records``, in rows one after another.
        """
        config = self.config
        rows = records * -(-count // config.lanes)
        self._check(row + rows <= config.parameter_rows, "parameters beyond the memory")
        own = self._records[row : row + rows, :, :8].reshape(-1, records, config.lanes, 8)
        entries = np.ascontiguousarray(own.transpose(0, 2, 1, 3)).reshape(-1, 8 * records)
        return entries.view("<i4")[:count].astype(np.int64)
