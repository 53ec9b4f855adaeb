"""Layers with places into instructions: tiles, waits, and constants that arrive in time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgeinfer import operators as ops
from edgeinfer.hdl import isa
from edgeinfer.hdl.compiler.kernel import Kernel
from edgeinfer.hdl.compiler.layers import Layer, Region
from edgeinfer.hdl.compiler.layout import Tensor, View
from edgeinfer.hdl.compiler.program import Binding
from edgeinfer.hdl.compiler.streams import Slot
from edgeinfer.hdl.config import NpuConfig
from edgeinfer.hdl.isa import Memory, Mode, Operation, Unit

__all__ = ["Block", "Constants", "Emitter", "Job", "Tile", "read_linear", "tiles_of_output"]

_LINE = 8192
"""Words that one line of READ_HOST or WRITE_HOST takes at most."""


@dataclass(frozen=True)
class Block:
    """Constants that are loaded and given up together.

    Parameters
    ----------
    host : int
        Bytes from the base address.
    size : int
        Tiles of weights, or rows of parameters.
    slot : Slot
    """

    host: int
    size: int
    slot: Slot


@dataclass(frozen=True)
class Tile:
    """Output pixels that the accumulators take at once."""

    top: int
    rows: int
    left: int
    columns: int


@dataclass(frozen=True)
class Job:
    """Some groups of a layer over all of its tiles.

    Parameters
    ----------
    kernel : Kernel
    group, groups : int
        The first of the kernel's groups, and how many.
    weights, parameters : int
        Numbers of their blocks.
    repeat : bool
        The block is one tile for all passes.
    shared : bool
        The block is one group's parameters for all groups.
    """

    kernel: Kernel
    group: int
    groups: int
    weights: int
    parameters: int
    repeat: bool
    shared: bool


def tiles_of_output(region: Region, depth: int) -> list[Tile]:
    """``region`` in tiles of ``depth`` pixels at most.

    Whole rows where they fit. A region of several rows is two tiles at least, so that the next
    layer can begin with the first while the last one passes through the lanes.
    """
    height, width = region.bottom - region.top, region.right - region.left
    parts = -(-width // depth)
    columns = -(-width // parts)
    bands = -(-height // max(1, depth // columns))
    if height > 1:
        bands = max(2, bands)
    rows = -(-height // bands)
    return [
        Tile(top, min(rows, region.bottom - top), left, min(columns, region.right - left))
        for top in range(region.top, region.bottom, rows)
        for left in range(region.left, region.right, columns)
    ]


class Constants:
    """Blocks of one kind that come from host memory while the program runs.

    Parameters
    ----------
    memory : Memory
    blocks : sequence of Block
        In the order of their use.
    words : int
        Words of the memory in one unit of a block's size.
    word_bytes : int
        Bytes of such a word in host memory.
    consumer : Unit
        The unit that uses them.
    """

    def __init__(
        self,
        memory: Memory,
        blocks: Sequence[Block],
        words: int,
        word_bytes: int,
        consumer: Unit,
    ) -> None:
        self.memory, self.blocks, self.consumer = memory, blocks, consumer
        self._words, self._word_bytes = words, word_bytes
        self._next = 0
        self._done: dict[int, int] = {}
        self._loaded: dict[int, int] = {}

    def setup(self) -> Iterator[isa.Instruction]:
        """Loads of what stays."""
        for block in self.blocks:
            if block.slot.resident:
                yield from self._load(block)

    def _load(self, block: Block) -> Iterator[isa.Instruction]:
        return read_linear(
            self.memory,
            block.host,
            block.slot.address * self._words,
            block.size * self._words,
            self._word_bytes,
        )

    def used(self, emitter: Emitter, block: int) -> None:
        """Block ``block`` has been used for the last time."""
        self._done[block] = emitter.counts[self.consumer]
        self.advance(emitter)

    def advance(self, emitter: Emitter) -> None:
        """Load whatever finds its place free."""
        while self._next < len(self.blocks):
            block = self.blocks[self._next]
            if not block.slot.resident:
                if block.slot.after >= 0:
                    if block.slot.after not in self._done:
                        return
                    emitter.wait(Unit.LOAD, self.consumer, self._done[block.slot.after])
                for instruction in self._load(block):
                    emitter.emit(instruction)
                self._loaded[self._next] = emitter.counts[Unit.LOAD]
            self._next += 1

    def await_block(self, emitter: Emitter, block: int) -> None:
        """Let the consumer wait until ``block`` is there."""
        if block in self._loaded:
            emitter.wait(self.consumer, Unit.LOAD, self._loaded[block])


def read_linear(
    memory: Memory, host: int, address: int, words: int, word_bytes: int
) -> Iterator[isa.Instruction]:
    """READ_HOSTs for ``words`` that lie side by side."""
    while words:
        if words > _LINE:
            lines, line = min(words // _LINE, 4096), _LINE
        else:
            lines, line = 1, words
        yield isa.ReadHost(
            memory=memory,
            host=host,
            address=address,
            lines=lines,
            words=line,
            host_step=line * word_bytes if lines > 1 else 0,
            step=line if lines > 1 else 0,
        )
        host += lines * line * word_bytes
        address += lines * line
        words -= lines * line


@dataclass
class _Written:
    """Rows of a tensor and the count of the unit that wrote them."""

    top: int
    bottom: int
    unit: Unit
    count: int


@dataclass
class Emitter:
    """A program in the making.

    Parameters
    ----------
    config : NpuConfig
    views : dict of str to View
    weights, parameters : Constants
    """

    config: NpuConfig
    views: dict[str, View]
    weights: Constants
    parameters: Constants
    program: list[isa.Instruction] = field(default_factory=list)
    counts: dict[Unit, int] = field(default_factory=lambda: dict.fromkeys(Unit, 0))

    def __post_init__(self) -> None:
        self._known: dict[tuple[Unit, Unit], int] = defaultdict(int)
        self._settings: dict[type[isa.Instruction], isa.Instruction] = {}
        self._written: dict[int, list[_Written]] = defaultdict(list)
        self._table_used = 0
        self._table: int | None = None
        self.parameters.advance(self)
        self.weights.advance(self)

    def emit(self, instruction: isa.Instruction) -> None:
        """Append ``instruction``; a setting only where it changes something."""
        if isinstance(
            instruction,
            isa.SetSource | isa.SetKernel | isa.SetOutput | isa.SetOperands | isa.SetSum,
        ):
            if self._settings.get(type(instruction)) == instruction:
                return
            self._settings[type(instruction)] = instruction
        self.program.append(instruction)
        if isinstance(instruction, isa.Convolve | isa.Activate):
            self.counts[instruction.unit] += instruction.groups
        elif instruction.unit in (Unit.LOAD, Unit.STORE, Unit.WEIGHTS):
            self.counts[instruction.unit] += 1

    def wait(self, waiter: Unit, on: Unit, count: int) -> None:
        """Let ``waiter`` wait until ``on`` has completed ``count``, unless it has already."""
        if self._known[waiter, on] < count:
            self._known[waiter, on] = count
            self.emit(isa.Sync(waiter=waiter, on=on, count=count & 0xFFFF))

    def load(self, binding: Binding) -> None:
        """An input from host memory."""
        tensor = binding.view.tensor
        for instruction in read_linear(
            Memory.BUFFER, binding.host, tensor.base, tensor.words, self.config.word_bytes
        ):
            self.emit(instruction)
        written = _Written(0, tensor.height, Unit.LOAD, self.counts[Unit.LOAD])
        self._written[id(tensor)].append(written)

    def store(self, binding: Binding) -> None:
        """An output into host memory."""
        tensor = binding.view.tensor
        self._await_rows(Unit.STORE, tensor, 0, tensor.height)
        for read in read_linear(
            Memory.BUFFER, binding.host, tensor.base, tensor.words, self.config.word_bytes
        ):
            assert isinstance(read, isa.ReadHost)
            self.emit(
                isa.WriteHost(
                    host=read.host,
                    address=read.address,
                    lines=read.lines,
                    words=read.words,
                    host_step=read.host_step,
                    step=read.step,
                )
            )

    def halt(self) -> list[isa.Instruction]:
        """The finished program."""
        self.emit(isa.Halt())
        return self.program

    def layer(self, layer: Layer, jobs: Sequence[Job], table: int | None) -> None:
        """``layer`` in ``jobs``; ``table`` is where its table lies in host memory."""
        source, output = self.views[layer.source], self.views[layer.output]
        self._settings_of(layer, source, output)
        self._load_table(table)
        tensor = output.tensor
        region = layer.region or Region(0, 0, tensor.height, tensor.width)
        tiles = tiles_of_output(region, self.config.accumulator_depth)
        # resident weights are one block: all of a tile's groups before the next tile
        by_tile = len({job.weights for job in jobs}) == 1
        order = (
            [(tile, job) for tile in tiles for job in jobs]
            if by_tile
            else [(tile, job) for job in jobs for tile in tiles]
        )
        for index, (tile, job) in enumerate(order):
            self._tile(layer, job, tile, source, output)
            following = order[index + 1][1] if index + 1 < len(order) else None
            if following is None or following.weights != job.weights:
                self.weights.used(self, job.weights)
            if following is None or following.parameters != job.parameters:
                self.parameters.used(self, job.parameters)
        if layer.table is not None:
            self._table_used = self.counts[Unit.ACTIVATE]

    def _load_table(self, table: int | None) -> None:
        if table is None or table == self._table:
            return
        self._table = table
        self.wait(Unit.LOAD, Unit.ACTIVATE, self._table_used)
        entries = 256 if self.config.width == 8 else 512 * 2 * 2
        beats = entries // self.config.bus_bytes
        self.emit(isa.ReadHost(memory=Memory.TABLE, host=table, address=0, words=beats))
        self.wait(Unit.ACTIVATE, Unit.LOAD, self.counts[Unit.LOAD])

    def _settings_of(self, layer: Layer, source: View, output: View) -> None:
        tensor, columns = source.tensor, self.config.columns
        down, across = layer.strides
        dense_step = layer.mode is Mode.DENSE or layer.mode is Mode.MAXIMUM or layer.kernel[1] == 1
        self.emit(
            isa.SetSource(
                height=tensor.height,
                line_end=tensor.line_end,
                row_step=down * tensor.pitch,
                kernel_step=layer.dilations[0] * tensor.pitch,
                stride=down,
                dilation=layer.dilations[0],
                pixel_step=(across if dense_step else 1) * tensor.pixel,
                pad=layer.pad,
            )
        )
        second = layer.second
        rows = pixels = 0
        if second is not None:
            other = self.views[second.value].tensor
            if (other.height, other.width) == (output.tensor.height, output.tensor.width):
                rows, pixels = other.pitch, other.pixel // columns
        self.emit(
            isa.SetOutput(
                row_step=output.tensor.pitch,
                column_step=output.tensor.pixel // columns,
                residual_row_step=rows,
                residual_column_step=pixels,
                zero_point=layer.zero_point,
                lo=layer.lo,
                hi=layer.hi,
                operation=second.operation if second else Operation.NONE,
                double=layer.double,
                table=layer.table is not None,
            )
        )
        if second is not None:
            self._operands(second.op, second.swapped)

    def _operands(self, op: ops.QAdd | ops.QMul, swapped: bool) -> None:
        a: tuple[int, int, int] = (op.a_zero_point, 0, 0)
        b: tuple[int, int, int] = (op.b_zero_point, 0, 0)
        left_shift = 0
        if isinstance(op, ops.QAdd):
            a = (op.a_zero_point, op.a_multiplier, op.a_shift)
            b = (op.b_zero_point, op.b_multiplier, op.b_shift)
            left_shift = op.left_shift
        if swapped:
            a, b = b, a
        self.emit(
            isa.SetOperands(
                a_zero_point=a[0],
                a_multiplier=a[1],
                a_shift=a[2],
                b_zero_point=b[0],
                b_multiplier=b[1],
                b_shift=b[2],
            )
        )
        self.emit(
            isa.SetSum(
                multiplier=op.multiplier,
                shift=op.shift,
                zero_point=op.output_zero_point,
                lo=op.lo,
                hi=op.hi,
                left_shift=left_shift,
            )
        )

    def _tile(self, layer: Layer, job: Job, tile: Tile, source: View, output: View) -> None:
        kernel, columns = job.kernel, self.config.columns
        self.emit(kernel.setting)
        block = self.weights.blocks[job.weights]
        self.weights.await_block(self, job.weights)
        self.emit(
            isa.ReadWeights(
                address=block.slot.address, count=job.groups * kernel.passes, repeat=job.repeat
            )
        )
        tensor = source.tensor
        y = tile.top * layer.strides[0] - layer.pads[0]
        reach = (tile.rows - 1) * layer.strides[0] + (layer.kernel[0] - 1) * layer.dilations[0]
        self._await_rows(Unit.CONVOLVE, tensor, y, y + reach + 1)
        x = (tile.left * layer.strides[1] - layer.pads[1]) * tensor.pixel
        period, tail = _fetches(layer, kernel, tile, tensor)
        self.emit(
            isa.Convolve(
                base=(tensor.base + source.word + y * tensor.pitch) % (1 << 20),
                y=y,
                x=x + kernel.offset + job.group * kernel.group_step,
                rows=tile.rows,
                columns=tile.columns,
                period=period,
                tail=tail,
                groups=job.groups,
                group_step=kernel.group_step,
            )
        )
        self.parameters.await_block(self, job.parameters)
        first = kernel.first + job.group
        residual = 0
        if layer.second is not None:
            second = self.views[layer.second.value]
            residual = second.tensor.base + second.word + first
            if (second.tensor.height, second.tensor.width) == (
                output.tensor.height,
                output.tensor.width,
            ):
                residual += tile.top * second.tensor.pitch
                residual += tile.left * (second.tensor.pixel // columns)
                self._await_rows(Unit.ACTIVATE, second.tensor, tile.top, tile.top + tile.rows)
            else:
                self._await_rows(Unit.ACTIVATE, second.tensor, 0, 1)
        pixel = output.tensor.pixel // columns
        place = output.tensor.base + output.word + first
        self.emit(
            isa.Activate(
                base=place + tile.top * output.tensor.pitch + tile.left * pixel,
                residual=residual,
                parameters=self.parameters.blocks[job.parameters].slot.address,
                shared=job.shared,
                rows=tile.rows,
                columns=tile.columns,
                groups=job.groups,
            )
        )
        written = _Written(
            tile.top, tile.top + tile.rows, Unit.ACTIVATE, self.counts[Unit.ACTIVATE]
        )
        self._written[id(output.tensor)].append(written)

    def _await_rows(self, waiter: Unit, tensor: Tensor, top: int, bottom: int) -> None:
        """Let ``waiter`` wait for rows ``top`` to ``bottom`` of ``tensor``."""
        latest: dict[Unit, int] = {}
        for written in self._written[id(tensor)]:
            if written.top < bottom and top < written.bottom:
                latest[written.unit] = max(latest.get(written.unit, 0), written.count)
        for unit, count in latest.items():
            self.wait(waiter, unit, count)


def _fetches(layer: Layer, kernel: Kernel, tile: Tile, tensor: Tensor) -> tuple[int, int]:
    """Fetches in a row, and those after the last row: "Feed" in docs/npu.md."""
    taps = kernel.setting.taps
    if taps == 1:
        return tile.columns, 0
    own = (tile.columns - 1) * kernel.setting.emit + taps
    left = layer.pads[1]
    right = own - left - tensor.width
    whole = tile.left == 0 and kernel.setting.emit == 1 and kernel.setting.runs == 1
    if whole and 0 < right <= left and tile.rows > 1:
        return own - right, right
    return own, 0


def parameter_rows(layer: Layer, groups: range, at: np.ndarray, config: NpuConfig) -> bytes:
    """The records of a layer's output channels in ``groups`` of columns, as host memory has them.

    Parameters
    ----------
    layer : Layer
    groups : range
    at : int array [O]
        The column of each output channel, counted through all groups.
    config : NpuConfig
    """
    columns, bits = config.columns, config.accumulator_bits
    records = np.zeros((len(groups) * columns, config.parameter_bytes), np.uint8)
    idle = (2 << (bits + 31)).to_bytes(config.parameter_bytes, "little")
    records[:] = np.frombuffer(idle, np.uint8)
    for o, column in enumerate(at - groups.start * columns):
        if 0 <= column < len(records):
            value = (
                int(layer.bias[o]) & ((1 << bits) - 1)
                | int(layer.multiplier[o]) << bits
                | int(layer.shift[o]) << (bits + 31)
            )
            raw = value.to_bytes(config.parameter_bytes, "little")
            records[column] = np.frombuffer(raw, np.uint8)
    rows = records.reshape(-1, config.lanes * config.parameter_bytes)
    padded = np.zeros((len(rows), config.parameter_row_bytes), np.uint8)
    padded[:, : rows.shape[1]] = rows
    return padded.tobytes()
